"""Say what a number in a run means: stored with the results, so that tables and figures need not guess."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

AVERAGED = "ema_"  # prefix of the keys of metrics of the moving average of the weights

Entry = Mapping[str, Any]  # an evaluation, as the trace holds it


@dataclass(frozen=True)
class Metric:
    """Describe a number that an evaluation gives.

    Args:
        key: its name in a trace, as "val_accuracy".
        title: its name for people, as "accuracy".
        unit: as "%" or "nats"; "" for none.
        higher_is_better: whether more of it is better.
        meaning: how it is computed, for the legend of a table.
        role: "score": tables show it; "loss": it is drawn beside the training loss; "detail": it is stored.
    """

    key: str
    title: str
    unit: str = ""
    higher_is_better: bool = False
    meaning: str = ""
    role: str = "score"

    @property
    def label(self) -> str:
        """Return the title with its unit, for an axis or the head of a column."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def averaged(self) -> Metric:
        """Return the same metric of the moving average of the weights."""
        title = f"{self.title} of averaged weights"
        return replace(self, key=AVERAGED + self.key, title=title, role="detail")

    def value(self, entry: Entry) -> float | None:
        """Return what an evaluation gave; None if it was not finite, or there is none."""
        value = entry.get(self.key)
        return None if value is None or not math.isfinite(value) else float(value)

    def best(self, entries: Iterable[Entry]) -> Entry | None:
        """Return the first of the best evaluations; None if none gave a number."""
        sign = 1 if self.higher_is_better else -1
        numbered = [entry for entry in entries if self.value(entry) is not None]
        return max(numbered, key=lambda entry: sign * entry[self.key], default=None)


VAL_LOSS = Metric("val_loss", "validation loss", "nats", meaning="mean over the validation data", role="loss")


def stored(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return metrics as JSON holds them."""
    return [asdict(each) for each in metrics]


def read(values: Iterable[Mapping[str, Any]]) -> list[Metric]:
    """Make metrics of what `stored` gave.

    Raises:
        TypeError: it is something else.
    """
    return [Metric(**each) for each in values]
