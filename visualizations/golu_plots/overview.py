"""GoLU beside ReLU, GELU, Swish and Mish: functions, derivatives, gates

    python -m visualizations.golu_plots.overview

Each of these activations is f(x) = x * g(x) with a gate g that goes from 0 to 1. GoLU's gate exp(-exp(-x)) is the
distribution function of the standard Gumbel distribution. At 0 it is 1/e, where the symmetric gates of GELU and Swish
are 1/2: so GoLU leaves 0 with slope 1/e = 0.37 and not 1/2.

Source: the definition of GoLU (arXiv 2502.03654); the picture is ours.
"""

from typing import TYPE_CHECKING

import numpy as np

from visualizations.shared.drawing import broken_at_0, draw_curve
from visualizations.shared.functions import GATED, gate, values
from visualizations.shared.program import FigureProgram, Options, Row, column, names_in, rows_of
from workbench.cli.errors import run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {"f": ("Function f(x)", (-4, 3)), "slope": ("Derivative f'(x)", (-4, 4)), "gate": ("Gate f(x) / x", (-4, 4))}


def numbers(options: Options) -> list[Row]:
    x = np.linspace(-4, 4, 320)  # an even number: without 0, where ReLU's slope and gate jump
    rows = []
    for name in options.activations:
        rows += rows_of({"activation": name}, x=x, f=values(name, x), slope=values(name, x, 1), gate=gate(name, x))
    return rows


def draw(rows: list[Row], _: Options) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.3), layout="constrained")
    for axes, (what, (title, (low, high))) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
        for name in names_in(rows):
            points = column(rows, "x", activation=name), column(rows, what, activation=name)
            draw_curve(axes, *(broken_at_0(*points) if name == "ReLU" and what != "f" else points), name)
        visible = column([row for row in rows if low <= row["x"] <= high], what)
        air = 0.05 * np.ptp(visible)
        axes.set(title=title, xlabel="x", xlim=(low, high), ylim=(visible.min() - air, visible.max() + air))
    figure.axes[0].legend(loc="upper left")
    return figure


FIGURE = FigureProgram("golu_plots.overview", __doc__, numbers, draw, known=GATED)

if __name__ == "__main__":
    run(FIGURE.main)
