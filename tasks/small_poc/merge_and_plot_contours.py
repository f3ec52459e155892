"""python -m tasks.small_poc.merge_and_plot_contours: the ablation's runs, of one machine or several, as contours."""

import argparse
import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.small_poc.ablation import (
    COMMAND,
    SWEEPS,
    Cell,
    Grid,
    Point,
    Run,
    best,
    cells,
    folder_of,
    load_merged,
    missing,
)
from workbench.cli.arguments import Parser, one_of
from workbench.cli.errors import UserError, run
from workbench.output.storage import prepare_folder, write_text
from workbench.output.style import INK, figure_style, save_figure
from workbench.output.tables import to_csv
from workbench.vision.datasets import DATASETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.contour import QuadContourSet
    from matplotlib.figure import Figure

DESCRIPTION = """\
Draw what run_small_ablation stored: the validation loss over the number of blocks and the learning rate, the epochs and
the batch size, with a column for each activation.

  python -m tasks.small_poc.merge_and_plot_contours --dataset digits
  python -m tasks.small_poc.merge_and_plot_contours --dataset mnist --results-path results from_elsewhere/results"""

METRICS = {"loss": "val_loss", "accuracy": "val_accuracy"}
LEVELS = 16
LOG_FROM = 3.0  # the ratio of the largest loss, or error, to the smallest from which on a logarithmic scale shows more
LEAST_ERROR = 0.05  # in percent: what is below has one colour
COLOURS = "viridis_r"  # bright is good
CLOSEST = 0.1  # of an axis, between two labels


def main() -> None:
    parser = figure_parser("python -m tasks.small_poc.merge_and_plot_contours", DESCRIPTION, "contours_<metric>.png")
    metric = one_of("metric", METRICS)
    parser.add_argument("--metric", type=metric, default="loss", metavar="NAME", help="what is drawn: loss or accuracy")
    options = figure_options(parser)
    grid, runs = load_merged(options.results_path, options.dataset)
    panels = [Panels.of(grid, runs, sweep) for sweep in SWEEPS]
    drawn = [each for each in panels if each.drawable]
    if not drawn:
        raise UserError(
            f"no sweep has runs of two values on each axis yet: {COMMAND} --dataset {options.dataset} goes on"
        )
    prepare_folder(options.output)

    print(what_there_is(grid, runs, options.dataset))
    for each in panels:
        if not each.drawable:
            print(f"blocks x {SWEEPS[each.sweep]} has no two values on each axis, and is left out")
    rows = [row for each in panels for row in csv_rows(grid, each.sweep, list(cells(grid, runs, each.sweep)))]
    write_text(options.output / "contours.csv", to_csv(rows))
    with figure_style():
        paths = save_figure(
            draw(options.dataset, grid, drawn, options.metric), options.output / f"contours_{options.metric}"
        )
    print(*paths, options.output / "contours.csv", sep="\n")


# What both programs that draw the ablation share


def figure_parser(prog: str, description: str, files: str) -> Parser:
    """The flags that say which runs to draw, and where the files go."""
    parser = Parser(prog, description)
    no_default: dict[str, Any] = {"required": True, "default": argparse.SUPPRESS}
    known = one_of("dataset", DATASETS)
    parser.add_argument("--dataset", type=known, metavar="NAME", help=f"one of {', '.join(DATASETS)}", **no_default)
    paths = "where runs are stored, in small_ablation/<dataset>; several are merged (default: results)"
    parser.add_argument("--results-path", type=Path, action="extend", nargs="+", metavar="DIR", help=paths)
    output = f"folder of {files}, .svg and .csv (default: that of the dataset in the first results path)"
    parser.add_argument("--output", type=Path, metavar="DIR", help=output)
    return parser


def figure_options(parser: Parser) -> argparse.Namespace:
    options = parser.parse_args()
    options.results_path = options.results_path or [Path("results")]
    options.output = options.output or folder_of(options.results_path[0], options.dataset)
    return options


def what_there_is(grid: Grid, runs: dict[Point, Run], dataset: str) -> str:
    """How many runs there are, and how to get those that are missing."""
    wanted, lacking = len(grid.trainings()), len(missing(grid, runs))
    text = f"{', '.join(grid.activations)}; seeds {', '.join(map(str, grid.seeds))}; {wanted - lacking} runs"
    if lacking:
        text += f"\n{lacking} of {wanted} runs are missing: {COMMAND} --dataset {dataset}, with its flags, goes on"
    return text


def caption(figure: "Figure", sentences: list[str]) -> None:
    """Small print below the figure, in lines that fit its width."""
    text = textwrap.fill(" ".join(each for each in sentences if each), int(17 * figure.get_figwidth()))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8)


def epochs_text(grid: Grid) -> str:
    """The base value."""
    return f"{min(grid.epochs)} epoch{'s' if min(grid.epochs) > 1 else ''}"


def of_seeds(grid: Grid) -> str:
    return f"mean of {len(grid.seeds)} seeds" if len(grid.seeds) > 1 else "one seed"


def fewer_seeds(grid: Grid, found: list[Cell]) -> str:
    """A sentence, if it is true."""
    fewer = any(len(cell.by_seed) < len(grid.seeds) for cell in found)
    return "Runs are missing: some means are of fewer seeds." if fewer else ""


# The figure


@dataclass(frozen=True)
class Panels:
    """A sweep's cells by activation, blocks and value, with the blocks and values of which there are any runs."""

    sweep: str
    cells: dict[tuple[str, int, float], Cell]
    blocks: list[int]
    values: list[float]

    @classmethod
    def of(cls, grid: Grid, runs: dict[Point, Run], sweep: str) -> "Panels":
        found = {(each.activation, each.blocks, each.value): each for each in cells(grid, runs, sweep) if each.by_seed}
        blocks, values = sorted({key[1] for key in found}), sorted({key[2] for key in found})
        return cls(sweep, found, blocks, values)

    @property
    def drawable(self) -> bool:
        return len(self.blocks) > 1 and len(self.values) > 1

    def heights(self) -> list[float]:
        """Where the values are on the axis."""
        return [{"lr": math.log10, "epochs": float, "batch_size": math.log2}[self.sweep](each) for each in self.values]

    def means(self, activation: str, metric: str) -> list[list[float]]:
        """By value and number of blocks; NaN where no run converged."""
        return [[self._mean(activation, blocks, value, metric) for blocks in self.blocks] for value in self.values]

    def _mean(self, activation: str, blocks: int, value: float, metric: str) -> float:
        cell = self.cells.get((activation, blocks, value))
        result = cell.estimate(METRICS[metric]) if cell else None
        return result.mean if result else math.nan


def draw(dataset: str, grid: Grid, sweeps: list[Panels], metric: str) -> "Figure":
    """A row for each sweep, with one colour scale, and a column for each activation."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = len(grid.activations)
    size = (max(1.6 + 1.6 * columns, 4.8), 0.7 + 1.75 * len(sweeps))
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.03, hspace=0.04, w_pad=0.04, h_pad=0.04))
    grid_of_axes = figure.subplots(len(sweeps), columns, sharex="col", sharey="row", squeeze=False)
    for row, panels in zip(grid_of_axes, sweeps, strict=True):
        scale = Scale.of([z for name in grid.activations for line in panels.means(name, metric) for z in line], metric)
        drawn = [_panel(axes, panels, name, metric, scale) for axes, name in zip(row, grid.activations, strict=True)]
        row[0].set_ylabel(SWEEPS[panels.sweep])
        colours = next((each for each in drawn if each is not None), None)
        if colours is not None:
            label = "validation loss" if metric == "loss" else "validation accuracy (%)"
            scale.colour_bar(figure, colours, list(row), label)
    figure.align_ylabels(grid_of_axes[:, 0])
    for axes, name in zip(grid_of_axes[0], grid.activations, strict=True):
        axes.set_title(name, loc="left")
    for axes in grid_of_axes[-1]:
        axes.set_xlabel("blocks")
    caption(figure, _sentences(dataset, grid, sweeps, metric))
    return figure


@dataclass(frozen=True)
class Scale:
    """A colour scale for losses, or for accuracies by their errors, which tell those near 100 % apart.

    Levels and ticks are what is drawn: losses or errors, or their logarithms where these reach far.
    """

    metric: str
    logarithmic: bool
    levels: list[float]
    ticks: list[float]

    @classmethod
    def of(cls, means: list[float], metric: str) -> "Scale":
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

    def colour_bar(self, figure: "Figure", colours: "ScalarMappable", row: list["Axes"], label: str) -> None:
        """Beside the row; the better an accuracy, the higher."""
        bar = figure.colorbar(colours, ax=row, aspect=14, pad=0.015, ticks=self.ticks, format=self.text, label=label)
        bar.ax.minorticks_off()
        bar.outline.set_linewidth(0.6)
        if self.metric == "accuracy":
            bar.ax.invert_yaxis()


def _amount(mean: float, metric: str) -> float:
    """A loss, or an accuracy's error."""
    return max(100 - mean, LEAST_ERROR) if metric == "accuracy" else mean


def _round_numbers(low: float, high: float, logarithmic: bool) -> list[float]:
    """Ticks from low to high, few enough to be read."""
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


def _panel(axes: "Axes", panels: Panels, activation: str, metric: str, scale: Scale) -> "QuadContourSet | None":
    """One activation's contours; None where there is too little for any."""
    import numpy as np

    heights = panels.heights()
    axes.grid(visible=False)
    axes.set_xticks(panels.blocks)
    axes.set_yticks(heights, _labels(panels.values, heights))
    axes.tick_params(axis="y", pad=5)  # room for a star
    axes.set(xlim=(panels.blocks[0], panels.blocks[-1]), ylim=(heights[0], heights[-1]))
    means = panels.means(activation, metric)
    z = np.array([[scale.drawn(each) for each in line] for line in means])
    found = [
        (blocks, height)
        for i, height in enumerate(heights)
        for j, blocks in enumerate(panels.blocks)
        if np.isfinite(z[i, j])
    ]
    colours = None
    if found:
        colours = axes.contourf(panels.blocks, heights, np.ma.masked_invalid(z), scale.levels, cmap=COLOURS)
        axes.plot(*zip(*found, strict=True), ".", color=INK, markersize=2.5, alpha=0.6, clip_on=False)
    elif not any(cell.activation == activation for cell in panels.cells.values()):
        axes.text(0.5, 0.5, "no runs", ha="center", va="center", transform=axes.transAxes)
    _hatch_diverged(axes, panels, activation)
    _mark_optimum(axes, panels, activation, metric)
    return colours


def _labels(values: list[float], heights: list[float]) -> list[str]:
    """The values as text, without those too close to the one below to be read."""
    labels, last = [], -math.inf
    for value, height in zip(values, heights, strict=True):
        room = height - last >= CLOSEST * (heights[-1] - heights[0])
        labels.append(f"{value:g}" if room else "")
        last = height if room else last
    return labels


def _hatch_diverged(axes: "Axes", panels: Panels, activation: str) -> None:
    """Lines over each cell in which a run diverged, half-way to its neighbours."""
    from matplotlib.patches import Rectangle

    heights = panels.heights()
    for i, value in enumerate(panels.values):
        for j, blocks in enumerate(panels.blocks):
            cell = panels.cells.get((activation, blocks, value))
            if cell and cell.diverged:
                (left, right), (bottom, top) = _around(panels.blocks, j), _around(heights, i)
                corner, size = (left, bottom), (right - left, top - bottom)
                axes.add_patch(Rectangle(corner, *size, fill=False, hatch="////", linewidth=0, edgecolor=INK, zorder=3))


def _around(places: list[Any], i: int) -> tuple[float, float]:
    """From half-way to the neighbour before to half-way to the one after, or to the edge."""
    before, after = places[max(i - 1, 0)], places[min(i + 1, len(places) - 1)]
    return (before + places[i]) / 2, (places[i] + after) / 2


def _mark_optimum(axes: "Axes", panels: Panels, activation: str, metric: str) -> None:
    """A star in its place, and its value above the panel."""
    found = best((cell for cell in panels.cells.values() if cell.activation == activation), METRICS[metric])
    if found is None:
        return
    cell, result = found
    height = panels.heights()[panels.values.index(cell.value)]
    star = {"color": "white", "markeredgecolor": INK, "markeredgewidth": 0.8, "markersize": 11}
    axes.plot(cell.blocks, height, "*", **star, clip_on=False, zorder=5)
    text = f"★ {result.mean:.3f}" if metric == "loss" else f"★ {result.mean:.2f}"
    axes.set_title(text, loc="right", fontsize=8, fontweight="normal")


def _sentences(dataset: str, grid: Grid, sweeps: list[Panels], metric: str) -> list[str]:
    found = [cell for panels in sweeps for cell in panels.cells.values()]
    expected = sum(len(grid.activations) * len(each.blocks) * len(each.values) for each in sweeps)
    base = f"learning rate {grid.lr:g}, {epochs_text(grid)} and batch size {grid.batch_size}"
    return [
        f"{dataset}, MLPs: validation {metric}, {of_seeds(grid)} at each dot; one colour scale a row.",
        f"Star: the {'lowest' if metric == 'loss' else 'highest'}, its value above.",
        f"What a row does not vary: {base}.",
        "Hatched: a run diverged, and is in no mean." if any(cell.diverged for cell in found) else "",
        "White: too few runs for contours." if len(found) < expected else "",
        fewer_seeds(grid, found),
    ]


# The numbers


def csv_rows(grid: Grid, sweep: str, some: list[Cell]) -> list[dict[str, Any]]:
    """A row for each cell: means and standard errors over the seeds that did not diverge."""
    rows = []
    for cell in some:
        point, epoch = grid.training(sweep, cell.activation, grid.seeds[0], cell.blocks, cell.value)
        rows.append(
            {
                "sweep": sweep,
                "activation": cell.activation,
                "blocks": cell.blocks,
                "lr": point.lr,
                "epochs": epoch,
                "batch_size": point.batch_size,
                "seeds": len(cell.by_seed),
                "diverged": cell.diverged,
                "missing": len(grid.seeds) - len(cell.by_seed),
                **_estimates(cell),
            }
        )
    return rows


def _estimates(cell: Cell) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for metric in METRICS.values():
        result = cell.estimate(metric)
        row |= {metric: result and result.mean, f"{metric}_standard_error": result and result.standard_error}
    return row


if __name__ == "__main__":
    run(main)
