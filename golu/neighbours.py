"""Provide four activations that GoLU is compared with, which torch does not have: ReLU2, TeLU, xIELU and AGLU.

They are plain operations of torch, so they take more time and memory than a kernel would. Those that learn keep each
number as a parameter of shape (1,), the inverse softplus of a positive number, and draw no random numbers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SMALLEST, _LARGEST = 1e-10, 1e10  # that AGLU's parameters start with; the smallest also bounds what they become


def _checked(x: Tensor, name: str) -> Tensor:
    if not isinstance(x, Tensor) or x.dtype not in _DTYPES:
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} takes float16, bfloat16, float32 or float64 tensors, not {kind}; convert it first")
    return x


def _to(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return x in the dtype; a call that changes nothing would leave an assertion in what torch.export writes."""
    return x if x.dtype == dtype else x.to(dtype)


def _widened(x: Tensor, name: str) -> Tensor:
    """Return x in the dtype that is computed in: fp32 instead of fp16 and bf16."""
    x = _checked(x, name)
    return _to(x, torch.float64 if x.dtype == torch.float64 else torch.float32)


def _positive(first: Tensor, second: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return the positive numbers that two parameters stand for, without dimensions: x may have none either."""
    return F.softplus(_to(torch.cat((first, second)), dtype)).unbind()


def _stands_for(parameter: Tensor, value: float) -> None:
    """Let a parameter stand for a positive number."""
    nn.init.constant_(parameter, value + math.log(-math.expm1(-value)))


class ReLU2(nn.Module):
    """Compute the square of ReLU elementwise (paper: arXiv 2109.08668).

    Shape: any; the output has the input's shape and dtype.

    Raises:
        TypeError: the input is no tensor of float16, bfloat16, float32 or float64.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(_checked(x, "ReLU2")).square()


class TeLU(nn.Module):
    """Compute x * tanh(exp(x)) elementwise (paper: arXiv 2412.20269).

    Shape: any; the output has the input's shape and dtype; fp16 and bf16 are computed in fp32. At -inf the value is -0
    and the gradient 0; at +inf they are inf and 1.

    Raises:
        TypeError: the input is no tensor of float16, bfloat16, float32 or float64.
    """

    def forward(self, x: Tensor) -> Tensor:
        v = _widened(x, "TeLU")
        c = torch.where(v < -1000.0, -1000.0, v)  # the gate is 0 there; keeps inf * 0 out of value and gradient
        gate = torch.tanh(torch.exp(torch.where(c > 5.0, 5.0, c)))  # from 5 on it is 1 in every dtype
        return _to(c * gate, x.dtype)


class xIELU(nn.Module):
    """Integrate a linear and an exponential slope, and learn how steep each is (paper: arXiv 2411.13010).

    It is alpha_p * x^2 + beta * x for x > 0, and alpha_n * (exp(x) - 1 - x) + beta * x elsewhere.

    Args:
        alpha_p_init: what alpha_p starts with, above 0; the parameter is the inverse softplus of alpha_p.
        alpha_n_init: what alpha_n starts with, above beta; the parameter is the inverse softplus of alpha_n - beta.
        beta: the slope at 0; it is not learned.
        eps: an upper bound of x in exp(x) - 1, 0 or less. With -1e-6 it is transformers' xIELU everywhere, whose
            parameters have the same names and meaning; but then the slope is beta - alpha_n from -1e-6 to 0, 0
            included. With 0 it is the formula.

    Shape: any; the output has the input's shape and dtype; fp16 and bf16 are computed in fp32.

    Raises:
        TypeError: the input is no tensor of float16, bfloat16, float32 or float64.
        ValueError: an argument is not in these bounds, or not finite.
    """

    def __init__(
        self, alpha_p_init: float = 0.8, alpha_n_init: float = 0.8, beta: float = 0.5, eps: float = 0.0
    ) -> None:
        super().__init__()
        if not (0 < alpha_p_init < math.inf and -math.inf < beta < alpha_n_init < math.inf and -math.inf < eps <= 0):
            raise ValueError(
                "xIELU needs finite numbers with alpha_p_init > 0, alpha_n_init > beta and eps <= 0, got "
                f"alpha_p_init={alpha_p_init}, alpha_n_init={alpha_n_init}, beta={beta}, eps={eps}"
            )
        self.alpha_p_init, self.alpha_n_init, self.beta, self.eps = alpha_p_init, alpha_n_init, beta, eps
        self.alpha_p = nn.Parameter(torch.empty(1))
        self.alpha_n = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set both parameters to what they start with."""
        _stands_for(self.alpha_p, self.alpha_p_init)
        _stands_for(self.alpha_n, self.alpha_n_init - self.beta)

    def forward(self, x: Tensor) -> Tensor:
        v = _widened(x, "xIELU")
        alpha_p, excess = _positive(self.alpha_p, self.alpha_n, v.dtype)  # the second is alpha_n - beta
        positive = v > 0.0
        right, left = torch.where(positive, v, 0.0), torch.where(positive, 0.0, v)  # no inf where it is not chosen
        bounded = torch.where(left > self.eps, self.eps, left)
        below = (self.beta + excess) * torch.expm1(bounded) - excess * left  # with beta * x apart, inf - inf
        return _to(torch.where(positive, right * (alpha_p * right + self.beta), below), x.dtype)

    def extra_repr(self) -> str:
        return (
            f"alpha_p_init={self.alpha_p_init:g}, alpha_n_init={self.alpha_n_init:g}, beta={self.beta:g}, "
            f"eps={self.eps:g}"
        )


class AGLU(nn.Module):
    """Compute x * (lambda * exp(-kappa * x) + 1)^(-1 / lambda), and learn lambda and kappa (paper: arXiv 2407.08567).

    With kappa = 1 it is Swish for lambda = 1, and tends to GoLU for lambda to 0.

    Args:
        lambd_init: what lambda starts with, from 1e-10 to 1e10; the parameter is the inverse softplus of lambda. The
            authors' program draws it and kappa between 0 and 1, of which 0.5 is the mean.
        kappa_init: what kappa starts with, in the same way.

    Shape: any; the output has the input's shape and dtype; fp16 and bf16 are computed in fp32. At -inf the value is -0
    and all gradients are 0; at +inf value and gradient are inf and 1, those of the parameters 0.

    Raises:
        TypeError: the input is no tensor of float16, bfloat16, float32 or float64.
        ValueError: lambd_init or kappa_init is out of these bounds.
    """

    def __init__(self, lambd_init: float = 0.5, kappa_init: float = 0.5) -> None:
        super().__init__()
        if not (_SMALLEST <= lambd_init <= _LARGEST and _SMALLEST <= kappa_init <= _LARGEST):
            raise ValueError(
                f"AGLU needs parameters from {_SMALLEST:g} to {_LARGEST:g}, got "
                f"lambd_init={lambd_init}, kappa_init={kappa_init}"
            )
        self.lambd_init, self.kappa_init = lambd_init, kappa_init
        self.lambd = nn.Parameter(torch.empty(1))
        self.kappa = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set both parameters to what they start with."""
        _stands_for(self.lambd, self.lambd_init)
        _stands_for(self.kappa, self.kappa_init)

    def forward(self, x: Tensor) -> Tensor:
        v = _widened(x, "AGLU")
        lambd, kappa = (each.clamp(min=_SMALLEST) for each in _positive(self.lambd, self.kappa, v.dtype))
        # The gate is 0 left of low and 1 right of high, in every dtype. There x is a constant in the exponentials, for
        # all gradients alike, which keeps inf * 0 out of them.
        low = ((lambd.log() - 850.0 * lambd) / kappa).detach()
        high = (46.0 / kappa).detach()
        c = torch.where(v < low, low, v)
        t = lambd.log() - kappa * torch.where(c > high, high, c)
        total = torch.logaddexp(t, torch.zeros_like(t))  # log1p(lambda * exp(-kappa * x)), without overflow
        exponent = torch.where(c > high, 0.0, total / lambd)
        return _to(c * torch.exp(-exponent), x.dtype)

    def extra_repr(self) -> str:
        return f"lambd_init={self.lambd_init:g}, kappa_init={self.kappa_init:g}"
