"""Draw the report's figures as SVG."""

from __future__ import annotations

import functools
import io
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tasks.report.across import Summary
from tasks.report.comparison import Table, in_order
from tasks.report.rates import Group, mean_of
from tasks.report.sections import Picture
from workbench.output.style import INK, figure_style, line_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3  # of axes side by side
WIDTH, LEFT, RIGHT, ABOVE, BELOW = 3.6, 0.9, 0.15, 0.5, 0.55  # of an axis with its labels, and these, in inches
PANELS = 12  # axes of one figure
MOST = 24  # axes of all its figures, which are slow to draw


def _svg(size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    with figure_style(), matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=size)
        draw(figure)
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    text = content.getvalue()
    return text[text.index("<svg") :]


def _panels(title: str, meaning: str, draws: Sequence[Callable[[Axes], None]], height: float) -> list[Picture]:
    """Draw axes side by side, in several figures if there are many.

    Args:
        height: of an axis without its title and labels, in inches.
    """
    pictures, all_of_them = [], len(draws)
    draws = draws[:MOST]
    meaning += f" Drawn are the first {MOST} of {all_of_them}." if all_of_them > MOST else ""
    for start in range(0, len(draws), PANELS):
        some = draws[start : start + PANELS]
        columns = min(COLUMNS, len(some))
        size = (WIDTH * columns, (height + ABOVE + BELOW) * math.ceil(len(some) / columns))
        part = f" ({start // PANELS + 1})" if len(draws) > PANELS else ""
        svg = _svg(size, functools.partial(_fill, draws=some, columns=columns, height=height))
        pictures.append(Picture(title + part, svg, meaning))
    return pictures


def _fill(figure: Figure, draws: Sequence[Callable[[Axes], None]], columns: int, height: float) -> None:
    """Place axes by hand: matplotlib's layout takes as long as the drawing."""
    width, total = figure.get_size_inches()
    for place, draw in enumerate(draws):
        row, column = divmod(place, columns)
        bottom = total - (row + 1) * (height + ABOVE + BELOW) + BELOW
        left = column * WIDTH + LEFT
        draw(figure.add_axes((left / width, bottom / total, (WIDTH - LEFT - RIGHT) / width, height / total)))


def _title(*lines: str) -> str:
    return "\n".join(textwrap.shorten(line, 46, placeholder=" ...") for line in lines)


def differences(tables: Sequence[Table]) -> list[Picture]:
    """Draw the differences to the baseline with their 95% intervals, an axis for each table."""
    drawn = [table for table in tables if any(each.difference for each in table.judged)]
    most = max((len(table.judged) for table in drawn), default=0)
    meaning = (
        "Mean difference to the baseline, paired over seeds, with its 95% t-interval; filled: claimed after Holm's "
        "correction. The tables below have the numbers."
    )
    draws = [lambda axes, table=table: _difference(axes, table) for table in drawn]
    return _panels("Differences to the baseline", meaning, draws, 0.24 * most)


def _difference(axes: Axes, table: Table) -> None:
    rows = [each for each in table.judged if each.difference]
    for place, each in enumerate(reversed(rows)):
        difference = each.difference
        if difference is None:
            continue
        colour, _ = line_of(each.activation)
        face = colour if each.better is not None else "white"
        axes.errorbar(
            difference.mean, place, xerr=difference.margin, fmt="o", color=colour, markerfacecolor=face, capsize=3
        )
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [each.activation for each in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    arrow = "better →" if table.metric.higher_is_better else "← better"
    axes.set_xlabel(f"{table.metric.label}, minus {table.baseline}'s ({arrow})", fontsize=8)
    axes.set_title(_title(table.comparison.name, table.comparison.dataset), fontsize=8)


def learning_rates(groups: Sequence[tuple[Group, Mapping[str, float | None]]]) -> list[Picture]:
    """Draw the judge against the learning rate, for each group with several; a ring marks the rate that was chosen.

    Args:
        groups: each with the rate that an activation got.
    """
    draws = [lambda axes, of=of, chosen=chosen: _curves(axes, of, chosen) for of, chosen in groups]
    meaning = (
        "Mean of the metric that judges at each learning rate, with one standard error; rings: the rate that each "
        "activation got. A rate at which every run failed has no point."
    )
    return _panels("Learning rates", meaning, draws, 1.9)


def _curves(axes: Axes, group: Group, chosen: Mapping[str, float | None]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    runs = group.search or group.results
    for name in in_order(runs):
        colour, style = line_of(name)
        found = [(rate, mean_of(of, group.judge)) for rate, of in sorted(runs[name].items(), key=lambda x: x[0] or 0)]
        points = [(rate, mean) for rate, mean in found if rate is not None and mean is not None]
        if not points:
            continue
        x, y = [rate for rate, _ in points], [mean.mean for _, mean in points]
        errors = [mean.standard_error or 0.0 for _, mean in points]
        axes.errorbar(x, y, errors, color=colour, linestyle=style, marker="o", markersize=3, label=name, capsize=2)
        rings = [(rate, mean.mean) for rate, mean in points if rate == chosen.get(name)]
        axes.plot(*zip(*rings, strict=True) if rings else ([], []), "o", color=colour, markersize=9, fillstyle="none")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(_title(group.name), fontsize=8)
    axes.set_xlabel("learning rate" + (" (runs of the search)" if group.search else ""), fontsize=8)
    axes.set_ylabel(group.judge.label, fontsize=8)
    axes.legend(fontsize=7, handlelength=3)


def over_tasks(summary: Summary) -> list[Picture]:
    """Draw the interquartile means and, if there are ranks, the critical-difference diagram."""

    def means(figure: Figure) -> None:
        axes = figure.add_axes((0.16, 0.6 / height, 0.8, 1 - 0.75 / height))
        for place, (name, mean) in enumerate(reversed(list(summary.means.items()))):
            colour, _ = line_of(name)
            margins = [[mean.value - mean.low], [mean.high - mean.value]]
            axes.errorbar(mean.value, place, xerr=margins, fmt="D", color=colour, capsize=4)
        axes.set_yticks(range(len(summary.means)), list(reversed(summary.activations)))
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"interquartile mean, in standard deviations from {summary.baseline} (better →)")

    height = 0.9 + 0.3 * len(summary.means)
    what = f"Interquartile mean of normalised scores over {len(summary.tasks)} tasks, with its 95% bootstrap interval."
    pictures = [Picture("Interquartile means", _svg((6.4, height), means), what)]
    if summary.ranks:
        what = "Mean rank of each activation, 1 best; a bar joins activations whose ranks do not differ at 5%."
        size = (7.2, 1.2 + 0.2 * len(summary.means))
        pictures.append(Picture("Critical difference", _svg(size, lambda figure: _ranks(figure, summary)), what))
    return pictures


def cliques(means: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """Return the longest stretches of sorted mean ranks that do not differ, as first and last index."""
    found: list[tuple[int, int]] = []
    for first in range(len(means)):
        last = max(i for i in range(first, len(means)) if means[i] - means[first] <= critical)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def _ranks(figure: Figure, summary: Summary) -> None:
    ranks = summary.ranks
    if ranks is None:
        return
    ordered = sorted(zip(ranks.mean, summary.activations, strict=True))
    axes, count = figure.add_axes((0, 0, 1, 1)), len(ordered)
    half = -(-count // 2)
    for place, (mean, name) in enumerate(ordered):
        left = place < half
        depth = -1.2 - (place if left else count - 1 - place) * 0.7
        end, side = (0.6, "right") if left else (count + 0.4, "left")
        axes.plot([mean, mean, end], [0, depth, depth], color=line_of(name)[0], linewidth=1.2)
        axes.text(end + (-0.06 if left else 0.06), depth, f"{name} ({mean:.2f})", ha=side, va="center", fontsize=8)
    for level, (first, last) in enumerate(cliques([mean for mean, _ in ordered], ranks.critical_difference)):
        ends = [ordered[first][0] - 0.04, ordered[last][0] + 0.04]
        axes.plot(ends, [-0.3 - 0.25 * level] * 2, color=INK, linewidth=3, solid_capstyle="butt")
    axes.plot([1, 1 + ranks.critical_difference], [1.0, 1.0], color=INK, linewidth=1.5)
    axes.text(1, 1.15, f"critical difference {ranks.critical_difference:.2f}", fontsize=8, va="bottom")
    axes.plot([1, count], [0, 0], color=INK, linewidth=0.8)
    for rank in range(1, count + 1):
        axes.plot([rank, rank], [0, 0.15], color=INK, linewidth=0.8)
        axes.text(rank, 0.25, str(rank), ha="center", va="bottom", fontsize=8, color=INK)
    axes.set(xlim=(-0.6, count + 1.6), ylim=(-1.6 - 0.7 * half, 2.0))
    axes.set_axis_off()
