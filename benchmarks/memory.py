"""Bytes that an activation keeps for its backward pass, per element.

python -m benchmarks.memory
"""

import torch
from torch import Tensor

from benchmarks import report
from benchmarks.candidates import EAGER, Function
from tasks.engine.errors import run

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def kept_bytes(function: Function, x: Tensor) -> int:
    """Bytes of the distinct storages that autograd saves in one forward pass; the input counts if it is kept."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    kept = []  # alive until the end, lest a freed address be counted once for two
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(pack(t)) or t, lambda t: t):
        kept.append(function(x))
    return sum(storages.values())


def main() -> None:
    parser = report.parser("memory", __doc__)
    arguments = parser.parse_args()
    n = 2**20
    numbers = {
        name: {d: kept_bytes(f, torch.randn(n).to(dtype).requires_grad_()) / n for d, dtype in DTYPES.items()}
        for name, f in EAGER.items()
    }
    lines = [[name, *(f"{row[d]:g}" for d in DTYPES)] for name, row in numbers.items()]
    text = report.table(["bytes per element", *DTYPES], lines)
    print(text)
    report.write(
        "memory",
        "cpu",
        "Memory kept for the backward pass",
        "Bytes per element of everything that autograd saves (saved_tensors_hooks, distinct storages, the input "
        "included). 4 in fp32 is one input and nothing else.",
        {"Eager": text},
        numbers,
        arguments.output,
    )


if __name__ == "__main__":
    run(main)
