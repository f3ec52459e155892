"""The picture of a run: its losses and another metric; and the curves of several runs as one."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.output.estimates import estimate
from workbench.output.storage import write_bytes
from workbench.output.style import figure_style, line_of
from workbench.training.run_folder import RunFolder, Trace, place

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_run(folder: RunFolder, trace: Trace, judge: str) -> None:
    """Write plot_<seed>.png; a run that diverged in its first epoch has none."""
    if not trace:
        return
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    axis = place(trace[0])[0]
    epochs = [entry[axis] for entry in trace]
    colour, _ = line_of(folder.activation)
    marker = "o" if len(trace) < 20 else ""
    with figure_style():
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(epochs, [entry["train_loss"] for entry in trace], ":", marker=marker, color=colour, label="training")
        left.plot(epochs, [entry["val_loss"] for entry in trace], marker=marker, color=colour, label="validation")
        left.set_title("Loss")
        losses = [entry[name] for entry in trace for name in ("train_loss", "val_loss")]
        if min(losses) > 0 and max(losses) > 20 * min(losses):
            left.set_yscale("log")
        left.legend()
        metric = judge.removeprefix("ema_")
        if metric == "val_loss":  # which the left half shows
            metric = judge = [name for name in trace[0] if name.startswith("val_")][-1]
        right.plot(epochs, [entry[metric] for entry in trace], marker=marker, color=colour, label="weights")
        if metric != judge:
            averaged = [entry[judge] for entry in trace]
            right.plot(epochs, averaged, "--", marker=marker, color=colour, label="moving average of the weights")
            right.legend()
        right.set_title(
            metric.removeprefix("val_").replace("_", " ").capitalize() + (" (%)" if "accuracy" in metric else "")
        )
        for axes in (left, right):
            axes.set_xlabel(axis)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.suptitle(
            f"{folder.model}, {folder.dataset}, {folder.activation}, seed {folder.seed}", x=0.01, ha="left", fontsize=9
        )
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=150)
    write_bytes(folder.plot_path, content.getvalue())


def draw_mean(axes: "Axes", x: Sequence[float], by_seed: Sequence[Sequence[float]], **look: Any) -> None:
    """The mean over seeds as a line, in a band of one standard error to either side where there are several.

    Args:
        by_seed: one curve a seed, each of x's length.
        look: of the line, for matplotlib; its colour is the band's too.
    """
    found = [estimate(values) for values in zip(*by_seed, strict=True)]
    (line,) = axes.plot(x, [each.mean for each in found], **look)
    if len(by_seed) > 1:
        low = [each.mean - (each.standard_error or 0) for each in found]
        high = [each.mean + (each.standard_error or 0) for each in found]
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
