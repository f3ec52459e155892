"""The module, its parameters, the documented import paths, and what an installation says of itself."""

import math
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import mpmath  # sympy's, which torch brings
import pytest
import torch
from torch import nn

import golu
from golu import GoLU, formula, kernels
from golu.golu_activation import GoLU as DocumentedGoLU
from golu.golu_cuda_activation import GoLUCUDA
from golu.kernels import cpu


def test_documented_paths_are_one_class() -> None:
    assert GoLUCUDA is DocumentedGoLU is GoLU is golu.modules.GoLU


def test_readme_model() -> None:
    class SampleModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(128, 128)
            self.activation = GoLUCUDA()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.activation(self.fc(x))

    model = SampleModel().to("cpu")
    x = torch.randn(1, 128)
    hidden = model.fc(x).double()
    torch.testing.assert_close(model(x).double(), hidden * torch.exp(-torch.exp(-hidden)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_parameters_must_be_finite(name: str, value: float) -> None:
    module = GoLU(0.5, 0.6, 0.7)
    for call in (
        lambda: GoLU(**{name: value}),
        lambda: golu.golu(torch.ones(1), **{name: value}),
        lambda: golu.gompertz(torch.ones(1), **{name: value}),
        lambda: module.set_parameters(**{"alpha": 1.0, "beta": 1.0, "gamma": 1.0, name: value}),
    ):
        with pytest.raises(ValueError, match=f"finite parameters, got {name}="):
            call()
    assert (module.alpha, module.beta, module.gamma) == (0.5, 0.6, 0.7)


@pytest.mark.parametrize("parameters", [(-1, 1, 1), (1, -1, 1), (1, 0, 1), (1, 1, -1), (1, 1, 0)])
def test_parameters_outside_the_s_shape_warn(parameters: tuple[int, ...]) -> None:
    with pytest.warns(UserWarning, match="S-shaped") as caught:
        GoLU(*parameters)
    assert caught[0].filename == __file__


def test_import_is_light() -> None:
    """No task library, no compiler, no kernel: only torch and this package."""
    program = """
import sys, torch
before = set(sys.modules)
import golu
new = {name.split('.')[0] for name in set(sys.modules) - before}
assert 'golu.kernels.cpu' not in sys.modules
print(*sorted(new - set(sys.stdlib_module_names)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) <= {"golu", "torch"}


# ---- extreme parameters, which the formula serves ----

EXTREME = [
    (1e38, 1.0, 1.0),
    (1e300, 1.0, 1.0),
    (-1e300, 0.5, 2.0),
    (1e-300, 1.0, 1.0),
    (1.0, 1e300, 1.0),
    (1.0, 1e-300, 1.0),
    (1.0, 1e-308, 1.0),
    (1.0, 1.0, 1e300),
    (1.0, 1.0, 1e-300),
    (1e38, 1e30, 1e-30),
    (1e300, 1e300, 1e300),
]


def exactly(x: float, alpha: float, beta: float, gamma: float) -> tuple[float, float]:
    """Value and derivative with exponents of any size."""
    v, a, b, c = map(mpmath.mpf, (x, alpha, beta, gamma))
    if c * v < -2000:
        return 0.0, 0.0
    u = b * mpmath.exp(-c * v)
    return float(a * v * mpmath.exp(-u)), float(a * mpmath.exp(-u) * (1 + c * v * u))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("parameters", EXTREME, ids=str)
def test_extreme_parameters(parameters: tuple[float, ...], dtype: torch.dtype) -> None:
    points = [*range(-60, 61, 5), 1e-30, -1e-30, 1e30, -1e30, -690, -712]
    x = torch.tensor(points, dtype=torch.float64).to(dtype).requires_grad_()
    y = formula.golu(x, *parameters)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    slope = formula.backward(torch.ones_like(x), x.detach(), *parameters)
    rtol = {torch.float32: 1e-5, torch.float64: 1e-9, torch.bfloat16: 0.01}[dtype]
    tolerance = {"rtol": rtol, "atol": 4 * torch.finfo(dtype).tiny}
    value, derivative = torch.tensor([exactly(v, *parameters) for v in x.tolist()], dtype=torch.float64).to(dtype).T
    torch.testing.assert_close(y.detach(), value, **tolerance)
    torch.testing.assert_close(gradient, derivative, **tolerance)
    torch.testing.assert_close(slope, derivative, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("parameters", [*EXTREME, (0.0, 1.0, 1.0)], ids=str)
def test_extreme_parameters_at_the_ends(parameters: tuple[float, ...], dtype: torch.dtype) -> None:
    x = torch.tensor([-math.inf, math.inf, math.nan], dtype=dtype, requires_grad=True)
    y = formula.golu(x, *parameters)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    alpha = torch.tensor(parameters[0], dtype=torch.float64).to(dtype).item()
    assert y[0] == gradient[0] == 0 and gradient[1] == alpha
    assert y[1] == math.copysign(math.inf, parameters[0]) if parameters[0] else y[1] == 0
    assert y[2].isnan() and gradient[2].isnan()


def test_a_constant_gate_beyond_all_numbers() -> None:
    y = formula.golu(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64), 1.0, -1000.0, 0.0)
    assert y[0] < -1e300 and y[1] == 0 and y[2] > 1e300


# ---- builders of models ----


def test_inplace_is_taken_and_ignored() -> None:
    x = torch.randn(5)
    before = x.clone()
    module = GoLU(0.8, 1.2, 0.9, inplace=True)
    assert torch.equal(module(x), golu.golu(x, 0.8, 1.2, 0.9)) and torch.equal(x, before)
    assert repr(module) == "GoLU(alpha=0.8, beta=1.2, gamma=0.9)"


def test_torchvision_builds_with_it() -> None:
    ops = pytest.importorskip("torchvision.ops")
    block = ops.Conv2dNormActivation(3, 4, activation_layer=GoLU).eval()
    convolution, norm, activation = block
    x = torch.randn(1, 3, 8, 8)
    assert type(activation) is GoLU and torch.equal(block(x), golu.golu(norm(convolution(x))))


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_timm_builds_with_it(name: str) -> None:
    timm = pytest.importorskip("timm")
    size = {"img_size": 32} if name.startswith("vit") else {}
    model = timm.create_model(name, act_layer=GoLU, num_classes=3, **size).eval()
    assert sum(type(module) is GoLU for module in model.modules()) > 5
    with torch.no_grad():
        assert model(torch.randn(1, 3, 32, 32)).isfinite().all()


def test_modules_of_earlier_versions_load() -> None:
    """Their state: what nn.Module has, and three numbers."""
    old = GoLU.__new__(GoLU)
    nn.Module.__init__(old)
    old.__dict__.update(alpha=0.8, beta=1.2, gamma=0.9)
    loaded = pickle.loads(pickle.dumps(old))
    assert loaded.__dict__.keys() | {"keep"} == GoLU(0.8, 1.2, 0.9).__dict__.keys() and loaded.keep == "input"
    x = torch.randn(5, requires_grad=True)
    assert torch.equal(loaded(x), golu.golu(x, 0.8, 1.2, 0.9))
    assert repr(loaded) == "GoLU(alpha=0.8, beta=1.2, gamma=0.9)"


# ---- the package ----


def test_a_star_import_leaves_the_package_its_name() -> None:
    names: dict[str, object] = {}
    exec("import golu\nfrom golu import *\nmodule = golu.GoLU", names)
    assert names["golu"] is golu and names["module"] is GoLU and names["GoLU"] is GoLU
    assert names["gompertz"] is golu.gompertz


def test_help_without_docstrings() -> None:
    run = subprocess.run([sys.executable, "-OO", "-m", "golu", "--help"], capture_output=True, text=True, check=True)
    assert "which kernel serves each device" in run.stdout


def test_a_missing_kernel_warns_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cpu, "__file__", str(tmp_path / "cpu.py"))
    monkeypatch.setattr(kernels, "_cpu", None)
    monkeypatch.setattr(kernels, "_warned", False)
    x = torch.randn(2**20)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        golu.golu(x[:1000])
        assert not caught
        nn.Sequential(GoLU())(x.clone().requires_grad_())
        golu.golu(x)
    (warning,) = caught
    assert "install a C compiler" in str(warning.message) and "GOLU_KERNEL=formula" in str(warning.message)
    assert warning.filename == __file__


def test_no_warning_where_the_formula_is_wished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLU_KERNEL", "formula")
    monkeypatch.setattr(kernels, "_cpu", None)
    monkeypatch.setattr(kernels, "_warned", False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        golu.golu(torch.randn(2**20))
