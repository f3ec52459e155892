"""GoLU in JAX against its definition in mpmath, against torch's, and in models of flax and equinox."""

import importlib
import math
import sys
import warnings
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

import golu as golu_torch
from tests.golu import reference

jax = pytest.importorskip("jax", reason="jax is not installed: pip install 'golu-torch[jax]'")
jnp = jax.numpy
golu = importlib.import_module("golu.jax").golu

PARAMETERS = [(1.0, 1.0, 1.0), (0.8, 1.2, 0.9), (-2.0, 1e-3, 5.0), (1.0, 1e20, 0.1)]
MORE = ["float16", "float64"]  # differentiated in the same way, and XLA takes seconds
INF = math.inf


def exact(x: float, alpha: float, beta: float, gamma: float) -> Any:
    return alpha * x * mpmath.exp(-beta * mpmath.exp(-gamma * x))


def tangents(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]


@jax.jit
def orders(x: Any) -> Any:
    """The value and three derivatives: backward, and forward; and the second one forward over backward."""
    first = jax.grad(golu)
    second = jax.grad(first)
    backward = [golu(x), *(jax.vmap(each)(x) for each in (first, second, jax.grad(second)))]
    forward = [golu(x), tangents(golu)(x), tangents(tangents(golu))(x), tangents(tangents(tangents(golu)))(x)]
    return backward, forward, jax.vmap(jax.jacfwd(first))(x)


NEAR = np.linspace(-3.5, 12, 53)


def inputs(dtype: str) -> Any:
    """NEAR, then what is beyond the clamps on both sides, where exp overflows (from -88.8 on), and NaN."""
    largest = float(jnp.finfo(dtype).max)
    return jnp.array([*NEAR, -INF, -largest, -200, -88.8, -20, 40, 200, largest, INF, math.nan], dtype)


@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_right_to_rounding(dtype: str, parameters: tuple[float, float, float]) -> None:
    """Of u = beta * exp(-gamma * x), whose rounding exp(-u) takes u times as large."""
    _, beta, gamma = parameters
    with jax.enable_x64(dtype == "float64"):
        x = (np.linspace({"float32": -4.4, "float64": -6.5}[dtype], 20, 10_001) + math.log(beta)) / gamma
        x = x.astype(dtype)
        y = golu(x, *parameters)
        assert y.dtype == dtype and y.shape == x.shape
    want = reference.value(torch.from_numpy(x), *parameters).numpy()
    u = beta * np.exp(-gamma * x.astype(float))
    if dtype == "float32":  # a float64 reference cannot judge float64
        scale = 1 + u * (1 + np.abs(gamma * x))
        assert np.all(np.abs(np.asarray(y, float) - want) <= 2 * np.finfo(dtype).eps * scale * np.abs(want))
    for n in range(0, len(x), 1000):
        true = exact(mpmath.mpf(float(x[n])), *map(mpmath.mpf, parameters))
        scale = 1 + u[n] * (1 + abs(gamma * x[n]))
        assert abs(mpmath.mpf(float(y[n])) - true) <= 2 * np.finfo(dtype).eps * scale * abs(true)


@pytest.mark.parametrize("parameters", PARAMETERS[:3])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_that_of_torch(dtype: str, parameters: tuple[float, float, float]) -> None:
    """All 2^16 inputs; at most one number of the dtype apart, and zeros of the same sign."""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    x = bits.view(getattr(torch, dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that alpha is negative
        want = golu_torch.functional.golu(x, *parameters)
    got = golu(jax.lax.bitcast_convert_type(jnp.asarray(bits.numpy()), dtype), *parameters)
    assert got.dtype == dtype
    got = torch.from_numpy(np.array(jax.lax.bitcast_convert_type(got, jnp.int16))).view(x.dtype)
    assert torch.equal(got.isnan(), want.isnan()) and torch.equal(got.signbit(), want.signbit())
    tiny = torch.finfo(torch.float32).tiny  # XLA takes smaller ones for 0
    normal = want.abs() >= 4 * tiny
    assert reference.steps(got[normal], want[normal]).max() <= 1
    assert (got[~normal & ~want.isnan()].abs() <= 4 * tiny).all()


def test_derivatives_are_right_to_third_order() -> None:
    x = inputs("float32")
    want = [[float(mpmath.diff(lambda v: exact(v, 1, 1, 1), float(v), n)) for v in x[: len(NEAR)]] for n in range(4)]
    backward, forward, mixed = ([each[: len(NEAR)] for each in found] for found in (*orders(x)[:2], [orders(x)[2]]))
    for got in (backward, forward):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(mixed[0], want[2], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", *(pytest.param(d, marks=pytest.mark.slow) for d in MORE)])
def test_limits_hold_in_value_and_all_derivatives(dtype: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        x = inputs(dtype)
        backward, forward, mixed = orders(x)
        found = np.asarray([[np.asarray(each, float) for each in orders] for orders in (backward, forward)])
    far, nan = found[:, :, len(NEAR) : -1], found[:, :, -1]
    assert np.isnan(nan).all() and math.isnan(mixed[-1])
    for value, *derivatives in far:
        assert np.array_equal(value, [-0.0] * 5 + [float(each) for each in x[-5:-1]]) and np.signbit(value[:5]).all()
        np.testing.assert_allclose(derivatives, [[0] * 5 + [1] * 4, [0] * 9, [0] * 9], rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.asarray(mixed, float)[len(NEAR) : -1], 0, atol=1e-12)


@pytest.mark.parametrize("parameters", PARAMETERS[1:3])
def test_limits_hold_for_other_parameters(parameters: tuple[float, float, float]) -> None:
    x = jnp.array([-INF, -1e38, 1e38, INF])
    alpha = parameters[0]
    assert jnp.array_equal(golu(x, *parameters), alpha * jnp.where(x > 0, x, 0.0))
    slope = jax.jit(tangents(lambda v: golu(v, *parameters)))(x)
    assert jnp.array_equal(slope, jnp.array([0.0, 0.0, alpha, alpha]))


def test_parameters_get_their_gradients() -> None:
    x, parameters = np.array([-INF, -60.0, -2.0, -0.3, 0.0, 1.5, 4.0, 60.0], np.float32), (0.8, 1.2, 0.9)
    arrays = [jnp.float32(each) for each in parameters]
    got = jax.jit(jax.jacobian(golu, argnums=(1, 2, 3)))(x, *arrays)
    for which, gradients in enumerate(got):
        order = [0, 0, 0]
        order[which] = 1
        for v, gradient in zip(x, gradients, strict=True):
            true = mpmath.diff(lambda *p, v=v: exact(float(v), *p), parameters, tuple(order)) if v > -INF else 0
            assert float(gradient) == pytest.approx(float(true), rel=1e-5, abs=1e-7)
    each_its_own = jax.vmap(golu)(jnp.array([1.0, 2.0]), alpha=jnp.array([3.0, 4.0]))
    assert jnp.allclose(each_its_own, jnp.array([3, 4]) * golu(jnp.array([1.0, 2.0])))
    assert golu(jnp.zeros((4, 1), jnp.bfloat16), beta=jnp.ones(3)).shape == (4, 3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_x_alone_is_kept_for_backward(dtype: str) -> None:
    x = jnp.ones((32, 64), dtype)
    _, backward = jax.vjp(golu, x)
    assert [(each.shape, each.dtype) for each in jax.tree.leaves(backward) if each.size > 1] == [(x.shape, x.dtype)]


@pytest.mark.parametrize("x", [3, np.arange(3), np.ones(2, bool), np.ones(2, np.complex64)])
def test_other_dtypes_are_an_error(x: Any) -> None:
    with pytest.raises(TypeError, match="GoLU takes float16, bfloat16, float32, float64 arrays, not"):
        golu(x)


WRONG: list[dict[str, Any]] = [
    {"alpha": INF}, {"alpha": math.nan}, {"beta": 0}, {"beta": -1.0}, {"gamma": 0.0}, {"beta": np.float32(-1)},
    {"gamma": np.float64(0)}, {"beta": np.int64(0)}, {"beta": jnp.bfloat16.dtype.type(-1)},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_parameters_are_an_error(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"needs finite parameters, beta and gamma above 0, got {name}="):
        golu(jnp.ones(2), **wrong)


@pytest.mark.parametrize("wrong", ["1", True, np.bool_(True), None, 1j, np.complex64(1), np.ones(2, bool)])
def test_parameters_that_are_no_numbers(wrong: Any) -> None:
    with pytest.raises(TypeError, match="takes real numbers or arrays as parameters, got beta="):
        golu(jnp.ones(2), beta=wrong)


@pytest.mark.parametrize("two", [2, np.int8(2), np.float32(2), jnp.bfloat16(2), np.array(2.0), jnp.array(2.0)])
def test_every_kind_of_number_is_taken(two: Any) -> None:
    assert golu(jnp.ones(3), two, two, two).tolist() == golu(jnp.ones(3), 2.0, 2.0, 2.0).tolist()


def test_a_missing_jax_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.delitem(sys.modules, "golu.jax")
    with pytest.raises(ImportError, match=r"^golu.jax needs jax >= [\d.]+, which is not installed: pip install 'jax>="):
        importlib.import_module("golu.jax")


DATA = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
TARGET = np.sin(DATA.sum(1, keepdims=True))


@pytest.mark.slow
def test_a_model_of_flax_trains() -> None:
    nnx = pytest.importorskip("flax.nnx", reason="flax is not installed")
    optax = pytest.importorskip("optax", reason="optax is not installed")

    class Model(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.first, self.last = nnx.Linear(4, 16, rngs=rngs), nnx.Linear(16, 1, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.last(golu(self.first(x)))

    model = Model(nnx.Rngs(0))
    hidden = np.asarray(model.first(DATA), float)
    by_hand = hidden * np.exp(-np.exp(-hidden)) @ np.asarray(model.last.kernel[...]) + np.asarray(model.last.bias[...])
    np.testing.assert_allclose(model(DATA), by_hand, rtol=1e-4, atol=1e-5)
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any) -> Any:
        loss, gradients = nnx.value_and_grad(lambda model: jnp.mean((model(DATA) - TARGET) ** 2))(model)
        optimizer.update(model, gradients)
        return loss

    losses = [float(step(model, optimizer)) for _ in range(30)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_a_model_of_equinox_trains() -> None:
    eqx = pytest.importorskip("equinox", reason="equinox is not installed")
    model = eqx.nn.MLP(4, 1, 16, 1, activation=golu, key=jax.random.key(0))
    hidden = np.asarray(jax.vmap(model.layers[0])(DATA), float)
    by_hand = jax.vmap(model.layers[1])((hidden * np.exp(-np.exp(-hidden))).astype(np.float32))
    np.testing.assert_allclose(jax.vmap(model)(DATA), by_hand, rtol=1e-4, atol=1e-5)

    @eqx.filter_value_and_grad
    def loss(model: Any) -> Any:
        return jnp.mean((jax.vmap(model)(DATA) - TARGET) ** 2)

    @eqx.filter_jit
    def step(model: Any) -> Any:
        value, gradients = loss(model)
        return value, eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, gradients))

    losses = []
    for _ in range(30):
        value, model = step(model)
        losses.append(float(value))
    assert losses[-1] < 0.8 * losses[0]
