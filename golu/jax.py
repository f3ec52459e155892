"""Compute GoLU in JAX, with the values, limits and derivatives of `golu.golu` (paper: arXiv 2502.03654).

Importing it imports jax, which the extra `jax` installs, and raises an ImportError without it.
"""

import math
import numbers
from typing import Any

from golu.integrations.hosts import imported

imported("jax", "0.4.31", needed_by="golu.jax")

import jax  # noqa: E402  (the line before says in one line what is missing)
import jax.numpy as jnp  # noqa: E402
from jax import Array  # noqa: E402
from jax.typing import ArrayLike  # noqa: E402

__all__ = ["golu"]

_DTYPES = ("float16", "bfloat16", "float32", "float64")
# log u from which on exp(-u) is 0, and log(1 / u) from which on u and x * u are lost beside 1
_LIMITS = {"float32": (5.01, 32.0), "float64": (6.745, 46.0)}


def golu(x: ArrayLike, alpha: ArrayLike = 1.0, beta: ArrayLike = 1.0, gamma: ArrayLike = 1.0) -> Array:
    """Apply GoLU elementwise: alpha * x * exp(-beta * exp(-gamma * x)).

    Args:
        x: float16, bfloat16, float32 or float64, of any shape. float16 and bfloat16 are computed in float32.
        alpha, beta, gamma: finite numbers, beta and gamma above 0. Where one is an array, it is broadcast against x and
            gets its gradient; its values are not checked.

    Returns:
        An array of x's dtype, and of x's shape unless a parameter's is larger.

    Raises:
        TypeError: x is not of one of these dtypes, or a parameter is neither a real number nor an array.
        ValueError: a parameter that is a number is not finite, or beta or gamma is not above 0.

    It can be compiled, batched and differentiated, forward and backward, to any order. Only x is kept for the backward
    pass. At -inf the value is -0 and the gradient 0; at +inf they are inf and alpha; NaN stays NaN.
    """
    for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        _check(name, value)
    x = jnp.asarray(x)
    if x.dtype.name not in _DTYPES:
        raise TypeError(f"GoLU takes {', '.join(_DTYPES)} arrays, not {x.dtype.name}; convert it first")
    y: Array = _golu(x, alpha, beta, gamma)
    return y


def _check(name: str, value: Any) -> None:
    kind = getattr(value, "dtype", type(value))
    if kind is not float and not any(jnp.issubdtype(kind, real) for real in (jnp.floating, jnp.integer)):
        raise TypeError(f"GoLU in JAX takes real numbers or arrays as parameters, got {name}={value!r}")
    number = isinstance(value, (numbers.Real, jnp.generic))  # numpy's too, and of them bfloat16 is no Real
    if number and not (math.isfinite(value) and (value > 0 or name == "alpha")):
        raise ValueError(f"GoLU in JAX needs finite parameters, beta and gamma above 0, got {name}={value}")


@jax.jit
@jax.checkpoint  # keeps x alone: half the memory that JAX's own choice of what to keep takes, and no more time
def _golu(x: Array, alpha: Array, beta: Array, gamma: Array) -> Array:
    v = x.astype(jnp.promote_types(jnp.float32, x.dtype))
    closed, open_ = _LIMITS[v.dtype.name]
    low, high = (jnp.log(beta) - closed) / gamma, (jnp.log(beta) + open_) / gamma
    # Beyond these the gate sees a constant, so that neither its value nor any derivative is inf * 0; NaN stays.
    clamped = jnp.clip(v, low, high)
    gated = clamped * jnp.exp(-beta * jnp.exp(-gamma * clamped))
    return (alpha * jnp.where(v > high, v, gated)).astype(x.dtype)
