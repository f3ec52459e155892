"""MLPs against what they are trained with: which trainings there are, one training, and the results on disk.

Three sweeps, each two-dimensional: the number of blocks against the learning rate, the epochs, and the batch size.
What a sweep does not vary has its base value. The learning rate is constant, so a training of 8 epochs contains those
of 5, 6 and 7, and what several sweeps have in common is trained once.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import nn

from golu import available_activations
from tasks.small_poc.models import build_model
from workbench.cli.errors import UserError
from workbench.output.estimates import Estimate, estimate
from workbench.output.storage import require_same, write_json
from workbench.training.launch import launched
from workbench.training.loop import Experiment, train
from workbench.training.optimizers import make_optimizer
from workbench.training.sampling import Sampling
from workbench.training.seeding import seed_everything
from workbench.vision.datasets import Images
from workbench.vision.evaluation import evaluate
from workbench.vision.in_memory import InMemory

COMMAND = "python -m tasks.small_poc.run_small_ablation"
EPOCH = ("epoch", "train_loss", "val_loss", "val_accuracy")  # what is kept of each

# A stored training: a point, its configuration and environment, and what happened.
Run = dict[str, Any]


# What there is to train


@dataclass(frozen=True)
class Configuration:
    """With a point, all that the numbers of a training depend on: only runs that agree in it are compared."""

    dataset: str
    limit_train: int | None = None
    limit_val: int | None = None
    device: str = "cpu"
    momentum: float = 0.9
    threads: int = 1  # how many changes the last digits of a sum


@dataclass(frozen=True)
class Point:
    """One training; how many epochs it lasts changes nothing in those before."""

    activation: str
    seed: int
    blocks: int
    lr: float
    batch_size: int

    @property
    def file_name(self) -> str:
        return f"{self.activation}_seed{self.seed}_blocks{self.blocks}_lr{self.lr!r}_batch{self.batch_size}.json"


@dataclass(frozen=True)
class Grid:
    """The values of each axis, and the base values; those of the epochs are the fewest."""

    activations: tuple[str, ...]
    seeds: tuple[int, ...]
    blocks: tuple[int, ...]
    learning_rates: tuple[float, ...]
    epochs: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    lr: float
    batch_size: int

    def values(self, sweep: str) -> Sequence[float]:
        """What `sweep`, a name in SWEEPS, varies beside the number of blocks."""
        return {"lr": self.learning_rates, "epochs": self.epochs, "batch_size": self.batch_sizes}[sweep]

    def training(self, sweep: str, activation: str, seed: int, blocks: int, value: float) -> tuple[Point, int]:
        """The point of `sweep` at `value`, and the epoch that shows it."""
        setting: dict[str, Any] = {"lr": self.lr, "epochs": min(self.epochs), "batch_size": self.batch_size}
        setting[sweep] = value
        return Point(activation, seed, blocks, setting["lr"], setting["batch_size"]), setting["epochs"]

    def trainings(self) -> dict[Point, int]:
        """Every training and the epochs it needs, all activations of a seed before the next seed."""
        needed: dict[Point, int] = {}
        for seed in self.seeds:
            for activation in self.activations:
                for blocks in self.blocks:
                    for sweep in SWEEPS:
                        for value in self.values(sweep):
                            point, epochs = self.training(sweep, activation, seed, blocks, value)
                            needed[point] = max(epochs, needed.get(point, 0))
        return needed


# name of a sweep -> what it is called in figures
SWEEPS = {"lr": "learning rate", "epochs": "epochs", "batch_size": "batch size"}


def missing(grid: Grid, runs: dict[Point, Run]) -> dict[Point, int]:
    """What of the grid is not among the runs, or not long enough."""
    return {
        point: epochs
        for point, epochs in grid.trainings().items()
        if point not in runs or (runs[point]["diverged_at"] is None and len(runs[point]["epochs"]) < epochs)
    }


# One training


def initial_model(point: Point, images: Images) -> nn.Module:
    """The model as training starts from it, on the images' device: the same weights whatever the activation."""
    seed_everything(point.seed)
    _, channels, height, width = images.train_x.shape
    model = build_model(f"mlp_{point.blocks}", (channels, height, width), images.classes, point.activation)
    return model.to(images.train_x.device)


def train_point(point: Point, epochs: int, images: Images, momentum: float) -> Run:
    """Train once with SGD and return what happened in every epoch; at a loss that is no finite number it ends.

    The order of the images depends on the seed alone; the last batch of an epoch is left out unless it is full.
    """
    model = initial_model(point, images)
    sampling = Sampling(len(images.train_y), point.batch_size, point.seed)
    data = InMemory(images, sampling, augment=False)
    with launched(images.train_x.device.type) as accelerator:
        experiment = Experiment(
            model=model,
            optimizer=make_optimizer("sgd", model, point.lr, weight_decay=0.0, momentum=momentum),
            rates=[point.lr],
            epochs=epochs,
            steps_per_epoch=sampling.steps_per_epoch,
            samples_per_step=point.batch_size,
            seed=point.seed,
            batches=data.training,
            loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
            evaluate=lambda model: evaluate(model, data.validation(), accelerator),
        )
        outcome = train(experiment, accelerator, after_step=lambda: None)
    return asdict(point) | {
        "epochs": [{name: entry[name] for name in EPOCH} for entry in outcome["epochs"]],
        "diverged_at": outcome["diverged_at"],
        "seconds": outcome["train_seconds"] + outcome["inference_seconds"],
    }


# On disk


def folder_of(results_path: Path, dataset: str) -> Path:
    return results_path / "small_ablation" / dataset


def point_of(run: Run) -> Point:
    return Point(*(run[each.name] for each in fields(Point)))


def run_path(folder: Path, point: Point) -> Path:
    return folder / "runs" / point.file_name


def store_run(folder: Path, run: Run) -> None:
    write_json(run_path(folder, point_of(run)), run)


def load_runs(folder: Path) -> dict[Point, Run]:
    """Every finished training in the folder.

    Raises:
        UserError: a file is none.
    """
    return {point_of(run): run for run in map(_read, sorted((folder / "runs").glob("*.json")))}


def require_configuration(folder: Path, runs: Iterable[Run], configuration: dict[str, Any]) -> None:
    """Only runs of one configuration are compared.

    Raises:
        UserError: a run had another configuration, and so cannot be compared.
    """
    for run in runs:
        require_same(f"{folder} holds runs", run["configuration"], configuration, "--results-path")


def _read(path: Path) -> Run:
    try:
        run = json.loads(path.read_text())
        complete = path.name == point_of(run).file_name and isinstance(run["configuration"], dict)
        complete = complete and run.keys() >= {"diverged_at", "seconds", "environment"}
        complete = complete and all(epoch.keys() >= set(EPOCH) for epoch in run["epochs"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not to be read, no JSON, something else
        complete = False
    if not complete:
        raise UserError(f"{path} is not a complete run: delete it to have it run again")
    return run


# What the last command asked for is stored beside the runs: it tells the figures which values are the base values, and
# what is missing.


def store_grid(folder: Path, grid: Grid) -> None:
    write_json(folder / "grid.json", asdict(grid))


def load_grid(folder: Path) -> Grid:
    """What the last command asked for.

    Raises:
        UserError: there is none, or the file holds something else.
    """
    path = folder / "grid.json"
    try:
        stored = json.loads(path.read_text())
        grid = Grid(**{name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()})
        list(grid.trainings())
        return grid
    except (OSError, ValueError, TypeError, AttributeError) as error:
        advice = f"{COMMAND} with the same flags as before writes it, and trains nothing anew"
        raise UserError(f"{path} is missing or broken: {advice}") from error


def load_merged(results_paths: list[Path], dataset: str) -> tuple[Grid, dict[Point, Run]]:
    """All runs of several results paths, and the grid that they fill: all that was asked for and all that is there.

    Raises:
        UserError: there are no runs, or some do not go together.
    """
    folders = [folder_of(each, dataset) for each in results_paths]
    runs: dict[Point, Run] = {}
    origin: dict[Point, Path] = {}
    grids: dict[Path, Grid] = {}
    configuration: dict[str, Any] | None = None
    for folder in folders:
        loaded = load_runs(folder)
        if loaded:
            grids[folder] = load_grid(folder)
            configuration = configuration or next(iter(loaded.values()))["configuration"]
            require_configuration(folder, loaded.values(), configuration)
        for point, run in loaded.items():
            if point not in runs or _longer(run, runs[point], run_path(folder, point), origin[point]):
                runs[point], origin[point] = run, run_path(folder, point)
    if not runs:
        places = ", ".join(map(str, folders))
        raise UserError(f"no stored runs in {places}: {COMMAND} --dataset {dataset} makes them")
    return _filled_grid(grids, runs), runs


def _longer(run: Run, other: Run, path: Path, other_path: Path) -> bool:
    """Whether the run tells more than the other, of the same point, where both must tell the same."""
    outcomes, others = ([*each["epochs"]] + [None] * (each["diverged_at"] is not None) for each in (run, other))
    if any(a != b for a, b in zip(outcomes, others, strict=False)):
        raise UserError(f"{other_path} and {path} are the same run with other numbers: delete one of them")
    return len(outcomes) > len(others)


def _filled_grid(grids: dict[Path, Grid], runs: dict[Point, Run]) -> Grid:
    """The grids as one, with the activations, seeds and values that only runs have."""
    (first_folder, first), *others = grids.items()
    for folder, grid in others:
        for name, a, b in (
            ("--lr", first.lr, grid.lr),
            ("--batch-size", first.batch_size, grid.batch_size),
            ("the smallest of --epochs", min(first.epochs), min(grid.epochs)),
        ):
            if a != b:
                raise UserError(f"{first_folder} and {folder} do not go together: {name} is {a} and {b}")
    in_lr = [point for point in runs if point.batch_size == first.batch_size]
    in_batch_size = [point for point in runs if point.lr == first.lr]
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


# Cells


@dataclass(frozen=True)
class Cell:
    """A point of a sweep over all seeds: for each stored seed the epoch's numbers, None if it had diverged by then."""

    activation: str
    blocks: int
    value: float
    by_seed: dict[int, dict[str, Any] | None]

    @property
    def diverged(self) -> int:
        return sum(each is None for each in self.by_seed.values())

    def converged(self, metric: str) -> dict[int, float]:
        """val_loss or val_accuracy of each seed that has one."""
        return {seed: each[metric] for seed, each in self.by_seed.items() if each is not None}

    def estimate(self, metric: str) -> Estimate | None:
        """Over the seeds that did not diverge; None if there are none."""
        values = list(self.converged(metric).values())
        return estimate(values) if values else None


def cells(grid: Grid, runs: dict[Point, Run], sweep: str) -> Iterator[Cell]:
    """Every cell of the sweep, whether or not there are runs of it."""
    for activation in grid.activations:
        for blocks in grid.blocks:
            for value in grid.values(sweep):
                by_seed = {}
                for seed in grid.seeds:
                    point, epoch = grid.training(sweep, activation, seed, blocks, value)
                    reached, result = _at(runs.get(point), epoch)
                    if reached:
                        by_seed[seed] = result
                yield Cell(activation, blocks, value, by_seed)


def best(some: Iterable[Cell], metric: str) -> tuple[Cell, Estimate] | None:
    """The cell with the lowest mean loss or highest mean accuracy; those in which a run diverged do not compete."""
    estimates = [(cell, cell.estimate(metric)) for cell in some if not cell.diverged]
    found = [(cell, result) for cell, result in estimates if result is not None]
    sign = -1 if metric == "val_loss" else 1
    return max(found, key=lambda each: sign * each[1].mean, default=None)


def _at(run: Run | None, epoch: int) -> tuple[bool, dict[str, Any] | None]:
    """Whether the run tells of the epoch, and its numbers unless it had diverged by then."""
    if run is None:
        return False, None
    if epoch <= len(run["epochs"]):
        return True, run["epochs"][epoch - 1]
    return run["diverged_at"] is not None, None
