"""Whole epochs of training, measured in turn."""

import statistics
from collections.abc import Callable

from benchmarks import report
from workbench.cli.arguments import Parser, positive_int
from workbench.training.task import Task

Epoch = Callable[[], float]  # trains for an epoch and returns its seconds


def without_evaluation(task: Task) -> None:
    """Have a task train, and measure nothing else."""
    task.evaluate = lambda *_: {each.key: 0.0 for each in task.metrics}  # type: ignore[method-assign]


def add_flags(parser: Parser, steps: int, rounds: int) -> None:
    """Add the flags that say what is timed, and how often."""
    parser.add_argument("--steps", type=positive_int, default=steps, help="steps of an epoch, the unit that is timed")
    parser.add_argument(
        "--rounds", type=positive_int, default=rounds, help="epochs of each model; medians are reported"
    )
    parser.add_argument("--threads", type=positive_int, default=1, help="CPU threads")


def measured(epochs: dict[str, Epoch], rounds: int) -> dict[str, list[float]]:
    """Seconds of an epoch of each, in turn, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    order = list(epochs)
    for number in range(rounds + 1):
        for name in order:
            elapsed = epochs[name]()
            if number:
                seconds[name].append(elapsed)
        order.append(order.pop(0))
    return seconds


def measured_twice(makers: dict[str, Callable[[], Epoch]], rounds: int) -> dict[str, list[float]]:
    """As `measured`, with two models made of each: where in memory a model lies is worth a few percent."""
    made = {(name, copy): make() for copy in range(2) for name, make in makers.items()}
    seconds = measured({f"{name} {copy}": epoch for (name, copy), epoch in made.items()}, rounds)
    return {name: seconds[f"{name} 0"] + seconds[f"{name} 1"] for name in makers}


def rows(seconds: dict[str, list[float]], samples: int, unit: str, base: str) -> dict[str, dict[str, float]]:
    """Samples a second, and how many times the base's, as the median over rounds.

    Args:
        samples: of an epoch.
        unit: what they are called.
    """
    return {
        name: {
            f"{unit}_per_second": samples / statistics.median(each),
            "speed": statistics.median(b / a for a, b in zip(each, seconds[base], strict=True)),
        }
        for name, each in seconds.items()
    }


def text(measurements: dict[str, dict[str, float]], unit: str) -> str:
    """As a table."""
    lines = [[name, f"{row[f'{unit}_per_second']:.0f}", f"{row['speed']:.3f}"] for name, row in measurements.items()]
    return report.table(["", f"{unit} / s", "speed"], lines)
