"""How large gradients are, for one layer and through many

    python -m visualizations.theoretical_experiments.gradient_size

Above, what one activation does to the size of a gradient that passes back through it, sqrt(E f'(X)^2), where X is
normal: over its deviation at mean 0, and over its mean at deviation 1; exactly, by quadrature. GoLU passes least
where inputs are close to 0, where its slope is 1/e; but its largest slope, 1.1134, is larger than Swish's 1.0998 and
Mish's 1.0885, so that this does not hold for inputs far from 0.

Below, the same measured: the length of the gradient at each layer, over that at the last, in fully connected networks
with random weights; the mean of several, of the logarithm, in a band of one standard error, beside mean-field theory
(dotted). Left, without norms and with weights of variance 2 / width, which He et al. chose for ReLU. From layer to
layer the variance q of what enters an activation, and the gradient, then change as

    forward    q' = 2 E f(sqrt(q) z)^2                           z ~ N(0, 1)
    backward   |gradient|^2 = 2 E f'(sqrt(q) z)^2 |gradient'|^2

and all but ReLU lose signal and gradient, GoLU most. Right, with a layer norm before each activation, which keeps q =
1, so that the gradient changes by sqrt(E f'(z)^2 / E f(z)^2) a layer: that is close to 1 for all of them, and no
gradient vanishes. Weights that keep q = 1 without norms, of variance 1 / (E f(z)^2 width), are no remedy for any but
ReLU: q = 1 is then not stable.

Source: the paper speaks of GoLU's smaller slope near the origin (arXiv 2502.03654, "variance reduction in the latent
space"); the measurement is ours, the theory that of Schoenholz et al., "Deep Information Propagation", 2017.
"""

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from golu import get_activation_function
from visualizations.shared.drawing import draw_curves, power_of_ten
from visualizations.shared.gaussian import moments
from visualizations.shared.panels import panels_of
from visualizations.shared.program import FigureProgram, Options, Row, column, names_in, rows_of, where
from visualizations.shared.seeds import draw_band
from workbench.cli.arguments import Parser, positive_int
from workbench.cli.errors import run
from workbench.output.style import INK
from workbench.output.tables import plain_table
from workbench.training.seeding import generator_for

DEVIATIONS = np.linspace(0.05, 3, 60)
MEANS = np.linspace(-3, 3, 61)
PLAIN, NORM = "no norms", "layer norm"


def add_flags(parser: Parser) -> None:
    parser.add_argument("--depth", type=positive_int, default=30, metavar="N", help="layers of the networks")
    parser.add_argument("--width", type=positive_int, default=256, metavar="N", help="units of each layer")
    parser.add_argument("--draws", type=positive_int, default=5, metavar="N", help="networks of each activation")


def numbers(options: Options) -> list[Row]:
    rows: list[Row] = []
    for name in options.activations:
        for over, at, of in (("deviation", DEVIATIONS, (0.0, DEVIATIONS)), ("mean", MEANS, (MEANS, 1.0))):
            size = np.sqrt(moments(name, *of).mean_squared_slope)
            rows += rows_of({"activation": name, "over": over}, at=at, size=size)
        for network in (PLAIN, NORM):
            theory = predicted(name, network, options.depth)
            for draw in range(options.draws):
                found = measured(name, network, options.depth, options.width, draw)
                rows += [
                    {
                        "activation": name, "over": "layer", "at": layer, "size": 10 ** float(size),
                        "network": network, "draw": draw, "predicted": 10 ** float(expected)
                    }
                    for layer, (size, expected) in enumerate(zip(found, theory, strict=True), start=1)
                ]  # fmt: skip
    return rows


def predicted(activation: str, network: str, depth: int) -> np.ndarray:
    """log10 of the gradient's length at each layer's pre-activations, over that at the last, for infinite width."""
    q, factors = 1.0, []
    for _ in range(depth - 1):
        of = moments(activation, 0.0, np.sqrt(q))
        scale = 2.0 if network == PLAIN else 1 / float(of.mean_square)  # a norm divides by what comes out
        factors.append(0.5 * np.log10(scale * float(of.mean_squared_slope)))
        q = scale * float(of.mean_square)
    return np.append(np.cumsum(factors[::-1])[::-1], 0.0)


def measured(activation: str, network: str, depth: int, width: int, draw: int) -> np.ndarray:
    """The same in one random network, for one random input and one random gradient at its last layer."""
    generator, f = generator_for("gradient size", draw), get_activation_function(activation).double()
    start = torch.randn(width, generator=generator, dtype=torch.float64)
    layers = [(start / start.square().mean().sqrt()).requires_grad_()]  # q = 1
    for _ in range(depth - 1):
        weights = torch.randn(width, width, generator=generator, dtype=torch.float64) * (2 / width) ** 0.5
        outputs = weights @ f(layers[-1])
        layers.append(F.layer_norm(outputs, (width,), eps=0.0) if network == NORM else outputs)
    last = torch.randn(width, generator=generator, dtype=torch.float64)
    lengths = [gradient.norm() for gradient in torch.autograd.grad(layers[-1], layers, last)]
    return (torch.stack(lengths) / last.norm()).log10().numpy()


def summarise(rows: list[Row]) -> str:
    depth = int(column(rows, "at", over="layer").max())
    table = [["activation", "slope for N(0, 1)", f"gradient {depth - 1} layers back, {PLAIN}", NORM]]
    for name in names_in(rows):
        at = float(np.sqrt(moments(name, 0.0, 1.0).mean_squared_slope))
        lengths = (10 ** by_draw(rows, name, network)[:, 0].mean() for network in (PLAIN, NORM))
        table.append([name, f"{at:.4f}", *(f"{length:.2g}" for length in lengths)])
    return plain_table(table)


def by_draw(rows: list[Row], name: str, network: str, what: str = "size") -> np.ndarray:
    """(draws, layers): log10 of the lengths."""
    own = where(rows, over="layer", activation=name, network=network)
    return np.log10([column(own, what, draw=draw) for draw in names_in(own, "draw")])


def draw(rows: list[Row], _: Options) -> Figure:
    figure, ((left, right), below) = panels_of(5.6, 2, 2)
    draw_curves(left, rows, "at", "size", over="deviation")
    draw_curves(right, rows, "at", "size", over="mean")
    for name in names_in(rows):
        for axes, network in zip(below, (PLAIN, NORM), strict=True):
            found = by_draw(rows, name, network)
            layers = list(range(1, found.shape[1] + 1))
            draw_band(axes, layers, found, name)
            axes.plot(layers, by_draw(rows, name, network, "predicted")[0], ":", color=INK, lw=1, zorder=4)
    left.set(title="Slope sqrt(E f'(X)^2) at mean 0", xlabel="deviation of X", xlim=(0, 3))
    right.set(title="Slope sqrt(E f'(X)^2) at deviation 1", xlabel="mean of X", xlim=(-3, 3))
    right.legend(loc="upper left")
    for axes, network in zip(below, (PLAIN, NORM), strict=True):
        axes.set(title=f"Gradient's length, {network}", xlabel="layer", xlim=(1, None))
        _powers_of_ten(axes)
    return figure


def _powers_of_ten(axes: Axes) -> None:
    """Ticks of an axis of which the logarithm is drawn, between the decades too where these are few."""
    low, high = axes.get_ylim()
    mantissas = (1, 2, 5) if high - low < 2 else (1,)
    ticks = [np.log10(m) + decade for decade in range(int(low) - 1, int(high) + 2) for m in mantissas]
    step = 1 if high - low < 5 else 2
    axes.set_yticks([tick for tick in ticks if low <= tick <= high][::step])
    axes.yaxis.set_major_formatter(power_of_ten)


FIGURE = FigureProgram(
    "theoretical_experiments.gradient_size", __doc__, numbers, draw, add_flags=add_flags, summarise=summarise
)

if __name__ == "__main__":
    run(FIGURE.main)
