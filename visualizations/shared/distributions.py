"""The gates as distribution functions: what each is called, its density, median, mode and moments."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from golu import formula
from visualizations.shared.functions import Function, derivative_of, extrema

GATES: dict[str, Function] = {
    "GELU": torch.special.ndtr,
    "Swish": torch.sigmoid,
    "Mish": lambda x: torch.tanh(torch.nn.functional.softplus(x)),
    "GoLU": formula.gompertz,
}
NAMES = {"GELU": "normal", "Swish": "logistic", "Mish": "tanh(softplus)", "GoLU": "Gumbel"}

_STEP = 0.01  # on so fine a grid, and so long a one, a sum is the integral of these densities to 12 digits
_GRID = np.arange(-6000, 6001) * _STEP


@dataclass(frozen=True)
class Moments:
    """Mean, standard deviation, and the standardised third moment and fourth minus 3."""

    mean: float
    deviation: float
    skewness: float
    excess_kurtosis: float


def label_of(activation: str) -> str:
    """The distribution's name with the activation's, as "Gumbel (GoLU)"."""
    return f"{NAMES[activation]} ({activation})"


def distribution(activation: str, x: np.ndarray) -> np.ndarray:
    """The gate: the probability of at most x."""
    return derivative_of(GATES[activation], x)


def density(activation: str, x: np.ndarray) -> np.ndarray:
    """The gate's derivative."""
    return derivative_of(GATES[activation], x, 1)


def moments(activation: str) -> Moments:
    """By quadrature of the density."""
    weights = density(activation, _GRID) * _STEP
    mean = float(weights @ _GRID)
    second, third, fourth = (float(weights @ (_GRID - mean) ** k) for k in (2, 3, 4))
    deviation = second**0.5
    return Moments(mean, deviation, third / deviation**3, fourth / second**2 - 3)


def mode(activation: str) -> float:
    """Where the density is largest."""
    (place,) = extrema(partial(derivative_of, GATES[activation], order=2), -5, 5)
    return place


def median(activation: str) -> float:
    """Where the gate is one half."""
    (place,) = extrema(lambda x: distribution(activation, x) - 0.5, -5, 5)
    return place
