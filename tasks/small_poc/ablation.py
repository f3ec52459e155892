"""Define the ablations with MLPs: which trainings there are, and the stored ones.

Three sweeps, each two-dimensional: the number of blocks against the learning rate, the epochs, and the batch size.
What a sweep does not vary has its base value. The learning rate is constant, so a training of 8 epochs contains those
of 5, 6 and 7, and what several sweeps have in common is trained once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from golu import available_activations
from tasks.small_poc.recipes import RECIPES
from tasks.small_poc.task import SmallImages
from workbench.cli.errors import UserError
from workbench.output.storage import read_json, require_same, write_json
from workbench.training.launch import Machine
from workbench.training.plan import Planned
from workbench.training.runs import Results, StoredRun, Trace
from workbench.training.task import Source, Spec

COMMAND = "python -m tasks.small_poc.run_small_ablation"
NUMBERS = ("epoch", "train_loss", "val_loss", "val_accuracy")  # of each epoch
VARIED = ("model", "activation", "seed", "variant", "lr", "batch_size")  # what differs between runs of one ablation
SWEEPS = {"lr": "learning rate", "epochs": "epochs", "batch_size": "batch size"}  # and what figures call them


@dataclass(frozen=True)
class Point:
    """Name one training; how many epochs it lasts changes nothing in those before."""

    activation: str
    seed: int
    blocks: int
    lr: float
    batch_size: int
    epochs: int

    def stored_in(self, results: Path, dataset: str) -> StoredRun:
        """Return where the training is stored."""
        variant = f"lr{self.lr!r}_batch{self.batch_size}_epochs{self.epochs}"
        return StoredRun(root_of(results), dataset, f"mlp_{self.blocks}", self.activation, self.seed, variant)

    def planned(self, results: Path, source: Source, machine: Machine) -> Planned:
        """Return the training for a plan."""
        settings = replace(
            RECIPES[f"mlp_{self.blocks}"], epochs=self.epochs, lr=self.lr, batch_size=self.batch_size, augment=False
        )
        return Planned(self.stored_in(results, source.dataset), Spec(SmallImages, settings, source, machine))


@dataclass(frozen=True)
class Ended:
    """Hold a training that has ended."""

    run: StoredRun
    results: Results
    trace: Trace

    @classmethod
    def of(cls, run: StoredRun, results: Results) -> Ended:
        """Return the training with these results, and its trace.

        Raises:
            UserError: the trace is missing, damaged or incomplete.
        """
        trace = run.trace()
        length = results["diverged_at"] or results["configuration"].get("epochs")
        if len(trace) != length or not all(entry.keys() >= set(NUMBERS) for entry in trace):
            raise UserError(f"{run.trace_path} is no whole trace of a run: delete {run.results_path} to train it again")
        return cls(run, results, trace)

    def at(self, epoch: int) -> dict[str, Any] | None:
        """Return the numbers after an epoch; None if it had diverged by then."""
        diverged = self.results["diverged_at"]
        return None if diverged is not None and epoch >= diverged else self.trace[epoch - 1]

    @property
    def outcome(self) -> list[dict[str, Any]]:
        """List all of its numbers but the times."""
        return [{name: v for name, v in entry.items() if "second" not in name} for entry in self.trace]


@dataclass(frozen=True)
class Grid:
    """Hold the values of each axis, and the base values; every training lasts for the most epochs."""

    activations: tuple[str, ...]
    seeds: tuple[int, ...]
    blocks: tuple[int, ...]
    learning_rates: tuple[float, ...]
    epochs: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    lr: float
    batch_size: int

    @property
    def base_epochs(self) -> int:
        """Return the epochs of the sweeps that do not vary them."""
        return max(self.epochs)

    def values(self, sweep: str) -> Sequence[float]:
        """Return what `sweep`, a name in SWEEPS, varies beside the number of blocks."""
        return {"lr": self.learning_rates, "epochs": self.epochs, "batch_size": self.batch_sizes}[sweep]

    def training(self, sweep: str, activation: str, seed: int, blocks: int, value: float) -> tuple[Point, int]:
        """Return the point of `sweep` at `value`, and the epoch that shows it."""
        setting: dict[str, Any] = {"lr": self.lr, "epochs": self.base_epochs, "batch_size": self.batch_size}
        setting[sweep] = value
        point = Point(activation, seed, blocks, setting["lr"], setting["batch_size"], max(self.epochs))
        return point, setting["epochs"]

    def trainings(self) -> list[Point]:
        """List every training once, all activations of a seed before the next seed."""
        points = [
            self.training(sweep, activation, seed, blocks, value)[0]
            for seed in self.seeds
            for activation in self.activations
            for blocks in self.blocks
            for sweep in SWEEPS
            for value in self.values(sweep)
        ]
        return list(dict.fromkeys(points))


# On disk


def root_of(results: Path) -> Path:
    """Return the folder of all ablations."""
    return results / "small_ablation"


def folder_of(results: Path, dataset: str) -> Path:
    """Return the folder of one ablation: its runs, its grid, its tables and figures."""
    return root_of(results) / dataset


def store_grid(folder: Path, grid: Grid) -> None:
    """Store what the last command asked for, which tells the figures the base values, and what is missing."""
    write_json(folder / "grid.json", asdict(grid))


def load_grid(folder: Path) -> Grid:
    """Read what the last command asked for.

    Raises:
        UserError: there is nothing, or the file holds something else.
    """
    path = folder / "grid.json"
    try:
        stored = read_json(path)
        grid = Grid(**{name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()})
        grid.trainings()
        return grid
    except (OSError, ValueError, TypeError, AttributeError) as error:
        advice = f"{COMMAND} with the same flags as before writes it, and trains nothing anew"
        raise UserError(f"{path} is missing or broken: {advice}") from error


def load_runs(results: Path, dataset: str) -> dict[Point, Ended]:
    """Read every training that has ended.

    Raises:
        UserError: a file is no stored run, or not what its name says.
    """
    runs: dict[Point, Ended] = {}
    for path in sorted(folder_of(results, dataset).glob("mlp_*/*/results_*.json")):
        seed, _, variant = path.stem.removeprefix("results_").partition("_")
        number = int(seed) if seed.isdecimal() else -1
        run = StoredRun(root_of(results), dataset, path.parents[1].name, path.parent.name, number, variant)
        wrong = UserError(f"{path} is not what its name says: delete it to have it trained again")
        if run.results_path != path:
            raise wrong
        stored = run.read_results()
        try:
            settings, blocks = stored["configuration"], int(run.model.removeprefix("mlp_"))
            point = Point(run.activation, run.seed, blocks, settings["lr"], settings["batch_size"], settings["epochs"])
        except (KeyError, ValueError):
            raise wrong from None
        if point.stored_in(results, dataset) != run:
            raise wrong
        found = Ended.of(run, stored)
        runs[point] = found
    return runs


def load_merged(results_paths: list[Path], dataset: str) -> tuple[Grid, dict[Point, Ended]]:
    """Read all runs of several results paths, and the grid that they fill: what was asked for and what is there.

    Raises:
        UserError: there are no runs, or some do not go together.
    """
    runs: dict[Point, Ended] = {}
    grids: dict[Path, Grid] = {}
    for results in results_paths:
        loaded, folder = load_runs(results, dataset), folder_of(results, dataset)
        if loaded:
            grids[folder] = load_grid(folder)
        for point, ended in loaded.items():
            _require_together(folder, ended, next(iter({**runs, **loaded}.values())))
            other = runs.setdefault(point, ended)
            if ended.outcome != other.outcome:
                paths = f"{other.run.results_path} and {ended.run.results_path}"
                raise UserError(f"{paths} are the same run with other numbers: delete one of them")
    if not runs:
        places = ", ".join(str(folder_of(each, dataset)) for each in results_paths)
        raise UserError(f"no stored runs in {places}: {COMMAND} --dataset {dataset} makes them")
    return _filled_grid(grids, runs), runs


def _require_together(folder: Path, ended: Ended, first: Ended) -> None:
    """Refuse runs of another configuration."""
    stored, wanted = (
        {name: value for name, value in each.results["configuration"].items() if name not in (*VARIED, "epochs")}
        for each in (ended, first)
    )
    require_same(f"{folder} holds runs", stored, wanted, "--results")


def _filled_grid(grids: dict[Path, Grid], runs: dict[Point, Ended]) -> Grid:
    """Merge the grids, with the activations, seeds and values that only runs have."""
    (first_folder, first), *others = grids.items()
    for folder, grid in others:
        for name, a, b in (
            ("--lr", first.lr, grid.lr),
            ("--batch-size", first.batch_size, grid.batch_size),
            ("the largest of --epochs", max(first.epochs), max(grid.epochs)),
        ):
            if a != b:
                raise UserError(f"{first_folder} and {folder} do not go together: {name} is {a} and {b}")
    own = [point for point in runs if point.epochs == max(first.epochs)]
    in_lr = [point for point in own if point.batch_size == first.batch_size]
    in_batch_size = [point for point in own if point.lr == first.lr]
    points = [*in_lr, *in_batch_size]

    def union(name: str, more: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(sorted({*(value for grid in grids.values() for value in getattr(grid, name)), *more}))

    asked = dict.fromkeys(name for grid in grids.values() for name in grid.activations)
    known = [name for name in available_activations() if any(point.activation == name for point in points)]
    return replace(
        first,
        activations=tuple(dict.fromkeys([*asked, *known])),
        seeds=union("seeds", (point.seed for point in points)),
        blocks=union("blocks", (point.blocks for point in points)),
        learning_rates=union("learning_rates", (point.lr for point in in_lr)),
        epochs=union("epochs", ()),
        batch_sizes=union("batch_sizes", (point.batch_size for point in in_batch_size)),
    )
