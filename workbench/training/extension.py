"""Go on with a run that has ended, for more epochs or steps; what its learning rate becomes is asked, not guessed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.cli.errors import UserError
from workbench.training import checkpoint
from workbench.training.runs import Results, StoredRun
from workbench.training.task import Task

LENGTHS = ("epochs", "max_iters")  # what tasks call the length of a training
RATES = ("last", "longer")  # what --extend takes
_FOLLOW = ("milestones", "variant")  # what follows the length, and what only the longer run has

Configuration = Mapping[str, Any]


@dataclass(frozen=True)
class Extension:
    """Say which run is gone on with, and how.

    Args:
        base: the run that has ended.
        rate: "last": at the learning rate of its end; "longer": at that of a schedule of the new length.
    """

    base: StoredRun
    rate: str

    def variant(self, settings: Any) -> str:
        """Name the longer run, which is stored beside the one that it goes on with."""
        name = length_of(vars(settings))
        return f"extended_to_{getattr(settings, name)}_{self.rate}"

    def start(self, run: StoredRun, stored: Configuration, defaults: Configuration) -> checkpoint.State:
        """Return the state from which the longer run starts, and give it the best weights so far.

        Raises:
            UserError: no shorter run of these settings has ended, or it diverged, or its checkpoint is gone.
        """
        if not self.base.results_path.exists():
            raise UserError(f"--extend: {self.base.folder} holds no run of seed {run.seed} that has ended")
        results = shorter(self.base, stored, defaults)
        if results is None:
            raise self._reason(stored, defaults)
        state = _state(self.base, [results["configuration"]])
        if self.base.best_path.exists():
            shutil.copyfile(self.base.best_path, run.best_path)
        return state

    def _reason(self, stored: Configuration, defaults: Configuration) -> UserError:
        """Return an error that says why it cannot be gone on with; or raise the one that names another setting."""
        old, name = self.base.read_results()["configuration"], length_of(stored)
        alike = {key: old[key] for key in (name, *_FOLLOW) if key in old}
        self.base.finished({key: value for key, value in stored.items() if key not in _FOLLOW} | alike, defaults)
        return UserError(f"--extend takes more {_flag(name)} than the run in {self.base.folder} has had: {old[name]}")


def length_of(configuration: Configuration) -> str:
    """Return the setting that says how long is trained."""
    return next(name for name in LENGTHS if configuration.get(name) is not None)


def shorter(run: StoredRun, stored: Configuration, defaults: Configuration) -> Results | None:
    """Return the results of a run that has ended, if it differs from what is wanted in nothing but fewer epochs."""
    results = run.read_results()
    old, name = {**defaults, **results["configuration"]}, length_of(stored)
    if not isinstance(old.get(name), int) or old[name] >= stored[name]:
        return None
    same = all(old.get(key) == value for key, value in stored.items() if key not in (name, *_FOLLOW))
    return results if same else None


def reopened(run: StoredRun, task: Task, stored: Configuration, defaults: Configuration) -> checkpoint.State | None:
    """Return the state of a run that has ended, if it may simply go on: its learning rate is constant.

    None if it has not ended, or is not a shorter one.

    Raises:
        UserError: it is a shorter one, whose learning rate is not constant.
    """
    if not run.results_path.exists():
        return None
    results = shorter(run, stored, defaults)
    if results is None:
        return None
    name, rates = length_of(stored), set(task.rates(task.sampling(run.seed).steps_per_epoch))
    had, flag = results["configuration"][name], _flag(name)
    trace = run.trace()
    if len(rates | {each["lr"] for each in trace}) > 1:
        raise UserError(
            f"{run.folder} holds a run of seed {run.seed} that has ended with {flag} {had}, at a learning rate of "
            f"{trace[-1]['lr']:.3g}: --extend last goes on at that rate, --extend longer at the rates of a schedule of "
            f"{stored[name]} from there; or choose another --results to train from the beginning"
        )
    return _state(run, [results["configuration"], stored])


def _state(run: StoredRun, known: list[Configuration]) -> checkpoint.State:
    """Read the state of a run that has ended, or of one that was reopened and stopped."""
    state = checkpoint.load(run.checkpoint_path)
    if state is None or state.get("configuration") not in known:
        raise UserError(f"{run.checkpoint_path} is gone, or of another run: there is nothing to go on with")
    if state["diverged_at"] is not None:
        raise UserError(f"{run.checkpoint_path} is of a training that diverged: there is nothing to go on with")
    return state


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
