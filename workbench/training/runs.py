"""Store the files of a run, a contract that other programs read.

<results>/<dataset>/<model>/<activation>/ holds, for each seed, checkpoint_<seed>.pth (and the one before it,
checkpoint_<seed>.previous.pth), opt_trace_<seed>.json, results_<seed>.json, plot_<seed>.png, TensorBoard events and, of
tasks that draw them, pictures_<seed>/. A run of a variant, such as one learning rate of a sweep, has the variant's name
after the seed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.cli.errors import UserError
from workbench.output.lock import held
from workbench.output.storage import prepare_folder, read_json, require_same, write_json
from workbench.training import checkpoint, metrics

SEARCH = "tune_lr"  # begins the variant of a run that served to choose a learning rate, as tune_lr_0.01
SEARCH_SEED = 1000  # the first seed of such runs; results come from those below
RATE_SETTINGS = ("lr", "learning_rate")  # what tasks call their learning rate
FORMAT = 2  # of a results file; the first one did not say what its numbers mean
Trace = list[dict[str, Any]]  # one entry an evaluation; it begins with its "epoch" or "step"
Results = dict[str, Any]


def position(entry: Mapping[str, Any]) -> tuple[str, int]:
    """Return where in the run an evaluation was: ("epoch", 3) or ("step", 1500)."""
    return next(iter(entry.items()))


@dataclass(frozen=True)
class StoredRun:
    """Name one run of one activation and one seed, and the files that store it."""

    results: Path
    dataset: str
    model: str
    activation: str
    seed: int
    variant: str = ""

    @property
    def folder(self) -> Path:
        return self.results / self.dataset / self.model / self.activation

    @property
    def title(self) -> str:
        """Return how a line for people names the run."""
        variant = f", {self.variant.replace('_', ' ')}" if self.variant else ""
        return f"{self.activation}, seed {self.seed}{variant}"

    def path(self, what: str, ending: str = "") -> Path:
        """Return one of the run's files, or with no ending a folder of its files."""
        variant = f"_{self.variant}" if self.variant else ""
        return self.folder / f"{what}_{self.seed}{variant}{ending}"

    @property
    def checkpoint_path(self) -> Path:
        return self.path("checkpoint", ".pth")

    @property
    def best_path(self) -> Path:
        return self.path("best", ".pth")

    def weights_path(self, entry: Mapping[str, Any]) -> Path:
        """Return where the weights at an evaluation are, if those of all are kept."""
        axis, at = position(entry)
        return self.path("weights") / f"{axis}_{at}.pth"

    @property
    def trace_path(self) -> Path:
        return self.path("opt_trace", ".json")

    @property
    def results_path(self) -> Path:
        return self.path("results", ".json")

    @property
    def plot_path(self) -> Path:
        return self.path("plot", ".png")

    @property
    def events_path(self) -> Path:
        return self.path("tensorboard")

    @property
    def wandb_path(self) -> Path:
        return self.path("wandb")

    def picture_path(self, entry: Mapping[str, Any]) -> Path:
        """Return where the picture of predictions at an evaluation is, if the task draws one."""
        axis, at = position(entry)
        return self.path("pictures") / f"{axis}_{at}.png"

    @property
    def identity(self) -> dict[str, Any]:
        """Return what its key says of the run, for its configuration."""
        key = {"dataset": self.dataset, "model": self.model, "activation": self.activation, "seed": self.seed}
        return key | ({"variant": self.variant} if self.variant else {})

    # Reading

    def finished(self, configuration: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Results | None:
        """Return the results, if the run has ended already.

        Args:
            configuration: what the run depends on now.
            defaults: values of settings, for those that the stored run does not have yet.

        Raises:
            UserError: they cannot be read, or are of another configuration.
        """
        if not self.results_path.exists():
            return None
        results = self.read_results()
        self._check(results["configuration"], configuration, defaults)
        return results

    def read_results(self) -> Results:
        """Read the results of a run that has ended.

        Raises:
            UserError: they are missing, damaged, or of an earlier version.
        """
        path = self.results_path
        try:
            results = read_json(path)
            if "configuration" in results and "format" not in results:
                raise UserError(
                    f"{path} is of an earlier version, whose numbers are not compared with today's: "
                    "move it away, or choose another --results"
                )
            metrics.read(results["metrics"])
            complete = isinstance(results["configuration"], dict) and isinstance(results["environment"], dict)
            complete = complete and results.keys() >= {"axis", "final", "best", "diverged_at", "train_minutes"}
            if results["format"] != FORMAT or not complete:
                raise ValueError("it is incomplete")
            if any(results.get(name) != value for name, value in self.identity.items()):
                raise ValueError("it is another run's")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is no result of a run ({_reason(error)}): delete it to train again") from error
        return dict(results)

    def trace(self) -> Trace:
        """Read every evaluation so far; a number that was not finite is None.

        Raises:
            UserError: the trace is missing or damaged.
        """
        try:
            trace = read_json(self.trace_path)
            if not isinstance(trace, list) or not all(isinstance(each, dict) and each for each in trace):
                raise ValueError("it holds no evaluations")
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read the trace of a run from {self.trace_path}: {_reason(error)}") from error
        return trace

    def read_metrics(self) -> list[metrics.Metric]:
        """Read what the numbers in the trace mean, of a run that has ended or is under way.

        Raises:
            UserError: neither results nor checkpoint say it.
        """
        source = self.results_path if self.results_path.exists() else self.checkpoint_path
        stored = self.read_results() if source == self.results_path else checkpoint.read(source)
        try:
            return metrics.read(stored["metrics"])
        except (KeyError, TypeError) as error:
            raise UserError(f"{source} does not say what its numbers mean: it is of an earlier version") from error

    def resume(
        self, configuration: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> checkpoint.State | None:
        """Return the newest good checkpoint; None if the run has not begun.

        Raises:
            UserError: it is of another configuration, or there are only broken ones.
        """
        state = checkpoint.load(self.checkpoint_path)
        if state is not None:
            if not isinstance(state.get("configuration"), dict) or "metrics" not in state:
                raise UserError(
                    f"{self.checkpoint_path} is of an earlier version or another program: "
                    "move it away, or choose another --results"
                )
            self._check(state["configuration"], configuration, defaults)
        return state

    def _check(self, stored: Mapping[str, Any], wanted: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> None:
        stored = {name: value for name, value in (defaults or {}).items() if name in wanted} | dict(stored)
        require_same(f"{self.folder} holds a run of seed {self.seed}", stored, wanted, "--results")

    # Writing

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and hold the run's lock within the block; a run that leaves no file leaves no folder.

        Raises:
            UserError: another process trains it, or the folder cannot be written to.
        """
        made = [each for each in (self.folder, *self.folder.parents) if not each.exists()]
        prepare_folder(self.folder)
        try:
            with held(self.path(".lock"), f"{self.folder}: the run of seed {self.seed} is being trained"):
                self.checkpoint_path.with_suffix(".next.pth").unlink(missing_ok=True)
                yield
        finally:
            with contextlib.suppress(OSError):  # it is not empty, as after every run that stored something
                for each in made:
                    each.rmdir()

    def store_trace(self, trace: Trace) -> None:
        """Write the evaluations so far."""
        write_json(self.trace_path, trace)

    def store_results(self, results: Results) -> None:
        """Write the results of a finished run, and remove the previous checkpoint."""
        write_json(self.results_path, results)
        checkpoint.previous(self.checkpoint_path).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return str(getattr(error, "strerror", None) or error)
