"""The activations in full scale, and in the negative and the positive neuron space

    python -m visualizations.golu_plots.full_scale_neuron_space

Three views of the same curves: from -8 to 8, where those of the ReLU kind can hardly be told apart; the negative inputs
alone, stretched until they can; and the positive inputs near 0. On the negative side GoLU stays closest to 0 of the
four smooth ones: its minimum is -0.0973, against GELU's -0.1700, Swish's -0.2785 and Mish's -0.3088, and it comes back
to 0 sooner. On the positive side it lies below the others: at 1 it is 0.6922, where Swish is 0.7311, GELU 0.8413 and
Mish 0.8651.

Source: GoLU is x * exp(-exp(-x)) (arXiv 2502.03654); the choice of views is ours.
"""

import numpy as np
from matplotlib.figure import Figure

from visualizations.shared.drawing import colour_of, draw_curve
from visualizations.shared.functions import turning_points, values
from visualizations.shared.panels import legend_below, panels_of
from visualizations.shared.program import FigureProgram, Options, Row, column, columns, names_in, rows_of, where
from workbench.cli.errors import run

VIEWS = {"Full scale": (-8.0, 8.0), "Negative neuron space": (-5.0, 0.0), "Positive neuron space": (0.0, 2.0)}
STEP = {"Full scale": 0.2, "Negative neuron space": 0.05, "Positive neuron space": 0.05}


def numbers(options: Options) -> list[Row]:
    at = {view: np.linspace(low, high, round((high - low) / STEP[view]) + 1) for view, (low, high) in VIEWS.items()}
    rows = []
    for name in options.activations:
        minimum = np.array([x for x, _ in turning_points(name, 0, *VIEWS["Full scale"])])
        for view, x in [*at.items(), ("minimum", minimum)]:
            rows += rows_of({"activation": name, "view": view}, x=x, f=values(name, x))
    return rows


def draw(rows: list[Row], _: Options) -> Figure:
    figure, panels = panels_of(3.9, 1, 3, width_ratios=(1, 1.25, 1))
    lowest = {row["activation"]: row for row in where(rows, view="minimum")}
    for axes, (view, span) in zip(panels, VIEWS.items(), strict=True):
        for name in names_in(rows):
            label = f"{name}, minimum {lowest[name]['f']:.4f}" if name in lowest else name
            draw_curve(axes, *columns(rows, "x", "f", activation=name, view=view), name, label=label)
        y = column(rows, "f", view=view)
        air = 0.06 * np.ptp(y)
        axes.set(title=view, xlabel="x", xlim=span, ylim=(y.min() - air, y.max() + air))
    for name, row in lowest.items():
        panels[1].plot(row["x"], row["f"], "o", color=colour_of(name), markersize=5, zorder=5)
    panels[0].set_ylabel("f(x)")
    legend_below(figure, panels[0], widest=5)
    return figure


FIGURE = FigureProgram("golu_plots.full_scale_neuron_space", __doc__, numbers, draw)

if __name__ == "__main__":
    run(FIGURE.main)
