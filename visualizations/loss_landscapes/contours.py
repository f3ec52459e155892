"""The same loss surfaces as contours

    python -m visualizations.loss_landscapes.contours

What loss_landscapes.surfaces shows, from above: the training loss at w + a d1 + b d2, with a line at each factor of
the square root of 10. The dot is where training ended. Wide rings are a flat minimum; where they are not round, one
direction matters more than another; further minima would be closed rings of their own, and there are none.

Source: after Li et al., 2018, and the paper (arXiv 2502.03654, "smooth loss landscape"); drawn here from small
models.
"""

import numpy as np
from matplotlib.figure import Figure

from visualizations.shared.drawing import power_of_ten
from visualizations.shared.program import FigureProgram, Options, Row, names_in
from visualizations.shared.surface import COLOURS, TITLES, add_surface_flags, decades, grid, loss_bar, surface_rows
from workbench.cli.errors import run
from workbench.output.style import INK


def draw(rows: list[Row], _: Options) -> Figure:
    names, normalisations = names_in(rows), names_in(rows, "normalisation")
    figure = Figure(figsize=(max(1.75 * len(names), 3) + 0.9, 1.75 * len(normalisations) + 0.5), layout="constrained")
    panels = figure.subplots(len(normalisations), len(names), sharex=True, sharey=True, squeeze=False)
    low, high = decades(rows)
    levels = np.arange(2 * np.floor(low), np.ceil(2 * high) + 1) / 2  # from a power of ten
    for line, normalisation in zip(panels, normalisations, strict=True):
        for axes, name in zip(line, names, strict=True):
            a, b, loss = grid(rows, name, normalisation)
            height = np.log10(np.maximum(loss, 1e-6))
            filled = axes.contourf(a, b, height, levels, cmap=COLOURS)
            lines = axes.contour(a, b, height, levels, colors="white", linewidths=0.4, linestyles="solid")
            axes.clabel(lines, lines.levels[::2], fmt=power_of_ten, fontsize=5.5, inline_spacing=1)
            axes.plot(0, 0, "o", color="white", markeredgecolor=INK, markeredgewidth=0.6, markersize=3.5)
            axes.set(aspect="equal", xticks=[a.min(), 0, a.max()], yticks=[b.min(), 0, b.max()])
            axes.grid(visible=False)
        line[0].set_ylabel(f"b, scaled {TITLES[normalisation]}")
    for axes, name in zip(panels[0], names, strict=True):
        axes.set_title(name)
    for axes in panels[-1]:
        axes.set_xlabel("a")
    loss_bar(figure, filled, panels, aspect=30, pad=0.01)
    return figure


FIGURE = FigureProgram("loss_landscapes.contours", __doc__, surface_rows, draw, add_flags=add_surface_flags)

if __name__ == "__main__":
    run(FIGURE.main)
