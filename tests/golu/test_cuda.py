"""The CUDA kernel. Its source is compiled and computed with on any machine; the tests marked gpu need a device."""

import ctypes
import math
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from golu import from_output, golu, kernels
from golu.functional import golu_keeping_output
from golu.kernels import cuda
from tests.golu import reference
from tests.golu.test_values import PARAMETERS, grid, single

DIRECTIONS = [("forward", 1), ("backward", 2)]
REALS = {"F32": "float", "F64": "double", "HALF": "float"}  # what torch calls the functions with
pytestmark = pytest.mark.filterwarnings("ignore:GoLU with alpha", "error:GoLU's CUDA kernel does not compile")


def nvrtc() -> ctypes.CDLL:
    packages = Path(torch.__file__).parents[1] / "nvidia"
    for library in sorted(packages.glob("**/libnvrtc.so.*")):
        if "builtins" not in library.name and "alt" not in library.name:
            return ctypes.CDLL(str(library))
    pytest.skip("no NVRTC: this torch is built without CUDA")


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("parameters", [(1.0, 1.0, 1.0), (0.8, 1.2, 0.9)], ids=str)
@pytest.mark.parametrize("precision", REALS)
@pytest.mark.parametrize(("direction", "inputs"), DIRECTIONS)
def test_source_compiles(
    direction: str, inputs: int, precision: str, parameters: tuple[float, ...], architecture: str
) -> None:
    compile_by_nvrtc(cuda.source(direction, precision, *parameters), direction, inputs, REALS[precision], architecture)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("parameters", [(1.0, 1.0, 1.0), (0.8, 1.2, 0.9)], ids=str)
def test_the_source_that_takes_the_output_compiles(parameters: tuple[float, ...], architecture: str) -> None:
    code = cuda.source_from_output(*parameters)
    compile_by_nvrtc(code, "from_output", 3, "float", architecture)
    assert torch.cuda.jiterator._create_jit_fn(code).kernel_name == "golu_from_output"


def compile_by_nvrtc(code: str, function: str, inputs: int, real: str, architecture: str) -> None:
    library = nvrtc()
    arguments = ", ".join(["x[i]"] * inputs)
    code += (
        f'\nextern "C" __global__ void kernel(const {real}* x, {real}* y, int i) '
        f"{{ y[i] = golu_{function}<{real}>({arguments}); }}"
    )
    program = ctypes.c_void_p()
    assert library.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"golu.cu", 0, None, None) == 0
    options = [b"--std=c++17", f"--gpu-architecture={architecture}".encode(), b"-default-device"]  # as torch does
    status = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()
    library.nvrtcGetCUBINSize(program, ctypes.byref(size))
    assert size.value > 0


@pytest.mark.parametrize("precision", REALS)
@pytest.mark.parametrize(("direction", "inputs"), DIRECTIONS)
def test_torch_accepts_the_source(direction: str, inputs: int, precision: str) -> None:
    compiled = torch.cuda.jiterator._create_jit_fn(cuda.source(direction, precision, 0.8, 1.2, 0.9))
    assert compiled.kernel_name == f"golu_{direction}"


@pytest.mark.parametrize("precision", REALS)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_source_is_short(direction: str, precision: str) -> None:
    """torch looks its kernels up by the whole source in every call."""
    code = cuda.source(direction, precision, 0.8, 1.2, 0.9)
    assert len(code) < 5000
    assert "/*" not in code and "GATE_DOUBLE" not in code
    other = {"F32": "_f64", "F64": "_f32"}.get(precision, "#")
    assert other not in code


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory):
    """Compiles the CUDA source as C++ for this machine and returns the function over an array."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler")

    def build(direction: str, inputs: int, precision: str, parameters: tuple[float, ...]):
        arguments = ", ".join(["dy[i]", "x[i]"][-inputs:])
        return build_code(cuda.source(direction, precision, *parameters), direction, arguments, REALS[precision])

    def build_code(source: str, direction: str, arguments: str, real: str):
        code = f"#include <cmath>\n#define __expf(x) std::exp((float)(x))\n{source}"
        code += f"""
extern "C" void run(const {real}* dy, const {real}* x, {real}* y, long long n) {{
  for (long long i = 0; i < n; i++) y[i] = golu_{direction}<{real}>({arguments});
}}"""
        folder = tmp_path_factory.mktemp("cuda")
        (folder / "golu.cpp").write_text(code)
        flags = ["-std=c++17", "-O2", "-ffp-contract=fast", "-march=native", "-shared", "-fPIC"]
        if "clang" not in subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout:
            flags.append("-fno-gnu-unique")  # tables of several such libraries are several
        subprocess.run([compiler, *flags, folder / "golu.cpp", "-o", folder / "golu.so"], check=True)
        library = ctypes.CDLL(str(folder / "golu.so"))

        def run(x: torch.Tensor, dy: torch.Tensor | None = None) -> torch.Tensor:
            dy, y = torch.ones_like(x) if dy is None else dy, torch.empty_like(x)
            pointers = [ctypes.c_void_p(t.data_ptr()) for t in (dy, x, y)]
            library.run(*pointers, ctypes.c_longlong(x.numel()))
            return y

        return run

    build.code = build_code
    return build


@pytest.mark.parametrize("parameters", PARAMETERS[:4], ids=str)
@pytest.mark.parametrize("precision", REALS)
def test_source_computes_golu_on_the_host(host, precision: str, parameters: tuple[float, ...]) -> None:
    dtype = torch.float64 if precision == "F64" else torch.float32
    if dtype is torch.float32:
        parameters = single(*parameters)
    ends = torch.tensor([math.inf, -math.inf, math.nan, -math.nan, torch.finfo(dtype).max / 4, -1e4], dtype=dtype)
    x = torch.cat([grid(*parameters[1:], dtype)[::7], ends])
    value = host("forward", 1, precision, parameters)(x)
    slope = host("backward", 2, precision, parameters)(x)
    rtol = {"F32": 2e-6, "F64": 4e-12, "HALF": 2.0**-12}[precision]
    want = reference.value(x, *parameters)
    torch.testing.assert_close(value.double(), want, rtol=rtol, atol=1e-37, equal_nan=True)
    torch.testing.assert_close(
        slope.double(),
        reference.derivative(x, *parameters),
        rtol=rtol,
        atol=3e-6 if precision != "F64" else 1e-14,
        equal_nan=True,
    )


def test_a_kernel_that_does_not_compile_is_served_by_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no NVRTC here")

    monkeypatch.setattr(cuda, "_compiled", lambda *_: refuse)
    monkeypatch.setattr(cuda, "_failed", False)
    x = torch.randn(10)
    with pytest.warns(UserWarning, match="plain formula serves instead: no NVRTC here"):
        y = cuda.forward(x, 1.0, 1.0, 1.0)
    torch.testing.assert_close(y.double(), reference.value(x), rtol=2e-5, atol=1e-7)
    dx = cuda.backward(torch.ones(10), x, 1.0, 1.0, 1.0)  # tries no second time, which would warn again: an error here
    torch.testing.assert_close(dx.double(), reference.derivative(x), rtol=1e-5, atol=1e-6)


# ---- with a device ----


@pytest.mark.parametrize("parameters", [(1.0, 1.0, 1.0), (0.7, 0.5, 1.3)], ids=str)
def test_the_source_that_takes_the_output_computes_the_derivative_on_the_host(host, parameters) -> None:
    x = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    x = torch.cat([x, torch.tensor([math.nan, math.inf, -math.inf, 0.0, -1e4, 1e4])])
    right = (x > from_output.minimum(parameters[1])[0] / parameters[2]).float()
    # the host calls it with the sides where the others have dy
    code = cuda.source_from_output(*parameters)
    slope = host.code(code, "from_output", "1.0f, x[i], dy[i]", "float")(golu(x, *parameters), right).double()
    want = reference.derivative(x, *parameters)
    assert (slope - want)[:-6].norm() < 3e-6 * want[:-6].norm()
    torch.testing.assert_close(slope[-6:], want[-6:], rtol=1e-6, atol=0, equal_nan=True)


@pytest.fixture
def device() -> str:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    assert kernels.kernel_for("cuda").name == "CUDA"
    return "cuda"


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gpu_keeping_the_output(device: str, dtype: torch.dtype) -> None:
    x = torch.randn(100_003, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)
    leaf = x.to(device).requires_grad_()
    y = golu_keeping_output(leaf)
    assert torch.equal(y, golu(leaf))
    y.backward(torch.ones_like(y))
    want = reference.derivative(x)
    limit = {torch.float64: 1e-11, torch.float32: 3e-6, torch.float16: 6e-4, torch.bfloat16: 3e-3}[dtype]
    assert (leaf.grad.cpu().double() - want).norm() < limit * want.norm()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_gpu_values_and_gradients(device: str, parameters: tuple[float, ...], dtype: torch.dtype) -> None:
    parameters = single(*parameters)
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    x = grid(*parameters[1:], wide).to(dtype)
    leaf = x.to(device).requires_grad_()
    y = golu(leaf, *parameters)
    y.backward(torch.ones_like(y))
    want, slope = reference.value(x, *parameters), reference.derivative(x, *parameters)
    rtol = {torch.float64: 4e-12, torch.float32: 2e-6}.get(dtype, 1.01 * torch.finfo(dtype).eps)
    atol = 1e-37 if dtype in (torch.float32, torch.float64, torch.bfloat16) else 2.0**-24
    torch.testing.assert_close(y.detach().cpu().double(), want, rtol=rtol, atol=atol)
    torch.testing.assert_close(leaf.grad.cpu().double(), slope, rtol=max(rtol, 1e-10), atol=4e-6)


@pytest.mark.gpu
def test_gpu_float32_stays_within_four_ulp(device: str) -> None:
    x = grid(1.0, 1.0, torch.float32)
    want = reference.value(x)
    normal = want.abs() >= 2.0**-126
    assert reference.ulps(golu(x.to(device)).cpu(), want)[normal].max() <= 4


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gpu_every_number_of_sixteen_bits(device: str, dtype: torch.dtype) -> None:
    x = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)
    number = ~x.isnan()
    y = golu(x.to(device)).cpu()
    assert reference.steps(y, reference.value(x).to(dtype))[number].max() <= 1
    assert y[~number].isnan().all()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gpu_limits(device: str, dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    x = torch.tensor([math.inf, -math.inf, math.nan, largest, -largest], dtype=dtype, device=device, requires_grad=True)
    y = golu(x)
    y.backward(torch.ones_like(y))
    value, slope = y.tolist(), x.grad.tolist()
    assert value[0] == math.inf and slope[0] == 1
    assert value[1] == 0 and math.copysign(1, value[1]) == -1 and slope[1] == 0
    assert math.isnan(value[2]) and math.isnan(slope[2])
    assert value[3] == largest and slope[3] == 1 and value[4] == 0 and slope[4] == 0


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gpu_strides(device: str, dtype: torch.dtype) -> None:
    x = torch.randn(2, 6, 5, 7, device=device, dtype=dtype)
    views = [
        x.transpose(1, 3), x[:, ::2, 1:, ::3], x.flatten()[3:], x[:, :1].expand(-1, 9, -1, -1), x[0, 0, 0, 0],
        x[:, 2:2], x.to(memory_format=torch.channels_last), torch._neg_view(x),
    ]  # fmt: skip
    for view in views:
        leaf = view.detach().requires_grad_()
        y = golu(leaf)
        dy = torch.randn_like(y)
        y.backward(dy.transpose(0, -1).contiguous().transpose(0, -1) if dy.dim() else dy)
        tolerance = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 2 * torch.finfo(dtype).eps}
        torch.testing.assert_close(y.detach().cpu(), reference.value(view).to(dtype), **tolerance)
        want = dy.cpu().double() * reference.derivative(view)
        torch.testing.assert_close(leaf.grad.cpu(), want.to(dtype), **tolerance)
        if view.numel() > 0 and view.dim() == 4:
            assert y.stride() == torch.nn.functional.silu(view).stride()


@pytest.mark.gpu
def test_gpu_more_than_two_to_the_31_elements(device: str) -> None:
    n = 2**31 + 100
    if torch.cuda.mem_get_info()[0] < 5 * n:
        pytest.skip("needs 10 GB of free GPU memory")
    x = torch.zeros(n, dtype=torch.bfloat16, device=device)
    x[-100:] = 1.0
    y = golu(x)
    assert y[-101].item() == 0 and (y[-100:] == golu(x[-1:])).all()


@pytest.mark.gpu
def test_gpu_graph_and_streams(device: str) -> None:
    x = torch.randn(1000, device=device)
    golu(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = golu(x)
    x.fill_(1.0)
    graph.replay()
    torch.testing.assert_close(y.cpu(), golu(torch.ones(1000)), rtol=1e-6, atol=0)


@pytest.mark.gpu
def test_gpu_gradcheck(device: str) -> None:
    x = torch.linspace(-6, 12, 37, dtype=torch.float64, device=device, requires_grad=True)
    assert torch.autograd.gradcheck(golu, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(golu, x)
