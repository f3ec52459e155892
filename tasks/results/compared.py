"""Match the runs of two folders by their key, and say which has the better number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.results.listing import Listed
from workbench.cli.errors import UserError

KEY = {"dataset", "model", "activation", "seed", "variant"}  # as a configuration names it


@dataclass(frozen=True)
class Pair:
    """Hold the runs of one key in A and in B, of which one may be missing."""

    a: Listed | None
    b: Listed | None

    @property
    def either(self) -> Listed:
        """Return a run that is there; if one of two does not say its metric, the other one."""
        there = [run for run in (self.a, self.b) if run is not None]
        return next((run for run in there if run.metric is not None), there[0])

    @property
    def difference(self) -> float | None:
        """Return B's value minus A's; None unless both have ended with a number of the same metric."""
        a, b = self.a, self.b
        if a is None or b is None or a.value is None or b.value is None or {a.state, b.state} != {"ended"}:
            return None
        if a.metric is None or b.metric is None or a.metric.key != b.metric.key:
            return None
        return b.value - a.value if a.metric.higher_is_better == b.metric.higher_is_better else None

    @property
    def verdict(self) -> str:
        """Say whether B is better, worse or the same; "" without a difference."""
        difference, metric = self.difference, self.either.metric
        if difference is None or metric is None:
            return ""
        if difference == 0:
            return "same"
        return "better" if (difference > 0) == metric.higher_is_better else "worse"

    @property
    def differing(self) -> list[str]:
        """Name the settings that both have, with other values."""
        if self.a is None or self.b is None:
            return []
        one, other = self.a.configuration, self.b.configuration
        return [name for name in one if name not in KEY and name in other and one[name] != other[name]]


def paired(a: Sequence[Listed], b: Sequence[Listed]) -> list[Pair]:
    """Match runs by data set, model, activation, variant and seed, in the order of A, then of what B alone has.

    Raises:
        UserError: two runs of one folder have the same key.
    """
    of_a, of_b = _by_name(a), _by_name(b)
    return [Pair(of_a.get(name), of_b.get(name)) for name in dict.fromkeys([*of_a, *of_b])]


def _by_name(runs: Sequence[Listed]) -> dict[tuple[str, str, str, str, int], Listed]:
    found: dict[tuple[str, str, str, str, int], Listed] = {}
    for run in runs:
        there = found.setdefault(run.name, run)
        if there is not run:
            raise UserError(f"{there.file} and {run.file} are the same run by name: name one of their folders")
    return found
