"""The gates' distributions, standardised: asymmetry apart from location and scale

    python -m visualizations.probability_distributions.standardised

Each gate of `gumbel_normal_logistic` as a density, shifted and scaled to mean 0 and standard deviation 1. What differs
now is shape alone. Middle: the density minus its mirror image, which is 0 for a symmetric one. Right: skewness, the
mean of z^3, and excess kurtosis, the mean of z^4 less 3. Of the gates of GELU, Swish and GoLU only GoLU's is skewed:
the Gumbel distribution has skewness 1.1395, the normal and the logistic one 0; Mish's gate is skewed to the other
side, -0.6573. Excess kurtosis is 2.4 for Gumbel, 1.2 for the logistic and 1.6320 for Mish's distribution. The moments
are computed by quadrature; the command prints them.

Source: that GoLU's gate is the distribution function of the Gumbel distribution is in the paper (arXiv 2502.03654);
the comparison of shapes is ours.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualizations.shared.distributions import GATES, NAMES, density, label_of, moments
from visualizations.shared.drawing import colour_of, draw_curve
from visualizations.shared.panels import legend_below
from visualizations.shared.program import FigureProgram, Options, Row, column, columns, names_in, rows_of, where
from workbench.cli.errors import run
from workbench.output.style import INK
from workbench.output.tables import plain_table

SPAN = 4.0
SHAPES = {"skewness": "Skewness", "excess_kurtosis": "Excess kurtosis"}
MOMENTS = ("mean", "deviation", *SHAPES)


def numbers(options: Options) -> list[Row]:
    z = np.linspace(-SPAN, SPAN, 241)
    rows = []
    for name in options.activations:
        m = moments(name)
        rows += [{"activation": name, "quantity": quantity, "value": getattr(m, quantity)} for quantity in MOMENTS]
        p = m.deviation * density(name, m.mean + m.deviation * z)
        for quantity, y in (("density", p), ("asymmetry", p - p[::-1])):
            rows += rows_of({"activation": name, "quantity": quantity}, z=z, value=y)
    return [row | {"value": _clean(row["value"])} for row in rows]


def _clean(value: float) -> float:
    """Without the noise of rounding, which differs between machines and would be all there is where 0 is exact."""
    return round(value, 10) + 0.0


def summarise(rows: list[Row]) -> str:
    table = [["gate of", "distribution", *(name.replace("_", " ") for name in MOMENTS)]]
    for name in names_in(rows):
        values = [column(rows, "value", activation=name, quantity=quantity).item() for quantity in MOMENTS]
        table.append([name, NAMES[name], *(f"{value:.4f}" for value in values)])
    return plain_table(table)


def draw(rows: list[Row], _: Options) -> Figure:
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    grid = figure.add_gridspec(2, 3, width_ratios=(1.25, 1, 0.9))
    left, middle = (figure.add_subplot(grid[:, i]) for i in range(2))
    for name in names_in(rows):
        for axes, quantity, label in ((left, "density", label_of(name)), (middle, "asymmetry", name)):
            draw_curve(axes, *columns(rows, "z", "value", quantity=quantity, activation=name), name, label=label)
    left.set(title="Density p(z)", xlabel="z = (x - mean) / deviation", xlim=(-SPAN, SPAN), ylim=(0, None))
    middle.set(title="Asymmetry p(z) - p(-z)", xlabel="z", xlim=(0, SPAN), ylim=(-0.25, 0.25))
    for i, (quantity, title) in enumerate(SHAPES.items()):
        _draw_bars(figure.add_subplot(grid[i, 2]), where(rows, quantity=quantity), title)
    legend_below(figure, left)
    return figure


def _draw_bars(axes: Axes, rows: list[Row], title: str) -> None:
    names = names_in(rows)
    for height, row in enumerate(rows):
        axes.barh(height, row["value"], 0.6, color=colour_of(row["activation"]))
        below = row["value"] < 0
        place = {"xytext": (-4 if below else 4, 0), "textcoords": "offset points", "ha": "right" if below else "left"}
        axes.annotate(f"{row['value']:.4f}", (row["value"], height), va="center", fontsize=8, **place)
    axes.set_yticks(range(len(names)), names)
    axes.set(title=title, ylim=(len(names) - 0.4, -0.6))
    axes.axvline(0, color=INK, lw=0.8)
    low, high = (choose(row["value"] for row in rows) for choose in (min, max))
    air = 0.7 * max(high, -low, 0.2)  # for the numbers
    axes.set_xlim(low - air if low < 0 else 0, max(high, 0) + air)
    axes.grid(axis="y", visible=False)


FIGURE = FigureProgram(
    "probability_distributions.standardised", __doc__, numbers, draw,
    known=list(GATES), default=tuple(GATES), activations_are="whose gates are drawn", summarise=summarise,
)  # fmt: skip

if __name__ == "__main__":
    run(FIGURE.main)
