"""Compute GoLU in plain torch operations, for torch.compile, export and devices without a kernel.

With u = beta * exp(-gamma * x) and the gate g = exp(-u):

    golu(x)        = alpha * x * g
    derivative(x)  = alpha * g * (1 + gamma * x * u)

(paper: arXiv 2502.03654, section 3). Autograd through `golu` gives the derivative by itself, with the same limits.
fp16 and bf16 are computed in fp32: exp(-x) overflows fp16 from x = -11. Parameters beyond 1e-20 .. 1e20 are computed
with in fp64: fp32 would lose them, or meet inf * 0. The functions keep to what TorchScript compiles, too.
"""

import math

import torch
from torch import Tensor


def _moderate(value: float) -> bool:
    return value == 0.0 or 1e-20 < abs(value) < 1e20


def _widened(x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Return x in the dtype that is computed in."""
    if x.dtype not in [torch.float16, torch.bfloat16, torch.float32, torch.float64]:
        raise TypeError(f"GoLU takes float16, bfloat16, float32 or float64 tensors, not {x.dtype}; convert it first")
    if not (_moderate(alpha) and _moderate(beta) and _moderate(gamma)):
        return x.to(torch.float64)
    return x.to(torch.float32) if x.dtype == torch.float16 or x.dtype == torch.bfloat16 else x


def _in_the_dtype_of(x: Tensor, y: Tensor) -> Tensor:
    """Return y in x's dtype; a call that changes nothing would leave an assertion in what torch.export writes."""
    return y if y.dtype == x.dtype else y.to(x.dtype)


def _times(factor: float, x: Tensor) -> Tensor:
    """Return factor * x, with 0 * inf = 0: what the product tends to."""
    return factor * (torch.where(x.abs() == math.inf, 0.0, x) if factor == 0.0 else x)


def _limits(dtype: torch.dtype) -> tuple[float, float, float]:
    """Return from which u on exp(-u) is 0, from which log(1 / u) on gamma * x * u is lost beside 1, and the maximum."""
    if dtype == torch.float64:
        return 850.0, 46.0, 1.7976931348623157e308
    return 150.0, 32.0, 3.4028234663852886e38


def _clamps(beta: float, gamma: float, dtype: torch.dtype) -> tuple[float, float]:
    """Return where g becomes 0, and where it becomes 1, for gamma > 0 and beta != 0.

    Beyond them x is replaced by the limit in the exponentials, which keeps inf * 0 out of value and gradient.
    """
    largest_u, no_more, largest = _limits(dtype)
    low = -math.inf
    if beta > 0.0:
        low = max((math.log(beta) - math.log(largest_u)) / gamma, -largest)
    return low, min((math.log(abs(beta)) + no_more) / gamma, largest)


def _parts(v: Tensor, beta: float, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return v clamped below, v clamped on both sides, and u; torch.where keeps NaN and its gradient, unlike clamp."""
    low, high = _clamps(beta, gamma, v.dtype)
    c = torch.where(v < low, low, v) if beta > 0.0 else v
    e = torch.where(c > high, high, c)
    if beta == 1.0 and gamma == 1.0:
        u = torch.exp(-e)
    elif _moderate(beta):
        u = beta * torch.exp(-gamma * e)
    else:  # the exponential alone could overflow
        u = math.copysign(1.0, beta) * torch.exp(math.log(abs(beta)) - gamma * e)
    return c, e, u


def _is_constant(beta: float, gamma: float) -> bool:
    """Tell whether the gate is the same everywhere, exp(-beta); the exponentials would give 0 * inf at the ends."""
    return beta == 0.0 or abs(gamma) < 1e-300


def _constant(beta: float) -> float:
    return math.exp(min(-beta, 709.0))


def golu(x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Return alpha * x * exp(-beta * exp(-gamma * x)), of x's shape and dtype."""
    v = _widened(x, alpha, beta, gamma)
    if _is_constant(beta, gamma):
        return _in_the_dtype_of(x, _times(alpha * _constant(beta), v))
    if gamma < 0.0:  # the mirror image
        alpha, gamma, v = -alpha, -gamma, -v
    c, _, u = _parts(v, beta, gamma)
    y = c * torch.exp(-u)
    return _in_the_dtype_of(x, y if alpha == 1.0 else _times(alpha, y))


def gompertz(x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Return the gate alone, alpha * exp(-beta * exp(-gamma * x)), of x's shape and dtype."""
    v = _widened(x, alpha, beta, gamma)
    if _is_constant(beta, gamma):
        gate = torch.where(v.isnan(), v, alpha * _constant(beta))  # 0 * v would be NaN at infinity
        return _in_the_dtype_of(x, gate)
    _, _, u = _parts(v if gamma > 0.0 else -v, beta, abs(gamma))
    return _in_the_dtype_of(x, alpha * torch.exp(-u))


def backward(dy: Tensor, x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Return dy times the derivative of golu at x; itself differentiable, to any order."""
    v = _widened(x, alpha, beta, gamma)
    if _is_constant(beta, gamma):
        slope = torch.where(v.isnan(), v, alpha * _constant(beta))
    else:
        _, e, u = _parts(v if gamma > 0.0 else -v, beta, abs(gamma))
        slope = alpha * (torch.exp(-u) * (1.0 + abs(gamma) * e * u))
    return (dy.to(v.dtype) * slope).to(dy.dtype)


def _gate_of_tensors(x: Tensor, beta: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """Return x clamped below and the gate, differentiable in beta and gamma too, for gamma >= 0.

    What is clamped away is a constant, for x, beta and gamma alike: no gradient there is inf * 0.
    """
    largest_u, no_more, largest = _limits(x.dtype)
    b, k = beta.detach(), gamma.detach()
    low = torch.where(b > 0.0, (b.log() - math.log(largest_u)) / k, -largest).clamp(-largest, largest)
    high = ((b.abs().clamp(min=1.0).log() + no_more) / k).clamp(-largest, largest)
    c = torch.where(x < low, low, x)
    u = torch.where(c > high, 0.0, beta * torch.exp(-gamma * torch.where(c > high, high, c)))
    return c, torch.exp(-u)


def golu_of_tensors(x: Tensor, alpha: Tensor, beta: Tensor, gamma: Tensor) -> Tensor:
    """Return golu for parameters that are tensors, broadcast against x; differentiable in all four."""
    v = _widened(x, 1.0, 1.0, 1.0)
    alpha, beta, gamma = alpha.to(v.dtype), beta.to(v.dtype), gamma.to(v.dtype)
    mirrored = gamma < 0.0
    c, g = _gate_of_tensors(torch.where(mirrored, -v, v), beta, gamma.abs())
    y = alpha * (c * g)
    return _in_the_dtype_of(x, torch.where(mirrored, -y, y))


def gompertz_of_tensors(x: Tensor, alpha: Tensor, beta: Tensor, gamma: Tensor) -> Tensor:
    """Return gompertz for parameters that are tensors, broadcast against x; differentiable in all four."""
    v = _widened(x, 1.0, 1.0, 1.0)
    alpha, beta, gamma = alpha.to(v.dtype), beta.to(v.dtype), gamma.to(v.dtype)
    _, g = _gate_of_tensors(torch.where(gamma < 0.0, -v, v), beta, gamma.abs())
    return _in_the_dtype_of(x, alpha * g)
