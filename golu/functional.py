"""Compute golu() and gompertz() by a kernel that reads the memory, or by the formula that torch sees."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from golu import formula, kernels

_is_compiling = torch.compiler.is_compiling
_is_grad_enabled = torch.is_grad_enabled
_has_storage = torch._C._has_storage
_functorch_active = torch._C._are_functorch_transforms_active
_dispatch_modes = torch._C._len_torch_dispatch_stack
_tracing_state = torch._C._get_tracing_state
_PLAIN = (Tensor, torch.nn.Parameter)


def golu(x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Apply GoLU elementwise: alpha * x * exp(-beta * exp(-gamma * x)).

    Args:
        x: float16, bfloat16, float32 or float64, of any shape, strides and device.
        alpha, beta, gamma: finite floats; negative alpha and non-positive beta or gamma are followed, with a warning.

    Returns:
        A tensor of x's shape, dtype and device; dense memory keeps its order (channels_last stays so).

    Raises:
        TypeError: x is not of one of these dtypes.
        ValueError: a parameter is NaN or infinite.

    Only x is kept for the backward pass. At -inf the value is -0 and the gradient 0; at +inf they are inf and 1.
    """
    if not (alpha == 1.0 and beta == 1.0 and gamma == 1.0):
        check_parameters(alpha, beta, gamma)
    if _is_compiling() or not _eager(x):
        return formula.golu(x, alpha, beta, gamma)
    if x.requires_grad and _is_grad_enabled():
        y: Tensor = _GoLU.apply(x, alpha, beta, gamma)
        return y
    return kernels.forward(x, alpha, beta, gamma)


def gompertz(x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Apply the Gompertz gate elementwise: alpha * exp(-beta * exp(-gamma * x)). Arguments and errors as for `golu`."""
    check_parameters(alpha, beta, gamma)
    return formula.gompertz(x, alpha, beta, gamma)


def _eager(x: Tensor) -> bool:
    """Tell whether x has memory of its own and nothing sees the operations: no transform, subclass, mode or trace."""
    return (
        type(x) in _PLAIN
        and _has_storage(x)  # not so for batched gradients and sparse layouts
        and not _functorch_active()
        and forward_ad._current_level < 0
        and not _dispatch_modes()
        and _tracing_state() is None
    )


class _GoLU(torch.autograd.Function):
    """Run a kernel under autograd; `setup_context` would cost six times as much a call, functorch gets the formula."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.parameters = alpha, beta, gamma
        return kernels.forward(x, alpha, beta, gamma)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        if _is_grad_enabled() or not _eager(dy):  # create_graph, batched gradients
            return formula.backward(dy, x, *ctx.parameters), None, None, None
        return kernels.backward(dy, x, *ctx.parameters), None, None, None


def check_parameters(alpha: float, beta: float, gamma: float, stacklevel: int = 3) -> None:
    """Raise for parameters that are no finite numbers; warn the caller's caller where the gate loses its S shape."""
    for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not -math.inf < value < math.inf:  # a comparison, which torch.compile can trace
            raise ValueError(f"GoLU needs finite parameters, got {name}={value}")
    if not _is_compiling() and (alpha < 0 or beta <= 0 or gamma <= 0):
        warnings.warn(
            f"GoLU with alpha={alpha}, beta={beta}, gamma={gamma}: "
            "unless alpha >= 0, beta > 0 and gamma > 0, the gate is no longer an S-shaped curve",
            stacklevel=stacklevel,
        )
