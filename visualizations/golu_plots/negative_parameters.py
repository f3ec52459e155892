"""GoLU with a negative alpha, beta or gamma

    python -m visualizations.golu_plots.negative_parameters
    python -m visualizations.golu_plots.negative_parameters --beta -0.25 -0.5 -1

f(x) = alpha * x * exp(-beta * exp(-gamma * x)) with one parameter negative and the others 1, beside GoLU itself, where
all are 1. golu.GoLU takes such values with a warning. Left: a negative alpha turns the curve upside down. Middle: with
a negative beta the gate is above 1 and grows without bound to the left, as the exponential of an exponential; the
curve is cut where the gate reaches 1000. The slope at 0 (dot) is exp(-beta), and for -e <= beta < 0 f never decreases.
Right: a negative gamma mirrors, f(x; gamma) = -f(-x; -gamma): large negative inputs pass, positive ones are closed
off. Dots above mark where f turns, dots below its slope at 0. --activations draws others, thin, in every panel.

Source: the formula is the definition of GoLU (arXiv 2502.03654); looking at these values is ours.
"""

import argparse
import math
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from visualizations.shared.golu_parameters import add_value_flags, beside_rows, chosen_values, curve_rows, draw_families
from visualizations.shared.program import BESIDE_GOLU, FigureProgram, Options, Row
from workbench.cli.errors import run

SPAN = 4.0
DEFAULT = (-2.0, -1.0, -0.5)
LOWEST = -5.0
LARGEST_GATE = 1000.0
HEIGHT = 3.0  # of the functions' panels, on either side of 0
STEEPEST = 8.0  # slope that the panel of beta shows


def numbers(options: Options) -> list[Row]:
    rows = []
    for parameter, values in chosen_values(options).items():
        for value in [*values, 1.0]:
            low = _where_the_gate_is_large(value) if parameter == "beta" and value < 0 else -SPAN
            rows += curve_rows(parameter, value, np.linspace(low, SPAN, 160))
    return rows + beside_rows(options.activations, np.linspace(-SPAN, SPAN, 160))


def _where_the_gate_is_large(beta: float) -> float:
    """x with exp(-beta * exp(-x)) = LARGEST_GATE, or the end of the panel."""
    return max(-SPAN, -math.log(math.log(LARGEST_GATE) / -beta))


def draw(rows: list[Row], _: Options) -> Figure:
    figure, panels = draw_families(rows, "negative", SPAN, ("lower left", "lower right", "upper left"))
    for axes in panels[0]:
        axes.set_ylim(-HEIGHT, HEIGHT)
    panels[1, 1].set_ylim(-0.05 * STEEPEST, STEEPEST)
    return figure


def _value(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not LOWEST <= value < 0:
        raise argparse.ArgumentTypeError(f"must be a negative number of at least {LOWEST:g}, not {text!r}")
    return value


ADD_FLAGS = partial(add_value_flags, kind=_value, default=DEFAULT)
FIGURE = FigureProgram("golu_plots.negative_parameters", __doc__, numbers, draw, add_flags=ADD_FLAGS, **BESIDE_GOLU)

if __name__ == "__main__":
    run(FIGURE.main)
