"""Tell the derivative of GoLU from its output and one bit an element, the side of its minimum.

With z = gamma * x and v = gamma / alpha * y, GoLU is v(z) = z * exp(-beta * exp(-z)). It falls to its minimum, where
1 + beta * z * exp(-z) = 0, and rises after it. Let D(z) be its derivative:

    right of the minimum   D is smooth in sqrt(v - v_min)
    left of it             D / v = 1 / z + beta * exp(-z) is smooth in sqrt(ln(v_min / v))

On each side a polynomial in pieces of equal length tells it. What rounding y to its dtype has lost is the only error
that counts: near the minimum, where the derivative is about 0, some 1e-5 in fp32. The C kernel computes the same.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

BETAS = 0.01, 2.0  #: where the pieces fit; beyond 2 the minimum is so flat that the output does not tell enough
_RIGHTMOST = {True: 40.0, False: 16.0}  # of z for fp64, beyond which the derivative is 1; and for fewer bits: to 2e-6
NEAREST = 1e-12  # least distance from the minimum: a second derivative is finite there
_DEEPEST = 88.5  # of ln(v_min / v), in cpu.c too: down to the least normal number
_SHAPES = {True: (64, 11, True), False: (8, 7, False)}  # segments and degree for fp64, and for fewer bits


@dataclass(frozen=True)
class Side:
    """Hold polynomials: `scale` brings a square root to pieces of length 1 around 0, 1, ...; lowest power first."""

    scale: float
    polynomials: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Slopes:
    """Hold the derivative on both sides of the minimum."""

    right: Side
    left: Side


@lru_cache(maxsize=64)
def minimum(beta: float) -> tuple[float, float]:
    """Return z and v of the minimum: -z * exp(-z) = 1 / beta, by Newton's method."""
    w = math.log1p(1.0 / beta)
    for _ in range(50):
        w -= (w - math.exp(-w) / beta) / (1.0 + w)
    return -w, -w * math.exp(-1.0 / w)


@lru_cache(maxsize=64)
def slopes(beta: float, segments: int, degree: int, fine: bool = False) -> Slopes:
    """Fit the derivative on both sides of the minimum; `fine` as far as fp64 goes, otherwise as far as fp32."""
    z_min, v_min = minimum(beta)
    widest = math.sqrt(_RIGHTMOST[fine] - v_min)
    deepest = math.sqrt(740.0 if fine else _DEEPEST)

    def on_the_right(root: float) -> float:
        z = _root(lambda z: z * math.exp(-beta * math.exp(-z)) - v_min - root * root, z_min, root * root + 8.0)
        u = beta * math.exp(-z)
        return math.exp(-u) * (1.0 + z * u)

    def on_the_left(root: float) -> float:
        low = -math.log((deepest * deepest + 20.0) / beta)
        z = _root(lambda z: math.log(z / z_min) - beta * math.exp(-z) - 1.0 / z_min + root * root, z_min, low - 8.0)
        return 1.0 / z + beta * math.exp(-z)

    right = _fitted(on_the_right, widest, segments - 1, degree)
    one = (1.0, *[0.0] * degree)  # beyond, where it is 1 exactly
    left = _fitted(on_the_left, deepest, segments, degree)
    return Slopes(Side(right.scale, (*right.polynomials, one)), left)


@lru_cache(maxsize=64)
def floats(alpha: float, beta: float, gamma: float, shapes: tuple[tuple[int, int], ...]) -> tuple[float, ...]:
    """Return what the C kernel takes, in the order of its struct `Slopes`: coefficients for each (segments, degree)."""
    fits = [slopes(beta, *shape) for shape in shapes]
    v_min, _, scale, rest = constants(beta, *shapes[0])
    head = v_min, 1.0 / minimum(beta)[1], scale, rest, gamma / alpha, alpha
    rows = (power for fit in fits for power in zip(*fit.left.polynomials, *fit.right.polynomials, strict=True))
    return (*head, *(coefficient for row in rows for coefficient in row))


def constants(beta: float, segments: int, degree: int) -> tuple[float, float, float, float]:
    """Return the minimum as fp32 has it, and what brings squares to segments: on the left a factor; on the right too.

    On the right (v - v_min) * factor + rest is exact near the minimum; the last number is this rest.
    """
    v_min, found = minimum(beta)[1], slopes(beta, segments, degree)
    scale = found.right.scale**2
    return rounded(v_min), found.left.scale**2, scale, (rounded(v_min) - v_min) * scale


def rounded(value: float) -> float:
    """Return the nearest number of fp32."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def require_suitable(alpha: float, beta: float, gamma: float) -> None:
    """Refuse parameters with which the output does not tell the derivative.

    Raises:
        ValueError: with these it does not.
    """
    low, high = BETAS
    if not (1e-20 < alpha < 1e20 and low <= beta <= high and 1e-20 < gamma < 1e20):
        raise ValueError(
            f'keep="output" takes positive alpha and gamma, and beta from {low:g} to {high:g}, where the output tells '
            f'the derivative; got alpha={alpha:g}, beta={beta:g}, gamma={gamma:g}: keep="input" takes all'
        )


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """Find where f changes its sign between two numbers, by halving."""
    for _ in range(64):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if (f(middle) < 0.0) == (f(low) < 0.0) else (low, middle)
    return 0.5 * (low + high)


def _fitted(f: Callable[[float], float], end: float, segments: int, degree: int) -> Side:
    """Interpolate f from 0, where it is 0, to `end`; the first segment begins in its middle, as it is rounded to."""
    scale = (segments - 0.5) / end
    nodes = [0.5 * math.cos(math.pi * (i + 0.5) / (degree + 1)) for i in range(degree + 1)]
    half = [0.25 - 0.25 * math.cos(math.pi * i / degree) for i in range(degree + 1)]  # 0 is one, so that 0 is met
    each = (half, *[nodes] * (segments - 1))

    def at(place: float) -> float:
        return f(place / scale) if place > 0.0 else 0.0

    return Side(scale, tuple(_interpolated(at_k, [at(k + x) for x in at_k]) for k, at_k in enumerate(each)))


def _interpolated(nodes: list[float], values: list[float]) -> tuple[float, ...]:
    """Return the coefficients of the polynomial through these points, by Newton's divided differences."""
    differences = list(values)
    for order in range(1, len(nodes)):
        for i in range(len(nodes) - 1, order - 1, -1):
            differences[i] = (differences[i] - differences[i - 1]) / (nodes[i] - nodes[i - order])
    coefficients = [0.0] * len(nodes)
    for node, difference in zip(reversed(nodes), reversed(differences), strict=True):
        shifted = [0.0, *coefficients[:-1]]
        coefficients = [up - node * same for up, same in zip(shifted, coefficients, strict=True)]
        coefficients[0] += difference
    return tuple(coefficients)


def sides(x: Tensor, beta: float, gamma: float) -> Tensor:
    """Return which elements are right of the minimum: uint8 (ceil(n / 8),), lowest bit first, as memory has them."""
    right = x > minimum(beta)[0] / gamma
    eights = torch.nn.functional.pad(right.as_strided((x.numel(),), (1,)), (0, -x.numel() % 8)).view(-1, 8)
    return (eights.to(torch.uint8) << _bits(x.device)).sum(1, dtype=torch.uint8)


def unpacked(right: Tensor, y: Tensor) -> Tensor:
    """Return what `sides` packed, as bools of y's shape; y has the strides that x had."""
    bits = (right[:, None] >> _bits(right.device)) & 1
    return bits.flatten().bool().as_strided(y.size(), y.stride())


def _bits(device: torch.device) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=device)


def backward(dy: Tensor, y: Tensor, right: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Return dy times the derivative of golu where its output is y; differentiable in dy and y.

    Args:
        dy: the gradient of the output, of y's shape.
        y: the output.
        right: bools of y's shape: whether the input was right of the minimum.
    """
    fine = y.dtype == torch.float64
    found, (_, v_min) = slopes(beta, *_SHAPES[fine]), minimum(beta)
    v = (gamma / alpha) * y.to(torch.float64 if fine else torch.float32)
    near = rounded(v_min)  # in two parts: as one it would be rounded to v's dtype
    distance = (v - near) - (v_min - near)
    depth = -torch.log(torch.where(right | (v == 0.0), 0.5, v / v_min))
    nearest = NEAREST**2 if fine else NEAREST
    slope = torch.where(right, _at(found.right, distance, nearest), v * _at(found.left, depth, nearest))
    return (dy.to(v.dtype) * (alpha * slope)).to(dy.dtype)


def _at(side: Side, square: Tensor, nearest: float) -> Tensor:
    """Evaluate the polynomials at a square root; at 0 its derivative is that of the nearest positive one."""
    segments = len(side.polynomials)
    place = torch.where(square < nearest, nearest + (square - square.detach()), square).sqrt() * side.scale
    place = torch.where(place > segments - 0.5000005, segments - 0.5000005, place)
    segment = place.detach().nan_to_num(0.0).round().to(torch.int64)
    r = place - segment
    powers = torch.tensor(side.polynomials, dtype=square.dtype, device=square.device).unbind(1)
    value = powers[-1][segment]
    for power in reversed(powers[:-1]):
        value = value * r + power[segment]
    return value
