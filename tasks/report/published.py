"""Read the paper's published figures, which are shown beside ours and marked as the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.output.storage import read_json

FILE = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class Row:
    """Hold a row of the paper's table of results.

    Args:
        model: what our programs call the architecture, as `dataset` is what they call the data set.
        values: mean and standard error of each activation, as printed.
    """

    architecture: str
    dataset_title: str
    metric: str
    higher_is_better: bool
    model: str
    dataset: str
    values: Mapping[str, tuple[str, str]]

    @property
    def best(self) -> str:
        """Return the activation with the best mean."""
        sign = 1 if self.higher_is_better else -1
        return max(self.values, key=lambda name: sign * float(self.values[name][0]))


def source() -> str:
    """Name where the figures come from."""
    return str(read_json(FILE)["source"])


def rows(keys: Sequence[tuple[str, str]] | None = None) -> list[Row]:
    """Return the paper's rows.

    Args:
        keys: only those of these (data set, model), as our programs call them; None: all.
    """
    made = []
    for each in read_json(FILE)["rows"]:
        values = {name: (value[0], value[1]) for name, value in each.pop("values").items()}
        made.append(Row(**each, values=values))
    return [row for row in made if keys is None or (row.dataset, row.model) in keys]
