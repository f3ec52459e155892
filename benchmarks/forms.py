"""Time of GoLU's other forms: keep="output", learnt parameters and the gated form, side by side with their peers.

python -m benchmarks.forms
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import report, timing
from golu import GoGLU, GoLU, golu_gate
from golu.functional import golu, golu_keeping_output
from workbench.cli.arguments import positive_int
from workbench.cli.errors import run

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
GATED = {"contiguous": "contiguous", "halves": "halves of one", "mlp": "GoGLU(512, 2048)"}
SHAPES = {  # of the input, and the number of channels that have parameters of their own
    "2^16": ((2**16,), 1),
    "2^22": ((2**22,), 1),
    "64 x 64 x 32 x 32, a channel": ((64, 64, 32, 32), 64),
    "128 x 512 x 7 x 7, a channel": ((128, 512, 7, 7), 512),
    "4096 x 512, a feature": ((4096, 512), 512),
}


def keeping(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Forward and backward of GoLU and keep="output" over SiLU's, where a gradient is asked for."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    functions = {"SiLU": F.silu, "GoLU": golu, 'keep="output"': golu_keeping_output}
    for name, dtype in DTYPES.items():
        for log2 in (16, 18, 20, 22, 24):
            x, dy = ((2 * torch.randn(2**log2)).to(dtype) for _ in range(2))
            x.requires_grad_()
            outputs = {each: function(x) for each, function in functions.items()}
            calls: dict[str, dict[str, Callable[[], object]]] = {
                "forward": {each: partial(function, x) for each, function in functions.items()},
                "backward": {each: partial(_gradient, y, (x,), dy) for each, y in outputs.items()},
            }
            for direction, sides in calls.items():
                samples = timing.interleaved(sides, rounds)
                for each in [*functions][1:]:
                    row = found.setdefault(f"{each}, {name}, {direction}", {})
                    row[f"2^{log2}"] = {"to_silu": timing.ratio(samples, each, "SiLU")}
    return found


def _gradient(y: Tensor, inputs: tuple[Tensor, ...], dy: Tensor) -> object:
    return torch.autograd.grad(y, inputs, dy, retain_graph=True)


class Formula(nn.Module):
    """Learn GoLU's parameters by the plain formula."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.logarithms = nn.Parameter(torch.zeros(3, channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2)) if x.ndim > 1 else (-1,)
        alpha, beta, gamma = (each.exp().view(shape) for each in self.logarithms.unbind(0))
        return alpha * x * torch.exp(-beta * torch.exp(-gamma * x))


def learning(rounds: int) -> dict[str, dict[str, float]]:
    """Step (forward and backward) with learnt parameters over PReLU's, and over that of the plain formula."""
    found = {}
    for name, dtype in list(DTYPES.items())[:2]:
        for what, (shape, channels) in SHAPES.items():
            x, dy = torch.randn(shape).to(dtype).requires_grad_(), torch.randn(shape).to(dtype)
            modules = {
                "GoLU": GoLU(trainable=True, num_parameters=channels),
                "PReLU": nn.PReLU(channels).to(dtype),
                "formula": Formula(channels),
            }
            steps: dict[str, Callable[[], object]] = {
                each: partial(_step, module, x, dy) for each, module in modules.items()
            }
            samples = timing.interleaved(steps, rounds)
            found[f"{what}, {name}"] = {
                "to_prelu": timing.ratio(samples, "GoLU", "PReLU"),
                "to_formula": timing.ratio(samples, "GoLU", "formula"),
            }
    return found


def _step(module: nn.Module, x: Tensor, dy: Tensor) -> object:
    return torch.autograd.grad(module(x), (x, *module.parameters()), dy)


class SwiGLU(nn.Module):
    """Compute the MLP of Llama-like models in plain operations."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(features, hidden, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(hidden, features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


def gating(rounds: int) -> dict[str, dict[str, float]]:
    """Step of golu_gate over that of silu(gate) * up, contiguous and as halves of one projection; and of whole MLPs."""
    found: dict[str, dict[str, float]] = {}
    for name, dtype in DTYPES.items():
        for rows in (32, 512, 4096):
            both, dy = torch.randn(rows, 2 * 2048).to(dtype), torch.randn(rows, 2048).to(dtype)
            for what, pair in {
                "halves": both.chunk(2, 1),
                "contiguous": [each.contiguous() for each in both.chunk(2, 1)],
            }.items():
                gate, up = (each.detach().requires_grad_() for each in pair)
                steps: dict[str, Callable[[], object]] = {
                    "GoLU": lambda gate=gate, up=up, dy=dy: torch.autograd.grad(golu_gate(gate, up), (gate, up), dy),
                    "SiLU": lambda gate=gate, up=up, dy=dy: torch.autograd.grad(F.silu(gate) * up, (gate, up), dy),
                }
                ratio = timing.ratio(timing.interleaved(steps, rounds), "GoLU", "SiLU")
                found.setdefault(f"{rows} x 2048, {name}", {})[what] = ratio
            if dtype is torch.float16:  # whose products of matrices take seconds on a CPU
                continue
            x = torch.randn(rows, 512).to(dtype).requires_grad_()
            modules = {"GoLU": GoGLU(512, 2048).to(dtype), "SiLU": SwiGLU(512, 2048).to(dtype)}
            steps = {each: partial(_step, module, x, torch.ones_like(x)) for each, module in modules.items()}
            ratio = timing.ratio(timing.interleaved(steps, rounds), "GoLU", "SiLU")
            found[f"{rows} x 2048, {name}"]["mlp"] = ratio
    return found


def keeping_table(numbers: dict) -> str:
    """Make the table of docs/forms.md."""
    found = numbers["keeping"]
    sizes = list(next(iter(found.values())))
    rows = [[case, *(f"{row[size]['to_silu']:.2f}" for size in sizes)] for case, row in found.items()]
    return report.table(["over SiLU's time", *sizes], rows)


def learning_table(numbers: dict) -> str:
    """Make the table of docs/forms.md."""
    rows = [[case, f"{row['to_prelu']:.2f}", f"{row['to_formula']:.2f}"] for case, row in numbers["learning"].items()]
    return report.table(["a step of GoLU(trainable=True)", "over PReLU's", "over the plain formula's"], rows)


def gating_table(numbers: dict) -> str:
    """Make the table of docs/forms.md."""
    rows = [
        [case, *(f"{row[what]:.2f}" if what in row else "-" for what in GATED)]
        for case, row in numbers["gating"].items()
    ]
    return report.table(["golu_gate over silu(gate) * up", *GATED.values()], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all three."""
    parser = report.parser("forms", __doc__, device=False)
    parser.add_argument("--rounds", type=positive_int, default=31, metavar="N", help="rounds of each measurement")
    options = report.parse(parser, arguments)
    torch.manual_seed(0)
    numbers = {
        "keeping": keeping(options.rounds),
        "learning": learning(options.rounds),
        "gating": gating(options.rounds),
    }
    tables = {
        'keep="output"': keeping_table(numbers),
        "Learnt parameters": learning_table(numbers),
        "The gated form": gating_table(numbers),
    }
    print("\n\n".join(tables.values()))
    report.write(
        "forms", options, "Time of GoLU's other forms",
        f"Medians over {options.rounds} rounds of ratios within a round, {torch.get_num_threads()} threads.",
        tables, numbers,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
