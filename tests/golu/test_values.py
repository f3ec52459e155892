"""Values and derivatives against double precision, for each kernel, dtype and set of parameters."""

import math

import pytest
import torch

from golu import formula, golu, gompertz
from tests.golu import reference

PARAMETERS = [(1.0, 1.0, 1.0), (0.8, 1.2, 0.9), (1.5, 0.03, 2.7), (1.0, 40.0, 0.25), (-0.5, 1.0, 1.0)]
pytestmark = pytest.mark.filterwarnings("ignore:GoLU with alpha")


def single(*values: float) -> tuple[float, ...]:
    """As float32 holds them: kernels compute with these."""
    return tuple(torch.tensor(values, dtype=torch.float32).tolist())


def grid(beta: float, gamma: float, dtype: torch.dtype) -> torch.Tensor:
    """Where u runs from beyond underflow to nothing."""
    low, high = (-4.7, 30.0) if dtype is torch.float32 else (-6.7, 50.0)
    return torch.linspace((low + math.log(beta)) / gamma, (high + math.log(beta)) / gamma, 200_001, dtype=dtype)


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_float32_values(cpu_kernel: str, parameters: tuple[float, float, float]) -> None:
    parameters = single(*parameters)
    x = grid(*parameters[1:], torch.float32)
    want = reference.value(x, *parameters)
    normal = want.abs() >= 2.0**-126
    unit = parameters == (1.0, 1.0, 1.0)
    # 4 is the promise; the plain formula, and parameters without fused multiply-adds, amplify the inner rounding
    allowed = {"avx512": 5, "avx2": 5, "portable": 500, "formula": 700}[cpu_kernel]
    if unit:
        allowed = {"avx512": 4, "avx2": 4, "portable": 6, "formula": 120}[cpu_kernel]
    assert reference.ulps(golu(x, *parameters), want)[normal].max() <= allowed


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_float32_derivatives(cpu_kernel: str, parameters: tuple[float, float, float]) -> None:
    parameters = single(*parameters)
    x = grid(*parameters[1:], torch.float32).requires_grad_()
    golu(x, *parameters).backward(torch.ones_like(x))
    want = reference.derivative(x, *parameters)
    error = (x.grad.double() - want).abs()
    scale = abs(parameters[0])
    if cpu_kernel in ("portable", "formula"):
        scale *= 3  # gamma * x is rounded, with nothing to make up for it
    assert (error <= torch.clamp(4 * 2.0**-23 * want.abs(), min=6 * 2.0**-24 * scale)).all()


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_float64(cpu_kernel: str, parameters: tuple[float, float, float]) -> None:
    x = grid(*parameters[1:], torch.float64).requires_grad_()
    y = golu(x, *parameters)
    y.backward(torch.ones_like(x))
    want, slope = reference.value(x, *parameters), reference.derivative(x, *parameters)
    # the reference amplifies its own inner rounding by u, which reaches 745
    assert torch.allclose(y.detach(), want, rtol=4e-12, atol=1e-300)
    assert torch.allclose(x.grad, slope, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_number_of_sixteen_bits(cpu_kernel: str, dtype: torch.dtype) -> None:
    x = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)
    number = ~x.isnan()
    leaf = x.clone().requires_grad_()
    y = golu(leaf)
    y.backward(torch.ones_like(y))
    assert reference.steps(y.detach(), reference.value(x).to(dtype))[number].max() <= 1
    assert y[~number].isnan().all() and leaf.grad[~number].isnan().all()
    assert leaf.grad[number].isfinite().all()
    want = reference.derivative(x)[number]
    error = (leaf.grad[number].double() - want).abs()
    assert (error <= want.abs() * torch.finfo(dtype).eps + 2.0**-24).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_limits(cpu_kernel: str, dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    x = torch.tensor([math.inf, -math.inf, math.nan, -math.nan, largest, -largest, -0.0], dtype=dtype)
    x = x.repeat(3).requires_grad_()  # more than a vector's tail
    y = golu(x)
    y.backward(torch.ones_like(y))
    value, slope = y.detach()[:7].tolist(), x.grad[:7].tolist()
    assert value[0] == math.inf and slope[0] == 1
    assert value[1] == 0 and math.copysign(1, value[1]) == -1 and slope[1] == 0
    assert math.isnan(value[2]) and math.isnan(slope[2])
    assert math.isnan(value[3]) and math.isnan(slope[3])
    assert value[4] == largest and slope[4] == 1
    assert value[5] == 0 and slope[5] == 0
    assert value[6] == 0 and math.copysign(1, value[6]) == -1
    assert slope[6] == pytest.approx(1 / math.e, rel=torch.finfo(dtype).eps * 2)


@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFC00000 - 2**32, 0x7F800001, 0xFFFFFFFF - 2**32])
def test_every_kind_of_nan_survives(cpu_kernel: str, bits: int) -> None:
    x = torch.full((40,), bits, dtype=torch.int32).view(torch.float32).requires_grad_()
    y = golu(x)
    y.backward(torch.ones_like(y))
    assert y.isnan().all() and x.grad.isnan().all()


def test_gradients_of_large_finite_inputs_are_finite(cpu_kernel: str) -> None:
    magnitudes = torch.logspace(-45, 38, 997, dtype=torch.float64)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.cat([magnitudes, -magnitudes]).to(dtype)
        x = x[x.isfinite()].requires_grad_()
        golu(x).backward(torch.ones_like(x))
        assert x.grad.isfinite().all()
        assert (x.grad[x > 40] == 1).all()


@pytest.mark.parametrize(
    ("parameters", "at", "value", "slope"),
    [
        ((1.0, 0.0, 1.0), [-math.inf, -3.0, math.inf], [-math.inf, -3.0, math.inf], [1.0, 1.0, 1.0]),
        ((2.0, 1.0, 0.0), [-math.inf, 3.0, math.inf], [-math.inf, 6 / math.e, math.inf], [2 / math.e] * 3),
        # gamma < 0 is the mirror image: the gate falls from 1 to 0
        ((1.0, 1.0, -1.0), [-math.inf, -100.0, math.inf], [-math.inf, -100.0, 0.0], [1.0, 1.0, 0.0]),
        # beta < 0 lets the gate grow without bound to the left
        ((1.0, -1.0, 1.0), [-math.inf, 0.0, math.inf], [-math.inf, 0.0, math.inf], [math.inf, math.e, 1.0]),
    ],
)
def test_non_positive_parameters_follow_the_limit(
    cpu_kernel: str, parameters: tuple[float, ...], at: list[float], value: list[float], slope: list[float]
) -> None:
    x = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    with pytest.warns(UserWarning, match="S-shaped") if min(parameters) <= 0 else pytest.warns(UserWarning):
        y = golu(x, *parameters)
    y.backward(torch.ones_like(y))
    torch.testing.assert_close(y.detach(), torch.tensor(value, dtype=torch.float64))
    torch.testing.assert_close(x.grad, torch.tensor(slope, dtype=torch.float64))


@pytest.mark.parametrize("parameters", [(1.0, 1e30, 1.0), (1.0, 1e-30, 1.0), (1.0, 1.0, 1e-30), (1.0, 1.0, 1e30)])
def test_extreme_parameters_are_served_by_the_formula(cpu_kernel: str, parameters: tuple[float, ...]) -> None:
    x = torch.linspace(-100, 100, 1001, dtype=torch.float64)
    torch.testing.assert_close(golu(x, *parameters), reference.value(x, *parameters), rtol=1e-9, atol=1e-300)


def test_gompertz() -> None:
    x = torch.linspace(-20, 40, 1001, dtype=torch.float64, requires_grad=True)
    y = gompertz(x, 2.0, 0.5, 1.5)
    u = 0.5 * torch.exp(-1.5 * x.detach())
    torch.testing.assert_close(y.detach(), 2.0 * torch.exp(-u))
    y.backward(torch.ones_like(y))
    torch.testing.assert_close(x.grad, (2.0 * torch.exp(-u) * 1.5 * u).nan_to_num(0.0))
    ends = torch.tensor([-math.inf, math.inf, math.nan], requires_grad=True)
    gate = gompertz(ends)
    gate.backward(torch.ones_like(gate))
    assert gate[:2].tolist() == [0, 1] and gate[2].isnan()
    assert ends.grad[:2].tolist() == [0, 0] and ends.grad[2].isnan()
    assert (golu(x.detach()) - x.detach() * gompertz(x.detach())).abs().max() < 1e-13


def test_closed_forms() -> None:
    x = torch.tensor(
        [0.0, -0.5671432904097838], dtype=torch.float64, requires_grad=True
    )  # minimum: minus the omega constant
    y = golu(x)
    y.backward(torch.ones_like(y))
    assert y[1].item() == pytest.approx(-0.5671432904097838 * math.exp(-1 / 0.5671432904097838), rel=1e-14)
    assert x.grad.tolist() == pytest.approx([1 / math.e, 0.0], abs=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [0.0, 1e-300, 1e38, 1e300])
def test_extreme_alpha_has_the_limits_of_the_formula(alpha: float, dtype: torch.dtype) -> None:
    x = torch.tensor([-math.inf, -200.0, -5.0, -1.0, 0.0, 1.0, 30.0, math.inf], dtype=dtype, requires_grad=True)
    y = golu(x, alpha=alpha)
    wanted = formula.golu(x, alpha)
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=0)
    assert not y.isnan().any()
    (slope,), (expected,) = (torch.autograd.grad(each.sum(), x) for each in (y, wanted))
    torch.testing.assert_close(slope, expected, rtol=1e-5, atol=1e-30)
