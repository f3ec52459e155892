"""The gates as distributions: Gumbel, normal, logistic

    python -m visualizations.probability_distributions.gumbel_normal_logistic
    python -m visualizations.probability_distributions.gumbel_normal_logistic --activations GELU Swish Mish GoLU

Right: the gates of GoLU, GELU and Swish are the distribution functions of the standard Gumbel distribution,
exp(-exp(-x)), the normal and the logistic one. Mish's, tanh(softplus(x)), is a distribution function, too. Left: their
densities, that is, the gates' derivatives; Gumbel's is exp(-(x + exp(-x))). Normal and logistic density are symmetric
about 0, so that their gates are one half there. Gumbel's is not: it rises steeply on the left of its mode and falls
off slowly on the right. Its mode is 0, its median -log(log 2) = 0.3665 and its mean 0.5772 (Euler's constant); only
1/e of its mass lies below 0, which is what GoLU's gate is there. Mish's leans to the other side: mean -0.4388, and 0.6
of its mass lies below 0.

Source: that GoLU's gate is the distribution function of the Gumbel distribution is in the paper (arXiv 2502.03654);
mode, median and mean are textbook values.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualizations.shared.distributions import GATES, density, distribution, label_of, median, mode, moments
from visualizations.shared.drawing import colour_of, draw_curve
from visualizations.shared.panels import legend_below, panels_of
from visualizations.shared.program import FigureProgram, Options, Row, column, columns, names_in, points
from workbench.cli.errors import run

SPAN = 6.0
AVERAGES = ("mode", "median", "mean")
TEXT_AT = {"GoLU": (2.3, 0.36, "left"), "Mish": (-2.3, 0.36, "right")}  # the skewed ones; x, y, alignment


def numbers(options: Options) -> list[Row]:
    x = np.linspace(-SPAN, SPAN, 241)
    rows = []
    for name in options.activations:
        averages = dict(zip(AVERAGES, (mode(name), median(name), moments(name).mean), strict=True))
        for point, at in [("curve", x), *((average, [at]) for average, at in averages.items()), ("at 0", [0.0])]:
            rows += points(name, point, at, density=density, distribution=distribution)
    return rows


def draw(rows: list[Row], _: Options) -> Figure:
    figure, (left, right) = panels_of(4.2, 1, 2)
    names = names_in(rows)
    for name in names:
        x, p, gate = columns(rows, "x", "density", "distribution", activation=name, point="curve")
        draw_curve(left, x, p, name, label=label_of(name))
        draw_curve(right, x, gate, name, label=None)
        at_0 = column(rows, "distribution", activation=name, point="at 0").item()
        shown = "1/e = 0.3679" if name == "GoLU" else f"{at_0:.4g}"
        right.plot(0, at_0, "o", color=colour_of(name), markersize=5, zorder=5, label=f"{name}: {shown}")
    for name in set(TEXT_AT) & set(names):
        _mark_averages(left, rows, name)
    right.legend(title="at 0", loc="upper left", handletextpad=0.2, alignment="left")
    left.set(title="Densities", xlabel="x", ylabel="density", xlim=(-5, 6), ylim=(0, 0.45))
    right.set(title="Distribution functions: the gates", xlabel="x", ylabel="probability of at most x", xlim=(-5, 6))
    legend_below(figure, left)
    return figure


def _mark_averages(axes: Axes, rows: list[Row], name: str) -> None:
    """A dot on the density at mode, median and mean, each joined to a line of text at the side."""
    x, y, side = TEXT_AT[name]
    for down, average in enumerate(AVERAGES):
        at, p = (each.item() for each in columns(rows, "x", "density", activation=name, point=average))
        axes.plot(at, p, "o", color=colour_of(name), markersize=5, zorder=5)
        axes.annotate(
            f"{average} {at + 0.0:.4f}".replace(" 0.0000", " 0"), (at, p), (x, y - 0.03 * down), ha=side, va="center",
            fontsize=8, color=colour_of(name), arrowprops={"arrowstyle": "-", "color": colour_of(name), "lw": 0.7},
        )  # fmt: skip


FIGURE = FigureProgram(
    "probability_distributions.gumbel_normal_logistic", __doc__, numbers, draw,
    known=list(GATES), default=("GELU", "Swish", "GoLU"), activations_are="whose gates are drawn",
)  # fmt: skip

if __name__ == "__main__":
    run(FIGURE.main)
