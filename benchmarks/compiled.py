"""Time activations under torch.compile beside SiLU: alone, between layers, as a gate; static and dynamic shapes.

python -m benchmarks.compiled
python -m benchmarks.compiled --device cuda
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import report, timing
from golu import get_activation_function
from workbench.cli.arguments import positive_int
from workbench.cli.errors import run

# SiLU is measured twice: what the second differs by is the scatter of the run.
ACTIVATIONS = {"SiLU": "Swish", "ReLU": "ReLU", "GELU": "GELU", "Mish": "Mish", "GoLU": "GoLU", "SiLU again": "Swish"}


class Gate(nn.Module):
    """Multiply one half of the features by the activation of the other, as gated MLPs do."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        gate, up = x.chunk(2, dim=-1)
        return self.activation(gate) * up


def alone(activation: nn.Module, rows: int, width: int) -> tuple[nn.Module, Tensor]:
    return activation, torch.randn(rows, 4 * width)


def linear(activation: nn.Module, rows: int, width: int) -> tuple[nn.Module, Tensor]:
    model = nn.Sequential(nn.Linear(width, 4 * width), activation, nn.Linear(4 * width, width))
    return model, torch.randn(rows, width)


def convolution(activation: nn.Module, rows: int, width: int) -> tuple[nn.Module, Tensor]:
    model = nn.Sequential(nn.Conv2d(width // 16, width // 8, 3, padding=1), nn.BatchNorm2d(width // 8), activation)
    return model, torch.randn(max(1, rows // 128), width // 16, 56, 56)


def gate(activation: nn.Module, rows: int, width: int) -> tuple[nn.Module, Tensor]:
    return Gate(activation), torch.randn(rows, 8 * width)


CASES: dict[str, Callable[[nn.Module, int, int], tuple[nn.Module, Tensor]]] = {
    "alone": alone,
    "Linear, activation, Linear": linear,
    "Conv, BatchNorm, activation": convolution,
    "activation(a) * b": gate,
}


def step(model: Callable[[Tensor], Tensor], x: Tensor, dy: Tensor) -> None:
    model(x).backward(dy)


def measured(case: str, dynamic: bool, options: argparse.Namespace) -> dict[str, Any]:
    """Return milliseconds of each activation in this place, and their ratio to SiLU's with its quartiles."""
    torch.compiler.reset()
    calls: dict[str, dict[str, timing.Call]] = {"inference": {}, "training": {}}
    for label, name in ACTIVATIONS.items():
        torch.manual_seed(0)
        model, x = CASES[case](get_activation_function(name), options.batch, options.width)
        model, x = model.to(options.device), x.to(options.device)
        compiled = torch.compile(model, fullgraph=True, dynamic=dynamic)  # fullgraph: a graph break is an error
        with torch.no_grad():
            dy = torch.randn_like(model(x))
        calls["inference"][label] = partial(torch.no_grad()(compiled), x)
        calls["training"][label] = partial(step, compiled, x.clone().requires_grad_(), dy)
    row: dict[str, Any] = {"case": case, "shapes": "dynamic" if dynamic else "static", "activations": {}}
    samples = {
        what: timing.interleaved(each, options.rounds, 2e-2, options.device == "cuda") for what, each in calls.items()
    }
    for label in ACTIVATIONS:
        row["activations"][label] = {
            f"{what}_{figure}": value
            for what, each in samples.items()
            for figure, value in (
                ("ms", timing.median(each, label) * 1e3),
                ("to_silu", timing.ratio(each, label, "SiLU")),
                ("quartiles", list(timing.spread(each, label, "SiLU"))),
            )
        }
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Return one row for each place and kind of shapes, with inference / training step relative to SiLU's."""
    others = [label for label in ACTIVATIONS if label != "SiLU"]
    lines = []
    for row in rows:
        cells = [
            f"{numbers['inference_to_silu']:.2f} / {numbers['training_to_silu']:.2f}"
            for label, numbers in row["activations"].items()
            if label in others
        ]
        lines.append([f"{row['case']}; {row['shapes']}", *cells])
    return report.table(["inference / training step", *others], lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = report.parser("compiled", __doc__)
    parser.add_argument("--width", type=positive_int, default=512, help="features into and out of Linear, Linear")
    parser.add_argument("--batch", type=positive_int, default=1024, help="rows")
    parser.add_argument("--rounds", type=positive_int, default=41, help="samples of each; the median is reported")
    options = report.parse(parser, arguments)
    report.require_device(options.device)
    torch._dynamo.config.recompile_limit = 64  # the models share one forward, that of nn.Sequential
    rows = [measured(case, dynamic, options) for case in CASES for dynamic in (False, True)]
    text = table(rows)
    print(text)
    report.write(
        "compiled", options, "Under torch.compile",
        f"Time over SiLU's, fp32, {torch.get_num_threads()} threads, with the shapes known (static) and unknown "
        f"(dynamic) when compiled. Alone and as a gate: {options.batch} x {4 * options.width} elements; "
        f"Linear({options.width}, {4 * options.width}) and back, batch {options.batch}; Conv2d({options.width // 16}, "
        f"{options.width // 8}, 3) on {max(1, options.batch // 128)} images of 56 x 56. Measured in turn, medians of "
        f"{options.rounds} rounds. SiLU again: what two measurements of the same differ by.",
        {"Inference / training step, relative to SiLU": text}, rows,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
