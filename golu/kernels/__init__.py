"""Choose the kernel of a device: detected at its first tensor, then kept.

`GOLU_KERNEL=formula` in the environment turns the hand-written kernels off.
"""

import functools
import os
import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from golu import formula, from_output


def _too_much(*_: object) -> None:
    """Return None, as for a call that is out of the ordinary."""


class Kernel(NamedTuple):
    """Hold forward(x, alpha, beta, gamma) and backward(dy, x, alpha, beta, gamma) for plain tensors, no autograd.

    What is named `call` makes all checks itself: see the functions of this name below. The last five serve the other
    forms of GoLU, and say by None or False that the formula has to.
    """

    name: str
    reason: str
    forward: Callable[[Tensor, float, float, float], Tensor]
    backward: Callable[[Tensor, Tensor, float, float, float], Tensor]
    call: Callable[..., Tensor | None] = _too_much
    call_backward: Callable[..., Tensor | None] = _too_much
    forward_keeping: Callable[..., tuple[Tensor, Tensor] | None] = _too_much
    backward_from_output: Callable[..., Tensor | None] = _too_much
    call_backward_from_output: Callable[..., Tensor | None] = _too_much
    gated: Callable[..., bool | None] = _too_much
    learned: Callable[..., tuple[Tensor, ...] | None] = _too_much


def _formula(reason: str) -> Kernel:
    return Kernel("formula", reason, formula.golu, formula.backward)


_warned = False


def _slow_formula(reason: str, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Compute the formula, which nobody chose; warn once, at the line that calls golu, where that takes time."""
    global _warned
    if not _warned and x.numel() >= 2**20:
        _warned = True
        frame, level = sys._getframe(), 1
        while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("golu", "torch"):
            frame, level = frame.f_back, level + 1
        warnings.warn(
            f"GoLU is several times slower on this CPU than it can be: {reason} "
            "(or set GOLU_KERNEL=formula to be content with it)",
            stacklevel=level,
        )
    return formula.golu(x, alpha, beta, gamma)


def takes(alpha: float, beta: float, gamma: float) -> bool:
    """Tell whether the kernels serve these parameters: beyond, intermediates would leave the range of float."""
    return 1e-20 < abs(alpha) < 1e20 and 1e-20 < beta < 1e20 and 1e-20 < gamma < 1e20


def _detect(device: str) -> Kernel:
    if os.environ.get("GOLU_KERNEL") == "formula":
        return _formula("GOLU_KERNEL=formula is set")
    if device == "cpu":
        from golu.kernels import cpu

        loaded = cpu.load()
        if isinstance(loaded, str):
            return Kernel("formula", loaded, functools.partial(_slow_formula, loaded), formula.backward)
        name, direct = f"C, {loaded.instruction_set}", loaded.extension
        reason = f"{loaded.path}, {loaded.threads}" + ("" if direct else ", through ctypes")
        calls = (direct.call, direct.backward) if direct else (_too_much, _too_much)
        return Kernel(name, reason, loaded.forward, loaded.backward, *calls)._replace(
            forward_keeping=loaded.forward_keeping,
            backward_from_output=loaded.backward_from_output,
            call_backward_from_output=loaded.call_backward_from_output,
            gated=loaded.gated,
            learned=loaded.learned,
        )
    from golu.kernels import cuda

    kernel = Kernel("CUDA", "compiled by torch at the first call", cuda.forward, cuda.backward)
    return kernel._replace(backward_from_output=cuda.backward_from_output)


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


def call(x: Tensor, alpha: float, beta: float, gamma: float, apply: Callable[..., Tensor]) -> Tensor | None:
    """Serve golu(x) from end to end; None where the call is out of the ordinary, so that the caller has to look closer.

    Ordinary is a plain contiguous tensor on the CPU while nothing sees the operations. Where autograd does, the result
    is that of apply(x) if all parameters are 1, of apply(x, alpha, beta, gamma) if not.
    """
    kernel = _cpu or (kernel_for("cpu") if getattr(x, "is_cpu", False) else _others)
    return kernel.call(x, alpha, beta, gamma, apply)


def call_backward(dy: Tensor, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor | None:
    """Serve the gradient in the same way; None also where it is to be differentiated again."""
    return _cpu.call_backward(dy, x, alpha, beta, gamma) if _cpu else None


def call_backward_from_output(
    dy: Tensor, y: Tensor, packed: Tensor, alpha: float, beta: float, gamma: float
) -> Tensor | None:
    """Serve the gradient from the output in the same way."""
    return _cpu.call_backward_from_output(dy, y, packed, alpha, beta, gamma) if _cpu else None


def forward(x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    kernel = _cpu if x.is_cpu else None
    return (kernel or kernel_for(x.device.type)).forward(x, alpha, beta, gamma)


def backward(dy: Tensor, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    kernel = _cpu if x.is_cpu else None
    return (kernel or kernel_for(x.device.type)).backward(dy, x, alpha, beta, gamma)


def forward_keeping(x: Tensor, alpha: float, beta: float, gamma: float) -> tuple[Tensor, Tensor]:
    """Return golu(x) and, packed in the order of its memory, which elements are right of the minimum."""
    kernel = kernel_for(x.device.type)
    done = kernel.forward_keeping(x, alpha, beta, gamma)
    if done is not None:
        return done
    y = kernel.forward(x, alpha, beta, gamma)
    x = x if x.stride() == y.stride() else torch.empty_like(y).copy_(x)
    return y, from_output.sides(x, beta, gamma)


def backward_from_output(dy: Tensor, y: Tensor, packed: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Return the gradient of x from the output and what `forward_keeping` packed; y has the strides of then."""
    dx = kernel_for(y.device.type).backward_from_output(dy, y, packed, alpha, beta, gamma)
    return from_output.backward(dy, y, from_output.unpacked(packed, y), alpha, beta, gamma) if dx is None else dx
