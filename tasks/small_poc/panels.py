"""Provide what the figures of an ablation share: flags, panels, captions and colour scales."""

from __future__ import annotations

import argparse
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.small_poc.ablation import COMMAND, Ended, Grid, Point, folder_of
from tasks.small_poc.cells import Cell, cells
from workbench.cli import flags
from workbench.cli.arguments import Parser, one_of
from workbench.output.storage import write_text
from workbench.output.style import figure_style, save_figure
from workbench.output.tables import to_csv
from workbench.vision.datasets import DATASETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

METRICS = {"loss": "val_loss", "accuracy": "val_accuracy"}
LEVELS = 16
LOG_FROM = 3.0  # ratio of the largest loss, or error, to the smallest from which on the scale is logarithmic
LEAST_ERROR = 0.05  # in percent: what is below has one colour
COLOURS = "viridis_r"  # bright is good


def figure_parser(prog: str, description: str, files: str) -> Parser:
    """Make the parser of the flags that say which runs to draw, and where the files go."""
    parser = Parser(prog, description)
    known = one_of("dataset", DATASETS)
    parser.add_argument(
        "--dataset", type=known, metavar="NAME", help=f"data set: one of {', '.join(DATASETS)}", **flags.REQUIRED
    )
    paths = "folders with runs in DIR/small_ablation/<dataset>; several are merged (default: results)"
    parser.add_argument(
        "--results", "--results-path", dest="results", type=Path, action="extend", nargs="+", metavar="DIR", help=paths
    )
    output = f"folder of {files}, .svg and .csv (default: that of the dataset in the first results path)"
    parser.add_argument("--output", type=Path, metavar="DIR", help=output)
    return parser


def figure_options(parser: Parser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the flags."""
    options = parser.parse_args(arguments)
    options.results = options.results or [Path("results")]
    options.output = options.output or folder_of(options.results[0], options.dataset)
    return options


def what_there_is(grid: Grid, runs: dict[Point, Ended], dataset: str) -> str:
    """Say how many runs there are, and how to get those that are missing."""
    wanted, lacking = len(grid.trainings()), sum(point not in runs for point in grid.trainings())
    text = f"{', '.join(grid.activations)}; seeds {', '.join(map(str, grid.seeds))}; {wanted - lacking} runs"
    if lacking:
        text += f"\n{lacking} of {wanted} runs are missing: {COMMAND} --dataset {dataset}, with its flags, trains them"
    return text


def write_figure(draw: Callable[[], Figure], path: Path, csv: Path, rows: list[dict[str, Any]]) -> None:
    """Write the picture as .png and .svg, and the rows as .csv, and name the files."""
    write_text(csv, to_csv(rows))
    with figure_style():
        paths = save_figure(draw(), path)
    print(*paths, csv, sep="\n")


def caption(figure: Figure, sentences: list[str]) -> None:
    """Write small print below the figure, in lines that fit its width."""
    text = textwrap.fill(" ".join(each for each in sentences if each), int(17 * figure.get_figwidth()))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8)


def epochs_text(grid: Grid) -> str:
    """Say how many epochs there are in the sweeps that do not vary them."""
    return f"{grid.base_epochs} epoch{'s' if grid.base_epochs > 1 else ''}"


def of_seeds(grid: Grid) -> str:
    return f"mean of {len(grid.seeds)} seeds" if len(grid.seeds) > 1 else "one seed"


def fewer_seeds(grid: Grid, found: list[Cell]) -> str:
    """Say that some means are of fewer seeds, if it is true."""
    fewer = any(len(cell.by_seed) < len(grid.seeds) for cell in found)
    return "Runs are missing: some means are of fewer seeds." if fewer else ""


# The figure


@dataclass(frozen=True)
class Panels:
    """Hold a sweep's cells by activation, blocks and value, with the blocks and values of which there are any runs."""

    sweep: str
    cells: dict[tuple[str, int, float], Cell]
    blocks: list[int]
    values: list[float]

    @classmethod
    def of(cls, grid: Grid, runs: dict[Point, Ended], sweep: str) -> Panels:
        found = {(each.activation, each.blocks, each.value): each for each in cells(grid, runs, sweep) if each.by_seed}
        blocks, values = sorted({key[1] for key in found}), sorted({key[2] for key in found})
        return cls(sweep, found, blocks, values)

    @property
    def drawable(self) -> bool:
        return len(self.blocks) > 1 and len(self.values) > 1

    def heights(self) -> list[float]:
        """Return where the values are on the axis."""
        return [{"lr": math.log10, "epochs": float, "batch_size": math.log2}[self.sweep](each) for each in self.values]

    def means(self, activation: str, metric: str) -> list[list[float]]:
        """Return the means by value and number of blocks; NaN where no run converged."""
        return [[self._mean(activation, blocks, value, metric) for blocks in self.blocks] for value in self.values]

    def _mean(self, activation: str, blocks: int, value: float, metric: str) -> float:
        cell = self.cells.get((activation, blocks, value))
        result = cell.estimate(METRICS[metric]) if cell else None
        return result.mean if result else math.nan


@dataclass(frozen=True)
class Scale:
    """Scale colours by losses, or accuracies by their errors, which tell those near 100 % apart.

    Levels and ticks are what is drawn: losses or errors, or their logarithms where these reach far.
    """

    metric: str
    logarithmic: bool
    levels: list[float]
    ticks: list[float]

    @classmethod
    def of(cls, means: list[float], metric: str) -> Scale:
        amounts = [_amount(each, metric) for each in means if math.isfinite(each)] or [1.0]
        low, high = min(amounts), max(amounts)
        logarithmic = low > 0 and high / low > LOG_FROM
        if logarithmic:
            low, high = math.log10(low), math.log10(high)
        alike = high - low <= 1e-4 * abs(high)
        margin = 0.05 * max(abs(high), 0.1) if alike else 1e-6 * (high - low)  # so that levels hold the extremes
        low, high = low - margin, high + margin
        levels = [low + (high - low) * i / LEVELS for i in range(LEVELS + 1)]
        return cls(metric, logarithmic, levels, _round_numbers(low, high, logarithmic))

    def drawn(self, mean: float) -> float:
        amount = _amount(mean, self.metric)
        return math.log10(amount) if self.logarithmic else amount

    def text(self, drawn: float, _: int = 0) -> str:
        amount = 10**drawn if self.logarithmic else drawn
        return f"{100 - amount if self.metric == 'accuracy' else amount:.4g}"

    def colour_bar(self, figure: Figure, colours: ScalarMappable, row: list[Axes], label: str) -> None:
        """Draw the colour bar beside the row; the better an accuracy, the higher."""
        bar = figure.colorbar(colours, ax=row, aspect=14, pad=0.015, ticks=self.ticks, format=self.text, label=label)
        bar.ax.minorticks_off()
        bar.outline.set_linewidth(0.6)
        if self.metric == "accuracy":
            bar.ax.invert_yaxis()


def _amount(mean: float, metric: str) -> float:
    """Return a loss, or an accuracy's error."""
    return max(100 - mean, LEAST_ERROR) if metric == "accuracy" else mean


def _round_numbers(low: float, high: float, logarithmic: bool) -> list[float]:
    """Choose ticks from low to high, few enough to be read."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if not logarithmic:
        numbers = MaxNLocator(6, steps=(1, 2, 2.5, 5, 10)).tick_values(low, high)
        return [float(each) for each in numbers if low <= each <= high]
    ticks: list[float] = []
    for mantissas in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        numbers = LogLocator(subs=mantissas, numticks=99).tick_values(10**low, 10**high)
        ticks = [math.log10(each) for each in numbers if low <= math.log10(each) <= high]
        if len(ticks) <= 6:
            break
    return ticks
