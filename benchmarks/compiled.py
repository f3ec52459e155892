"""Linear, activation, Linear under torch.compile: graph breaks, fused kernels, and time beside SiLU.

python -m benchmarks.compiled
python -m benchmarks.compiled --device cuda
"""

from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import report, timing
from golu import get_activation_function
from workbench.cli.arguments import one_of, positive_int
from workbench.cli.errors import UserError, run

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


def main() -> None:
    parser = report.parser("compiled", __doc__)
    parser.add_argument("--device", type=one_of("device", ["cpu", "cuda"]), default="cpu", help="cpu or cuda")
    parser.add_argument(
        "--width", type=positive_int, default=512, help="features in and out; four times as many between"
    )
    parser.add_argument("--batch", type=positive_int, default=1024, help="rows")
    parser.add_argument("--rounds", type=positive_int, default=41, help="samples of each; the median is reported")
    arguments = report.parse(parser)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here")
    from torch._inductor import metrics

    cuda = arguments.device == "cuda"
    torch._dynamo.config.recompile_limit = 64  # the models share one forward, that of nn.Sequential
    x = torch.randn(arguments.batch, arguments.width, device=arguments.device)
    breaks, fused, inference, training = {}, {}, {}, {}
    for name in NAMES:
        model = block(name, arguments.width).to(arguments.device)
        breaks[name] = graph_breaks(model, x)
        compiled = torch.compile(model, fullgraph=True)
        metrics.reset()
        with torch.no_grad():
            compiled(x)
        fused[name] = metrics.generated_kernel_count
        inference[name] = partial(torch.no_grad()(compiled), x)
        training[name] = partial(step, compiled, x)
    results = {
        "inference": timing.interleaved(inference, arguments.rounds, 2e-2, cuda),
        "training": timing.interleaved(training, arguments.rounds, 2e-2, cuda),
    }
    numbers = {
        name: {
            "graph_breaks": breaks[name],
            "kernels": fused[name],
            **{f"{what}_ms": timing.median(samples, name) * 1e3 for what, samples in results.items()},
            **{f"{what}_to_silu": timing.ratio(samples, name, "Swish") for what, samples in results.items()},
        }
        for name in NAMES
    }
    columns = [
        "activation",
        "graph breaks",
        "kernels between",
        "inference, ms",
        "to SiLU",
        "training step, ms",
        "to SiLU",
    ]
    lines = [
        [n, str(r["graph_breaks"]), str(r["kernels"]), f"{r['inference_ms']:.2f}", f"{r['inference_to_silu']:.3f}",
         f"{r['training_ms']:.2f}", f"{r['training_to_silu']:.3f}"]
        for n, r in numbers.items()
    ]  # fmt: skip
    text = report.table(columns, lines)
    print(text)
    report.write(
        "compiled",
        arguments.device,
        "Under torch.compile",
        f"Linear({arguments.width}, {4 * arguments.width}), activation, Linear back, batch {arguments.batch}, fp32, "
        f"{torch.get_num_threads()} threads. Measured in turn, medians of {arguments.rounds} rounds. Kernels between: "
        "what Inductor generates besides the two matrix products.",
        {"One block": text},
        numbers,
        arguments.output,
    )


if __name__ == "__main__":
    run(main)
