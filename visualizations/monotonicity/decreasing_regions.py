"""Where the activations decrease, and how deep they fall

    python -m visualizations.monotonicity.decreasing_regions

GELU, Swish, Mish and GoLU are not monotone: each falls from 0 at minus infinity to one minimum, left of x = 0, and
rises from there on. Above: the curves, thick where they decrease. Below: from where to where; the bar begins where the
curve, followed to the left of its minimum, is within 1 % of the minimum's depth of 0, the thin line goes on to minus
infinity. GoLU falls least, by 0.0973, and over the shortest interval: its minimum is at -0.5671, nearest to 0, and it
is within 1 % at -2.0341. GELU falls by 0.1700 (minimum at -0.7518, within 1 % at -3.2805), Swish by 0.2785 (at
-1.2785, within 1 % at -7.9574) and Mish by 0.3088 (at -1.1924, within 1 % at -7.8390). ReLU and its like decrease
nowhere. The command prints the table.

Source: minima and intervals follow from the definitions (GoLU: arXiv 2502.03654); the 1 % is our choice.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from visualizations.shared.drawing import colour_of, draw_curve
from visualizations.shared.functions import minimum_of, values
from visualizations.shared.panels import panels_of
from visualizations.shared.program import FigureProgram, Options, Row, columns, names_in, points, where
from workbench.cli.errors import run
from workbench.output.tables import plain_table

SPAN = (-10.0, 1.0)
LEFT = 0.01  # of the depth
TEXT_AT = 0.45  # right of the curves
RIGHT_END = 3.4
GAP = 0.032  # between two lines of text, in f


def numbers(options: Options) -> list[Row]:
    rows = []
    for name in options.activations:
        rows += points(name, "curve", np.linspace(*SPAN, 221), f=values)
        minimum = minimum_of(name)
        if minimum is not None:
            rows += points(name, "within 1 % of 0", [_near_0(name, *minimum)], f=values)
            rows += points(name, "minimum", [minimum[0]], f=values)
    return rows


def _near_0(name: str, x: float, lowest: float) -> float:
    """Where, left of the minimum, no more than LEFT of its depth is left."""
    from scipy.optimize import brentq

    return float(brentq(lambda at: values(name, np.array(at)).item() - LEFT * lowest, -20, x))


def summarise(rows: list[Row]) -> str:
    table = [["activation", "minimum", "at", "within 1 % of 0 at", "interval"]]
    for name in names_in(rows):
        found = _interval(rows, name)
        if found is None:
            table.append([name, "decreases nowhere", "", "", ""])
        else:
            near_0, x, lowest = found
            table.append([name, *(f"{value:.4f}" for value in (lowest, x, near_0, x - near_0))])
    return plain_table(table)


def _interval(rows: list[Row], name: str) -> tuple[float, float, float] | None:
    """Where the bar begins, where it ends, and the minimum."""
    ends = {row["point"]: row for row in where(rows, activation=name)}
    return (ends["within 1 % of 0"]["x"], ends["minimum"]["x"], ends["minimum"]["f"]) if "minimum" in ends else None


def draw(rows: list[Row], _: Options) -> Figure:
    names = names_in(rows)
    bars = 0.5 + 0.26 * len(names)
    figure, (above, below) = panels_of(3.4 + bars, 2, 1, sharex=True, height_ratios=(3.2, bars))
    falling = [name for name in names if _interval(rows, name)]
    for name in falling or names:
        _draw_curve(above, rows, name)
    if falling:
        above.set_ylim(1.14 * _name_minima(above, where(rows, point="minimum")), 0.09)
    else:
        above.legend(loc="upper left")
    title = "The curves that decrease, thick where they do" if falling else "None of these decreases anywhere"
    above.set(title=title, ylabel="f(x)")
    for height, name in enumerate(names):
        _draw_interval(below, height, name, _interval(rows, name))
    below.set_yticks(range(len(names)), names)
    below.set(
        title="Where they decrease; thin where less than 1 % of the depth is left",
        xlabel="x",
        xlim=(SPAN[0], RIGHT_END),
        ylim=(len(names) - 0.4, -0.6),
    )
    below.set_xticks(range(-10, 1, 2))
    below.grid(axis="y", visible=False)
    return figure


def _draw_curve(axes: Axes, rows: list[Row], name: str) -> None:
    x, f = columns(rows, "x", "f", activation=name, point="curve")
    draw_curve(axes, x, f, name, lw=1.2)
    found = _interval(rows, name)
    if found:
        falls = x < found[1]
        draw_curve(axes, x[falls], f[falls], name, lw=3.2)
        axes.plot(*found[1:], "o", color=colour_of(name), markersize=6, zorder=5)


def _name_minima(axes: Axes, lowest: list[Row]) -> float:
    """To the right of the curves, as high as the minimum, or lower if two would meet; returns the lowest height."""
    height = 1.0
    for row in sorted(lowest, key=lambda row: -row["f"]):
        height = min(row["f"], height - GAP)
        colour = colour_of(row["activation"])
        axes.annotate(
            f"{row['activation']}: {row['f']:.4f} at {row['x']:.4f}", (row["x"], row["f"]), (TEXT_AT, height),
            va="center", fontsize=8.5, arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7, "relpos": (0, 0.5)},
        )  # fmt: skip
    return height


def _draw_interval(axes: Axes, height: int, name: str, found: tuple[float, float, float] | None) -> None:
    text = "decreases nowhere"
    if found:
        near_0, x, _ = found
        axes.plot([SPAN[0], near_0], [height, height], color=colour_of(name), lw=1)
        axes.plot([near_0, x], [height, height], color=colour_of(name), lw=7, solid_capstyle="butt")
        text = f"{near_0:.2f} to {x:.2f}: {x - near_0:.2f} wide"
    axes.text(TEXT_AT, height, text, va="center", fontsize=8.5)


FIGURE = FigureProgram("monotonicity.decreasing_regions", __doc__, numbers, draw, summarise=summarise)

if __name__ == "__main__":
    run(FIGURE.main)
