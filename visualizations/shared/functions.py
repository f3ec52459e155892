"""The activations as functions of one variable, in float64: values, derivatives, gates and where they turn."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from golu import get_activation_function

Function = Callable[[torch.Tensor], torch.Tensor]


def derivative_of(function: Function, x: np.ndarray, order: int = 0) -> np.ndarray:
    """The function's derivative of that order at x, float64, of x's shape; 0 is the function itself. By autograd."""
    leaf = torch.tensor(x, dtype=torch.float64, requires_grad=order > 0)
    y = function(leaf)
    for _ in range(order):
        if not y.requires_grad:  # a constant's derivative has no history: LeakyReLU's second
            return np.zeros_like(leaf.detach().numpy())
        (y,) = torch.autograd.grad(y.sum(), leaf, create_graph=True, materialize_grads=True)
    return y.detach().numpy()


def values(activation: str, x: np.ndarray, order: int = 0) -> np.ndarray:
    """As `derivative_of`, for a named activation."""
    return derivative_of(get_activation_function(activation).double(), x, order)


def slope(activation: str, x: np.ndarray, order: int = 1) -> np.ndarray:
    """The derivative of a named activation."""
    return values(activation, x, order)


def gate(activation: str, x: np.ndarray) -> np.ndarray:
    """f(x) / x, for an activation with f(0) = 0; at 0 the limit from the right, the slope there."""
    with np.errstate(invalid="ignore"):
        ratio = values(activation, x) / x
    return np.where(x == 0, values(activation, np.full_like(x, 1e-300), 1), ratio)


def extrema(function: Callable[[np.ndarray], np.ndarray], low: float, high: float, points: int = 4001) -> list[float]:
    """Where a smooth function's derivative, given as `function`, changes its sign between low and high.

    A derivative that is 0 over an interval, as ReLU's, has no extremum there.
    """
    from scipy.optimize import brentq

    x = np.linspace(low, high, points)
    y = function(x)
    left, right = y[:-1], y[1:]
    crossings = np.flatnonzero((left * right < 0) | ((left == 0) & (np.roll(y, 1)[:-1] * right < 0)))
    return [float(brentq(lambda at: function(np.array(at)).item(), x[i], x[i + 1], xtol=1e-13)) for i in crossings]


def turning_points(activation: str, order: int, low: float, high: float) -> list[tuple[float, float]]:
    """(x, value) of each extremum of the derivative of that order."""
    places = extrema(partial(values, activation, order=order + 1), low, high)
    return [(x, values(activation, np.array(x), order).item()) for x in places]


def minimum_of(activation: str) -> tuple[float, float] | None:
    """(x, value) of its minimum, left of which it decreases; None for an activation that decreases nowhere."""
    return next(iter(turning_points(activation, 0, -12, 12)), None)
