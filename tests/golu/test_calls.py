"""Calls of the C kernel from Python, ordinary ones in C from end to end and others through ctypes; threads."""

import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from golu import from_output, golu, kernels
from golu.functional import golu_keeping_output
from golu.kernels import extension
from tests.golu import reference

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["in C", "through ctypes"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways in which Python calls the C kernel."""
    if request.param == "through ctypes":
        monkeypatch.setattr(extension, "load", lambda _: None)
    monkeypatch.setattr(kernels, "_cpu", None)
    kernel = kernels.kernel_for("cpu")
    if not kernel.name.startswith("C, ") or kernel.reason.endswith("ctypes") != (request.param == "through ctypes"):
        pytest.skip(kernel.reason)
    yield request.param


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.skipif(not Path(sysconfig.get_paths()["include"], "Python.h").exists(), reason="no header of Python")
@pytest.mark.skipif(sys.implementation.name != "cpython", reason="an extension of CPython")
def test_ordinary_calls_stay_in_c() -> None:
    x = torch.randn(10)
    y = kernels.call(x, 1.0, 1.0, 1.0, golu)
    assert y is not None, kernels.kernel_for("cpu").reason
    with torch.no_grad():
        assert kernels.call_backward(torch.ones(10), x, 1.0, 1.0, 1.0) is not None
        if "avx" in kernels.kernel_for("cpu").name:
            packed = from_output.sides(x, 1.0, 1.0)
            assert kernels.call_backward_from_output(torch.ones(10), y, packed, 1.0, 1.0, 1.0) is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("parameters", [(1.0, 1.0, 1.0), (0.8, 1.2, 0.9)], ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (7,), (2, 3, 5), (40_000,)], ids=str)
def test_values_and_gradients(
    way: str, shape: tuple[int, ...], parameters: tuple[float, ...], dtype: torch.dtype
) -> None:
    x = torch.randn(shape).to(dtype)
    leaf = x.clone().requires_grad_()
    y, dy = golu(leaf, *parameters), torch.randn(shape).to(dtype)
    y.backward(dy)
    tolerance = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 4 * torch.finfo(dtype).eps}
    torch.testing.assert_close(y.detach(), reference.value(x, *parameters).to(dtype), **tolerance)
    want = dy.double() * reference.derivative(x, *parameters)
    torch.testing.assert_close(leaf.grad, want.to(dtype), **tolerance)
    assert torch.equal(golu(x, *parameters), y) and not golu(x, *parameters).requires_grad
    with torch.no_grad():
        assert torch.equal(golu(leaf, *parameters), y)
    with torch.inference_mode():
        z = golu(x, *parameters)
    assert z.is_inference() and torch.equal(z, y) and torch.equal(golu(z), golu(z.clone()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("parameters", [(1.0, 1.0, 1.0), (0.8, 1.2, 0.9)], ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3, 5), (40_000,)], ids=str)
def test_the_output_kept(way: str, shape: tuple[int, ...], parameters: tuple[float, ...], dtype: torch.dtype) -> None:
    x, dy = torch.randn(shape).to(dtype).requires_grad_(), torch.randn(shape).to(dtype)
    y = golu_keeping_output(x, *parameters)
    assert torch.equal(y, golu(x, *parameters)) and y.requires_grad
    y.backward(dy)
    want = dy.double() * reference.derivative(x.detach(), *parameters)
    near = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 5e-2}[dtype]
    torch.testing.assert_close(x.grad.double(), want, rtol=near, atol=near)
    with torch.no_grad():
        assert not golu_keeping_output(x, *parameters).requires_grad


def test_what_does_not_belong_to_an_output() -> None:
    """The direct call looks at what it is given, and leaves it to the caller."""
    x = torch.randn(20)
    y, packed = kernels.forward_keeping(x, 1.0, 1.0, 1.0)
    others = {
        "dy of another dtype": (x.double(), y, packed),
        "dy of another size": (x[:10], y, packed),
        "dy strided": (torch.randn(40)[::2], y, packed),
        "an output of fp64": (x.double(), y.double(), packed),
        "too few sides": (x, y, packed[:2]),
        "sides of another dtype": (x, y, packed.int()),
        "no tensor": (x, y, None),
    }
    with torch.no_grad():
        for what, given in others.items():
            assert kernels.call_backward_from_output(*given, 1.0, 1.0, 1.0) is None, what  # type: ignore[arg-type]
    assert kernels.call_backward_from_output(x, y, packed, 1.0, 1.0, 1.0) is None  # to be differentiated again


def test_a_gradient_of_another_dtype(way: str) -> None:
    x, dy = torch.randn(6), torch.randn(6, dtype=torch.float64)
    with torch.no_grad():
        assert kernels.call_backward(dy, x, 1.0, 1.0, 1.0) is None
    dx = kernels.backward(dy, x, 1.0, 1.0, 1.0)
    torch.testing.assert_close(dx.double(), dy * reference.derivative(x), rtol=1e-5, atol=1e-6)


def test_the_first_call_of_a_process_may_be_any() -> None:
    """Nothing is loaded for what is no tensor of the CPU."""
    program = """
        import torch
        from golu import golu, kernels
        assert golu(torch.empty(3, device="meta")).shape == (3,)
        try:
            golu([1.0])
        except TypeError:
            pass
        y = golu(torch.zeros(4, requires_grad=True))
        y.sum().backward()
        print(kernels.kernel_for("cpu").name)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_wrappers_that_outlive_their_transform(way: str) -> None:
    kept: list[torch.Tensor] = []
    x = torch.randn(5)
    torch.func.grad(lambda t: (kept.append(t), t.sum())[1])(x)
    torch.testing.assert_close(golu(kept[0]).double(), reference.value(x), rtol=2e-5, atol=1e-7)
    with torch.no_grad():
        torch.testing.assert_close(golu(kept[0]).double(), reference.value(x), rtol=2e-5, atol=1e-7)
    kept[0].requires_grad_()
    torch.testing.assert_close(golu(kept[0]).double(), reference.value(x), rtol=2e-5, atol=1e-7)


def test_a_plain_tensor_inside_a_transform(way: str) -> None:
    weight = torch.randn(4, requires_grad=True)
    out = torch.func.vmap(lambda t: golu(weight) * t)(torch.ones(3, 4))
    out.sum().backward()
    torch.testing.assert_close(weight.grad.double(), 3 * reference.derivative(weight), rtol=2e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    "x",
    {
        "sparse": lambda: torch.eye(3).to_sparse(),
        "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "on the meta device": lambda: torch.ones(3, device="meta"),
        "negated lazily": lambda: torch._neg_view(torch.ones(3)),
        "strided": lambda: torch.ones(6)[::2],
        "a subclass": lambda: torch.ones(3).as_subclass(type("Mine", (torch.Tensor,), {})),
        "of integers": lambda: torch.ones(3, dtype=torch.int32),
        "no tensor": lambda: [1.0],
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_out_of_the_ordinary(x: tuple, capfd: pytest.CaptureFixture[str]) -> None:
    applied = torch.empty(0)
    for grad in (False, True):
        given = x[1]()
        if grad and isinstance(given, torch.Tensor) and given.is_floating_point():
            given.requires_grad_()
        done = kernels.call(given, 1.0, 1.0, 1.0, lambda *_: applied)
        strides = x[0] in ("on the meta device", "negated lazily", "strided")  # then autograd may take it
        assert done is None or (grad and strides and done is applied)
        with torch.no_grad():
            assert kernels.call_backward(given, torch.ones(3), 1.0, 1.0, 1.0) is None
    assert capfd.readouterr().err == ""  # torch's C interface writes what it raises there


def test_exceptions(way: str) -> None:
    with pytest.raises(TypeError, match="not NoneType"):
        golu(None)
    with pytest.raises((TypeError, ValueError)):
        golu(torch.ones(3), float("nan"))
    with pytest.raises(TypeError):
        golu(torch.ones(3), "1.0")


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("parameters", [(1.0, 1.0, 1.0), (0.8, 1.2, 0.9)], ids=str)
@pytest.mark.parametrize("function", [golu, golu_keeping_output])
def test_nothing_is_leaked(way: str, function: Callable[..., torch.Tensor], parameters: tuple[float, ...]) -> None:
    x = torch.randn(2**20, requires_grad=True)
    dy = torch.ones_like(x)
    references, uses = sys.getrefcount(x), x._use_count()

    def use(times: int) -> None:
        for _ in range(times):
            torch.autograd.grad(function(x, *parameters), x, dy)
            function(x.detach(), *parameters)

    use(20)
    before = peak()
    use(100)  # of twelve megabytes each
    assert peak() - before < 200e6
    assert (sys.getrefcount(x), x._use_count()) == (references, uses)
    small, none = torch.randn(4), sys.getrefcount(None)
    for _ in range(1000):
        function(small)
        kernels.forward_keeping(small.double(), 1.0, 1.0, 1.0)
        kernels.call(small.double().requires_grad_(), 1.0, 1.0, 1.0, lambda *_: None)  # type: ignore[arg-type,return-value]
        kernels.call(small[::2], 1.0, 1.0, 1.0, golu)
        with torch.no_grad():
            kernels.call_backward(small, small.double(), 1.0, 1.0, 1.0)
    assert sys.getrefcount(None) - none < 500


# ---- threads ----


def test_python_runs_meanwhile(way: str) -> None:
    """The lock of Python is free during a long computation, of value and gradient."""
    x = torch.randn(2**24)
    patience = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nobody takes the lock from a thread that does not give it

    def turns(compute: Callable[[], object]) -> int:
        """How often this thread gets the lock while another one computes."""
        count, worker = 0, threading.Thread(target=compute)
        worker.start()
        while worker.is_alive():
            time.sleep(0)  # gives the lock
            count += 1
        return count

    try:  # one torch function or the other gives the lock for a moment; a busy machine may let this thread wait
        assert any(turns(lambda: kernels.forward(x, 1.0, 1.0, 1.0)) > 100 for _ in range(20))
        assert any(turns(lambda: kernels.backward(x, x, 1.0, 1.0, 1.0)) > 100 for _ in range(20))
    finally:
        sys.setswitchinterval(patience)


def test_several_threads_at_once(way: str) -> None:
    inputs = [torch.randn(n) for n in (3, 1000, 50_000, 100_000)]
    want = [golu(x) for x in inputs]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(50):
            for i, x in enumerate(inputs):
                if not torch.equal(golu(x), want[i]):
                    wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_a_new_thread_obeys_set_num_threads() -> None:
    """OpenMP starts helpers for each thread that asks for them: as many for GoLU as for SiLU."""
    program = """
        import os, threading, time, torch
        from golu import golu
        silu = torch.nn.functional.silu
        x, w = torch.zeros(1000, 1000), torch.zeros(1000, 1000, requires_grad=True)
        there = lambda: len(os.listdir("/proc/self/task"))

        def helpers(compute):
            before, found = there(), []
            def work():
                compute()
                found.append(there() - before - 1)
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            end = time.monotonic() + 30
            while there() > before and time.monotonic() < end:
                time.sleep(0.001)
            return found[0]

        torch.autograd.grad(silu(w), w, x)
        for threads in 1, 2, 3:
            torch.set_num_threads(threads)
            print(*map(helpers, (
                lambda: silu(x),
                lambda: golu(x),
                lambda: golu(x.t()),
                lambda: golu(x, 0.5),
                lambda: torch.autograd.grad(golu(w), w, x),
            )))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "4"},
    )  # fmt: skip
    counts = [[int(n) for n in line.split()] for line in run.stdout.splitlines()]
    assert [silu for silu, *_ in counts] == [0, 1, 2]
    assert all(own == silu for silu, *owns in counts for own in owns), counts
