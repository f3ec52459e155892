"""The loss over a plane through a trained model's weights, as surfaces and contours draw it."""

import argparse
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from visualizations.shared.drawing import power_of_ten
from visualizations.shared.landscape import NORMALISATIONS, Points, evaluate
from visualizations.shared.program import Options, Row, column, columns
from visualizations.shared.trained import add_model_flags, trained
from workbench.cli.arguments import Parser, positive_float, seed

COLOURS = "viridis"
TITLES = {"filter": "filter by filter", "whole": "as a whole"}  # how directions are scaled


def add_surface_flags(parser: Parser) -> None:
    """Which models, which plane, how finely."""
    add_model_flags(parser, seeds=None)
    parser.add_argument("--points", type=_odd, default=21, metavar="N", help="points along each direction, odd")
    parser.add_argument(
        "--span", type=positive_float, default=1.0, metavar="X", help="the farthest distance, both ways"
    )
    parser.add_argument("--direction-seed", type=seed, default=0, metavar="N", help="of the two random directions")


def _odd(text: str) -> int:
    if not text.isdecimal() or int(text) < 5 or int(text) % 2 == 0:
        raise argparse.ArgumentTypeError(
            f"must be an odd number of at least 5, so that the minimum is one, not {text!r}"
        )
    return int(text)


def surface_rows(options: Options, normalisations: tuple[str, ...] = NORMALISATIONS) -> list[Row]:
    """activation, normalisation, a, b and the training loss at weights + a * first + b * second direction."""
    steps = np.linspace(-options.span, options.span, options.points).round(12).tolist()
    directions = (2 * options.direction_seed, 2 * options.direction_seed + 1)
    runs = trained(options)
    batches = [
        Points(run, normalisation, directions, tuple((a, b) for b in steps))  # a line of the grid at a time
        for normalisation in normalisations
        for run in runs
        for a in steps
    ]
    return [
        {"activation": points.run.activation, "normalisation": points.normalisation, "a": a, "b": b, "loss": loss}
        for points, found in zip(batches, evaluate(batches, options.data), strict=True)
        for (a, b), loss in zip(points.coefficients, found.losses, strict=True)
    ]


def grid(rows: list[Row], activation: str, normalisation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """a, b and the loss, each (points, points)."""
    found = columns(rows, "a", "b", "loss", activation=activation, normalisation=normalisation)
    return tuple(each.reshape(round(len(each) ** 0.5), -1) for each in found)


def decades(rows: list[Row]) -> tuple[float, float]:
    """The lowest and the highest loss of all, as powers of ten."""
    losses = np.log10(np.maximum(column(rows, "loss"), 1e-6))
    return float(losses.min()), float(losses.max())


def loss_bar(figure: Figure, colours: ScalarMappable, panels: np.ndarray, **more: Any) -> None:
    """The colour scale beside the panels, with a tick at every power of ten."""
    look = {"ticks": MultipleLocator(1), "format": power_of_ten, "label": "training loss (nats)"}
    figure.colorbar(colours, ax=panels.ravel().tolist(), **look, **more)
