"""The variance of an activation's output, exactly, for normal inputs

    python -m visualizations.theoretical_experiments.exact_variance
    python -m visualizations.theoretical_experiments.exact_variance --activations ELU Tanh GoLU

X is normal with a mean and a deviation. Above, the part of its variance that comes through each activation f,
Var f(X) / Var X, by quadrature: 0 where f is flat, 1 where it is the identity, and more than 1 where its slope is
greater. The cross is N(0, 1). Below, the same at mean 0, and the variance itself at deviation 1; right, GoLU's variance
over the least of all the others': below 1 (left of the black line, and above it) GoLU's is the least.

For N(0, 1) GoLU's variance is 0.2526; Swish follows with 0.3131, ReLU 0.3408, GELU 0.3456 and Mish 0.3945. GoLU's stays
the least of these five at mean 0 up to a deviation of 3.88, and at deviation 1 for means from -2.70 to 1.43. Beyond,
ReLU's is the least: it gives nothing but 0 far on the left, and its slope never exceeds 1, where GoLU's reaches 1.113.
At deviation 1 and means from 2.07 to 3 GoLU's variance is even the greatest of the five.

Source: that GoLU reduces variance is the paper's claim (arXiv 2502.03654), which follows from its small slope near 0;
the exact values, and how far they hold, are ours.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualizations.shared.drawing import mark
from visualizations.shared.normal_inputs import draw_over, on_grid, rows_over
from visualizations.shared.panels import grid_of, legend_below
from visualizations.shared.program import FigureProgram, Options, Row, column, names_in
from workbench.cli.errors import run
from workbench.output.style import INK
from workbench.output.tables import plain_table

MEANS = np.linspace(-3, 3, 25)
DEVIATIONS = np.linspace(0.1, 3, 30).round(12)
LEVELS = np.linspace(-0.05, 1.25, 14)  # none at 1, where ReLU's and its rounding errors lie
RATIOS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)


def numbers(options: Options) -> list[Row]:
    return rows_over(options.activations, MEANS, DEVIATIONS, {"variance": lambda of: of.variance})


def compared(names: list[str]) -> str:
    """The activation that is held against all others: GoLU, or the last one named."""
    return "GoLU" if "GoLU" in names else names[-1]


def summarise(rows: list[Row]) -> str:
    table = [["variance for N(mean, 1), mean", "-2", "-1", "0", "1", "2"]]
    means, shown = np.array(names_in(rows, "mean")), (-2, -1, 0, 1, 2)
    for name in names_in(rows):
        found = column(rows, "variance", activation=name, deviation=1.0)
        table.append([name, *(f"{found[means == at].item():.4f}" for at in shown)])
    return plain_table(table)


def draw(rows: list[Row], _: Options) -> Figure:
    names = names_in(rows)
    down, across = grid_of(len(names), 5)
    figure = Figure(figsize=(9.6, 2.1 * down + 3.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(2.1 * down, 3.4))
    _draw_maps(top, rows, down, across)
    panels = bottom.subplots(1, 3 if len(names) > 1 else 2)
    draw_over(panels[0], passed(rows), "passed", "deviation", mean=0.0)
    draw_over(panels[1], rows, "variance", "mean", deviation=1.0)
    panels[0].set(title="At mean 0", ylabel="Var f(X) / Var X", xlim=(0, 3), ylim=(0, None))
    panels[1].set(title="At deviation 1", ylabel="Var f(X)", xlim=(-3, 3), ylim=(0, None))
    if "GoLU" in names:
        at_0 = column(rows, "variance", activation="GoLU", mean=0.0, deviation=1.0).item()
        mark(panels[1], 0, at_0, f"{at_0:.4f}", "GoLU")
    if len(names) > 1:
        _draw_least(panels[2], rows, compared(names))
    legend_below(bottom, panels[1])
    return figure


def passed(rows: list[Row]) -> list[Row]:
    """With the variance relative to the input's."""
    return [row | {"passed": row["variance"] / row["deviation"] ** 2} for row in rows]


def _draw_maps(figure: Figure, rows: list[Row], down: int, across: int) -> None:
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, name in zip(panels.flat, names_in(rows), strict=False):
        axes.set_axis_on()
        filled = axes.contourf(*on_grid(passed(rows), "passed", name), levels=LEVELS, cmap="viridis", extend="max")
        axes.plot(0, 1, "+", color="white", markersize=8)
        axes.set(title=name)
        axes.grid(visible=False)
    for axes in panels[-1]:
        axes.set_xlabel("Mean of X")
    for axes in panels[:, 0]:
        axes.set_ylabel("Deviation of X")
    figure.colorbar(filled, ax=panels, label="Var f(X) / Var X", ticks=[0, 0.2, 0.4, 0.6, 0.8, 1, 1.2], pad=0.01)


def _draw_least(axes: Axes, rows: list[Row], name: str) -> None:
    """The activation's variance over the least of all the others'."""
    means, deviations, own = on_grid(rows, "variance", name)
    others = [each for each in names_in(rows) if each != name]
    least = np.min([on_grid(rows, "variance", each)[2] for each in others], axis=0)
    with np.errstate(divide="ignore"):
        ratio = np.log2(own / least).clip(-2, 2)
    filled = axes.contourf(means, deviations, ratio, levels=np.log2(RATIOS), cmap="PuOr", extend="both")
    axes.contour(means, deviations, ratio, levels=[0], colors=INK)
    axes.plot(0, 1, "+", color=INK, markersize=8)
    against = "the least of the others'" if len(others) > 1 else f"{others[0]}'s"
    axes.set(title=f"{name}'s over {against}", xlabel="Mean of X", ylabel="Deviation of X")
    axes.grid(visible=False)
    bar = axes.figure.colorbar(filled, ax=axes, ticks=np.log2(RATIOS))
    bar.set_ticklabels([f"{each:g}" for each in RATIOS])


FIGURE = FigureProgram("theoretical_experiments.exact_variance", __doc__, numbers, draw, summarise=summarise)

if __name__ == "__main__":
    run(FIGURE.main)
