"""GoLU and its gate, the Gompertz function

    python -m visualizations.golu_plots.golu_and_gompertz
    python -m visualizations.golu_plots.golu_and_gompertz --activations GELU Swish

Left: the Gompertz function g(x) = exp(-exp(-x)). It rises from 0 to 1 and bends at x = 0, where both its value and its
slope are 1/e: unlike a curve that is symmetric about its inflection it turns there at 0.37, not at one half. Right:
GoLU, f(x) = x * g(x). It goes to 0 on the left and to x on the right, crosses 0 with slope g(0) = 1/e, and has its
minimum, -0.0973, at x = -0.5671, where x * exp(-x) = -1 (x = -W(1), W being Lambert's function). It bends at
x = -1.0601 and 2.2386, where x * (1 - exp(-x)) = 2; there its slope is smallest, -0.1149, and largest, 1.1134.
--activations draws others, and their gates, beside it.

Source: the definition of GoLU (arXiv 2502.03654); the marked points follow from it.
"""

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualizations.shared.drawing import broken_at_0, colour_of, draw_curve, mark
from visualizations.shared.functions import extrema, gate, slope, values
from visualizations.shared.panels import panels_of
from visualizations.shared.program import BESIDE_GOLU, FigureProgram, Options, Row, columns, names_in, points, where
from workbench.cli.errors import run
from workbench.output.style import INK

SPAN = 4.0
TANGENT = np.array([-1.0, 1.4])  # from where to where the tangents at 0 are drawn


def numbers(options: Options) -> list[Row]:
    x = np.linspace(-SPAN, SPAN, 320)  # an even number: without 0, where ReLU's gate jumps
    minimum, bends = (extrema(partial(values, "GoLU", order=order), -SPAN, SPAN) for order in (1, 2))
    shown = [(name, "curve", x) for name in [*options.activations, "GoLU"]]
    shown += [("GoLU", "origin", [0.0]), ("GoLU", "minimum", minimum), ("GoLU", "inflection", bends)]
    return [row for each in shown for row in points(*each, gate=gate, f=values, slope=slope)]


def draw(rows: list[Row], _: Options) -> Figure:
    figure, (left, right) = panels_of(4.2, 1, 2)
    for name in names_in(rows):
        x, g, f = columns(rows, "x", "gate", "f", activation=name, point="curve")
        draw_curve(left, *(broken_at_0(x, g) if name == "ReLU" else (x, g)), name)
        draw_curve(right, x, f, name)
    _draw_gate(left)
    _draw_function(right, [row for row in rows if row["point"] != "curve"])
    if len(names_in(rows)) > 1:
        right.legend(loc="upper left")
    return figure


def _draw_gate(axes: Axes) -> None:
    at_0 = np.exp(-1)
    for limit in (0, 1):
        axes.axhline(limit, color=INK, lw=0.9, linestyle="--")
    axes.text(-SPAN + 0.1, 1.02, "limit 1", fontsize=8)
    axes.text(SPAN - 0.1, 0.02, "limit 0", fontsize=8, ha="right")
    axes.plot(TANGENT, at_0 * (1 + TANGENT), color=INK, lw=0.9, linestyle=":")
    mark(axes, 0, at_0, "inflection (0, 1/e)\nslope 1/e = 0.3679", "GoLU", (14, -16))
    axes.set(title="Gate g(x) = exp(-exp(-x))", xlabel="x", ylabel="g(x)", xlim=(-SPAN, SPAN), ylim=(-0.06, 1.12))


def _draw_function(axes: Axes, special: list[Row]) -> None:
    axes.axhline(0, color=INK, lw=0.9, linestyle="--")
    axes.plot([0, SPAN], [0, SPAN], color=INK, lw=0.9, linestyle="--")
    axes.text(2.3, 2.45, "asymptote y = x", fontsize=8, ha="right")
    axes.text(-SPAN + 0.1, 0.07, "asymptote y = 0", fontsize=8)
    axes.plot(TANGENT, np.exp(-1) * TANGENT, color=INK, lw=0.9, linestyle=":")
    mark(axes, 0, 0, "slope 1/e", "GoLU", (8, -14))
    (lowest,) = where(special, point="minimum")
    _point_out(axes, lowest, f"minimum\n({lowest['x']:.4f}, {lowest['f']:.4f})", (-0.5, -0.85))
    for row, place in zip(where(special, point="inflection"), ((-2.8, -0.85), (2.75, 1.0)), strict=True):
        _point_out(axes, row, f"inflection at {row['x']:.4f}\nslope {row['slope']:.4f}", place)
    axes.set(title="GoLU f(x) = x g(x)", xlabel="x", ylabel="f(x)", xlim=(-SPAN, SPAN), ylim=(-1.2, 3.4))


def _point_out(axes: Axes, row: Row, text: str, place: tuple[float, float]) -> None:
    """A dot, and a text elsewhere that a thin line joins to it."""
    colour = colour_of("GoLU")
    axes.plot(row["x"], row["f"], "o", color=colour, markersize=5, zorder=5)
    line = {"arrowstyle": "-", "color": colour, "lw": 0.8}
    axes.annotate(
        text, (row["x"], row["f"]), place, color=colour, fontsize=8, ha="center", va="center", arrowprops=line, zorder=5
    )


FIGURE = FigureProgram("golu_plots.golu_and_gompertz", __doc__, numbers, draw, **BESIDE_GOLU)

if __name__ == "__main__":
    run(FIGURE.main)
