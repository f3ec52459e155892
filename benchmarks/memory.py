"""Bytes that an activation keeps for its backward pass, per element.

python -m benchmarks.memory
"""

from collections.abc import Sequence
from functools import partial

import torch

from benchmarks import report
from benchmarks.candidates import EAGER
from workbench.cli.errors import run
from workbench.training.memory import kept_for_backward

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = report.parser("memory", __doc__, device=False)
    options = report.parse(parser, arguments)
    n = 2**20
    numbers = {}
    for name, function in EAGER.items():
        inputs = {d: torch.randn(n).to(dtype).requires_grad_() for d, dtype in DTYPES.items()}
        numbers[name] = {d: kept_for_backward(partial(function, x)) / n for d, x in inputs.items()}
    lines = [[name, *(f"{row[d]:g}" for d in DTYPES)] for name, row in numbers.items()]
    text = report.table(["bytes per element", *DTYPES], lines)
    print(text)
    report.write(
        "memory", options, "Memory kept for the backward pass",
        "Bytes per element of everything that autograd saves (saved_tensors_hooks, distinct storages, the input "
        "included). 4 in fp32 is one input and nothing else.",
        {"Eager": text}, numbers,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
