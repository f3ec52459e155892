"""How the figures draw an activation: one look everywhere, GoLU's line heavier and in front."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from visualizations.shared.program import Row, columns, names_in
from workbench.output.style import line_of


def colour_of(activation: str) -> str:
    """The activation's colour."""
    return line_of(activation)[0]


def look_of(activation: str) -> dict[str, Any]:
    """What matplotlib is told of the activation's line."""
    colour, style = line_of(activation)
    front = activation.startswith("GoLU")
    return {"color": colour, "linestyle": style, "lw": 2.4 if front else 1.5, "zorder": 2 + front, "label": activation}


def draw_curve(axes: Axes, x: np.ndarray, y: np.ndarray, activation: str, **more: Any) -> None:
    """A line in the activation's look, named after it; `more` is for matplotlib and goes before the common look."""
    axes.plot(x, y, **look_of(activation) | more)


def draw_curves(axes: Axes, rows: list[Row], x: str, y: str, **values: Any) -> None:
    """A curve an activation, through the columns x and y of the rows that have these values."""
    for name in names_in(rows):
        draw_curve(axes, *columns(rows, x, y, activation=name, **values), name)


def mark(axes: Axes, x: float, y: float, text: str, activation: str, offset: tuple[float, float] = (8, -10)) -> None:
    """A dot with a few words beside it (offset in points), in the activation's colour."""
    colour = colour_of(activation)
    axes.plot(x, y, "o", color=colour, markersize=5, zorder=5)
    axes.annotate(text, (x, y), offset, textcoords="offset points", color=colour, fontsize=8, zorder=5)


def broken_at_0(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points with a gap at 0, where the function jumps: a line through it would be no part of the graph."""
    right = int(np.searchsorted(x, 0))
    return np.insert(x, right, 0.0), np.insert(y, right, np.nan)


def power_of_ten(value: float, _: object = None) -> str:
    """A tick of an axis on which logarithms are drawn: 0.001, 1, 100."""
    return f"{10.0**value:.3g}"
