"""Every activation and its derivative

    python -m visualizations.activations.activation_visualizations

One panel an activation: the function f(x) solid, its derivative f'(x) dashed, on the same axes in every panel. In each
panel stand the slope at 0 (left of 0 | right of 0 where they differ) and the minimum, where f has one at a finite x,
with a dot. Of the nineteen, GELU (and its approximation by tanh), Swish, Mish, GoLU, TeLU, xIELU and AGLU have such a
minimum; GoLU's, -0.0973, is the least deep. The others never decrease. What PReLU (its slope on the left), xIELU and
AGLU learn is drawn as it starts.

Source: textbook definitions, as PyTorch has them; GoLU is x * exp(-exp(-x)) (arXiv 2502.03654), ReLU2, TeLU, xIELU and
AGLU are of arXiv 2109.08668, 2412.20269, 2411.13010 and 2407.08567. The picture is ours.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from golu.activations import distinct_activations
from visualizations.shared.drawing import broken_at_0, colour_of, draw_curve
from visualizations.shared.functions import slope, turning_points, values
from visualizations.shared.panels import grid_of
from visualizations.shared.program import FigureProgram, Options, Row, column, columns, names_in, points
from workbench.cli.errors import run
from workbench.output.style import INK

SPAN = 4.0
NEAR_0 = 1e-9  # where the slopes on either side of 0 are taken


def numbers(options: Options) -> list[Row]:
    x = np.linspace(-SPAN, SPAN, 180)  # an even number: without 0, where some slopes jump
    rows = []
    for name in options.activations:
        minimum = [at for at, _ in turning_points(name, 0, -SPAN, SPAN)]
        for point, at in (("minimum", minimum), ("left of 0", [-NEAR_0]), ("right of 0", [NEAR_0]), ("curve", x)):
            rows += points(name, point, at, f=values, slope=slope)
    return rows


def draw(rows: list[Row], _: Options) -> Figure:
    names = names_in(rows)
    down, across = grid_of(len(names), 5)
    figure = Figure(figsize=(max(1.95 * across, 4.8), max(1.75 * down, 2.6) + 0.5), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, names, strict=False):
        _draw_panel(axes, rows, name)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    for lowest in [panels[(len(names) - 1 - i) // across, i] for i in range(min(across, len(names)))]:
        lowest.set_xlabel("x")
        lowest.tick_params(labelbottom=True)
    look = {"color": INK, "lw": 1.6}
    handles = [Line2D([], [], label="f(x)", **look), Line2D([], [], label="f'(x)", linestyle="--", **look)]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    return figure


def _draw_panel(axes: Axes, rows: list[Row], name: str) -> None:
    x, f, steepness = columns(rows, "x", "f", "slope", activation=name, point="curve")
    left, right = (column(rows, "slope", activation=name, point=f"{side} of 0")[0] for side in ("left", "right"))
    jumps = abs(right - left) > 1e-6
    draw_curve(axes, x, f, name, linestyle="-", lw=1.9)
    draw_curve(axes, *(broken_at_0(x, steepness) if jumps else (x, steepness)), name, linestyle="--", lw=1.2)
    words = [f"slope at 0: {left:.3g} | {right:.3g}" if jumps else f"slope at 0: {left:.3g}"]
    for at, lowest in zip(*columns(rows, "x", "f", activation=name, point="minimum"), strict=True):
        axes.plot(at, lowest, "o", color=colour_of(name), markersize=4, zorder=5)
        words.append(f"minimum: {lowest:.4f}")
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.text(0.03, 0.97, "\n".join(words), transform=axes.transAxes, va="top", fontsize=8, bbox=box)
    axes.set(title=name, xlim=(-SPAN, SPAN), ylim=(-2, 3.6), xticks=range(-4, 5, 2), yticks=range(-2, 4))


FIGURE = FigureProgram("activations.activation_visualizations", __doc__, numbers, draw, default=distinct_activations())

if __name__ == "__main__":
    run(FIGURE.main)
