"""Read what a stored run reached, by the path of its results file: for reports and lists over many runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
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
        diverged_at: where it diverged, as "epoch 3"; "": it did not.
        minutes: that training and evaluation took.
        program: the module that trained it; "": the run does not say it, as older ones.
    """

    key: StoredRun
    place: Path
    configuration: Mapping[str, Any]
    metrics: Sequence[Metric]
    final: Mapping[str, Any] | None
    environment: Mapping[str, Any]
    diverged_at: str
    minutes: float
    program: str

    @property
    def rate(self) -> float | None:
        """Return the learning rate that its configuration names; None if it names none."""
        found = next(
            (self.configuration[name] for name in RATE_SETTINGS if self.configuration.get(name) is not None), None
        )
        return float(found) if found is not None and is_number(found) else None

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


def require_folders(folders: Sequence[Path]) -> None:
    """Refuse what is no folder.

    Raises:
        UserError: one is not.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is {'no folder' if folder.exists() else 'not there'}: name folders of results")


def key_of(path: Path, seed: str, variant: str | None) -> StoredRun | None:
    """Return the run that a file belongs to, whose key its folders say; None if it is not as deep as a run's.

    Args:
        seed, variant: as the file's name has them.
    """
    folders = path.resolve().parents
    if len(folders) < 4:
        return None
    activation, model, dataset = (folder.name for folder in folders[:3])
    return StoredRun(folders[3], dataset, model, activation, int(seed), variant or "")


def read_run(path: Path) -> Run:
    """Read a results file, whose key its path says.

    Raises:
        UserError: it is none, or damaged.
    """
    named = NAME.fullmatch(path.name)
    key = key_of(path, named[1], named[2]) if named else None
    if key is None:
        raise UserError(f"{path} is no result of a run: its name is not results_<seed>.json")
    try:
        results = key.read_results()
        described, final = metrics.read(results["metrics"]), results["final"]
    except RecursionError as error:  # of JSON that is nested too deeply
        raise UserError(f"{path} is no result of a run: it cannot be read") from error
    except UserError as error:  # it may be another program's, so that to delete it is no advice
        raise UserError(str(error).removesuffix(": delete it to train again")) from error
    times = [results["train_minutes"], results.get("inference_minutes", 0.0)]
    readable = bool(described) and (final is None or isinstance(final, dict)) and all(map(is_number, times))
    numbers = [final.get(each.key) for each in described] if readable and final is not None else []
    if not readable or not all(each is None or is_number(each) for each in numbers):
        raise UserError(f"{path} is no result of a run: what should be its numbers are none")
    at = results["diverged_at"]
    return Run(
        key, path, results["configuration"], described, final, results["environment"],
        diverged_at="" if at is None else f"{results['axis']} {at}", minutes=float(sum(times)),
        program=str(results.get("program", "")),
    )  # fmt: skip


def is_number(value: Any) -> bool:
    """Return whether JSON gave a number that a float can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
