"""Print what the golu at hand computes, as one JSON object: the kernel that serves, its threads, checksums of values.

A file of its own, so that any Python with torch can run it beside any golu.
"""

import ctypes
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import torch

import golu
from golu import formula, kernels
from golu.kernels import cpu

PARAMETERS = (1.0, 1.0, 1.0), (0.8, 1.2, 0.9)
LIMITS = [0.0, -0.0, float("inf"), float("-inf"), float("nan")]


def inputs(dtype: torch.dtype) -> torch.Tensor:
    """Return all values of 16 bits; of a wider dtype half a million patterns of bits, the middle range, and limits."""
    if dtype.itemsize == 2:
        return torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype)
    count = torch.arange(2**19)
    bits = (count * 2654435761).to(torch.int32) if dtype.itemsize == 4 else count * -7046029254386353131
    limits = [*LIMITS, torch.finfo(dtype).tiny, torch.finfo(dtype).max, torch.finfo(dtype).min]
    return torch.cat([bits.view(dtype), (count.to(dtype) - 2**17) / 2**14, torch.tensor(limits, dtype=dtype)])


def checksum(x: torch.Tensor) -> str:
    """Take all bits into account, but of a NaN only that it is one: which one is up to the processor."""
    x = torch.where(x.isnan(), torch.full_like(x, torch.nan), x)
    memory = ctypes.string_at(x.data_ptr(), x.numel() * x.element_size())
    return hashlib.sha256(memory).hexdigest()[:16]


def checksums(forward: Callable[..., torch.Tensor], backward: Callable[..., torch.Tensor]) -> dict[str, str]:
    """Return one of values and one of gradients, for each dtype and set of parameters."""
    found = {}
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for parameters in PARAMETERS:
            x = inputs(dtype)
            dy = (1 + torch.arange(len(x)) % 7 / 8).to(dtype)
            y, dx = forward(x, *parameters), backward(dy, x, *parameters)
            found[f"{dtype} {parameters}"] = f"{checksum(y)} {checksum(dx)}"
    return found


def gradient(dy: torch.Tensor, x: torch.Tensor, *parameters: float) -> torch.Tensor:
    """Return the gradient of golu by autograd."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(golu.golu(x, *parameters), x, dy)[0]


def every_implementation() -> dict[str, dict[str, str]]:
    """Return the checksums of golu() as it is called, of each instruction set that runs here, and of the formula."""
    found = {"golu": checksums(golu.golu, gradient), "formula": checksums(formula.golu, formula.backward)}
    for name in ("avx512", "avx2", "portable"):
        os.environ["GOLU_CPU"] = name
        loaded = cpu.load()  # the library has one choice in a process: each is used before the next
        if not isinstance(loaded, str):
            found[name] = checksums(loaded.forward, loaded.backward)
    return found


def helpers() -> list[int]:
    """Return how many threads golu starts when there shall be two, and how many torch starts after that: 1 and 0."""
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        return []
    torch.set_num_threads(1)
    x, counts = torch.zeros(2**20), [len(list(tasks.iterdir()))]
    torch.set_num_threads(2)
    for function in (golu.golu, torch.nn.functional.silu):
        function(x)
        counts.append(len(list(tasks.iterdir())))
    return [counts[1] - counts[0], counts[2] - counts[1]]


if __name__ == "__main__":
    started = helpers()
    kernel = kernels.kernel_for("cpu")
    report = {
        "golu": str(Path(golu.__file__).parent),
        "torch": torch.__version__,
        "kernel": kernel.name,
        "reason": kernel.reason,
        "threads": started,
        "values": every_implementation(),
    }
    print(json.dumps(report))
