"""Choose and sort the runs of a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from golu.activations import unknown_name
from tasks.results.compared import Pair
from tasks.results.listing import Listed
from workbench.cli.errors import UserError

NONE = "-"  # on the command line, what a run lacks

# flag -> what it looks at
FILTERS: Mapping[str, Callable[[Listed], str]] = {
    "task": lambda run: run.task,
    "dataset": lambda run: run.key.dataset,
    "model": lambda run: run.key.model,
    "activation": lambda run: run.key.activation,
    "variant": lambda run: run.key.variant,
    "seed": lambda run: str(run.key.seed),
    "state": lambda run: run.state,
}
# column -> what a list is sorted by
COLUMNS: Mapping[str, Callable[[Listed], Any]] = {
    **FILTERS,
    "folder": lambda run: run.folder,
    "seed": lambda run: run.key.seed,
    "value": lambda run: _best_first(run, run.value),
    "time": lambda run: -(run.minutes or 0.0),
}


def chosen(runs: Sequence[Listed], wanted: Mapping[str, Sequence[str] | None]) -> list[Listed]:
    """Return the runs that have one of the wanted names in every filter; names are compared as a whole.

    Args:
        wanted: names by filter; None: any.

    Raises:
        UserError: no run has a name, or none has all.
    """
    asked = {flag: names for flag, names in wanted.items() if names}
    for flag, names in asked.items():
        there = sorted({FILTERS[flag](run) or NONE for run in runs})
        for name in names:
            if name not in there and flag != "state":
                raise UserError(f"no run has --{flag} {name}: {unknown_name(flag, name, there)}")
    found = [run for run in runs if all((FILTERS[flag](run) or NONE) in names for flag, names in asked.items())]
    if not found:
        filters = " ".join(f"--{flag} {' '.join(names)}" for flag, names in asked.items())
        raise UserError(f"none of the {len(runs)} runs has all of {filters}")
    return found


def in_order(runs: Sequence[Listed], columns: Sequence[str]) -> list[Listed]:
    """Sort runs by columns, the first one first, then by their place: best values and longest times come first."""
    return sorted(runs, key=lambda run: (*(COLUMNS[each](run) for each in columns), run.folder, run.name))


def pairs_in_order(pairs: Sequence[Pair], columns: Sequence[str]) -> list[Pair]:
    """Sort pairs likewise; by "difference", what is best for B comes first."""

    def key(pair: Pair) -> tuple[Any, ...]:
        by_column = (
            _best_first(pair.either, pair.difference) if each == "difference" else COLUMNS[each](pair.either)
            for each in columns
        )
        return (*by_column, pair.either.name)

    return sorted(pairs, key=key)


def _best_first(run: Listed, value: float | None) -> tuple[str, bool, float]:
    """Return what sorts values of one metric from the best on; what has none comes last."""
    if run.metric is None:
        return "", True, 0.0
    sign = -1 if run.metric.higher_is_better else 1
    return run.metric.label, value is None, sign * (value or 0.0)
