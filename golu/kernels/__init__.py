"""Choose the kernel of a device: detected at its first tensor, then kept.

`GOLU_KERNEL=formula` in the environment turns the hand-written kernels off.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from golu import formula


class Kernel(NamedTuple):
    """Hold forward(x, alpha, beta, gamma) and backward(dy, x, alpha, beta, gamma) for plain tensors, no autograd."""

    name: str
    reason: str
    forward: Callable[[Tensor, float, float, float], Tensor]
    backward: Callable[[Tensor, Tensor, float, float, float], Tensor]


def _formula(reason: str) -> Kernel:
    return Kernel("formula", reason, formula.golu, formula.backward)


def takes(beta: float, gamma: float) -> bool:
    """Tell whether the kernels serve these parameters: beyond, intermediates would leave the range of float."""
    return 1e-20 < beta < 1e20 and 1e-20 < gamma < 1e20


def _detect(device: str) -> Kernel:
    if os.environ.get("GOLU_KERNEL") == "formula":
        return _formula("GOLU_KERNEL=formula is set")
    if device == "cpu":
        from golu.kernels import cpu

        loaded = cpu.load()
        if isinstance(loaded, str):
            return _formula(loaded)
        return Kernel(f"C, {loaded.instruction_set}", str(loaded.path), loaded.forward, loaded.backward)
    from golu.kernels import cuda

    return Kernel("CUDA", "compiled by torch at the first call", cuda.forward, cuda.backward)


_cpu: Kernel | None = None
_cuda: Kernel | None = None
_others = _formula("no kernel is written for this device")


def kernel_for(device: str) -> Kernel:
    """Return the kernel that serves tensors of this device type ("cpu", "cuda", ...)."""
    global _cpu, _cuda
    if device == "cpu":
        _cpu = _cpu or _detect("cpu")
        return _cpu
    if device == "cuda":
        _cuda = _cuda or _detect("cuda")
        return _cuda
    return _others


def forward(x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    kernel = _cpu if x.is_cpu else None
    return (kernel or kernel_for(x.device.type)).forward(x, alpha, beta, gamma)


def backward(dy: Tensor, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    kernel = _cpu if x.is_cpu else None
    return (kernel or kernel_for(x.device.type)).backward(dy, x, alpha, beta, gamma)
