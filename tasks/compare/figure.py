"""The comparison as a picture: how each activation learns, and where it ends."""

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.compare.problem import Metric
from tasks.compare.recipe import Recipe
from tasks.compare.report import number
from tasks.compare.runs import Run
from workbench.output.estimates import estimate
from workbench.output.style import INK, figure_style, line_of, save_figure
from workbench.training.curves import draw_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes


MANY = 7  # activations that fit side by side with their names and means


def draw(path: Path, recipe: Recipe, metric: Metric, activations: list[str], runs: list[Run]) -> list[Path]:
    """Write the figure as .png and .svg and return both paths. Runs that diverged are not in it."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    converged = {
        activation: [run for run in runs if run["activation"] == activation and run["final"] is not None]
        for activation in activations
    }
    seeds = len({run["seed"] for run in runs})
    meaning = "One seed: nothing is known of the spread."
    if seeds > 1:
        meaning = f"Lines and diamonds: mean of {seeds} seeds. Bands and bars: ± one standard error. Dots: single runs."
    with figure_style():
        figure = Figure(figsize=(9.6, 4.0), layout=ConstrainedLayoutEngine(wspace=0.06, w_pad=0.08, h_pad=0.08))
        left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
        _learning_curves(left, converged)
        _final(right, metric, converged)
        figure.supxlabel(f"{recipe.dataset}, {recipe.model}. {meaning}", x=0.01, ha="left", fontsize=8)
        return save_figure(figure, path)


def _learning_curves(axes: "Axes", converged: dict[str, list[Run]]) -> None:
    """Mean validation loss by epoch, in a band of one standard error to either side."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    for activation, runs in converged.items():
        if not runs:
            continue
        colour, style = line_of(activation)
        epochs = [epoch["epoch"] for epoch in runs[0]["epochs"]]
        curves = [[epoch["val_loss"] for epoch in run["epochs"]] for run in runs]
        marker = "o" if len(epochs) == 1 else ""
        draw_mean(axes, epochs, curves, linestyle=style, marker=marker, color=colour, label=activation)
    axes.set(title="Learning curves", xlabel="epoch", ylabel="validation loss (nats)")
    bottom, top = axes.get_ylim()
    if bottom > 0 and top > 5 * bottom:  # ticks at 1, 2 and 5 need that much room
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
    if any(converged.values()):
        axes.legend(loc="upper right", ncols=1 if len(converged) <= MANY else 2)


def _final(axes: "Axes", metric: Metric, converged: dict[str, list[Run]]) -> None:
    """The mean and its standard error, and beside them a point for each run; the seeds keep their order in each."""
    for place, (activation, runs) in enumerate(converged.items()):
        if not runs:
            continue
        colour, _ = line_of(activation)
        final = [run["final"][metric.key] for run in runs]
        if len(runs) > 1:
            beside = [place - 0.34 + 0.16 * i / (len(runs) - 1) for i in range(len(runs))]
            axes.plot(beside, final, "o", color=colour, alpha=0.5, markersize=4, markeredgewidth=0)
        mean = estimate(final)
        axes.errorbar(place, mean.mean, mean.standard_error, fmt="D", color=colour, markersize=5.5, capsize=4)
        if len(converged) <= MANY:
            text, point = number(mean.mean), (place, mean.mean)
            axes.annotate(text, point, (8, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
    axes.set(title="After the last epoch", ylabel=f"validation {metric.title}")
    axes.set_xticks(range(len(converged)), list(converged))
    if len(converged) > MANY:
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlim(-0.6, len(converged) - 0.4)
    axes.grid(axis="x", visible=False)
