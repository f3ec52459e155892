"""Read the runs below folders, each counted once; what cannot be read is listed with the reason."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.cli.errors import UserError
from workbench.training import metrics
from workbench.training.metrics import Metric
from workbench.training.runs import RATE_SETTINGS, SEARCH, StoredRun

NAME = re.compile(r"results_(\d+)(?:_(.+))?\.json")
# what runs of one comparison may differ in
FREE = {"dataset", "model", "activation", "seed", "variant", *RATE_SETTINGS}


@dataclass(frozen=True)
class Run:
    """Hold a run that has ended.

    Args:
        place: its results file.
        final: what the last evaluation gave; None: it diverged.
    """

    key: StoredRun
    place: Path
    configuration: Mapping[str, Any]
    metrics: Sequence[Metric]
    final: Mapping[str, Any] | None
    environment: Mapping[str, Any]

    @property
    def rate(self) -> float | None:
        """Return the learning rate that its configuration names; None if it names none."""
        found = next(
            (self.configuration[name] for name in RATE_SETTINGS if self.configuration.get(name) is not None), None
        )
        return float(found) if found is not None and _is_number(found) else None

    @property
    def is_search(self) -> bool:
        """Return whether it served to choose a learning rate, and so counts for no result."""
        return self.key.variant.startswith(f"{SEARCH}_")

    @property
    def settings(self) -> dict[str, Any]:
        """Return all that runs of one comparison have to share."""
        shared = {name: value for name, value in self.configuration.items() if name not in FREE}
        metrics = (f"{each.key} {'up' if each.higher_is_better else 'down'}" for each in self.metrics)
        return shared | {"metrics": ", ".join(metrics)}

    def value(self, metric: Metric) -> float | None:
        """Return a number of the last evaluation; None if the run diverged or the number was not finite."""
        return None if self.final is None else metric.value(self.final)


@dataclass(frozen=True)
class Found:
    """Hold what was read.

    Args:
        left_out: files that are no runs, or count for nothing, each with the reason.
        twice: number of files that are copies of others.
    """

    runs: list[Run]
    left_out: list[str]
    twice: int


def read(folders: Sequence[Path]) -> Found:
    """Read every run below the folders.

    Raises:
        UserError: a folder is not there, no run is found, or two runs of one key are not the same.
    """
    found: dict[tuple[str, ...], Run] = {}
    left_out, twice, read_already = [], 0, set[Path]()
    for path in _files(folders):
        if path.resolve() in read_already:
            continue
        read_already.add(path.resolve())
        try:
            run = _run(path)
        except UserError as error:
            left_out.append(str(error).removesuffix(": delete it to train again"))  # it may be another program's
            continue
        except RecursionError:  # of JSON that is nested too deeply
            left_out.append(f"{path} is no result of a run: it cannot be read")
            continue
        key = (run.key.dataset, run.key.model, run.key.activation, str(run.key.seed), run.key.variant)
        if key in found:
            _require_copy(found[key], run)
            twice += 1
        else:
            found[key] = run
    if not found:
        where, why = ", ".join(map(str, folders)), f" ({'; '.join(left_out[:3])})" if left_out else ""
        raise UserError(f"there are no results of runs in {where}{why}: a run that has ended has results_<seed>.json")
    return Found(list(found.values()), left_out, twice)


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is {'no folder' if folder.exists() else 'not there'}: name folders of results")
        yield from sorted(folder.rglob("results_*.json"))


def _run(path: Path) -> Run:
    """Read a results file, whose key its path says.

    Raises:
        UserError: it is none, or damaged.
    """
    named, folders = NAME.fullmatch(path.name), path.resolve().parents
    if named is None or len(folders) < 4:
        raise UserError(f"{path} is no result of a run: its name is not results_<seed>.json")
    activation, model, dataset = (folder.name for folder in folders[:3])
    key = StoredRun(folders[3], dataset, model, activation, int(named[1]), named[2] or "")
    results = key.read_results()
    described, final = metrics.read(results["metrics"]), results["final"]
    readable = bool(described) and (final is None or isinstance(final, dict))
    numbers = [final.get(each.key) for each in described] if readable and final is not None else []
    if not readable or not all(each is None or _is_number(each) for each in numbers):
        raise UserError(f"{path} is no result of a run: what should be its numbers are none")
    return Run(key, path, results["configuration"], described, final, results["environment"])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _require_copy(first: Run, second: Run) -> None:
    """Refuse two runs of one key that are not the same.

    Raises:
        UserError: they are not.
    """
    names = dict.fromkeys([*first.configuration, *second.configuration])
    differing = [name for name in names if first.configuration.get(name) != second.configuration.get(name)]
    both = f"{first.place} and {second.place} are the same run by name"
    if differing:
        name = differing[0]
        values = f"{name} is {first.configuration.get(name)} and {second.configuration.get(name)}"
        more = f" (and {', '.join(differing[1:])})" if len(differing) > 1 else ""
        raise UserError(f"{both}, but {values}{more}: report on them one after the other")
    described = [each.key for each in first.metrics]
    if [(first.final or {}).get(key) for key in described] != [(second.final or {}).get(key) for key in described]:
        raise UserError(f"{both}, with the same settings but other numbers: name only one of the folders")
