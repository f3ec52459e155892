"""The mean of an activation's output, exactly, for normal inputs

    python -m visualizations.theoretical_experiments.output_mean
    python -m visualizations.theoretical_experiments.output_mean --activations Tanh ELU GoLU

X is normal with a mean and a deviation; E f(X) is found by quadrature. A layer's output with a mean other than 0 moves
what the next layer gets. Left, at mean 0 over the deviation, where ReLU's is deviation / sqrt(2 pi). Middle, at
deviation 1 over the mean. Right, whose E f(X) is closest to 0, over both (the cross is N(0, 1)).

For N(0, 1) the means are 0.2066 for Swish, 0.2404 for Mish, 0.2589 for GoLU, 0.2821 for GELU and 0.3989 for ReLU, in
this order at every deviation shown: what keeps Swish and Mish closer to 0 is their deeper negative part. With positive
means that part counts less, and GoLU, the lowest of the five there, is closest to 0; at deviation 1 for means from 0.79
to 3. On the negative side the mean of each smooth one crosses 0, GoLU's last: at deviation 1 at -1.25, which makes it
the closest for means from -1.83 to -0.99. Farther left it is ReLU, which gives almost nothing but 0.

Source: ours; GoLU is that of arXiv 2502.03654.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from visualizations.shared.drawing import colour_of, mark
from visualizations.shared.normal_inputs import draw_over, rows_over
from visualizations.shared.panels import legend_below, panels_of
from visualizations.shared.program import FigureProgram, Options, Row, column, names_in, where
from workbench.cli.errors import run
from workbench.output.style import INK

MEANS = np.linspace(-3, 3, 61).round(12)
DEVIATIONS = np.linspace(0.05, 3, 60).round(12)
ROOM = 6  # steps of the grid around a name, which must fit into its region


def numbers(options: Options) -> list[Row]:
    whole = rows_over(options.activations, MEANS, DEVIATIONS, {"output_mean": lambda of: of.mean})
    rows = [{"kind": "mean"} | row for row in whole if row["mean"] == 0 or row["deviation"] == 1]
    if len(options.activations) > 1:
        rows += closest(whole)
    return rows


def closest(rows: list[Row]) -> list[Row]:
    """For each mean and deviation, the row whose output mean is closest to 0."""
    best: dict[tuple[float, float], Row] = {}
    for row in rows:
        place = row["mean"], row["deviation"]
        if place not in best or abs(row["output_mean"]) < abs(best[place]["output_mean"]):
            best[place] = row
    return [{"kind": "closest"} | row for row in best.values()]


def draw(rows: list[Row], options: Options) -> Figure:
    curves, nearest = where(rows, kind="mean"), where(rows, kind="closest")
    figure, panels = panels_of(3.7, 1, 3 if nearest else 2)
    draw_over(panels[0], curves, "output_mean", "deviation", mean=0.0)
    draw_over(panels[1], curves, "output_mean", "mean", deviation=1.0)
    panels[0].set(title="At mean 0", ylabel="E f(X)", xlim=(0, 3))
    panels[1].set(title="At deviation 1", ylabel="E f(X)", xlim=(-3, 3))
    panels[1].axhline(0, color=INK, lw=0.8)
    if "GoLU" in options.activations:
        at_0 = column(curves, "output_mean", activation="GoLU", mean=0.0, deviation=1.0).item()
        mark(panels[0], 1, at_0, f"{at_0:.4f}", "GoLU", (6, -12))
    if nearest:
        _draw_closest(panels[2], nearest, options.activations)
    legend_below(figure, panels[0])
    return figure


def _draw_closest(axes: Axes, rows: list[Row], names: list[str]) -> None:
    """Regions in the activations' colours, with their names where these fit."""
    from scipy.ndimage import distance_transform_edt

    means, deviations = names_in(rows, "mean"), names_in(rows, "deviation")
    which = np.array([names.index(row["activation"]) for row in rows]).reshape(len(deviations), len(means))
    colours = ListedColormap([colour_of(name) for name in names])
    axes.pcolormesh(means, deviations, which, cmap=colours, vmin=-0.5, vmax=len(names) - 0.5, rasterized=True)
    for at, name in enumerate(names):
        inside = distance_transform_edt(np.pad(which == at, 1))[1:-1, 1:-1]
        if inside.max() > ROOM:
            row, place = np.unravel_index(inside.argmax(), inside.shape)
            axes.text(means[place], deviations[row], name, color="white", ha="center", va="center", fontweight="bold")
    axes.plot(0, 1, "+", color="white", markersize=8)
    axes.set(title="Closest to 0", xlabel="Mean of X", ylabel="Deviation of X", xlim=(-3, 3), ylim=(0.05, 3))
    axes.grid(visible=False)


FIGURE = FigureProgram("theoretical_experiments.output_mean", __doc__, numbers, draw)

if __name__ == "__main__":
    run(FIGURE.main)
