"""Linear, activation, Linear under torch.compile: graph breaks, fused kernels, and time beside SiLU.

python -m benchmarks.compiled
python -m benchmarks.compiled --device cuda
"""

import argparse
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import report, timing
from golu import get_activation_function
from workbench.cli.arguments import positive_int
from workbench.cli.errors import run

NAMES = ["ReLU", "GELU", "Swish", "Mish", "GoLU"]


def block(name: str, width: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, 4 * width), get_activation_function(name), nn.Linear(4 * width, width))


def step(model: nn.Module, x: Tensor) -> None:
    model.zero_grad()
    model(x).sum().backward()


def graph_breaks(model: nn.Module, x: Tensor) -> int:
    torch.compiler.reset()
    return int(torch._dynamo.explain(model)(x).graph_break_count)


def measured(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Graph breaks, generated kernels, milliseconds and their ratio to SiLU's, of the block with each activation."""
    from torch._inductor import metrics

    torch._dynamo.config.recompile_limit = 64  # the models share one forward, that of nn.Sequential
    x = torch.randn(options.batch, options.width, device=options.device)
    numbers: dict[str, dict[str, float]] = {}
    calls: dict[str, dict[str, timing.Call]] = {"inference": {}, "training": {}}
    for name in NAMES:
        model = block(name, options.width).to(options.device)
        breaks = graph_breaks(model, x)
        compiled = torch.compile(model, fullgraph=True)
        metrics.reset()
        with torch.no_grad():
            compiled(x)
        numbers[name] = {"graph_breaks": breaks, "kernels": metrics.generated_kernel_count}
        calls["inference"][name] = partial(torch.no_grad()(compiled), x)
        calls["training"][name] = partial(step, compiled, x)
    cuda = options.device == "cuda"
    samples = {what: timing.interleaved(each, options.rounds, 2e-2, cuda) for what, each in calls.items()}
    for name, row in numbers.items():
        row |= {f"{what}_ms": timing.median(each, name) * 1e3 for what, each in samples.items()}
        row |= {f"{what}_to_silu": timing.ratio(each, name, "Swish") for what, each in samples.items()}
    return numbers


def main(arguments: Sequence[str] | None = None) -> None:
    parser = report.parser("compiled", __doc__)
    parser.add_argument(
        "--width", type=positive_int, default=512, help="features in and out; four times as many between"
    )
    parser.add_argument("--batch", type=positive_int, default=1024, help="rows")
    parser.add_argument("--rounds", type=positive_int, default=41, help="samples of each; the median is reported")
    options = report.parse(parser, arguments)
    report.require_device(options.device)
    numbers = measured(options)
    lines = [
        [n, str(r["graph_breaks"]), str(r["kernels"]), f"{r['inference_ms']:.2f}", f"{r['inference_to_silu']:.3f}",
         f"{r['training_ms']:.2f}", f"{r['training_to_silu']:.3f}"]
        for n, r in numbers.items()
    ]  # fmt: skip
    times = ["inference, ms", "to SiLU", "training step, ms", "to SiLU"]
    text = report.table(["activation", "graph breaks", "kernels between", *times], lines)
    print(text)
    report.write(
        "compiled", options, "Under torch.compile",
        f"Linear({options.width}, {4 * options.width}), activation, Linear back, batch {options.batch}, fp32, "
        f"{torch.get_num_threads()} threads. Measured in turn, medians of {options.rounds} rounds. Kernels between: "
        "what Inductor generates besides the two matrix products.",
        {"One block": text}, numbers,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
