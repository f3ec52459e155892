"""What alpha, beta and gamma do to GoLU and to its derivative

    python -m visualizations.golu_plots.parameters
    python -m visualizations.golu_plots.parameters --alpha 0.8 1 1.2 --activations GELU

GoLU with parameters is f(x) = alpha * x * exp(-beta * exp(-gamma * x)); in each column one of them varies and the
others are 1. The slope at 0 (dots, below) is alpha * exp(-beta); the minimum (dots, above) lies at -W(1 / beta) /
gamma, W being Lambert's function. Left: alpha scales f and its slope everywhere alike. Middle: beta moves the gate by
log(beta) to the right; the larger it is, the smaller the slope at 0 and the shallower the minimum, but the larger the
largest slope. Right: gamma stretches the curve, f(x; gamma) = f(gamma * x; 1) / gamma: a larger gamma makes the bend
sharper and the minimum shallower, and leaves the slope at 0 and the largest and smallest slope as they are.
--activations draws others, thin, in every panel.

Source: the parameters are in the definition of GoLU (arXiv 2502.03654); the values drawn are our choice.
"""

import argparse
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from visualizations.shared.golu_parameters import add_value_flags, beside_rows, chosen_values, curve_rows, draw_families
from visualizations.shared.program import BESIDE_GOLU, FigureProgram, Options, Row, where
from workbench.cli.arguments import positive_float
from workbench.cli.errors import run

SPAN = 3.5
TOP = 2.0  # of the functions' panels: the straight right part needs no more
DEFAULT = (0.5, 0.75, 1.0, 1.5, 2.0)
LARGEST = 20.0


def numbers(options: Options) -> list[Row]:
    x = np.linspace(-SPAN, SPAN, 160)  # an even number: without 0, where the slope of ReLU jumps
    chosen = chosen_values(options).items()
    rows = [row for name, values in chosen for value in values for row in curve_rows(name, value, x)]
    return rows + beside_rows(options.activations, x)


def draw(rows: list[Row], _: Options) -> Figure:
    figure, panels = draw_families(rows, "varied", SPAN, ["upper left"] * 3, sharey="row")
    deepest = min(row["f"] for row in where(rows, activation="GoLU"))
    panels[0, 0].set_ylim(1.3 * deepest, max(TOP, -1.5 * deepest))
    return figure


def _value(text: str) -> float:
    value = positive_float(text)
    if value > LARGEST:
        raise argparse.ArgumentTypeError(f"must be at most {LARGEST:g} for the curves to be readable, not {text!r}")
    return value


ADD_FLAGS = partial(add_value_flags, kind=_value, default=DEFAULT)
FIGURE = FigureProgram("golu_plots.parameters", __doc__, numbers, draw, add_flags=ADD_FLAGS, **BESIDE_GOLU)

if __name__ == "__main__":
    run(FIGURE.main)
