"""GoLU in NumPy's double precision, straight from the definition: what every implementation is held against."""

import numpy as np
import torch
from torch import Tensor


def value(x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    with np.errstate(over="ignore", invalid="ignore"):
        v = x.detach().to("cpu", torch.float64).numpy()
        y = alpha * v * np.exp(-beta * np.exp(-gamma * v))
        y = np.where(np.isneginf(v), -0.0 * alpha, y)  # the limit of x * exp(-exp(-x))
    return torch.from_numpy(np.asarray(y))


def derivative(x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    with np.errstate(over="ignore", invalid="ignore"):
        v = x.detach().to("cpu", torch.float64).numpy()
        u = beta * np.exp(-gamma * v)
        d = alpha * np.exp(-u) * (1 + gamma * v * u)
        d = np.where(u > 800, 0.0, d)
        d = np.where(np.isposinf(v), alpha, d)
    return torch.from_numpy(np.asarray(d))


def second_derivative(x: Tensor) -> Tensor:
    v = x.detach().to("cpu", torch.float64).numpy()
    u = np.exp(-v)
    return torch.from_numpy(np.exp(-u) * u * (2 + v * (u - 1)))


def ulps(got: Tensor, want: Tensor) -> Tensor:
    """|got - want| in units of the last place of `want` rounded to got's dtype (float32 or float64)."""
    rounded = want.to(got.dtype).abs().numpy()
    return (got.double() - want).abs() / torch.from_numpy(np.spacing(rounded)).double()


def steps(a: Tensor, b: Tensor) -> Tensor:
    """How many numbers of a 16-bit dtype lie between a and b."""

    def ordered(t: Tensor) -> Tensor:
        bits = t.view(torch.int16).to(torch.int32)
        return torch.where(bits < 0, -32768 - bits, bits)

    return (ordered(a) - ordered(b)).abs()
