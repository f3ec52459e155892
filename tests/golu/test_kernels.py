"""Which kernel serves, what happens where none does, and to how many places the C kernel is right."""

import ctypes
import shutil
from pathlib import Path

import pytest
import torch

from golu import golu, kernels
from golu.kernels import cpu
from tests.golu import reference
from tests.golu.test_values import PARAMETERS, grid, single

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@needs_compiler
def test_the_c_kernel_is_built_and_chosen() -> None:
    kernel = kernels.kernel_for("cpu")
    assert kernel.name in ("C, avx512", "C, avx2", "C, portable"), kernel.reason


def test_an_instruction_set_that_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLU_CPU", "mmx")
    loaded = cpu.load()
    assert isinstance(loaded, str) and "choose avx512, avx2 or portable" in loaded


def test_a_missing_library_is_served_by_the_formula(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cpu, "__file__", str(tmp_path / "cpu.py"))
    monkeypatch.setattr(kernels, "_cpu", None)
    x = torch.randn(100)
    torch.testing.assert_close(golu(x).double(), reference.value(x), rtol=2e-5, atol=1e-7)
    assert kernels.kernel_for("cpu").name == "formula"
    assert "install a C compiler" in kernels.kernel_for("cpu").reason


def test_a_broken_library_is_served_by_the_formula(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "_cpu.so").write_bytes(b"not a library")
    monkeypatch.setattr(cpu, "__file__", str(tmp_path / "cpu.py"))
    monkeypatch.setattr(kernels, "_cpu", None)
    x = torch.randn(100)
    torch.testing.assert_close(golu(x).double(), reference.value(x), rtol=2e-5, atol=1e-7)
    assert "does not load" in kernels.kernel_for("cpu").reason


def test_kernel_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOLU_KERNEL", "formula")
    monkeypatch.setattr(kernels, "_cpu", None)
    golu(torch.ones(1))
    assert kernels.kernel_for("cpu").reason == "GOLU_KERNEL=formula is set"


def test_other_devices_get_the_formula() -> None:
    assert kernels.kernel_for("meta").name == "formula"


@needs_compiler
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "f16"])
def test_null_pointers_are_refused(dtype: str) -> None:
    library = ctypes.CDLL(str(Path(cpu.__file__).with_name("_cpu.so")))
    forward = getattr(library, f"golu_forward_{dtype}")
    assert forward(None, None, ctypes.c_int64(4), None, 1) == 1
    assert forward(None, None, ctypes.c_int64(0), None, 1) == 0


# ---- accuracy, against 120 bits ----


@pytest.mark.filterwarnings("ignore:GoLU with alpha")
@pytest.mark.parametrize("parameters", [*PARAMETERS, (1.0, 1e-10, 1.7), (1.0, 1e10, 0.3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_to_the_last_places(cpu_kernel: str, dtype: torch.dtype, parameters: tuple[float, ...]) -> None:
    if cpu_kernel == "formula":
        pytest.skip("the formula promises less")
    mpmath = pytest.importorskip("mpmath")
    parameters = single(*parameters) if dtype is torch.float32 else parameters
    alpha, beta, gamma = parameters
    x = grid(beta, gamma, dtype)[::157]
    got = golu(x, *parameters).tolist()
    worst = 0.0
    with mpmath.workprec(120):
        for v, y in zip(x.tolist(), got, strict=True):
            want = alpha * mpmath.mpf(v) * mpmath.exp(-beta * mpmath.exp(-gamma * mpmath.mpf(v)))
            if abs(want) >= torch.finfo(dtype).smallest_normal:
                place = mpmath.mpf(2) ** (mpmath.frexp(want)[1] - (24 if dtype is torch.float32 else 53))
                worst = max(worst, float(abs(y - want) / place))
    assert worst <= (6 if dtype is torch.float32 else 20)


@pytest.mark.parametrize("alpha", [1e38, 9e37, 3e38, 1e-30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_alpha(cpu_kernel: str, dtype: torch.dtype, alpha: float) -> None:
    """alpha * x alone leaves the range of float where the value does not."""
    x = torch.linspace(-6, 1, 200, dtype=torch.float64).to(dtype).requires_grad_()
    y = golu(x, alpha)
    y.backward(torch.ones_like(y))
    alpha = single(alpha)[0]
    tolerance = {"rtol": max(1e-4, 2 * torch.finfo(dtype).eps), "atol": 1e-7 * alpha}
    torch.testing.assert_close(y.detach().double(), reference.value(x, alpha), **tolerance)
    torch.testing.assert_close(x.grad.double(), reference.derivative(x, alpha), **tolerance)
