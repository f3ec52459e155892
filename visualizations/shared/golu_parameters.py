"""GoLU with one of its three parameters varied: the curves, the flags that choose the values, how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from golu import formula, get_activation_function
from visualizations.shared.drawing import broken_at_0, colour_of, draw_curve
from visualizations.shared.functions import Function, derivative_of, extrema
from visualizations.shared.panels import legend_below
from visualizations.shared.program import Options, Row, column, names_in, rows_of
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError
from workbench.cli.flags import require_distinct

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARAMETERS = ("alpha", "beta", "gamma")
MOST = 10  # values of one parameter that can be told apart in a panel

_NARROW = {"handlelength": 1.0, "handletextpad": 0.4, "columnspacing": 0.8, "fontsize": 7.5, "alignment": "left"}


def golu_with(parameter: str, value: float) -> Function:
    """GoLU with one parameter set and the others 1; by its formula, which warns of nothing."""
    return partial(formula.golu, **{parameter: value})


def curve_rows(parameter: str, value: float, x: np.ndarray) -> list[Row]:
    """The curve, the point at 0, and the points with slope 0, where it turns."""
    function = golu_with(parameter, value)
    common = {"activation": "GoLU", "parameter": parameter, "value": value}
    turns = extrema(partial(derivative_of, function, order=1), x[0], x[-1])
    return [
        row
        for point, at in (("curve", x), ("at 0", np.zeros(1)), ("turn", np.array(turns)))
        for row in _rows(common | {"point": point}, function, at)
    ]


def beside_rows(activations: Sequence[str], x: np.ndarray) -> list[Row]:
    """The curves of other activations, which have none of the parameters."""
    common = {"activation": "", "parameter": "", "value": "", "point": "curve"}
    return [
        row
        for name in activations
        for row in _rows(common | {"activation": name}, get_activation_function(name).double(), x)
    ]


def _rows(common: Row, function: Function, x: np.ndarray) -> list[Row]:
    return rows_of(common, x=x, f=derivative_of(function, x), slope=derivative_of(function, x, 1))


def add_value_flags(parser: Parser, kind: Callable[[str], float], default: Sequence[float]) -> None:
    """--alpha, --beta and --gamma, the values that each takes while the others are 1."""
    for parameter in PARAMETERS:
        shown = " ".join(f"{value:g}" for value in default)
        parser.add_argument(
            f"--{parameter}", type=kind, nargs="+", default=list(default), metavar="X",
            help=f"values of {parameter} to draw, the other two being 1 (default: {shown})",
        )  # fmt: skip


def chosen_values(options: Options) -> dict[str, list[float]]:
    """For each parameter its values, ascending.

    Raises:
        UserError: a value is given twice, or there are too many to be told apart.
    """
    for parameter in PARAMETERS:
        values = getattr(options, parameter)
        require_distinct(f"--{parameter}", values)
        if len(values) > MOST:
            raise UserError(f"--{parameter} has {len(values)} values; give at most {MOST}, or they look alike")
    return {parameter: sorted(getattr(options, parameter)) for parameter in PARAMETERS}


def draw_family(axes: Axes, rows: list[Row], parameter: str, what: str, marked: str) -> None:
    """The curves of one parameter's values, in colours that follow the value; GoLU's own, with 1, stands out.

    Args:
        what: "f" or "slope".
        marked: the points that get a dot, as `curve_rows` calls them.
    """
    mine = [row for row in rows if row["parameter"] == parameter]
    for value, colour in _colours(names_in(mine, "value")).items():
        unit = value == 1
        line = {"color": colour, "lw": 2.4 if unit else 1.5, "zorder": 3 if unit else 2}
        x, y = (column(mine, each, value=value, point="curve") for each in ("x", what))
        axes.plot(x, y, label=f"{value:.3g}", **line)
        x, y = (column(mine, each, value=value, point=marked) for each in ("x", what))
        axes.plot(x, y, "o", color=colour, markersize=4, zorder=5)


def draw_beside(figure: Figure, rows: list[Row]) -> None:
    """The other activations, thin, in the panels of functions (the first three) and in those of slopes."""
    others = [name for name in names_in(rows) if name != "GoLU"]
    for axes, what in zip(figure.axes, ["f"] * 3 + ["slope"] * 3, strict=True):
        for name in others:
            x, y = (column(rows, each, activation=name) for each in ("x", what))
            draw_curve(axes, *(broken_at_0(x, y) if (name, what) == ("ReLU", "slope") else (x, y)), name, lw=0.9)
    if others:
        legend_below(figure, figure.axes[0], only=others)


def legend_of_values(axes: Axes, rows: list[Row], parameter: str, place: str) -> None:
    """Which colour is which value, in a panel that `draw_family` drew first."""
    values = names_in([row for row in rows if row["parameter"] == parameter], "value")
    handles = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")][: len(values)]
    columns = -(-len(values) // 5)
    look = {"handlelength": 1.4, "columnspacing": 1.0, "alignment": "left"} if columns == 1 else _NARROW
    axes.legend(handles=handles, title=parameter, loc=place, ncols=columns, **look)


def _colours(values: list[float]) -> dict[float, object]:
    """Viridis without its lightest end, from the smallest to the largest; 1 in GoLU's colour."""
    import matplotlib

    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, len(values)))
    return {value: colour_of("GoLU") if value == 1 else shade for value, shade in zip(values, shades, strict=True)}
