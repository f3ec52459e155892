"""The loss surface around a trained ResNet-20, with each activation

    python -m visualizations.loss_landscapes.surfaces
    python -m visualizations.loss_landscapes.surfaces --results results --dataset cifar10 --span 0.5

The training loss at w + a d1 + b d2, where w are the learned weights and d1 and d2 two random directions, the same
random numbers for every activation. Above, each filter of a direction is scaled to the length of the model's own
filter (Li et al., 2018), below, the direction as a whole to the length of all weights: at distance 1 the weights are
as far from the minimum as the minimum is from 0. Heights and colours are logarithmic and the same in all panels. One
pair of directions of one model says little of an activation; loss_landscapes.roughness and
loss_landscapes.weight_noise measure over several seeds and directions.

Source: after the paper's loss landscapes of ResNet-20 (arXiv 2502.03654, "smooth loss landscape"), which are of
models trained on CIFAR-10; these are of small ones trained on digits, unless --results names others.
"""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from visualizations.shared.program import FigureProgram, Options, Row, names_in
from visualizations.shared.surface import COLOURS, TITLES, add_surface_flags, decades, grid, loss_bar, surface_rows
from workbench.cli.errors import run

ANGLE = -55  # from which the surfaces are seen, in degrees


def draw(rows: list[Row], _: Options) -> Figure:
    names, normalisations = names_in(rows), names_in(rows, "normalisation")
    width, height = 2 * max(len(names), 2), 2.1 * len(normalisations)
    figure = Figure(figsize=(width + 0.8, height + 0.4))
    low, high = decades(rows)
    place = {"left": 0.01, "right": width / (width + 1), "bottom": 0.1 / height, "top": height / (height + 0.4)}
    kind = {"subplot_kw": {"projection": "3d"}, "gridspec_kw": place | {"wspace": 0, "hspace": 0}}
    panels = figure.subplots(len(normalisations), len(names), squeeze=False, **kind)
    for line, normalisation in zip(panels, normalisations, strict=True):
        for axes, name in zip(line, names, strict=True):
            draw_surface(axes, rows, name, normalisation, (low, high))
        if len(normalisations) > 1:
            label = {"rotation": 90, "va": "center", "fontsize": 8}
            line[0].text2D(-0.02, 0.5, f"scaled {TITLES[normalisation]}", transform=line[0].transAxes, **label)
    for axes, name in zip(panels[0], names, strict=True):
        axes.set_title(name, loc="center", y=1.08, pad=0)
    scale = ScalarMappable(Normalize(low, high), COLOURS)
    loss_bar(figure, scale, panels, aspect=25, pad=0.05 / len(names), fraction=0.02)
    return figure


def draw_surface(axes: Axes3D, rows: list[Row], name: str, normalisation: str, zlim: tuple[float, float]) -> None:
    """The surface of one activation; all are of the same height and seen from the same side."""
    a, b, loss = grid(rows, name, normalisation)
    height = np.log10(np.maximum(loss, 1e-6))
    axes.plot_surface(
        a, b, height, cmap=COLOURS, vmin=zlim[0], vmax=zlim[1], rstride=1, cstride=1,
        linewidth=0.15, edgecolor=(0, 0, 0, 0.35), rasterized=True,
    )  # fmt: skip
    axes.set(zlim=zlim)
    axes.view_init(elev=28, azim=ANGLE)
    axes.set_box_aspect((1, 1, 0.85), zoom=1.1)
    ends = [float(a.min()), 0.0, float(a.max())]
    axes.set_xticks(ends, [])
    axes.set_yticks(ends, [])
    axes.set_zticks(np.arange(np.ceil(zlim[0]), zlim[1]), [])
    axes.set_xlabel("a", labelpad=-14)
    axes.set_ylabel("b", labelpad=-14)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((1, 1, 1, 0))


FIGURE = FigureProgram("loss_landscapes.surfaces", __doc__, surface_rows, draw, add_flags=add_surface_flags)

if __name__ == "__main__":
    run(FIGURE.main)
