"""GoLU with one of its three parameters varied: the curves, the flags that choose the values, how they are drawn."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from golu import formula, get_activation_function
from visualizations.shared.drawing import broken_at_0, colour_of, draw_curve
from visualizations.shared.functions import Function, derivative_of, extrema
from visualizations.shared.panels import legend_below, panels_of
from visualizations.shared.program import Options, Row, columns, names_in, rows_of, where
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError
from workbench.cli.flags import require_distinct

PARAMETERS = ("alpha", "beta", "gamma")
MOST = 10  # values of one parameter that can be told apart in a panel

_NARROW = {"handlelength": 1.0, "handletextpad": 0.4, "columnspacing": 0.8, "fontsize": 7.5, "alignment": "left"}


def curve_rows(parameter: str, value: float, x: np.ndarray) -> list[Row]:
    """The curve, the point at 0, and the points with slope 0, where it turns."""
    function = partial(formula.golu, **{parameter: value})  # the others are 1; the formula warns of nothing
    turns = extrema(partial(derivative_of, function, order=1), x[0], x[-1])
    rows = []
    for point, at in (("curve", x), ("at 0", np.zeros(1)), ("turn", np.array(turns))):
        common = {"activation": "GoLU", "parameter": parameter, "value": value, "point": point}
        rows += _rows(common, function, at)
    return rows


def beside_rows(activations: Sequence[str], x: np.ndarray) -> list[Row]:
    """The curves of other activations, which have none of the parameters."""
    rows = []
    for name in activations:
        common = {"activation": name, "parameter": "", "value": "", "point": "curve"}
        rows += _rows(common, get_activation_function(name).double(), x)
    return rows


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


def draw_families(
    rows: list[Row], title: str, span: float, legends: Sequence[str], **more: Any
) -> tuple[Figure, np.ndarray]:
    """A column of panels for each parameter, its functions above their slopes; other activations in all of them.

    Args:
        title: what is said of each parameter.
        legends: where the legend of each is.
        more: for matplotlib's `subplots`.
    """
    figure, panels = panels_of(5.8, 2, 3, sharex=True, **more)
    for axes, parameter, place in zip(panels.T, PARAMETERS, legends, strict=True):
        for panel, what, marked in zip(axes, ("f", "slope"), ("turn", "at 0"), strict=True):
            _draw_family(panel, where(rows, parameter=parameter), what, marked)
        axes[0].set_title(f"{parameter.capitalize()} {title}")
        axes[1].set(xlabel="x", xlim=(-span, span))
        _add_legend(axes[0], names_in(rows, "value", parameter=parameter), parameter, place)
    panels[0, 0].set_ylabel("f(x)")
    panels[1, 0].set_ylabel("f'(x)")
    _draw_beside(figure, rows)
    return figure, panels


def _draw_family(axes: Axes, rows: list[Row], what: str, marked: str) -> None:
    """The curves of one parameter's values, in colours that follow the value; GoLU's own, with 1, stands out.

    Args:
        what: "f" or "slope".
        marked: the points that get a dot, as `curve_rows` calls them.
    """
    for value, colour in _colours(names_in(rows, "value")).items():
        line = {"lw": 2.4, "zorder": 3} if value == 1 else {"lw": 1.5, "zorder": 2}
        curve, dots = (columns(rows, "x", what, value=value, point=point) for point in ("curve", marked))
        axes.plot(*curve, label=f"{value:.3g}", color=colour, **line)
        axes.plot(*dots, "o", color=colour, markersize=4, zorder=5)


def _draw_beside(figure: Figure, rows: list[Row]) -> None:
    """The other activations, thin, in the panels of functions (the first three) and in those of slopes."""
    others = [name for name in names_in(rows) if name != "GoLU"]
    for axes, what in zip(figure.axes, ["f"] * 3 + ["slope"] * 3, strict=True):
        for name in others:
            curve = columns(rows, "x", what, activation=name)
            draw_curve(axes, *(broken_at_0(*curve) if (name, what) == ("ReLU", "slope") else curve), name, lw=0.9)
    if others:
        legend_below(figure, figure.axes[0], only=others)


def _add_legend(axes: Axes, values: list[float], parameter: str, place: str) -> None:
    """Tell which colour is which value, in a panel that `_draw_family` drew first."""
    handles = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")][: len(values)]
    across = -(-len(values) // 5)
    look = {"handlelength": 1.4, "columnspacing": 1.0, "alignment": "left"} if across == 1 else _NARROW
    axes.legend(handles=handles, title=parameter, loc=place, ncols=across, **look)


def _colours(values: list[float]) -> dict[float, object]:
    """Viridis without its lightest end, from the smallest to the largest; 1 in GoLU's colour."""
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, len(values)))
    return {value: colour_of("GoLU") if value == 1 else shade for value, shade in zip(values, shades, strict=True)}
