"""python -m tasks.small_poc.merge_and_plot_contours draws the ablation's runs, of one machine or more, as contours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tasks.small_poc.ablation import COMMAND, SWEEPS, Grid, load_merged
from tasks.small_poc.cells import best, cells, csv_rows
from tasks.small_poc.panels import (
    COLOURS,
    METRICS,
    Panels,
    Scale,
    caption,
    epochs_text,
    fewer_seeds,
    figure_options,
    figure_parser,
    of_seeds,
    what_there_is,
    write_figure,
)
from workbench.cli.arguments import one_of
from workbench.cli.errors import UserError, run
from workbench.output.storage import prepare_folder
from workbench.output.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet
    from matplotlib.figure import Figure

DESCRIPTION = """\
Draw what run_small_ablation stored: the validation loss over the number of blocks and the learning rate, the epochs and
the batch size, with a column for each activation.

  python -m tasks.small_poc.merge_and_plot_contours --dataset digits
  python -m tasks.small_poc.merge_and_plot_contours --dataset mnist --results results from_elsewhere/results"""

CLOSEST = 0.1  # of an axis, between two labels


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the figure that the command line describes."""
    parser = figure_parser("python -m tasks.small_poc.merge_and_plot_contours", DESCRIPTION, "contours_<metric>.png")
    metric = one_of("metric", METRICS)
    parser.add_argument("--metric", type=metric, default="loss", metavar="NAME", help="metric drawn: loss or accuracy")
    options = figure_options(parser, arguments)
    grid, runs = load_merged(options.results, options.dataset)
    panels = [Panels.of(grid, runs, sweep) for sweep in SWEEPS]
    drawn = [each for each in panels if each.drawable]
    if not drawn:
        again = f"{COMMAND} --dataset {options.dataset} resumes"
        raise UserError(f"no sweep has runs of two values on each axis yet: {again}")
    prepare_folder(options.output)

    print(what_there_is(grid, runs, options.dataset))
    for each in panels:
        if not each.drawable:
            print(f"blocks x {SWEEPS[each.sweep]} has no two values on each axis, and is left out")
    rows = [row for each in panels for row in csv_rows(grid, each.sweep, list(cells(grid, runs, each.sweep)))]
    figure = partial(draw, options.dataset, grid, drawn, options.metric)
    write_figure(figure, options.output / f"contours_{options.metric}", options.output / "contours.csv", rows)


# The figure


def draw(dataset: str, grid: Grid, sweeps: list[Panels], metric: str) -> Figure:
    """Draw a row for each sweep, with one colour scale, and a column for each activation."""
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
        contours = [each for each in drawn if each is not None]
        if contours:
            label = "validation loss" if metric == "loss" else "validation accuracy (%)"
            scale.colour_bar(figure, contours[0], list(row), label)
    figure.align_ylabels(grid_of_axes[:, 0])
    for axes, name in zip(grid_of_axes[0], grid.activations, strict=True):
        axes.set_title(name, loc="left")
    for axes in grid_of_axes[-1]:
        axes.set_xlabel("blocks")
    caption(figure, _sentences(dataset, grid, sweeps, metric))
    return figure


def _panel(axes: Axes, panels: Panels, activation: str, metric: str, scale: Scale) -> QuadContourSet | None:
    """Draw one activation's contours; None where there is too little for any."""
    import numpy as np

    heights = panels.heights()
    axes.grid(visible=False)
    axes.set_xticks(panels.blocks)
    axes.set_yticks(heights, _labels(panels.values, heights))
    axes.tick_params(axis="y", pad=5)  # room for a star
    axes.set(xlim=(panels.blocks[0], panels.blocks[-1]), ylim=(heights[0], heights[-1]))
    z = np.array([[scale.drawn(each) for each in line] for line in panels.means(activation, metric)])
    rows, columns = np.nonzero(np.isfinite(z))
    colours = None
    if len(rows):
        colours = axes.contourf(panels.blocks, heights, np.ma.masked_invalid(z), scale.levels, cmap=COLOURS)
        dots = np.array(panels.blocks)[columns], np.array(heights)[rows]
        axes.plot(*dots, ".", color=INK, markersize=2.5, alpha=0.6, clip_on=False)
    elif not any(cell.activation == activation for cell in panels.cells.values()):
        axes.text(0.5, 0.5, "no runs", ha="center", va="center", transform=axes.transAxes)
    _hatch_diverged(axes, panels, activation)
    _mark_optimum(axes, panels, activation, metric)
    return colours


def _labels(values: list[float], heights: list[float]) -> list[str]:
    """Return the values as text, without those too close to the one below to be read."""
    labels, last = [], -math.inf
    for value, height in zip(values, heights, strict=True):
        room = height - last >= CLOSEST * (heights[-1] - heights[0])
        labels.append(f"{value:g}" if room else "")
        last = height if room else last
    return labels


def _hatch_diverged(axes: Axes, panels: Panels, activation: str) -> None:
    """Draw lines over each cell in which a run diverged, half-way to its neighbours."""
    from matplotlib.patches import Rectangle

    look = {"fill": False, "hatch": "////", "linewidth": 0, "edgecolor": INK, "zorder": 3}
    for cell in panels.cells.values():
        if cell.activation == activation and cell.diverged:
            left, right = _around(panels.blocks, panels.blocks.index(cell.blocks))
            bottom, top = _around(panels.heights(), panels.values.index(cell.value))
            axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, **look))


def _around(places: list[Any], i: int) -> tuple[float, float]:
    """Return the points half-way to the neighbours before and after, or the edge."""
    before, after = places[max(i - 1, 0)], places[min(i + 1, len(places) - 1)]
    return (before + places[i]) / 2, (places[i] + after) / 2


def _mark_optimum(axes: Axes, panels: Panels, activation: str, metric: str) -> None:
    """Draw a star in its place, and write its value above the panel."""
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


if __name__ == "__main__":
    run(main)
