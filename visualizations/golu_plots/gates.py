"""The gates f(x) / x of ReLU, GELU, Swish, Mish and GoLU

    python -m visualizations.golu_plots.gates

Each of these activations is x times a gate: GELU's is the normal distribution function Phi(x), Swish's the logistic
1 / (1 + exp(-x)), Mish's tanh(log(1 + exp(x))), ReLU's a step, and GoLU's the Gompertz function exp(-exp(-x)). Left:
the gates. Right: how far each is from being symmetric about the point (0, 1/2), g(x) + g(-x) - 1. That is 0 everywhere
for GELU and Swish; GoLU's gate lets less through (at 0 itself 1/e instead of 1/2), Mish's more.

Source: the gates are in the paper's definition of GoLU (arXiv 2502.03654); the right panel is ours.
"""

from typing import TYPE_CHECKING

import numpy as np

from visualizations.shared.drawing import draw_curve, mark
from visualizations.shared.functions import GATED, gate
from visualizations.shared.program import FigureProgram, Options, Row, column, names_in, rows_of
from workbench.cli.errors import run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def numbers(options: Options) -> list[Row]:
    x = np.linspace(-5, 5, 400)  # an even number: without 0, where ReLU's gate jumps
    rows = []
    for name in options.activations:
        g = gate(name, x)
        rows += rows_of({"activation": name}, x=x, gate=g, asymmetry=g + g[::-1] - 1)
    return rows


def draw(rows: list[Row], _: Options) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in names_in(rows):
        x = column(rows, "x", activation=name)
        draw_curve(left, x, column(rows, "gate", activation=name), name)
        draw_curve(right, x, column(rows, "asymmetry", activation=name), name)
    if "GoLU" in names_in(rows):
        mark(left, 0, np.exp(-1), "1/e", "GoLU")
    left.set(title="Gate g(x) = f(x) / x", xlabel="x", xlim=(-5, 5))
    right.set(title="Asymmetry g(x) + g(-x) - 1", xlabel="x", xlim=(-5, 5))
    left.legend(loc="upper left")
    return figure


FIGURE = FigureProgram("golu_plots.gates", __doc__, numbers, draw, known=GATED)

if __name__ == "__main__":
    run(FIGURE.main)
