"""python -m tasks.small_poc.run_small_ablation: activations against depth, learning rate, epochs and batch size."""

import argparse
import functools
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tasks.small_poc.ablation import (
    COMMAND,
    SWEEPS,
    Cell,
    Configuration,
    Grid,
    Point,
    Run,
    best,
    cells,
    folder_of,
    load_runs,
    missing,
    point_of,
    require_configuration,
    store_grid,
    store_run,
    train_point,
)
from tasks.small_poc.models import MODELS
from workbench.cli.arguments import Parser, one_of, positive_float, positive_int
from workbench.cli.errors import Stopped, UserError, run
from workbench.cli.flags import add_activations_flag, require_distinct
from workbench.cli.progress import Progress
from workbench.output.environment import describe
from workbench.output.storage import prepare_folder, write_text
from workbench.output.tables import plain_table, to_csv
from workbench.training.launch import check_device, cores
from workbench.training.workers import in_processes
from workbench.vision.datasets import DATASETS, Images, load_images

DESCRIPTION = """\
Train MLPs of 1 to 4 blocks with each activation against the learning rate, the number of epochs and the batch size.

  python -m tasks.small_poc.run_small_ablation --dataset digits     # a few minutes on a laptop
  python -m tasks.small_poc.run_small_ablation --dataset mnist --activations ReLU GoLU --seeds 1 --limit-train 5000

Stopped and started again, it goes on with the runs that are missing; more seeds, activations or values add to those
stored. merge_and_plot_contours and lr_heatmaps, beside it, draw them."""

JOBS_ON_CUDA = 4
LINES = 50  # of progress where there is no terminal


def main() -> None:
    start = time.perf_counter()
    options = parse_arguments()
    torch.set_num_threads(1)
    configuration = Configuration(options.dataset, options.limit_train, options.limit_val, options.device)
    grid = grid_of(options)
    folder = folder_of(options.results_path, options.dataset)
    runs = load_runs(folder)
    require_configuration(folder, runs.values(), asdict(configuration))
    wanted, to_train = grid.trainings(), missing(grid, runs)
    images = checked_images(configuration, options.data_dir, grid) if to_train else None
    prepare_folder(folder / "runs")
    store_grid(folder, grid)

    print(f"{', '.join(grid.activations)}; seeds {', '.join(map(str, grid.seeds))}; {len(wanted)} runs", flush=True)
    if len(to_train) < len(wanted):
        print(f"{len(wanted) - len(to_train)} of {len(wanted)} runs are stored already, {len(to_train)} to go")
    if images is not None:
        try:
            train_missing(to_train, images, configuration, options, runs)
        except KeyboardInterrupt:
            message = f"stopped: {len(runs)} finished runs are in {folder}, the same command goes on from there"
            raise Stopped(message) from None

    chosen = [runs[point] for point in wanted]
    write_text(folder / "runs.csv", to_csv([row for each in chosen for row in epoch_rows(each)]))
    print("\n" + plain_table(best_table(grid, runs)) + "\n\n" + legend(grid) + "\n")
    print(f"{folder} has runs.csv and runs/")
    print(f"took {time.perf_counter() - start:.0f} s")


def parse_arguments() -> argparse.Namespace:
    parser = Parser(COMMAND, DESCRIPTION)

    def add(flag: str, kind: Any, purpose: str, **more: Any) -> None:
        parser.add_argument(flag, type=kind, help=purpose, **{"metavar": "N" if kind is positive_int else "X"} | more)

    def add_list(flag: str, kind: Any, purpose: str, default: list[Any], metavar: str = "N") -> None:
        purpose += f" (default: {' '.join(map(str, default))})"
        add(flag, kind, purpose, nargs="+", default=default, metavar=metavar)

    one_of_these = f"one of {', '.join(DATASETS)}"
    no_default: dict[str, Any] = {"required": True, "default": argparse.SUPPRESS}
    add("--dataset", one_of("dataset", DATASETS), one_of_these, metavar="NAME", **no_default)
    add_activations_flag(parser)
    add("--seeds", positive_int, "how many seeds, counted from 0", default=3)
    add_list("--blocks", _blocks, f"numbers of blocks, each from 1 to {len(_BLOCKS)}", [1, 2, 3, 4])
    add_list("--learning-rates", positive_float, "learning rates, constant", [0.1, 0.01, 0.001, 0.0001], "X")
    add_list("--epochs", positive_int, "passes over the training images; the fewest are the base value", [5, 6, 7, 8])
    add_list("--batch-sizes", positive_int, "images a step", [32, 64, 128, 256])
    add("--lr", positive_float, "base learning rate, where another setting is swept", default=0.01)
    add("--batch-size", positive_int, "base batch size, likewise", default=128)
    add("--limit-train", positive_int, "training images, classes in proportion (default: all)")
    add("--limit-val", positive_int, "validation images, likewise (default: all)")
    add("--device", one_of("device", ("cpu", "cuda")), "cpu or cuda", default="cpu", metavar="NAME")
    jobs = f"models trained at once (default: {cores()} on the CPU, one a core; {JOBS_ON_CUDA} on cuda)"
    add("--jobs", positive_int, jobs)
    add("--data-dir", Path, "where data sets are, or are downloaded to", default=Path("data"), metavar="DIR")
    where = "everything is stored below it, in small_ablation/<dataset>"
    add("--results-path", Path, where, default=Path("results"), metavar="DIR")
    options = parser.parse_args()

    for name in ("activations", "blocks", "learning_rates", "epochs", "batch_sizes"):
        require_distinct(f"--{name.replace('_', '-')}", getattr(options, name))
    check_device(options.device)
    options.jobs = options.jobs or (JOBS_ON_CUDA if options.device == "cuda" else cores())
    return options


_BLOCKS = [name.removeprefix("mlp_") for name in MODELS if name.startswith("mlp_")]


def _blocks(text: str) -> int:
    if text not in _BLOCKS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {len(_BLOCKS)}, not {text!r}")
    return int(text)


def grid_of(options: argparse.Namespace) -> Grid:
    return Grid(
        activations=tuple(options.activations),
        seeds=tuple(range(options.seeds)),
        blocks=tuple(options.blocks),
        learning_rates=tuple(options.learning_rates),
        epochs=tuple(options.epochs),
        batch_sizes=tuple(options.batch_sizes),
        lr=options.lr,
        batch_size=options.batch_size,
    )


def checked_images(configuration: Configuration, data_dir: Path, grid: Grid) -> Images:
    """The images, enough of them for every batch size."""
    images = _load(configuration, data_dir)
    for flag, size in (("--batch-sizes", max(grid.batch_sizes)), ("--batch-size", grid.batch_size)):
        if size > len(images.train_y):
            raise UserError(f"{flag} {size} is more than the {len(images.train_y)} training images")
    return images


def _load(configuration: Configuration, data_dir: Path) -> Images:
    return load_images(configuration.dataset, data_dir, configuration.limit_train, configuration.limit_val)


# Training what is missing


def train_missing(
    to_train: dict[Point, int],
    images: Images,
    configuration: Configuration,
    options: argparse.Namespace,
    runs: dict[Point, Run],
) -> None:
    """Train each point, store it with its origin, and put it among `runs`."""
    print(
        f"{len(images.train_y)} training and {len(images.val_y)} validation images; {options.jobs} at once", flush=True
    )
    origin = {"configuration": asdict(configuration), "environment": describe(configuration.device)}
    folder = folder_of(options.results_path, options.dataset)
    done = 0
    with Progress(len(to_train), "run") as progress:

        def finished(result: Run) -> None:
            nonlocal done
            store_run(folder, origin | result)
            runs[point_of(result)] = origin | result
            done += 1
            progress.advance()
            if done % max(1, len(to_train) // LINES) == 0 or done == len(to_train):
                progress.report(outcome(result))

        if options.jobs == 1:
            images = images.to(configuration.device)
            for point, epochs in to_train.items():
                finished(train_point(point, epochs, images, configuration.momentum))
        else:
            train = functools.partial(_train_in_worker, configuration, options.data_dir)
            in_processes(train, to_train.items(), min(options.jobs, len(to_train)), finished)


def outcome(result: Run) -> str:
    """What was trained and how it ended, on a line."""
    blocks = f"{result['blocks']} block{'s' if result['blocks'] > 1 else ''}"
    what = f"{result['activation']}, seed {result['seed']}, {blocks}, lr {result['lr']:g}, "
    what += f"batch size {result['batch_size']}: "
    if result["diverged_at"] is not None:
        return what + f"diverged in epoch {result['diverged_at']}"
    return what + f"{result['epochs'][-1]['val_accuracy']:.2f} % in {result['seconds']:.1f} s"


@functools.cache
def _load_once(configuration: Configuration, data_dir: Path) -> Images:
    return _load(configuration, data_dir).to(configuration.device)


def _train_in_worker(configuration: Configuration, data_dir: Path, point: Point, epochs: int) -> Run:
    return train_point(point, epochs, _load_once(configuration, data_dir), configuration.momentum)


# The report


def epoch_rows(result: Run) -> list[dict[str, Any]]:
    """A row for each epoch; one without numbers where the run diverged."""
    about = asdict(point_of(result))
    if result["diverged_at"] is None:
        return [about | each for each in result["epochs"]]
    nothing = {"epoch": result["diverged_at"], "train_loss": None, "val_loss": None, "val_accuracy": None}
    return [about | each for each in [*result["epochs"], nothing]]


def best_table(grid: Grid, runs: dict[Point, Run]) -> list[list[str]]:
    """For each activation the cell of each sweep with the highest mean accuracy, their header first."""
    of_sweep = {sweep: list(cells(grid, runs, sweep)) for sweep in SWEEPS}
    rows = [["activation", *(f"blocks x {name}" for name in SWEEPS.values())]]
    for activation in grid.activations:
        own = [[cell for cell in some if cell.activation == activation] for some in of_sweep.values()]
        rows.append([activation, *map(_best, own)])
    return rows


def _best(some: list[Cell]) -> str:
    found = best(some, "val_accuracy")
    if found is None:
        return "diverged"
    cell, accuracy = found
    error = "n/a" if accuracy.standard_error is None else f"{accuracy.standard_error:.2f}"
    return f"{accuracy.mean:.2f} ± {error} at {cell.blocks}, {cell.value:g}"


def legend(grid: Grid) -> str:
    """What the table shows."""
    base = f"learning rate {grid.lr:g}, epochs {min(grid.epochs)}, batch size {grid.batch_size}"
    return (
        "the best cell of each sweep: accuracy (%) on the validation images, mean ± standard error over the seeds "
        f"({len(grid.seeds)}), and where\nwhat a sweep does not vary: {base}"
    )


if __name__ == "__main__":
    run(main)
