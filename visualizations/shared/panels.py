"""How panels stand in a picture, and the legend that they share."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def panels_of(height: float, down: int, across: int, **more: Any) -> tuple[Figure, Any]:
    """A figure of the usual width and this height, in inches, and its panels; `more` is for matplotlib's `subplots`."""
    figure = Figure(figsize=(9.6, height), layout="constrained")
    return figure, figure.subplots(down, across, **more)


def grid_of(count: int, widest: int) -> tuple[int, int]:
    """Rows and columns for so many panels, at most `widest` in a row, the last row as full as it can be."""
    rows = -(-count // widest)
    return rows, -(-count // rows)


def legend_below(figure: Figure, axes: Axes, widest: int = 8, only: Sequence[str] | None = None) -> None:
    """The legend of one panel, for all, under the panels, where it hides nothing.

    Args:
        only: the labels that it has (default: all of them).
    """
    entries = {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    labels = list(entries if only is None else only)
    _, across = grid_of(len(labels), widest)
    figure.legend([entries[label] for label in labels], labels, loc="outside lower center", ncols=across)
