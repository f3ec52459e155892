"""What an activation makes of normal inputs, over their mean and deviation: numbers and panels of several figures."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from visualizations.shared.drawing import draw_curve
from visualizations.shared.gaussian import Moments, moments
from visualizations.shared.program import Row, column, names_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
        for point in zip(*(values.ravel().tolist() for values in columns.values()), strict=True):
            rows.append({"activation": name} | dict(zip(columns, point, strict=True)))
    return rows


def on_grid(rows: list[Row], key: str, activation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, deviations, and the quantity at each of both, a row of it for each deviation."""
    own = [row for row in rows if row["activation"] == activation]
    means, deviations = (np.array(names_in(own, each)) for each in ("mean", "deviation"))
    return means, deviations, column(own, key).reshape(len(deviations), len(means))


def draw_over(axes: "Axes", rows: list[Row], key: str, along: str, **fixed: float) -> None:
    """A curve an activation: the quantity `key` over "mean" or "deviation", the other fixed."""
    for name in names_in(rows):
        x, y = (column(rows, each, activation=name, **fixed) for each in (along, key))
        draw_curve(axes, x, y, name)
    (at,) = fixed.items()
    axes.set(xlabel=f"{along.capitalize()} of X ({at[0]} {at[1]:g})")
