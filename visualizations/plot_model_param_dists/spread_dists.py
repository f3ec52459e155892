"""How widely learned weights are spread

    python -m visualizations.plot_model_param_dists.spread_dists
    python -m visualizations.plot_model_param_dists.spread_dists --results results --dataset cifar10

All weights of convolutions and linear layers of trained models, and of the same models before training, whose weights
are the same for every activation. Left, their density, on a logarithmic scale so that the tails are seen; in the
middle around the peak, the whole range being left out; right, how far percentiles lie from 0 (half the distance
between the q-th and the (100 - q)-th), as a multiple of that at the start. Means over seeds, bars one standard error
over these.

Source: after the paper's distributions of learned weights (arXiv 2502.03654, "spread weight distribution"), there of
larger models; drawn here from small models on digits unless --results names others.
"""

import numpy as np
from matplotlib.figure import Figure

from visualizations.shared.drawing import colour_of, draw_curve
from visualizations.shared.panels import panels_of
from visualizations.shared.program import FigureProgram, Options, Row, column, columns, names_in, rows_of
from visualizations.shared.seeds import with_error
from visualizations.shared.trained import add_model_flags
from visualizations.shared.weights import START, weights_of
from workbench.cli.errors import run
from workbench.output.estimates import Estimate, estimate
from workbench.output.style import INK
from workbench.output.tables import plain_table

BINS = 81
PERCENTILES = (0.1, 1, 5, 25, 50, 75, 95, 99, 99.9)
SPREADS = {"99.8 %": (0.1, 99.9), "98 %": (1, 99), "90 %": (5, 95), "50 %": (25, 75)}  # share of the weights, its ends


def numbers(options: Options) -> list[Row]:
    by_layer = weights_of(options).items()
    of = {name: [np.concatenate(list(each.values())) for each in models] for name, models in by_layer}
    end = float(np.ceil(100 * max(np.quantile(np.abs(w), 0.999) for models in of.values() for w in models)) / 100)
    edges = np.linspace(-end, end, BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    rows: list[Row] = []
    for name, models in of.items():
        density = np.mean([np.histogram(w, edges)[0] / w.size for w in models], axis=0) / (edges[1] - edges[0])
        rows += rows_of({"activation": name, "quantity": "density"}, at=centres, value=density)
        for seed, w in enumerate(models):
            about = {"activation": name, "seed": seed}
            for q in PERCENTILES:
                rows.append(about | {"quantity": "percentile", "at": q, "value": float(np.percentile(w, q))})
            rows.append(about | {"quantity": "standard deviation", "value": float(w.std())})
    return [{"seed": None, "at": None} | row for row in rows]


def spread(rows: list[Row], name: str, ends: tuple[float, float]) -> list[float]:
    """For each seed, half the distance between two percentiles."""
    low, high = (column(rows, "value", activation=name, quantity="percentile", at=q) for q in ends)
    return ((high - low) / 2).tolist()


def spread_to_start(rows: list[Row], name: str, ends: tuple[float, float]) -> Estimate:
    """The same as a multiple of that of the initial weights of the same seed."""
    pairs = zip(spread(rows, name, ends), spread(rows, START, ends), strict=True)
    return estimate([after / before for after, before in pairs])


def summarise(rows: list[Row]) -> str:
    table = [["half the width of", *SPREADS, "standard deviation"]]
    for name in names_in(rows):
        found = [spread(rows, name, ends) for ends in SPREADS.values()]
        found.append(column(rows, "value", activation=name, quantity="standard deviation").tolist())
        table.append([name, *(with_error(estimate(values)) for values in found)])
    return plain_table(table)


def draw(rows: list[Row], _: Options) -> Figure:
    figure, (left, middle, right) = panels_of(3.4, 1, 3, width_ratios=(1.2, 1, 1))
    activations = [name for name in names_in(rows) if name != START]
    for axes in (left, middle):
        at, start = columns(rows, "at", "value", activation=START, quantity="density")
        axes.plot(at, start, ":", color=INK, lw=1.3, label=START)
        for name in activations:
            draw_curve(axes, at, column(rows, "value", activation=name, quantity="density"), name)
        axes.set(xlabel="weight", xlim=(at[0], at[-1]))
    left.set(title="Density of the weights", yscale="log")
    left.legend(fontsize=7.5, loc="lower center", ncols=2)
    peak = 2.2 * np.mean(spread(rows, START, SPREADS["50 %"]))
    middle.set(title="The same, around the peak", xlim=(-peak, peak), ylim=(0.45 * start.max(), None))
    places = np.arange(len(SPREADS))
    for place, name in enumerate(activations):
        found = [spread_to_start(rows, name, ends) for ends in SPREADS.values()]
        beside = places + 0.7 * ((place + 0.5) / len(activations) - 0.5)
        errors = [each.standard_error or 0.0 for each in found]
        look = {"fmt": "o", "color": colour_of(name), "markersize": 4.5, "capsize": 2.5}
        right.errorbar(beside, [each.mean for each in found], errors, **look)
    right.axhline(1, color=INK, ls=":", lw=1.3)
    right.set(title="Spread, to that at the start", xlabel="the middle ... of the weights")
    right.set_xticks(places, list(SPREADS))
    right.grid(axis="x", visible=False)
    return figure


FIGURE = FigureProgram(
    "plot_model_param_dists.spread_dists", __doc__, numbers, draw, add_flags=add_model_flags, summarise=summarise
)

if __name__ == "__main__":
    run(FIGURE.main)
