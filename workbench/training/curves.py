"""Draw a run's losses and the metric that judges it, and the mean of several runs' curves."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.output.estimates import estimate
from workbench.output.storage import write_bytes
from workbench.output.style import figure_style, line_of
from workbench.training.metrics import AVERAGED, Metric
from workbench.training.runs import StoredRun, Trace, position

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE = 20  # ratio of the largest loss to the smallest from which on the axis is logarithmic


def draw_run(run: StoredRun, trace: Trace, metrics: Sequence[Metric]) -> None:
    """Write plot_<seed>.png: training loss and validation loss, and the metric that judges.

    Args:
        metrics: those of the run; the first one judges.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    axis, colour = position(trace[0])[0], line_of(run.activation)[0]
    look: dict[str, Any] = {"marker": "o" if len(trace) < 20 else "", "color": colour}
    places = [entry[axis] for entry in trace]
    judge = metrics[0]
    plain = next((each for each in metrics if AVERAGED + each.key == judge.key), judge)
    with figure_style():
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(places, values_of(trace, "train_loss"), ":", label="training", **look)
        loss = next((each for each in metrics if each.role == "loss"), None)
        if loss is not None:
            left.plot(places, values_of(trace, loss.key), label="validation", **look)
        left.set_title("Loss")
        log_if_wide(left, [y for line in left.lines for y in line.get_ydata()])
        left.legend()
        if plain == judge:
            right.plot(places, values_of(trace, judge.key), **look)
        else:
            right.plot(places, values_of(trace, plain.key), label="weights", **look)
            right.plot(places, values_of(trace, judge.key), "--", label="moving average of the weights", **look)
            right.legend()
        right.set_title(plain.label.capitalize())
        for axes in (left, right):
            axes.set_xlabel(axis)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        title = f"{run.model}, {run.dataset}, {run.activation}, seed {run.seed}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=150)
    write_bytes(run.plot_path, content.getvalue())


def values_of(trace: Trace, key: str) -> list[float]:
    """Return one number of every evaluation; NaN, which is not drawn, where there is none."""
    return [math.nan if entry.get(key) is None else entry[key] for entry in trace]


def log_if_wide(axes: Axes, values: Sequence[float]) -> None:
    """Make an axis of losses logarithmic where they span more than a factor of WIDE."""
    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) > WIDE * min(finite):
        axes.set_yscale("log")


def draw_mean(
    axes: Axes, x: Sequence[float], by_seed: Sequence[Sequence[float]], interval: bool = False, **look: Any
) -> None:
    """Draw the mean over seeds as a line, in a band where there are several.

    Args:
        by_seed: one curve a seed, each of x's length.
        interval: whether the band is the mean's 95% interval, instead of one standard error to either side.
        look: matplotlib's properties of the line; the band has its colour.
    """
    found = [estimate(values) for values in zip(*by_seed, strict=True)]
    (line,) = axes.plot(x, [each.mean for each in found], **look)
    if len(by_seed) > 1:
        margins = [(each.margin if interval else each.standard_error) or 0.0 for each in found]
        low = [each.mean - margin for each, margin in zip(found, margins, strict=True)]
        high = [each.mean + margin for each, margin in zip(found, margins, strict=True)]
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
