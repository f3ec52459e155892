"""What noise in the weights does to trained models

    python -m visualizations.loss_landscapes.weight_noise

Weights w + s n, where n is normal noise scaled so that each filter of it is as long as the model's own filter: at s =
0.3 every filter is off by thirty percent of its length. Left, the training loss; right, the accuracy on validation
images. Each is the mean over several draws of the noise, the same for every activation, and over seeds; bands are one
standard error over the seeds.

Source: the paper reasons that a smoother landscape makes models robust to noise in the weights (arXiv 2502.03654,
"smooth loss landscape"); these curves are ours, of small models trained on digits unless --results names others.
"""

import numpy as np
from matplotlib.figure import Figure

from visualizations.shared.landscape import Points, evaluate
from visualizations.shared.panels import panels_of
from visualizations.shared.program import FigureProgram, Options, Row, column, names_in, where
from visualizations.shared.seeds import draw_band, with_error
from visualizations.shared.trained import add_model_flags, trained
from workbench.cli.arguments import Parser, positive_float, positive_int
from workbench.cli.errors import run
from workbench.cli.flags import require_distinct
from workbench.output.estimates import Estimate, estimate
from workbench.output.tables import plain_table

NOISE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
FIRST = 1000  # the seeds of the draws, others than those of the directions in roughness


def add_flags(parser: Parser) -> None:
    add_model_flags(parser)
    parser.add_argument(
        "--noise", type=positive_float, nargs="+", default=list(NOISE), metavar="S",
        help=f"noise, as a part of each filter's length (default: {' '.join(map(str, NOISE))})",
    )  # fmt: skip
    parser.add_argument("--draws", type=positive_int, default=8, metavar="N", help="of the noise, around each model")


def numbers(options: Options) -> list[Row]:
    require_distinct("--noise", options.noise)
    noise = [0.0, *sorted(options.noise)]
    batches = [
        Points(each, "filter", (FIRST + draw,), tuple((s,) for s in noise))
        for each in trained(options)
        for draw in range(options.draws)
    ]
    return [
        {
            "activation": points.run.activation, "seed": points.run.seed, "draw": points.directions[0] - FIRST,
            "noise": s, "loss": loss, "accuracy": accuracy
        }
        for points, found in zip(batches, evaluate(batches, options.data, accuracy=True), strict=True)
        for s, loss, accuracy in zip(noise, found.losses, found.accuracies, strict=True)
    ]  # fmt: skip


def by_seed(rows: list[Row], activation: str, metric: str) -> np.ndarray:
    """(seeds, noise): the mean over draws."""
    own = where(rows, activation=activation)
    noise = names_in(own, "noise")
    return np.array([[column(own, metric, seed=seed, noise=s).mean() for s in noise] for seed in names_in(own, "seed")])


def at_noise(rows: list[Row], activation: str, metric: str) -> list[Estimate]:
    """At each noise the mean over seeds."""
    return [estimate(values.tolist()) for values in by_seed(rows, activation, metric).T]


def summarise(rows: list[Row]) -> str:
    noise = [f"noise {s:g}" for s in names_in(rows, "noise")]
    tables = []
    for metric, title in (("loss", "training loss (nats)"), ("accuracy", "validation accuracy (%)")):
        lines = [[name, *map(with_error, at_noise(rows, name, metric))] for name in names_in(rows)]
        tables.append(plain_table([[title, *noise], *lines]))
    return "\n\n".join([*tables, f"mean ± standard error over {len(names_in(rows, 'seed'))} seeds"])


def draw(rows: list[Row], _: Options) -> Figure:
    figure, (left, right) = panels_of(3.4, 1, 2)
    for axes, metric, title in ((left, "loss", "Training loss (nats)"), (right, "accuracy", "Validation accuracy (%)")):
        for name in names_in(rows):
            draw_band(axes, names_in(rows, "noise"), by_seed(rows, name, metric), name, marker="o", markersize=3)
        axes.set(title=title, xlabel="noise / length of each filter")
    left.set_yscale("log")
    left.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    right.legend(loc="lower left")
    return figure


FIGURE = FigureProgram("loss_landscapes.weight_noise", __doc__, numbers, draw, add_flags=add_flags, summarise=summarise)

if __name__ == "__main__":
    run(FIGURE.main)
