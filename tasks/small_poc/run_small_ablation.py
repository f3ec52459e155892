"""python -m tasks.small_poc.run_small_ablation trains MLPs of varied depth, learning rate, epochs and batch size."""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import torch

from tasks.small_poc.ablation import COMMAND, NUMBERS, SWEEPS, Ended, Grid, Point, folder_of, store_grid
from tasks.small_poc.cells import Cell, best, cells
from tasks.small_poc.models import MODELS
from workbench.cli import flags
from workbench.cli.arguments import Parser, one_of, positive_float, positive_int
from workbench.cli.errors import run
from workbench.output.environment import cores
from workbench.output.storage import prepare_folder, write_text
from workbench.output.tables import plain_table, to_csv
from workbench.training.launch import Machine, check_device
from workbench.training.plan import check, complete
from workbench.training.runs import Results, StoredRun
from workbench.training.task import Source
from workbench.vision.datasets import DATASETS

DESCRIPTION = """\
Train MLPs of 1 to 4 blocks with each activation against the learning rate, the number of epochs and the batch size.

  python -m tasks.small_poc.run_small_ablation --dataset digits     # a few minutes on a laptop
  python -m tasks.small_poc.run_small_ablation --dataset mnist --activations ReLU GoLU --seeds 1 --limit-train 5000

Stopped and started again, it resumes with the runs that are missing; more seeds, activations or values add to those
stored. merge_and_plot_contours and lr_heatmaps, beside it, draw them."""

JOBS_ON_CUDA = 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the grid that the command line describes, and print the best cells."""
    start = time.perf_counter()
    options = parse_arguments(arguments)
    torch.set_num_threads(options.threads)
    source = Source(options.dataset, options.data, options.limit_train, options.limit_val)
    machine = Machine(options.device, options.workers)
    grid, folder = grid_of(options), folder_of(options.results, options.dataset)
    points = grid.trainings()
    plan = [point.planned(options.results, source, machine) for point in points]
    ended = check(plan)
    prepare_folder(folder)
    print(f"{', '.join(grid.activations)}; seeds {', '.join(map(str, grid.seeds))}; {len(points)} runs", flush=True)
    store_grid(folder, grid)  # figures can be drawn of what there is before all is trained
    results = complete(plan, outcome, options.jobs, checkpoints=False, ended=ended)
    runs = {point: Ended.of(planned.run, results[planned.run]) for point, planned in zip(points, plan, strict=True)}
    write_text(folder / "runs.csv", to_csv([row for point in points for row in epoch_rows(point, runs[point])]))
    print("\n" + plain_table(best_table(grid, runs)) + "\n\n" + legend(grid) + "\n")
    print(f"{folder} has runs.csv and the runs")
    print(f"took {time.perf_counter() - start:.0f} s")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the flags; what is given twice is refused."""
    parser = Parser(COMMAND, DESCRIPTION)

    def add_list(flag: str, kind: Any, purpose: str, default: list[Any], metavar: str = "N") -> None:
        purpose += f" (default: {' '.join(map(str, default))})"
        parser.add_argument(flag, type=kind, help=purpose, nargs="+", default=default, metavar=metavar)

    parser.add_argument(
        "--dataset", type=one_of("dataset", DATASETS), metavar="NAME", help=f"data set: one of {', '.join(DATASETS)}",
        **flags.REQUIRED,
    )  # fmt: skip
    flags.add_activations_flag(parser)
    flags.add_seeds_flag(parser, 3)
    add_list("--blocks", _blocks, f"numbers of blocks of an MLP, each from 1 to {len(_BLOCKS)}", [1, 2, 3, 4])
    add_list("--learning-rates", positive_float, "constant learning rates", [0.1, 0.01, 0.001, 0.0001], "X")
    add_list("--epochs", positive_int, "numbers of epochs; the largest is the base value", [5, 6, 7, 8])
    add_list("--batch-sizes", positive_int, "batch sizes in images", [32, 64, 128, 256])
    base = "where another setting is swept"
    parser.add_argument(
        "--lr", type=positive_float, default=0.01, metavar="X", help=f"base value of the learning rate, {base}"
    )
    parser.add_argument(
        "--batch-size", type=positive_int, default=128, metavar="N", help=f"base value of the batch size, {base}"
    )
    flags.add_limit_flags(parser)
    flags.add_device_flags(parser, "cpu")
    parser.change("--threads", 1, "CPU threads with --jobs 1; of several jobs each has one (default: 1)")
    flags.add_workers_flag(parser)
    jobs = f"number of models trained at once (default: {cores()} on the CPU, one a core; {JOBS_ON_CUDA} on cuda)"
    parser.add_argument("--jobs", type=positive_int, metavar="N", help=jobs)
    flags.add_data_flag(parser, "folder of data sets, which are downloaded to it", ["--data-dir"])
    flags.add_results_flag(parser, "all that is stored, in DIR/small_ablation/<dataset>", ["--results-path"])
    options = parser.parse_args(arguments)

    for name in ("activations", "blocks", "learning_rates", "epochs", "batch_sizes"):
        flags.require_distinct(f"--{name.replace('_', '-')}", getattr(options, name))
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


def outcome(run: StoredRun, results: Results) -> str:
    """Say what was trained and how it ended, on a line."""
    settings = results["configuration"]
    what = (
        f"{run.activation}, seed {run.seed}, {run.model}, lr {settings['lr']:g}, batch size {settings['batch_size']}: "
    )
    if results["diverged_at"] is not None:
        return what + f"diverged in epoch {results['diverged_at']}"
    return what + f"{results['final']['val_accuracy']:.2f} % in {60 * results['train_minutes']:.1f} s"


# The report


def epoch_rows(point: Point, ended: Ended) -> list[dict[str, Any]]:
    """Make a row for each epoch; one without numbers where the run diverged."""
    about = {"activation": point.activation, "seed": point.seed, "blocks": point.blocks, "lr": point.lr}
    about["batch_size"] = point.batch_size
    return [about | {name: entry[name] for name in NUMBERS} for entry in ended.trace]


def best_table(grid: Grid, runs: dict[Point, Ended]) -> list[list[str]]:
    """List, for each activation, the cell of each sweep with the highest mean accuracy, the header first."""
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
    """Explain the table."""
    base = f"learning rate {grid.lr:g}, epochs {grid.base_epochs}, batch size {grid.batch_size}"
    return (
        "the best cell of each sweep: accuracy (%) on the validation images, mean ± standard error over the seeds "
        f"({len(grid.seeds)}), and where\nwhat a sweep does not vary: {base}"
    )


if __name__ == "__main__":
    run(main)
