"""Find every run below folders, ended or not, and read what each has reached; no weights are read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.table import task_of
from workbench.cli.errors import UserError
from workbench.output.lock import is_held
from workbench.training import checkpoint, metrics
from workbench.training.metrics import Metric
from workbench.training.reading import NAME, key_of, read_run, require_folders
from workbench.training.runs import StoredRun

STATES = ("ended", "running", "stopped", "diverged", "failed")
# files of a run, with its seed and variant in their names
FILES = [
    NAME,
    re.compile(r"checkpoint_(\d+)(?:_(.+?))?(?:\.previous)?(?<!\.next)\.pth"),  # .next is not whole yet
    re.compile(r"failed_(\d+)(?:_(.+))?\.txt"),
    re.compile(r"\.lock_(\d+)(?:_(.+))?"),
]
# settings or metrics that runs of one task alone have, for runs that do not say which program trained them
SIGNS = {
    "val_mask_ap": "instance_segmentation",
    "aspect_ratio_group_factor": "object_detection",
    "aux_weight": "semantic_segmentation",
    "block_size": "gpt",
    "beta_start": "diffusion",
    "aa": "timm_training_script",  # or another program that takes timm's settings
    "mixup_alpha": "image_classification",
    "vector_weight_decay": "small_poc",
}


@dataclass(frozen=True)
class Listed:
    """Hold a stored run as a list shows it.

    Args:
        state: one of STATES.
        at: where it diverged or, of a run that has not ended, how far its checkpoint is, as "step 500"; "": nowhere.
        task: as tasks/table.py names it; "": nothing stored says it.
        metric: the one that judges; None: nothing stored says it.
        value: what the last evaluation gave; None: there is none, or it was not finite.
        minutes: of training and evaluation; None: nothing stored says it.
        file: what says all this.
    """

    key: StoredRun
    state: str
    at: str
    task: str
    metric: Metric | None
    value: float | None
    minutes: float | None
    configuration: Mapping[str, Any]
    file: Path

    @property
    def folder(self) -> str:
        """Return the folder of stored runs that it is in, from where the program was started."""
        try:
            return str(self.key.results.relative_to(Path.cwd()))
        except ValueError:
            return str(self.key.results)

    @property
    def name(self) -> tuple[str, str, str, str, int]:
        """Return its key."""
        return self.key.dataset, self.key.model, self.key.activation, self.key.variant, self.key.seed


@dataclass(frozen=True)
class Found:
    """Hold what was found.

    Args:
        left_out: files that could not be read, each with the reason.
    """

    runs: list[Listed]
    left_out: list[str]


def find(folders: Sequence[Path]) -> Found:
    """Find every run below the folders, each once.

    Raises:
        UserError: a folder is not there, or no run is found.
    """
    require_folders(folders)
    left_out: list[str] = []
    keys = _keys(folders, left_out)
    listed = [_listed(key, left_out) for key in keys]
    runs = [each for each in listed if each is not None]
    if not runs:
        where, why = ", ".join(map(str, folders)), f" ({'; '.join(left_out[:3])})" if left_out else ""
        raise UserError(f"there are no runs in {where}{why}: name folders that hold <dataset>/<model>/<activation>")
    return Found(runs, left_out)


def _keys(folders: Sequence[Path], left_out: list[str]) -> list[StoredRun]:
    """Return every run that has a file below the folders."""

    def unreadable(error: OSError) -> None:
        left_out.append(f"cannot read the folder {error.filename}: {error.strerror}")

    keys: dict[StoredRun, None] = {}
    for folder in folders:
        for place, inside, names in os.walk(folder, onerror=unreadable):
            inside.sort()
            for name in sorted(names):
                match = next((match for each in FILES if (match := each.fullmatch(name))), None)
                key = key_of(Path(place, name), match[1], match[2]) if match else None
                if key is not None:
                    keys[key] = None
                elif name.startswith("results_") and name.endswith(".json"):
                    left_out.append(f"{Path(place, name)} is no result of a run: its name is not results_<seed>.json")
    return list(keys)


def _listed(key: StoredRun, left_out: list[str]) -> Listed | None:
    """Read a run; None if it cannot be read, or is none."""
    running = is_held(key.path(".lock"))  # first: whoever held it has stored the results before letting go
    if key.results_path.exists():
        try:
            return _ended(key.results_path)
        except UserError as error:
            left_out.append(str(error))
            return None
    failed = key.path("failed", ".txt")
    state = "running" if running else "failed" if failed.exists() else "stopped"
    for path in (key.checkpoint_path, checkpoint.previous(key.checkpoint_path)):
        if path.exists():
            try:
                return _begun(key, state, path)
            except UserError as error:
                left_out.append(str(error))
    file = failed if state == "failed" else key.path(".lock")
    return Listed(key, state, "", "", None, None, None, {}, file) if file.exists() else None


def _ended(path: Path) -> Listed:
    run = read_run(path)
    judge, state = run.metrics[0], "diverged" if run.diverged_at else "ended"
    task = _task(run.program, [*run.configuration, *(each.key for each in run.metrics)])
    return Listed(run.key, state, run.diverged_at, task, judge, run.value(judge), run.minutes, run.configuration, path)


def _begun(key: StoredRun, state: str, path: Path) -> Listed:
    """Read a run that has not ended from its checkpoint.

    Raises:
        UserError: the checkpoint is broken, or of another run or program.
    """
    stored = checkpoint.read(path, weights=False)
    try:
        configuration, described = dict(stored["configuration"]), metrics.read(stored["metrics"])
        if any(configuration.get(name) != value for name, value in key.identity.items()):
            raise UserError(f"{path} is another run's checkpoint")
        seconds = stored["train_seconds"] + stored["epoch_seconds"] + stored["inference_seconds"]
        task = _task(stored.get("program", ""), [*configuration, *(each.key for each in described)])
        value = described[0].value(stored["trace"][-1]) if stored["trace"] else None
        at = f"step {int(stored['step'])}"
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is the checkpoint of an earlier version or another program") from error
    return Listed(key, state, at, task, described[0], value, seconds / 60, configuration, path)


def _task(program: str, names: Iterable[str]) -> str:
    """Name the task of a run.

    Args:
        program: the module that trained it; "": the run does not say it.
        names: its settings and metrics.
    """
    if program:
        return task_of(program) or program
    there = set(names)
    return next((task for sign, task in SIGNS.items() if sign in there), "")
