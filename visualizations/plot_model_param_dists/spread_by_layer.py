"""How far training spreads the weights of each layer

    python -m visualizations.plot_model_param_dists.spread_by_layer

The standard deviation of the weights of each convolution and linear layer after training, over that of the same layer
before it (the same initial weights for every activation), from the input to the output; mean over seeds, in a band of
one standard error. Weight decay pulls it below 1, learning pushes it above.

Source: ours, to see where the spread of plot_model_param_dists.spread_dists comes from; of small models on digits
unless --results names others.
"""

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from visualizations.shared.panels import panels_of
from visualizations.shared.program import FigureProgram, Options, Row, column, names_in
from visualizations.shared.seeds import draw_band
from visualizations.shared.trained import add_model_flags
from visualizations.shared.weights import START, weights_of
from workbench.cli.errors import run
from workbench.output.style import INK


def numbers(options: Options) -> list[Row]:
    of = weights_of(options)
    return [
        {
            "activation": name, "seed": seed, "layer": number, "name": layer,
            "spread": float(w.std()), "to_start": float(w.std() / before[layer].std())
        }
        for name, models in of.items() if name != START
        for seed, (model, before) in enumerate(zip(models, of[START], strict=True))
        for number, (layer, w) in enumerate(model.items(), start=1)
    ]  # fmt: skip


def draw(rows: list[Row], _: Options) -> Figure:
    figure, axes = panels_of(3.2, 1, 1)
    layers = names_in(rows, "layer")
    for name in names_in(rows):
        seeds = names_in(rows, "seed", activation=name)
        curves = [column(rows, "to_start", activation=name, seed=seed) for seed in seeds]
        draw_band(axes, layers, curves, name, marker=".")
    axes.axhline(1, color=INK, ls=":", lw=1.3)
    axes.set(title="Deviation of a layer's weights after training, to that before", xlabel="layer, from the input on")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.set_xlim(layers[0] - 0.3, layers[-1] + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(ncols=2, loc="upper center")
    return figure


FIGURE = FigureProgram("plot_model_param_dists.spread_by_layer", __doc__, numbers, draw, add_flags=add_model_flags)

if __name__ == "__main__":
    run(FIGURE.main)
