"""The gates f(x) / x of ReLU, GELU, Swish, Mish and GoLU

    python -m visualizations.golu_plots.gates

Each of these activations is x times a gate: GELU's is the normal distribution function Phi(x), Swish's the logistic
1 / (1 + exp(-x)), Mish's tanh(log(1 + exp(x))), ReLU's a step, and GoLU's the Gompertz function exp(-exp(-x)). Left:
the gates. Right: how far each is from being symmetric about the point (0, 1/2), g(x) + g(-x) - 1. That is 0 everywhere
for GELU and Swish; GoLU's gate lets less through (at 0 itself 1/e instead of 1/2), Mish's more.

Source: the gates are in the paper's definition of GoLU (arXiv 2502.03654); the right panel is ours.
"""

import numpy as np
from matplotlib.figure import Figure

from golu.activations import gated_activations
from visualizations.shared.drawing import draw_curves, mark
from visualizations.shared.functions import gate
from visualizations.shared.panels import panels_of
from visualizations.shared.program import FigureProgram, Options, Row, names_in, rows_of
from workbench.cli.errors import run


def numbers(options: Options) -> list[Row]:
    x = np.linspace(-5, 5, 400)  # an even number: without 0, where ReLU's gate jumps
    rows = []
    for name in options.activations:
        g = gate(name, x)
        rows += rows_of({"activation": name}, x=x, gate=g, asymmetry=g + g[::-1] - 1)
    return rows


def draw(rows: list[Row], _: Options) -> Figure:
    figure, (left, right) = panels_of(3.4, 1, 2)
    draw_curves(left, rows, "x", "gate")
    draw_curves(right, rows, "x", "asymmetry")
    if "GoLU" in names_in(rows):
        mark(left, 0, np.exp(-1), "1/e", "GoLU")
    left.set(title="Gate g(x) = f(x) / x", xlabel="x", xlim=(-5, 5))
    right.set(title="Asymmetry g(x) + g(-x) - 1", xlabel="x", xlim=(-5, 5))
    left.legend(loc="upper left")
    return figure


FIGURE = FigureProgram("golu_plots.gates", __doc__, numbers, draw, known=gated_activations())

if __name__ == "__main__":
    run(FIGURE.main)
