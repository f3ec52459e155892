"""How panels stand in a picture, and the legend that they share."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def grid_of(count: int, widest: int) -> tuple[int, int]:
    """Rows and columns for so many panels, at most `widest` in a row, the last row as full as it can be."""
    rows = -(-count // widest)
    return rows, -(-count // rows)


def legend_below(figure: "Figure", axes: "Axes", widest: int = 8) -> None:
    """The legend of one panel, for all, under the panels, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    _, across = grid_of(max(len(labels), 1), widest)
    figure.legend(handles, labels, loc="outside lower center", ncols=across)
