"""Compare the time of training steps and of inference with GoLU to that with the usual activation, by architecture.

python -m benchmarks.step_time                                      five architectures, about three minutes on a CPU
python -m benchmarks.step_time --all                                the specification's sixteen
python -m benchmarks.step_time --architectures ViT-B/16 GPT2-S      some of them
python -m benchmarks.step_time --all --device cuda --compile        on a GPU, through torch.compile

Each row is stored when it is measured. With --add the rows of a stored table stay, and what it lacks is measured.
"""

import argparse
import gc
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from benchmarks import report, timing
from benchmarks.architectures import ARCHITECTURES, Architecture, fix_proposals, require_packages, shape_of, task_of
from benchmarks.epochs import measured
from workbench.cli.arguments import Parser, one_of, positive_int
from workbench.cli.errors import UserError, run
from workbench.cli.flags import require_distinct
from workbench.cli.progress import Progress
from workbench.output.estimates import median_interval
from workbench.training.faults import of_memory
from workbench.training.launch import check_device, launched
from workbench.training.stepper import Stepper
from workbench.training.task import Batch, Task

QUICK = ("ResNet-18", "EfficientNet-B0", "TinyViT", "babyGPT", "DDPM")
PHASES = ("training", "inference")
MODELS = ("usual", "GoLU", "usual again")
COLUMNS = ["Architecture", "Dataset", "Baseline Activation", "Relative Training Time", "Relative Inference Time"]

Times = dict[str, dict[str, list[float]]]  # phase -> model -> seconds of each round


def times_of(task: Task, baseline: str, batch: Batch, turn: int, rounds: int) -> Times:
    """Time new models in turn: of the usual activation, of GoLU, and of the usual one again.

    Args:
        turn: which of them is made and measured first.
        rounds: how often each is measured.
    """
    first = turn % len(MODELS)
    order = MODELS[first:] + MODELS[:first]
    # a learning rate of 0: weights that go astray would change the work, as what a detector finds
    steppers = {
        each: Stepper(task, "GoLU" if each == "GoLU" else baseline, batch, 0.0, fix_proposals) for each in order
    }
    times = {}
    for phase in PHASES:
        steps = {name: partial(each.seconds, getattr(each, phase)) for name, each in steppers.items()}
        times[phase] = measured(steps, rounds)
    return times


def compared(architecture: Architecture, options: argparse.Namespace, device: torch.device, progress: Progress) -> dict:
    """Measure one architecture, with new models as often as --pairs says, and return its row.

    Raises:
        UserError: the model does not take such a batch, or memory does not suffice for it.
    """
    progress.doing(architecture.name)
    pairs = []
    with about(architecture):
        task, batch = task_of(architecture, options, device)
        for turn in range(options.pairs):
            pairs.append(times_of(task, architecture.baseline, batch, turn, options.rounds))
            gc.collect()
            progress.advance()
    torch.compiler.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    row = {
        "architecture": architecture.name, "dataset": architecture.dataset, "baseline": architecture.baseline,
        "inputs": shape_of(batch), "precision": str(task.autocast or torch.float32).removeprefix("torch."),
        "rounds": options.rounds,
    }  # fmt: skip
    return row | {phase: summary([each[phase] for each in pairs]) for phase in PHASES}


@contextmanager
def about(architecture: Architecture) -> Iterator[None]:
    """Say of a mistake, and of too little memory, which architecture it is about.

    Raises:
        UserError: the block raised it, or memory does not suffice.
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"{architecture.name}: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if not of_memory(error):
            raise
        raise UserError(
            f"{architecture.name}: the models and the batch do not fit into memory: give a smaller --batch-size"
        ) from error


def summary(pairs: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Return the milliseconds of a step, and GoLU's time and that of the usual activation again over the usual one's.

    A ratio is the median over the pairs of models, and of each the median within its rounds; the interval is of 95%.
    Where there is one pair, its rounds take the place of pairs.
    """
    found: dict[str, Any] = {
        f"{name.replace(' ', '_')}_ms": 1e3 * statistics.median(each for pair in pairs for each in pair[name])
        for name in MODELS
    }
    for key, name in (("relative", "GoLU"), ("control", "usual again")):
        ratios = [timing.ratio(pair, name, "usual") for pair in pairs]
        if len(pairs) == 1:
            ratios = [a / b for a, b in zip(pairs[0][name], pairs[0]["usual"], strict=True)]
        ratio, low, high = median_interval(ratios)
        found[key] = {"ratio": ratio, "low": low, "high": high, "each": ratios}
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Lay the rows out as the specification's table, with the mean of each column in the last line."""
    lines = [
        [row["architecture"], row["dataset"], row["baseline"], *(_cell(row[phase]["relative"]) for phase in PHASES)]
        for row in rows
    ]
    means = [f"{statistics.fmean(row[phase]['relative']['ratio'] for row in rows):.2f}x" for phase in PHASES]
    return report.table(COLUMNS, [*lines, ["Average", "-", "-", *means]])


def details(rows: list[dict[str, Any]]) -> str:
    """Lay out what each step took, and the time of the usual activation over that of a second copy of its model."""
    lines = []
    for row in rows:
        steps = [f"{row[phase]['usual_ms']:.1f} / {row[phase]['GoLU_ms']:.1f}" for phase in PHASES]
        controls = [_cell(row[phase]["control"]) for phase in PHASES]
        lines.append([row["architecture"], row["inputs"], row["precision"], *steps, *controls])
    times = [f"{phase}, ms, usual / GoLU" for phase in PHASES]
    return report.table(["", "inputs", "precision", *times, *(f"{phase}, usual / usual" for phase in PHASES)], lines)


def _cell(found: dict[str, Any]) -> str:
    return f"{found['ratio']:.2f}x [{found['low']:.2f}, {found['high']:.2f}]"


def _parser() -> Parser:
    parser = report.parser("step_time", __doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--architectures", nargs="+", type=one_of("architecture", ARCHITECTURES), default=list(QUICK), metavar="NAME",
        help=f"architectures: any of {', '.join(ARCHITECTURES)} (default: {', '.join(QUICK)})",
    )  # fmt: skip
    which.add_argument("--all", action="store_true", help="all sixteen architectures")
    parser.add_argument(
        "--batch-size", type=positive_int, metavar="N",
        help="images or sequences of a batch (default: 1 to 4 on a CPU; on a GPU what the specification's commands "
        "give to one)",
    )  # fmt: skip
    parser.add_argument(
        "--img-size", type=positive_int, metavar="N",
        help="side of the images in pixels, but for ViT-B, which takes 224 only (default: 24 to 256 on a CPU, the "
        "usual side on a GPU)",
    )  # fmt: skip
    parser.add_argument(
        "--pairs", type=positive_int, default=6, metavar="N",
        help="how often the models are made anew, as the place in memory changes their speed: the least number for an "
        "interval of 95%% is 6",
    )  # fmt: skip
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="times that each model is measured")
    parser.add_argument("--threads", type=positive_int, default=1, metavar="N", help="CPU threads")
    parser.add_argument("--compile", action="store_true", help="run all models through torch.compile")
    parser.add_argument(
        "--add", action="store_true",
        help="keep the rows of the table in --output, which must be of this machine and these versions, and measure "
        "what it lacks (default: begin anew)",
    )  # fmt: skip
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the architectures that the command line names, and store the table."""
    options = report.parse(_parser(), arguments)
    check_device(options.device)
    require_distinct("--architectures", options.architectures)
    torch.set_num_threads(options.threads)
    name = "step_time_compiled" if options.compile else "step_time"
    rows = report.stored(name, options) if options.add else []
    kept = {row["architecture"] for row in rows}
    named = list(ARCHITECTURES) if options.all else options.architectures
    chosen = [ARCHITECTURES[each] for each in named if each not in kept]
    require_packages(chosen)
    torch._dynamo.config.recompile_limit = 64  # the models share the forward of their class
    with launched(options.device) as accelerator, Progress(len(chosen) * options.pairs, unit="pair") as progress:
        for architecture in chosen:
            with about(architecture):
                task_of(architecture, options, accelerator.device)  # refuses what cannot be before it is measured
        for architecture in chosen:
            row = compared(architecture, options, accelerator.device, progress)
            rows = sorted([*rows, row], key=lambda each: list(ARCHITECTURES).index(each["architecture"]))
            sections = {"GoLU / usual activation": table(rows), "Steps": details(rows)}
            report.store(name, options, "Time of a step by architecture", _how(options), sections, rows)
            progress.report(_line(row), keep=True)
    print(f"\n{table(rows)}\n\n{details(rows)}")
    report.say_where(name, options)


def _how(options: argparse.Namespace) -> str:
    count = options.pairs if options.pairs > 1 else options.rounds
    return (
        f"GoLU's time over that of the usual activation: random weights, batches of noise, {options.threads} CPU "
        f"thread{'s' * (options.threads > 1)}{', torch.compile' * options.compile}. A training step is forward, loss, "
        "backward, clipping and optimiser as the task's program has them, with a learning rate of 0. Models in turn, "
        f"made anew {options.pairs} times; medians over these of the medians of {options.rounds} rounds, with their "
        f"{'95% interval' if count >= 6 else 'range'}. Usual / usual: the same of a second copy of the model with the "
        "usual activation, which is the scatter of the machine."
    )


def _line(row: dict[str, Any]) -> str:
    found = ", ".join(f"{phase} {_cell(row[phase]['relative'])}" for phase in PHASES)
    return f"{row['architecture']}: {found} of {row['baseline']}'s time"


if __name__ == "__main__":
    run(main)
