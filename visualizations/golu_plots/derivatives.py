"""First and second derivatives of the activations

    python -m visualizations.golu_plots.derivatives

Left: f'(x) above, f''(x) below, with dots where they have an extremum and open circles where one does not exist at 0.
Right: the range of their values; a filled end is an extremum, an open end the value next to 0 or the limit at
infinity. GoLU's slope is smaller near the origin only; its largest slope is larger than Swish's and Mish's: 1.1134
against 1.0998 and 1.0885 (GELU's is 1.1289). It is smaller than GELU's for -1.15 < x < 1.84, than Swish's for -1.58 <
x < 0.73 and than Mish's for -1.50 < x < 1.64; at 0 it is 1/e = 0.3679, theirs 0.5, 0.5 and 0.6. Its second derivative
is largest at 0, where it is 2/e = 0.7358. ReLU's slope jumps at 0, where it has no second derivative; on either side
that is 0. The command prints these numbers as tables.

Source: the derivatives are by automatic differentiation in float64; GoLU is x * exp(-exp(-x)) (arXiv 2502.03654).
"""

from functools import partial
from operator import itemgetter

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualizations.shared.drawing import broken_at_0, colour_of, draw_curve
from visualizations.shared.functions import extrema, slope, turning_points
from visualizations.shared.panels import legend_below, panels_of
from visualizations.shared.program import FigureProgram, Options, Row, column, columns, names_in, points, where
from workbench.cli.errors import run
from workbench.output.tables import plain_table

SPAN = 5.0
SEARCHED = 12.0  # extrema are looked for from minus to plus this
NEAR_0, FAR = 1e-9, 1e8  # where limits are taken
DERIVATIVES = {"slope": 1, "second": 2}


def numbers(options: Options) -> list[Row]:
    x = np.linspace(-SPAN, SPAN, 200)  # an even number: without 0, where some jump
    rows_at = partial(points, slope=slope, second=partial(slope, order=2))
    rows = []
    for name in options.activations:
        rows += [*rows_at(name, "curve", x), *rows_at(name, "next to 0", [-NEAR_0, NEAR_0])]
        for what, order in DERIVATIVES.items():
            turns = [place for place, _ in turning_points(name, order, -SEARCHED, SEARCHED)]
            rows += rows_at(name, f"{what} turns", turns)
            ends = rows_at(name, "", [*turns, -NEAR_0, NEAR_0, -FAR, FAR])
            for word, choose in (("smallest", min), ("largest", max)):  # of equal ones the first
                rows.append(choose(ends, key=itemgetter(what)) | {"point": f"{word} {what}"})
        if "GoLU" in options.activations and name != "GoLU":
            rows += rows_at(name, "as steep as GoLU", _as_steep_as_golu(name))
    return rows


def _as_steep_as_golu(name: str) -> list[float]:
    def difference(x: np.ndarray) -> np.ndarray:
        return slope("GoLU", x) - slope(name, x)

    places = extrema(difference, -SEARCHED, SEARCHED)
    return [x for x in places if abs(difference(np.array(x))) < 1e-9]  # not where the other's slope jumps over GoLU's


def summarise(rows: list[Row]) -> str:
    """Two tables: the extremes of both derivatives, and where GoLU is as steep as others."""
    words = [f"{word} {what}" for what in DERIVATIVES for word in ("smallest", "largest")]
    table = [["activation", "smallest f'", "at", "largest f'", "at", "smallest f''", "at", "largest f''", "at"]]
    for name in names_in(rows):
        line = [name]
        for word in words:
            (row,) = where(rows, activation=name, point=word)
            line += [_fixed(row[word.split()[1]]), _place(row["x"])]
        table.append(line)
    crossings = [["activation", "GoLU has its slope at"]]
    for name in names_in(rows, point="as steep as GoLU"):
        places = column(rows, "x", activation=name, point="as steep as GoLU")
        crossings.append([name, ", ".join(_place(x) for x in places)])
    return "\n\n".join(plain_table(each) for each in (table, crossings) if len(each) > 1)


def _place(x: float) -> str:
    if abs(x) == FAR:
        return "inf" if x > 0 else "-inf"
    if abs(x) == NEAR_0:
        return "0+" if x > 0 else "0-"
    return _fixed(x)


def _fixed(value: float) -> str:
    """Four decimals, and no minus before a zero."""
    return f"{round(value, 4) + 0.0:.4f}"


def draw(rows: list[Row], _: Options) -> Figure:
    count = len(names_in(rows))
    figure, panels = panels_of(2 * max(2.7, 0.9 + 0.21 * count) + 0.4, 2, 2, width_ratios=(1.25, 1))
    titles = {"slope": "First derivative f'(x)", "second": "Second derivative f''(x)"}
    for (left, right), (what, title) in zip(panels, titles.items(), strict=True):
        for name in names_in(rows):
            _draw_derivative(left, rows, name, what)
        left.set(title=title, xlabel="x", xlim=(-SPAN, SPAN))
        _draw_ranges(right, rows, what)
        right.set(title=f"Range of {title.split()[-1]}", xlabel=title.split()[-1])
    legend_below(figure, panels[0, 0])
    return figure


def _draw_derivative(axes: Axes, rows: list[Row], name: str, what: str) -> None:
    curve, turns, beside_0 = (
        columns(rows, "x", what, activation=name, point=point) for point in ("curve", f"{what} turns", "next to 0")
    )
    exists = _exists_at_0(rows, name, what)
    draw_curve(axes, *(curve if exists else broken_at_0(*curve)), name)
    axes.plot(*turns, "o", color=colour_of(name), markersize=4, zorder=5)
    if not exists:
        axes.plot(*beside_0, "o", color=colour_of(name), markerfacecolor="white", markersize=4, zorder=5)


def _exists_at_0(rows: list[Row], name: str, what: str) -> bool:
    """Whether neither this derivative nor a lower one jumps at 0."""
    lower = list(DERIVATIVES)[: DERIVATIVES[what]]
    return all(np.ptp(column(rows, each, activation=name, point="next to 0")) < 1e-6 for each in lower)


def _draw_ranges(axes: Axes, rows: list[Row], what: str) -> None:
    """A bar an activation, from the smallest to the largest value, with both written beside it."""
    names = names_in(rows)
    for height, name in enumerate(names):
        ends = [row for word in ("smallest", "largest") for row in where(rows, activation=name, point=f"{word} {what}")]
        axes.plot([row[what] for row in ends], [height, height], color=colour_of(name), lw=2.4)
        for row, away, side in zip(ends, (-7, 7), ("right", "left"), strict=True):
            limit = abs(row["x"]) in (NEAR_0, FAR)
            fill = "white" if limit else colour_of(name)
            axes.plot(row[what], height, "o", color=colour_of(name), markerfacecolor=fill, markersize=5, zorder=3)
            place = {"xytext": (away, 0), "textcoords": "offset points", "ha": side, "va": "center"}
            axes.annotate(_fixed(row[what]), (row[what], height), **place, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.28)
    axes.grid(axis="y", visible=False)


FIGURE = FigureProgram("golu_plots.derivatives", __doc__, numbers, draw, summarise=summarise)

if __name__ == "__main__":
    run(FIGURE.main)
