"""What an activation makes of normal inputs, over their mean and deviation: numbers and panels of several figures."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from visualizations.shared.drawing import draw_curves
from visualizations.shared.gaussian import Moments, moments
from visualizations.shared.program import Row, column, names_in, rows_of, where

Read = Callable[[Moments], np.ndarray]


def rows_over(
    activations: Sequence[str], means: Sequence[float], deviations: Sequence[float], quantities: dict[str, Read]
) -> list[Row]:
    """A row for each activation, mean and deviation, with the named quantities of f(X) there."""
    mean, deviation = np.meshgrid(means, deviations)
    rows = []
    for name in activations:
        found = moments(name, mean, deviation)
        columns = {"mean": mean, "deviation": deviation} | {key: read(found) for key, read in quantities.items()}
        rows += rows_of({"activation": name}, **{key: values.ravel() for key, values in columns.items()})
    return rows


def on_grid(rows: list[Row], key: str, activation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, deviations, and the quantity at each of both, a row of it for each deviation."""
    own = where(rows, activation=activation)
    means, deviations = (np.array(names_in(own, each)) for each in ("mean", "deviation"))
    return means, deviations, column(own, key).reshape(len(deviations), len(means))


def draw_over(axes: Axes, rows: list[Row], key: str, along: str, **fixed: float) -> None:
    """A curve an activation: the quantity `key` over "mean" or "deviation", the other fixed."""
    draw_curves(axes, rows, along, key, **fixed)
    (at,) = fixed.items()
    axes.set(xlabel=f"{along.capitalize()} of X ({at[0]} {at[1]:g})")
