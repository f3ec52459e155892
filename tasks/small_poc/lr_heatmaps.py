"""python -m tasks.small_poc.lr_heatmaps draws accuracy by blocks and learning rate, and differences to a baseline."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tasks.small_poc.ablation import COMMAND, Grid, load_merged
from tasks.small_poc.cells import Cell, csv_rows
from tasks.small_poc.panels import (
    COLOURS,
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
from workbench.cli import flags
from workbench.cli.errors import UserError, run
from workbench.output.estimates import Estimate, paired_difference
from workbench.output.storage import prepare_folder
from workbench.output.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DESCRIPTION = """\
Draw the accuracy that run_small_ablation stored over the number of blocks and the learning rate, a panel for each
activation, and below it the difference to a baseline.

  python -m tasks.small_poc.lr_heatmaps --dataset digits
  python -m tasks.small_poc.lr_heatmaps --dataset mnist --results results from_elsewhere/results"""

ACCURACY = "val_accuracy"


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the figure that the command line describes."""
    parser = figure_parser("python -m tasks.small_poc.lr_heatmaps", DESCRIPTION, "lr_heatmap.png")
    flags.add_baseline_flag(parser)
    options = figure_options(parser, arguments)
    grid, runs = load_merged(options.results, options.dataset)
    panels = Panels.of(grid, runs, "lr")
    if not panels.drawable:
        again = f"{COMMAND} --dataset {options.dataset} resumes"
        raise UserError(f"there are no runs of two numbers of blocks and two learning rates yet: {again}")
    heatmap = Heatmap(grid, panels, flags.baseline_of(options.baseline, grid.activations))
    prepare_folder(options.output)

    print(what_there_is(grid, runs, options.dataset))
    path = options.output / "lr_heatmap"
    write_figure(partial(draw, options.dataset, heatmap), path, path.with_suffix(".csv"), heatmap.rows())


@dataclass(frozen=True)
class Heatmap:
    """Compare the cells of the sweep of learning rates with each other."""

    grid: Grid
    panels: Panels
    baseline: str

    def cell(self, activation: str, blocks: int, lr: float) -> Cell | None:
        return self.panels.cells.get((activation, blocks, lr))

    def is_best(self, cell: Cell) -> bool:
        """Tell whether no activation has a higher mean with as many blocks and the same learning rate."""
        others = [self.cell(activation, cell.blocks, cell.value) for activation in self.grid.activations]
        means = [_mean(each) for each in others if each is not None]
        return len(means) > 1 and not cell.diverged and _mean(cell) == max(means)

    def difference(self, cell: Cell) -> Estimate | None:
        """Estimate the difference to the baseline (percentage points), paired over seeds that diverged in neither."""
        base = self.cell(self.baseline, cell.blocks, cell.value)
        if base is None or cell.activation == self.baseline:
            return None
        ours, theirs = cell.converged(ACCURACY), base.converged(ACCURACY)
        common = sorted(ours.keys() & theirs.keys())
        return paired_difference([ours[i] for i in common], [theirs[i] for i in common]) if common else None

    def pair_diverged(self, cell: Cell) -> bool:
        """Tell whether a run of the cell or of the baseline's diverged."""
        base = self.cell(self.baseline, cell.blocks, cell.value)
        return cell.diverged > 0 or (base is not None and base.diverged > 0)

    def rows(self) -> list[dict[str, Any]]:
        """Make a row of each cell; those of the baseline have no difference."""
        rows = []
        for cell in self.panels.cells.values():
            (row,) = csv_rows(self.grid, "lr", [cell])
            difference = self.difference(cell)
            for part in Estimate._fields:
                name = "difference" if part == "mean" else f"difference_{part}"
                row[name] = difference and getattr(difference, part)
            rows.append(row | {"best": self.is_best(cell), "baseline": self.baseline})
        return rows


def _mean(cell: Cell) -> float:
    """Return the mean, or -inf where a run diverged, so that it is never the best."""
    result = None if cell.diverged else cell.estimate(ACCURACY)
    return result.mean if result else -math.inf


# The figure


def draw(dataset: str, heatmap: Heatmap) -> "Figure":
    """Draw accuracy in the first row, a column for each activation; below, if there are several, the differences."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    activations, panels = heatmap.grid.activations, heatmap.panels
    rows, columns = min(len(activations), 2), len(activations)
    height = max(0.38 * len(panels.values), 0.8)
    size = (max(1.4 + 0.42 * len(panels.blocks) * columns, 5.2), 0.9 + (height + 0.45) * rows)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.03, hspace=0.05, w_pad=0.04, h_pad=0.04))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    _draw_accuracy(figure, list(axes[0]), heatmap)
    if rows == 2:
        _draw_differences(figure, list(axes[1]), heatmap)
    axes[0, 0].set_yticks(range(len(panels.values)), [f"{value:g}" for value in panels.values])
    axes[0, 0].set_xticks(range(len(panels.blocks)), list(map(str, panels.blocks)))
    for each in axes[:, 0]:
        each.set_ylabel("learning rate")
    for each in axes[-1]:
        each.set_xlabel("blocks")
    caption(figure, _sentences(dataset, heatmap))
    return figure


def _draw_accuracy(figure: "Figure", row: list["Axes"], heatmap: Heatmap) -> None:
    """Draw the accuracies; the best of each place is framed."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    found = [(cell, cell.estimate(ACCURACY)) for cell in heatmap.panels.cells.values()]
    scale = Scale.of([result.mean for _, result in found if result], "accuracy")
    colours = ScalarMappable(Normalize(scale.levels[0], scale.levels[-1]), COLOURS)
    for axes, activation in zip(row, heatmap.grid.activations, strict=True):
        axes.set_title(activation, loc="left")
        _empty(axes, heatmap.panels)
        for cell, result in found:
            if cell.activation == activation:
                colour = colours.to_rgba(scale.drawn(result.mean)) if result else "white"
                texts = (_short(result.mean), _plus_minus(result)) if result else ("div.", "")
                framed, hatched = heatmap.is_best(cell), cell.diverged > 0
                _draw_cell(axes, heatmap.panels, cell, colour, texts, hatched, framed)
    if any(result for _, result in found):
        scale.colour_bar(figure, colours, row, "accuracy (%)")


def _draw_differences(figure: "Figure", row: list["Axes"], heatmap: Heatmap) -> None:
    """Draw the differences, red where better than the baseline; outliers beyond a limit have its colour."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    found = [(cell, heatmap.difference(cell)) for cell in heatmap.panels.cells.values()]
    limit = colour_limit([result.mean for _, result in found if result])
    beyond = any(abs(result.mean) > limit for _, result in found if result)
    colours = ScalarMappable(Normalize(-limit, limit), "RdBu_r")
    for axes, activation in zip(row, heatmap.grid.activations, strict=True):
        _empty(axes, heatmap.panels)
        if activation == heatmap.baseline:
            axes.text(0.5, 0.5, "baseline", ha="center", va="center", transform=axes.transAxes)
        for cell, result in found:
            if cell.activation == activation != heatmap.baseline:
                colour = colours.to_rgba(result.mean) if result else "white"
                texts = (_short(result.mean, "+"), _plus_minus(result)) if result else ("", "")
                _draw_cell(axes, heatmap.panels, cell, colour, texts, hatched=heatmap.pair_diverged(cell))
    if any(result for _, result in found):
        label, extend = f"difference to {heatmap.baseline}", "both" if beyond else "neither"
        bar = figure.colorbar(colours, ax=row, aspect=14, pad=0.015, extend=extend, label=label)
        bar.outline.set_linewidth(0.6)


def colour_limit(differences: list[float]) -> float:
    """Return the largest difference, or three times the median if that is less: an outlier must not pale all others."""
    sizes = sorted(map(abs, differences)) or [0.0]
    return min(sizes[-1], 3 * sizes[len(sizes) // 2]) or 1.0


def _short(number: float, sign: str = "") -> str:
    """Format with two digits after the point, as long as five characters are enough for it; no negative zero."""
    digits = 2 if abs(number) < (9.995 if sign else 99.995) else 1
    return f"{round(number, digits) + 0.0:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _plus_minus(result: Estimate) -> str:
    return "" if result.standard_error is None else f"±{_short(result.standard_error)}"


def _empty(axes: "Axes", panels: Panels) -> None:
    """Leave white where nothing is drawn, without lines between the cells."""
    axes.set(xlim=(-0.5, len(panels.blocks) - 0.5), ylim=(-0.5, len(panels.values) - 0.5))
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _draw_cell(
    axes: "Axes", panels: Panels, cell: Cell, colour: Any, texts: tuple[str, str], hatched: bool, framed: bool = False
) -> None:
    """Draw a square of the colour, with a number and a small one below."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    x, y = panels.blocks.index(cell.blocks), panels.values.index(cell.value)
    red, green, blue = to_rgb(colour)
    ink = INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=0.6))
    if hatched:
        lines = {"fill": False, "hatch": "////", "edgecolor": ink, "linewidth": 0, "alpha": 0.4}
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **lines))
    if framed:
        axes.add_patch(Rectangle((x - 0.45, y - 0.45), 0.9, 0.9, fill=False, edgecolor=ink, linewidth=1.3))
    number, small = texts
    place = {"ha": "center", "va": "center", "color": ink}
    axes.text(x, y + (0.13 if small else 0), number, fontsize=7.5, **place)
    axes.text(x, y - 0.22, small, fontsize=6.5, **place)


def _sentences(dataset: str, heatmap: Heatmap) -> list[str]:
    grid, panels = heatmap.grid, heatmap.panels
    several = len(grid.activations) > 1
    error = " ± standard error" if len(grid.seeds) > 1 else ""
    expected = len(grid.activations) * len(panels.blocks) * len(panels.values)
    return [
        f"{dataset}, MLPs, {epochs_text(grid)}, batch size {grid.batch_size}: validation accuracy (%), "
        f"{of_seeds(grid)}{error}.",
        "Framed: the best activation there." if several else "",
        f"Below: the difference to {heatmap.baseline} in percentage points, paired over seeds." if several else "",
        "Hatched: a run diverged, and is in no mean." if any(cell.diverged for cell in panels.cells.values()) else "",
        "White: no runs yet." if len(panels.cells) < expected else "",
        fewer_seeds(grid, list(panels.cells.values())),
    ]


if __name__ == "__main__":
    run(main)
