"""The files of a run: a contract that other programs read.

<results>/<dataset>/<model>/<activation>/ holds, for each seed, checkpoint_<seed>.pth (and the one before it,
checkpoint_<seed>.previous.pth), opt_trace_<seed>.json, results_<seed>.json, plot_<seed>.png and TensorBoard events.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.cli.errors import UserError
from workbench.output.storage import prepare_folder, require_same, write_json
from workbench.training import checkpoint

Trace = list[dict[str, Any]]  # one entry an evaluation; it begins with its "epoch" or "step"


def place(entry: dict[str, Any]) -> tuple[str, int]:
    """Where in the run an entry of the trace is: ("epoch", 3) or ("step", 1500)."""
    return next(iter(entry.items()))


@dataclass(frozen=True)
class RunFolder:
    """Where one run of one activation and one seed is stored."""

    results: Path
    dataset: str
    model: str
    activation: str
    seed: int

    @property
    def folder(self) -> Path:
        return self.results / self.dataset / self.model / self.activation

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / f"checkpoint_{self.seed}.pth"

    @property
    def trace_path(self) -> Path:
        return self.folder / f"opt_trace_{self.seed}.json"

    @property
    def results_path(self) -> Path:
        return self.folder / f"results_{self.seed}.json"

    @property
    def plot_path(self) -> Path:
        return self.folder / f"plot_{self.seed}.png"

    @property
    def events_path(self) -> Path:
        return self.folder / f"tensorboard_{self.seed}"

    @property
    def identity(self) -> dict[str, Any]:
        """What its place says of the run, for its configuration."""
        return {"dataset": self.dataset, "model": self.model, "activation": self.activation, "seed": self.seed}

    def finished(self, configuration: dict[str, Any]) -> dict[str, Any] | None:
        """The results, if the run has ended already.

        Raises:
            UserError: they are not to be read, or of another configuration.
        """
        if not self.results_path.exists():
            return None
        try:
            results = json.loads(self.results_path.read_text())
            stored = results["configuration"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.results_path} is no result of a run: delete it to go on") from error
        self._check(stored, configuration)
        return results

    def resume(self, configuration: dict[str, Any]) -> checkpoint.State | None:
        """The newest good checkpoint; None if the run has not begun.

        Raises:
            UserError: it is of another configuration, or there are only broken ones.
        """
        state = checkpoint.load(self.checkpoint_path)
        if state is not None:
            self._check(state["configuration"], configuration)
        return state

    def _check(self, stored: dict[str, Any], configuration: dict[str, Any]) -> None:
        wanted = dict.fromkeys(stored) | configuration  # a setting that only the stored one has differs too
        require_same(f"{self.folder} holds a run of seed {self.seed}", stored, wanted, "folder for results")

    def prepare(self) -> None:
        """Make the folder and show that it can be written to."""
        prepare_folder(self.folder)

    def store_trace(self, trace: Trace) -> None:
        """Write the epochs so far."""
        write_json(self.trace_path, trace)

    def store_results(self, results: dict[str, Any]) -> None:
        """Write the results of a finished run; from now on it needs no checkpoint but the last."""
        write_json(self.results_path, results)
        checkpoint.previous(self.checkpoint_path).unlink(missing_ok=True)


class Events:
    """TensorBoard's events of a run: what the trace says."""

    def __init__(self, folder: Path, trace: Trace) -> None:
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped; its trace is written again
        self._writer = SummaryWriter(str(folder))
        for entry in trace:
            self.add(entry)

    def add(self, entry: dict[str, Any]) -> None:
        """One entry of the trace."""
        axis, at = place(entry)
        for name, value in entry.items():
            if name != axis:
                self._writer.add_scalar(name, value, at)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
