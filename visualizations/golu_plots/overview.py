"""GoLU beside ReLU, GELU, Swish and Mish: functions, derivatives, gates

    python -m visualizations.golu_plots.overview

Each of these activations is f(x) = x * g(x) with a gate g that goes from 0 to 1. GoLU's gate exp(-exp(-x)) is the
distribution function of the standard Gumbel distribution. At 0 it is 1/e, where the symmetric gates of GELU and Swish
are 1/2: so GoLU leaves 0 with slope 1/e = 0.37 and not 1/2.

Source: the definition of GoLU (arXiv 2502.03654); the picture is ours.
"""

import numpy as np
from matplotlib.figure import Figure

from golu.activations import gated_activations
from visualizations.shared.drawing import broken_at_0, draw_curve
from visualizations.shared.functions import gate, slope, values
from visualizations.shared.panels import panels_of
from visualizations.shared.program import FigureProgram, Options, Row, column, columns, names_in, rows_of
from workbench.cli.errors import run

PANELS = {"f": ("Function f(x)", (-4, 3)), "slope": ("Derivative f'(x)", (-4, 4)), "gate": ("Gate f(x) / x", (-4, 4))}


def numbers(options: Options) -> list[Row]:
    x = np.linspace(-4, 4, 320)  # an even number: without 0, where ReLU's slope and gate jump
    rows = []
    for name in options.activations:
        rows += rows_of({"activation": name}, x=x, f=values(name, x), slope=slope(name, x), gate=gate(name, x))
    return rows


def draw(rows: list[Row], _: Options) -> Figure:
    figure, panels = panels_of(3.3, 1, 3)
    for axes, (what, (title, (low, high))) in zip(panels, PANELS.items(), strict=True):
        for name in names_in(rows):
            curve = columns(rows, "x", what, activation=name)
            draw_curve(axes, *(broken_at_0(*curve) if name == "ReLU" and what != "f" else curve), name)
        visible = column([row for row in rows if low <= row["x"] <= high], what)
        air = 0.05 * np.ptp(visible)
        axes.set(title=title, xlabel="x", xlim=(low, high), ylim=(visible.min() - air, visible.max() + air))
    panels[0].legend(loc="upper left")
    return figure


FIGURE = FigureProgram("golu_plots.overview", __doc__, numbers, draw, known=gated_activations())

if __name__ == "__main__":
    run(FIGURE.main)
