"""Draw the comparison: how each activation learns, and where it ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.compare.report import Comparison
from workbench.output.estimates import estimate
from workbench.output.style import INK, figure_style, line_of, save_figure
from workbench.output.tables import decimals, number
from workbench.training.curves import draw_mean, values_of
from workbench.training.runs import position

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 7  # activations that fit side by side with their names and means


def draw(path: Path, comparison: Comparison) -> list[Path]:
    """Write the figure as .png and .svg and return both paths. Runs that diverged are not in it, and it says so."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with figure_style():
        figure = Figure(figsize=(9.6, 4.0), layout=ConstrainedLayoutEngine(wspace=0.06, w_pad=0.08, h_pad=0.08))
        left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
        _learning_curves(left, comparison)
        _final(right, comparison)
        what = f"{comparison.dataset}, {comparison.model}. {meaning(comparison)}"
        figure.supxlabel(what, x=0.01, ha="left", fontsize=8)
        return save_figure(figure, path)


def meaning(comparison: Comparison) -> str:
    """Say what lines and bars are, and which runs are not among them."""
    seeds = len({each.run.seed for each in comparison.runs})
    if seeds == 1:
        text = "One seed: nothing is known of the spread."
    else:
        text = f"Lines and diamonds: mean of {seeds} seeds. Bands and bars: its 95% interval. Dots: single runs."
    lost = {name: len(comparison.of(name)) - len(comparison.converged(name)) for name in comparison.costs}
    diverged = ", ".join(f"{name} {count} of {seeds}" for name, count in lost.items() if count)
    return f"{text} Diverged, and in no mean: {diverged}." if diverged else text


def _learning_curves(axes: Axes, comparison: Comparison) -> None:
    """Draw the mean validation loss, or what judges where there is none, in a band of its 95% interval."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    metric = next((each for each in comparison.metrics if each.role == "loss"), comparison.metrics[0])
    axis, drawn = "epoch", 0
    for activation in comparison.costs:
        traces = comparison.traces(activation)
        if not traces:
            continue
        colour, style = line_of(activation)
        axis, drawn = position(traces[0][0])[0], drawn + 1
        places = [position(entry)[1] for entry in traces[0]]
        curves = [values_of(trace, metric.key) for trace in traces]
        marker = "o" if len(places) == 1 else ""
        draw_mean(axes, places, curves, True, linestyle=style, marker=marker, color=colour, label=activation)
    axes.set(title="Learning curves", xlabel=axis, ylabel=metric.label)
    bottom, top = axes.get_ylim()
    if bottom > 0 and top > 5 * bottom:  # ticks at 1, 2 and 5 need that much room
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
    if drawn:
        axes.legend(loc="best", ncols=1 if drawn <= MANY else 2)


def _final(axes: Axes, comparison: Comparison) -> None:
    """Draw the mean and its 95% interval, and beside them a point for each run, in the order of the seeds."""
    judge, names = comparison.metrics[0], list(comparison.costs)
    for place, activation in enumerate(names):
        values = [each.final(judge) for each in comparison.converged(activation).values()]
        final = [value for value in values if value is not None]
        if not final:
            continue
        colour, _ = line_of(activation)
        if len(final) > 1:
            beside = [place - 0.34 + 0.16 * i / (len(final) - 1) for i in range(len(final))]
            axes.plot(beside, final, "o", color=colour, alpha=0.5, markersize=4, markeredgewidth=0)
        mean = estimate(final)
        axes.errorbar(place, mean.mean, mean.margin, fmt="D", color=colour, markersize=5.5, capsize=4)
        if len(names) <= MANY:
            text, point = number(mean.mean, decimals([mean.mean])), (place, mean.mean)
            axes.annotate(text, point, (8, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
    axes.set(title="At the end", ylabel=judge.label)
    axes.set_xticks(range(len(names)), names)
    if len(names) > MANY:
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", visible=False)
