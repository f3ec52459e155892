"""Compute GoLU in plain torch operations, for torch.compile, export and devices without a kernel.

With u = beta * exp(-gamma * x) and the gate g = exp(-u):

    golu(x)        = alpha * x * g
    derivative(x)  = alpha * g * (1 + gamma * x * u)

(paper: arXiv 2502.03654, section 3). Autograd through `golu` gives the derivative by itself, with the same limits.
fp16 and bf16 are computed in fp32: exp(-x) overflows fp16 from x = -11.
"""

import math

import torch
from torch import Tensor

# dtype -> (exp(-u) is 0 from this u on, gamma * x * u is lost beside 1 from this log(1 / u) on)
_LIMITS = {torch.float32: (150.0, 32.0), torch.float64: (850.0, 46.0)}
_COMPUTED_IN = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


def _compute_dtype(x: Tensor) -> torch.dtype:
    dtype = _COMPUTED_IN.get(x.dtype) if hasattr(x, "dtype") else None
    if dtype is None:
        given = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"GoLU takes float16, bfloat16, float32 or float64 tensors, not {given}; convert it first")
    return dtype


def _clamps(beta: float, gamma: float, dtype: torch.dtype) -> tuple[float, float]:
    """Return where g becomes 0, and where it becomes 1, for gamma > 0 and beta != 0.

    Beyond them x is replaced by the limit in the exponentials, which keeps inf * 0 out of value and gradient.
    """
    largest_u, no_more = _LIMITS[dtype]
    largest = torch.finfo(dtype).max
    low = (math.log(beta) - math.log(largest_u)) / gamma if beta > 0 else -math.inf
    high = (math.log(abs(beta)) + no_more) / gamma
    return max(low, -largest) if beta > 0 else low, min(high, largest)


def _parts(x: Tensor, beta: float, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return x clamped below, x clamped on both sides, and u; torch.where keeps NaN and its gradient, unlike clamp."""
    low, high = _clamps(beta, gamma, x.dtype)
    c = torch.where(x < low, low, x) if beta > 0 else x
    e = torch.where(c > high, high, c)
    u = torch.exp(-e) if beta == 1.0 and gamma == 1.0 else beta * torch.exp(-gamma * e)
    return c, e, u


def golu(x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Return alpha * x * exp(-beta * exp(-gamma * x)), of x's shape and dtype."""
    dtype = _compute_dtype(x)
    v = x.to(dtype)
    if beta == 0.0 or gamma == 0.0:  # a constant gate, whose exponentials would give 0 * inf at the ends
        y = alpha * math.exp(-beta) * v if gamma == 0.0 else alpha * v
    elif gamma < 0.0:
        y = -golu(-v, alpha, beta, -gamma)
    else:
        c, _, u = _parts(v, beta, gamma)
        y = c * torch.exp(-u)
        if alpha != 1.0:
            y = alpha * y
    return y.to(x.dtype)


def gompertz(x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Return the gate alone, alpha * exp(-beta * exp(-gamma * x)), of x's shape and dtype."""
    dtype = _compute_dtype(x)
    v = x.to(dtype)
    if beta == 0.0 or gamma == 0.0:
        # 0 * v would be NaN at infinity; the sum keeps only a NaN of v
        y = torch.where(v.isnan(), v, alpha * (math.exp(-beta) if gamma == 0.0 else 1.0))
    elif gamma < 0.0:
        y = gompertz(-v, alpha, beta, -gamma)
    else:
        _, _, u = _parts(v, beta, gamma)
        y = alpha * torch.exp(-u)
    return y.to(x.dtype)


def backward(dy: Tensor, x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Return dy times the derivative of golu at x; itself differentiable, to any order."""
    dtype = _compute_dtype(x)
    if gamma < 0.0:
        return backward(dy, -x, alpha, beta, -gamma)
    v = x.to(dtype)
    if beta == 0.0 or gamma == 0.0:
        slope = torch.where(v.isnan(), v, alpha * (math.exp(-beta) if gamma == 0.0 else 1.0))
    else:
        _, e, u = _parts(v, beta, gamma)
        slope = alpha * (torch.exp(-u) * (1.0 + gamma * e * u))
    return (dy.to(dtype) * slope).to(dy.dtype)
