"""GoLU beside ReLU, GELU, Swish and Mish: the functions, their derivatives, and their gates f(x) / x.

    python -m visualizations.golu_plots.overview

GoLU's gate exp(-exp(-x)) is the distribution function of the standard Gumbel distribution (paper: arXiv 2502.03654,
section 3). At 0 it is 1/e, where the symmetric gates are 1/2: so GoLU leaves 0 with slope 1/e = 0.37 and not 1/2.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from golu import get_activation_function
from tasks.engine import storage, style
from tasks.engine.arguments import Parser
from tasks.engine.errors import run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACTIVATIONS = ["ReLU", "GELU", "Swish", "Mish", "GoLU"]


def curves(name: str, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """f(x), f'(x) by autograd, and f(x) / x, in float64."""
    leaf = x.clone().requires_grad_()
    y = get_activation_function(name)(leaf)
    (slope,) = torch.autograd.grad(y.sum(), leaf)
    return {"function": y.detach(), "derivative": slope, "gate": y.detach() / x}


def draw() -> "Figure":
    from matplotlib.figure import Figure

    panels = {
        "function": ("Function f(x)", (-4.0, 3.0)),
        "derivative": ("Derivative f'(x)", (-4.0, 4.0)),
        "gate": ("Gate f(x) / x", (-4.0, 4.0)),
    }
    with style.figure_style():
        figure = Figure(figsize=(9.6, 3.1), layout="constrained")
        for axes, (key, (title, (low, high))) in zip(figure.subplots(1, 3), panels.items(), strict=True):
            x = torch.linspace(low, high, 1002, dtype=torch.float64)  # an even number: without 0
            for name in ACTIVATIONS:
                color, line = style.line_of(name)
                front = name == "GoLU"
                axes.plot(
                    x, curves(name, x)[key], line, color=color, label=name, lw=2.4 if front else 1.3, zorder=2 + front
                )
            axes.set(title=title, xlabel="x", xlim=(low, high))
        figure.axes[0].legend(loc="upper left")
    return figure


def main() -> None:
    parser = Parser("python -m visualizations.golu_plots.overview", __doc__)
    parser.add_argument("--output", type=Path, default=Path("assets"), help="folder of overview.png and overview.svg")
    arguments = parser.parse_args()
    storage.prepare_folder(arguments.output)
    for path in style.save_figure(draw(), arguments.output / "overview"):
        print(path)


if __name__ == "__main__":
    run(main)
