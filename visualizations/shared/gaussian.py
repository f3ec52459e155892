"""Expectations of functions of a normal variable X ~ N(mean, deviation^2), by quadrature in float64, to about 1e-10.

The density's range of +-10 deviations is split where X = 0, so that activations with a kink there (ReLU, ELU, ...) are
smooth on either side, and each side into Gauss-Legendre panels that become finer towards 0, where activations bend.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from visualizations.shared.functions import values

REACH = 10.0  # deviations; 2e-23 of the distribution lies beyond
PANELS, NODES = 32, 16  # on either side of 0, and in each
AT_ONCE = 2000  # distributions whose nodes are held in memory together

Array = np.ndarray | float


class Moments(NamedTuple):
    """Of an activation f at X, each of the shape of mean and deviation."""

    mean: np.ndarray
    variance: np.ndarray
    mean_square: np.ndarray
    mean_slope: np.ndarray
    mean_squared_slope: np.ndarray


def moments(activation: str, mean: Array, deviation: Array) -> Moments:
    """E f(X), Var f(X), E f(X)^2, E f'(X) and E f'(X)^2 of a named activation; deviation 0 is the point `mean`."""

    def of(x: np.ndarray, weight: np.ndarray) -> list[np.ndarray]:
        f, slope = values(activation, x), values(activation, x, 1)
        centre = (weight * f).sum(-1, keepdims=True)
        kinds = [f, (f - centre) ** 2, f**2, slope, slope**2]
        return [(weight * each).sum(-1) for each in kinds]

    return Moments(*_by_parts(of, mean, deviation))


def expectation(function: Callable[[np.ndarray], np.ndarray], mean: Array, deviation: Array) -> np.ndarray:
    """E function(X), for a function that is smooth except perhaps at 0."""
    return _by_parts(lambda x, weight: [(weight * function(x)).sum(-1)], mean, deviation)[0]


def _by_parts(
    sums: Callable[[np.ndarray, np.ndarray], list[np.ndarray]], mean: Array, deviation: Array
) -> list[np.ndarray]:
    """What `sums` makes of nodes and weights, in the shape of mean and deviation; of some of them at a time."""
    mean, deviation = np.broadcast_arrays(np.asarray(mean, float), np.asarray(deviation, float))
    pairs = np.stack([mean.ravel(), deviation.ravel()])
    parts = [sums(*_nodes(*pairs[:, at : at + AT_ONCE])) for at in range(0, pairs.shape[1], AT_ONCE)]
    return [np.concatenate(each).reshape(mean.shape) for each in zip(*parts, strict=True)]


def _nodes(mean: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of X, a row for each distribution, and their weights, with sum 1."""
    if not (deviation >= 0).all():
        raise ValueError(f"a deviation must be at least 0, not {deviation.min()}")
    with np.errstate(divide="ignore", invalid="ignore"):
        kink = np.where(deviation > 0, -mean / deviation, 0).clip(-REACH, REACH)[:, None]
    t, width = _unit_interval()
    left, right = kink - (kink + REACH) * t, kink + (REACH - kink) * t
    z = np.concatenate([left, right], axis=1)
    weight = np.concatenate([(kink + REACH) * width, (REACH - kink) * width], axis=1)
    weight *= np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return mean[:, None] + deviation[:, None] * z, weight


def _unit_interval() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on (0, 1), in panels whose width grows in proportion to the distance from 0."""
    edges = (np.arange(PANELS + 1) / PANELS) ** 2
    at, weight = np.polynomial.legendre.leggauss(NODES)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (at + 1)).ravel(), (half * weight).ravel()
