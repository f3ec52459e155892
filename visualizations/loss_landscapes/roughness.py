"""How steep and how rough the loss is around trained models

    python -m visualizations.loss_landscapes.roughness

The training loss L(t) at w + t d along random directions d, scaled filter by filter (Li et al., 2018), for t from -1
to 1, of models of several seeds. Three numbers a line, averaged over the directions, then over the seeds, with the
standard error over these:

    rise       L(0.5) - L(0), the mean of both sides: how steep the way out is
    curvature  the mean of |L(t + h) - 2 L(t) + L(t - h)| / h^2 for |t| <= 0.5: how much it bends, in whatever way
    detours    sum |L(t + h) - L(t)| / (L(-1) + L(1) - 2 min L) - 1, in percent: 0 where the loss falls to its minimum
               and rises after it, without a bump

The curves are the geometric mean of the loss over directions and seeds, with a band of one standard error over seeds.

Source: the paper's claim of a smoother loss landscape (arXiv 2502.03654) is made of surfaces of ResNet-20 on
CIFAR-10; these measures are ours, of small models trained on digits unless --results names others.
"""

import numpy as np
from matplotlib.figure import Figure

from visualizations.shared.drawing import colour_of, power_of_ten
from visualizations.shared.landscape import Points, evaluate
from visualizations.shared.panels import panels_of
from visualizations.shared.program import FigureProgram, Options, Row, column, columns, names_in, where
from visualizations.shared.seeds import draw_band, with_error
from visualizations.shared.trained import add_model_flags, trained
from workbench.cli.arguments import Parser, positive_int
from workbench.cli.errors import run
from workbench.output.estimates import Estimate, estimate
from workbench.output.tables import plain_table

POINTS = 41  # on each line, so that 0 and both 0.5 are among them
MEASURES = {"rise": "nats", "curvature": "nats", "detours": "%"}


def add_flags(parser: Parser) -> None:
    add_model_flags(parser)
    parser.add_argument(
        "--directions", type=positive_int, default=4, metavar="N", help="random directions around each model"
    )


def numbers(options: Options) -> list[Row]:
    t = np.linspace(-1, 1, POINTS).round(12).tolist()
    along = tuple((at,) for at in t)
    seeds = range(options.directions)
    batches = [Points(each, "filter", (seed,), along) for each in trained(options) for seed in seeds]
    return [
        {
            "activation": points.run.activation, "seed": points.run.seed, "direction": points.directions[0],
            "t": at, "loss": loss
        }
        for points, found in zip(batches, evaluate(batches, options.data), strict=True)
        for at, loss in zip(t, found.losses, strict=True)
    ]  # fmt: skip


def measures(t: np.ndarray, loss: np.ndarray) -> dict[str, float]:
    """The three numbers of one line."""
    step, middle = t[1] - t[0], len(t) // 2
    half = middle // 2
    bend = np.abs(loss[2:] - 2 * loss[1:-1] + loss[:-2]) / step**2
    near = np.abs(t[1:-1]) <= 0.5 + 1e-9
    bowl = loss[0] + loss[-1] - 2 * loss.min()
    return {
        "rise": float((loss[middle - half] + loss[middle + half]) / 2 - loss[middle]),
        "curvature": float(bend[near].mean()),
        "detours": round(float(100 * (np.abs(np.diff(loss)).sum() / bowl - 1)), 9),  # without rounding errors
    }


def by_seed(rows: list[Row], activation: str) -> dict[str, Estimate]:
    """Each measure: the mean over directions of each seed, then their mean and standard error."""
    own = where(rows, activation=activation)
    found = [
        [measures(*columns(own, "t", "loss", seed=seed, direction=each)) for each in names_in(own, "direction")]
        for seed in names_in(own, "seed")
    ]
    return {name: estimate([float(np.mean([line[name] for line in lines])) for lines in found]) for name in MEASURES}


def summarise(rows: list[Row]) -> str:
    table = [["activation", *(f"{name} ({unit})" for name, unit in MEASURES.items())]]
    for activation in names_in(rows):
        table.append([activation, *(with_error(each) for each in by_seed(rows, activation).values())])
    return plain_table(table)


def draw(rows: list[Row], _: Options) -> Figure:
    names = names_in(rows)
    figure, (left, *right) = panels_of(3.4, 1, 4, width_ratios=(2.2, 1, 1, 1))
    for name in names:
        own = where(rows, activation=name)
        t = column(own, "t", seed=own[0]["seed"], direction=own[0]["direction"])
        curves = [column(own, "loss", seed=seed).reshape(-1, len(t)) for seed in names_in(own, "seed")]
        draw_band(left, t, [np.log10(each).mean(axis=0) for each in curves], name)
    left.set(title="Loss along random directions", xlabel="t", ylabel="training loss (nats)", xlim=(-1, 1))
    left.set_xticks([-1, -0.5, 0, 0.5, 1])
    left.yaxis.set_major_formatter(power_of_ten)
    left.set_yticks(np.arange(np.ceil(left.get_ylim()[0]), left.get_ylim()[1]))
    left.legend(loc="upper center", ncols=2 if len(names) > 3 else 1)
    found = {name: by_seed(rows, name) for name in names}
    for axes, (measure, unit) in zip(right, MEASURES.items(), strict=True):
        for place, name in enumerate(names):
            mean, error, *_ = found[name][measure]
            axes.errorbar(place, mean, error, fmt="D", color=colour_of(name), markersize=5, capsize=4)
        axes.set(title=f"{measure.capitalize()} ({unit})", xlim=(-0.6, len(names) - 0.4))
        top = max(axes.get_ylim()[1], 1.0 if measure == "detours" else 0.0)
        axes.set_ylim(-0.03 * top, top)
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.grid(axis="x", visible=False)
    return figure


FIGURE = FigureProgram("loss_landscapes.roughness", __doc__, numbers, draw, add_flags=add_flags, summarise=summarise)

if __name__ == "__main__":
    run(FIGURE.main)
