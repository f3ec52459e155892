"""Autograd to every order, functorch, tracing, scripting, compiling, autocast, overrides."""

import copy
import io
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.overrides import TorchFunctionMode

from golu import GoLU, golu, gompertz
from tests.golu import reference

UNIT, OTHER = (1.0, 1.0, 1.0), (0.8, 1.2, 0.9)
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning"),
]


@pytest.fixture
def fresh() -> Iterator[None]:
    """Compile anew: the cache of compiled code does not distinguish which sizes came first."""
    from torch._inductor.utils import fresh_cache

    torch._dynamo.reset()
    with fresh_cache():
        yield


def sample(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.cat([torch.linspace(-6, 12, 37), torch.tensor([0.0, -0.5671])]).to(dtype)


@pytest.mark.parametrize("parameters", [UNIT, OTHER])
def test_gradcheck(cpu_kernel: str, parameters: tuple[float, ...]) -> None:
    x = sample().requires_grad_()
    assert gradcheck(
        lambda t: golu(t, *parameters),
        x,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
    )
    assert gradgradcheck(lambda t: golu(t, *parameters), x, check_batched_grad=True, check_fwd_over_rev=True)


def test_second_derivative(cpu_kernel: str) -> None:
    x = sample().requires_grad_()
    (first,) = torch.autograd.grad(golu(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(first.detach(), reference.derivative(x), rtol=1e-11, atol=1e-15)
    torch.testing.assert_close(second, reference.second_derivative(x), rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_second_derivative_is_finite_everywhere(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    x = torch.tensor([-torch.inf, -largest, -50.0, -11.0, -5.0, 0.0, 5.0, 50.0, largest, torch.inf]).to(dtype)
    x.requires_grad_()
    (first,) = torch.autograd.grad(golu(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert first.isfinite().all() and second.isfinite().all()
    assert second[[0, 1, 2, 7, 8, 9]].abs().max() == 0


def test_forward_mode(cpu_kernel: str) -> None:
    x, tangent = sample(), torch.randn(39, dtype=torch.float64)
    with forward_ad.dual_level():
        y, dy = forward_ad.unpack_dual(golu(forward_ad.make_dual(x, tangent)))
    torch.testing.assert_close(y, reference.value(x))
    torch.testing.assert_close(dy, tangent * reference.derivative(x))


def test_functorch() -> None:
    x = sample()
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(golu))(x), reference.derivative(x))
    torch.testing.assert_close(torch.func.jacrev(golu)(x), torch.diag(reference.derivative(x)))
    torch.testing.assert_close(torch.func.jacfwd(golu)(x), torch.diag(reference.derivative(x)))
    torch.testing.assert_close(
        torch.func.hessian(lambda t: golu(t).sum())(x),
        torch.diag(reference.second_derivative(x)),
        rtol=1e-9,
        atol=1e-12,
    )
    torch.testing.assert_close(torch.func.vmap(golu, in_dims=1)(x.view(3, 13)), golu(x).view(3, 13).T)


def test_autocast_keeps_the_dtype_like_silu() -> None:
    linear = nn.Linear(8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = linear(torch.randn(4, 8))
        y = golu(hidden)
        assert y.dtype == nn.functional.silu(hidden).dtype == torch.bfloat16
        assert golu(torch.randn(4)).dtype == torch.float32
    y.sum().backward()
    assert linear.weight.grad.dtype == torch.float32


def test_checkpointing() -> None:
    x = sample().requires_grad_()
    torch.utils.checkpoint.checkpoint(golu, x, use_reentrant=False).sum().backward()
    torch.testing.assert_close(x.grad, reference.derivative(x))


@pytest.mark.parametrize("parameters", [UNIT, OTHER])
def test_compile(parameters: tuple[float, ...]) -> None:
    module = GoLU(*parameters)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = sample(torch.float32).requires_grad_()
    compiled(x).backward(torch.ones_like(x))
    torch.testing.assert_close(compiled(x.detach()).double(), reference.value(x, *parameters), rtol=2e-5, atol=1e-7)
    torch.testing.assert_close(x.grad.double(), reference.derivative(x, *parameters), rtol=2e-5, atol=1e-6)


def test_compile_with_dynamic_shapes_and_changed_parameters() -> None:
    graphs = 0

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        nonlocal graphs
        graphs += 1
        return graph.forward

    module = GoLU()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=backend)
    for size in (3, 17, 200):
        x = torch.randn(size, 5)
        torch.testing.assert_close(compiled(x), golu(x), rtol=2e-5, atol=1e-7)
    assert graphs == 1
    module.set_parameters(*OTHER)
    torch.testing.assert_close(compiled(x), golu(x, *OTHER), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("parameters", [UNIT, OTHER])
def test_compiled_large_tensors_have_the_bits_of_the_kernel(
    fresh: None, dynamic: bool, parameters: tuple[float, ...]
) -> None:
    x, dy = torch.randn(2, 257, 300).mul(3)
    plain, compiled = x.clone().requires_grad_(), x.clone().requires_grad_()
    golu(plain, *parameters).backward(dy)
    y = torch.compile(GoLU(*parameters), fullgraph=True, dynamic=dynamic)(compiled)
    y.backward(dy)
    assert torch.equal(y, golu(x, *parameters)) and torch.equal(compiled.grad, plain.grad)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_code_computes_small_fp32_tensors_in_fp32(fresh: None, dynamic: bool) -> None:
    """Dynamic shapes make the parameters symbolic too, unless they are said to be constants."""
    from torch._inductor.utils import run_and_get_code

    compiled = torch.compile(GoLU(*OTHER), fullgraph=True, dynamic=dynamic)
    x = torch.randn(5, 7)
    y, (code,) = run_and_get_code(compiled, x)
    torch.testing.assert_close(y, golu(x, *OTHER))
    assert "float" in code and "double" not in code


@pytest.mark.parametrize("shape", [(8, 64), (512, 512)])
def test_compiled_layers_keep_what_they_keep_with_silu(fresh: None, shape: tuple[int, int]) -> None:
    """The value is computed again for the backward pass, as an activation of torch's own is."""

    def kept(activation: nn.Module) -> list[int]:
        torch._dynamo.reset()
        gated = torch.compile(lambda a, b: activation(a) * b, fullgraph=True)
        y = gated(*(torch.randn(shape, requires_grad=True) for _ in range(2)))
        return sorted(t.numel() for t in y.grad_fn.saved_tensors)

    assert kept(GoLU()) == kept(nn.SiLU()) == 2 * [shape[0] * shape[1]]


def test_a_dimension_marked_as_dynamic_stays_so(fresh: None) -> None:
    counter = torch._dynamo.testing.CompileCounterWithBackend("inductor")
    compiled = torch.compile(golu, fullgraph=True, backend=counter)
    for rows in (300, 2, 1000):
        x = torch.randn(rows, 300)
        torch._dynamo.mark_dynamic(x, 0)
        torch.testing.assert_close(compiled(x), golu(x), rtol=2e-5, atol=1e-7)
    assert counter.frame_count == 1


def test_compiled_derivatives_of_large_tensors(fresh: None) -> None:
    x = torch.randn(70_000, dtype=torch.float64)
    second = torch.func.grad(lambda t: torch.func.grad(lambda s: golu(s).sum())(t).sum())
    torch.testing.assert_close(torch.compile(second, fullgraph=True)(x), reference.second_derivative(x))
    forward = torch.compile(lambda t: torch.func.jvp(golu, (t,), (t,))[1], fullgraph=True)
    torch.testing.assert_close(forward(x), x * reference.derivative(x))


def test_inductor_fuses_it_with_its_neighbours() -> None:
    from torch._inductor.utils import run_and_get_code

    torch._dynamo.reset()
    model = nn.Sequential(nn.Linear(32, 64), GoLU(), nn.Linear(64, 8)).eval()
    x = torch.randn(16, 32)
    with torch.no_grad():
        y, code = run_and_get_code(torch.compile(model, fullgraph=True), x)
        torch.testing.assert_close(y, model(x), rtol=1e-4, atol=1e-6)
    assert len(code) == 1 and code[0].count("cpp_fused") > 0
    # one generated kernel, defined once: everything between the two matrix products
    assert code[0].count("async_compile.cpp_pybinding(") == 1


DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def check_torchscript(function: object, x: torch.Tensor, *parameters: float) -> None:
    """Value and gradient against the reference, to the accuracy of the formula; nothing but torch's own operators."""
    buffer = io.BytesIO()
    torch.jit.save(function, buffer)
    buffer.seek(0)
    loaded = torch.jit.load(buffer)
    assert "golu::" not in str(loaded.inlined_graph)
    leaf = x.clone().requires_grad_()
    y = loaded(leaf)
    y.backward(torch.ones_like(y))
    assert y.dtype == leaf.grad.dtype == x.dtype
    rtol = max(64 * torch.finfo(x.dtype).eps, 1e-12) if x.dtype in (torch.float64, torch.float32) else 0.01
    torch.testing.assert_close(y.detach().double(), reference.value(x, *parameters), rtol=rtol, atol=rtol / 100)
    torch.testing.assert_close(leaf.grad.double(), reference.derivative(x, *parameters), rtol=rtol, atol=rtol / 10)


@pytest.mark.parametrize("example", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("parameters", [UNIT, OTHER])
def test_a_trace_serves_every_dtype(parameters: tuple[float, ...], example: torch.dtype) -> None:
    traced = torch.jit.trace(nn.Sequential(GoLU(*parameters)), torch.zeros(3, dtype=example))
    for dtype in DTYPES:
        check_torchscript(traced, sample(dtype), *parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parameters", [UNIT, OTHER])
def test_script(parameters: tuple[float, ...], dtype: torch.dtype) -> None:
    check_torchscript(torch.jit.script(nn.Sequential(GoLU(*parameters))), sample(dtype), *parameters)


def calls_golu(x: torch.Tensor) -> torch.Tensor:
    return golu(x, 0.8, gamma=0.9) + x * gompertz(x, beta=1.2)


def test_script_of_a_function() -> None:
    x = sample(torch.float32)
    torch.testing.assert_close(torch.jit.script(calls_golu)(x), calls_golu(x), rtol=2e-5, atol=1e-7)
    model = torch.jit.script(nn.Sequential(nn.Linear(3, 3), GoLU()))
    model(torch.randn(2, 3)).sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("function", [golu, gompertz])
def test_symbolic_trace_of_a_function(function: object) -> None:
    traced = torch.fx.symbolic_trace(lambda x, alpha: function(x + 1, alpha, 1.2) * 2)
    assert [n.target for n in traced.graph.nodes if n.op == "call_function"].count(function) == 1
    x = torch.randn(4)
    assert torch.equal(traced(x, 0.5), function(x + 1, 0.5, 1.2) * 2)


def test_symbolic_trace_keeps_one_node() -> None:
    model = nn.Sequential(nn.Linear(3, 3), GoLU())
    traced = torch.fx.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_function"] == [golu]
    x = torch.randn(2, 3)
    assert torch.equal(traced(x), model(x))


def test_meta_and_fake_tensors() -> None:
    meta = golu(torch.empty(3, 4, device="meta", dtype=torch.bfloat16))
    assert meta.device.type == "meta" and meta.shape == (3, 4) and meta.dtype == torch.bfloat16
    with torch._subclasses.FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.randn(5, 2))
        assert isinstance(golu(fake), torch._subclasses.FakeTensor) and golu(fake).shape == (5, 2)


class Replace(TorchFunctionMode):
    """Computes the ReLU in place of golu and gompertz, and keeps what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append(func)
        return torch.relu(args[0]) if func in (golu, gompertz) else func(*args, **(kwargs or {}))


def test_a_torch_function_mode_sees_one_function() -> None:
    x = torch.randn(5)
    with Replace() as mode:
        results = [golu(x), GoLU(*OTHER)(x), golu(x, beta=2), golu(x, torch.tensor(2.0)), gompertz(x)]
        seen = [function for function in mode.seen if function is not torch.tensor]
    assert seen == [golu, golu, golu, golu, gompertz]
    assert all(torch.equal(y, x.relu()) for y in results)


def test_a_torch_function_mode_under_compile() -> None:
    def replaced(x: torch.Tensor) -> torch.Tensor:
        with Replace():
            return golu(x, *OTHER) + golu(x)

    x = torch.randn(5)
    torch._dynamo.reset()
    compiled = torch.compile(replaced, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), 2 * x.relu())
    for strict in (False, True):
        module = type("Replaced", (nn.Module,), {"forward": lambda self, x: replaced(x)})()
        torch.testing.assert_close(torch.export.export(module, (x,), strict=strict).module()(x), 2 * x.relu())


def test_a_default_device_is_a_mode_that_changes_nothing() -> None:
    x = torch.randn(5)
    torch._dynamo.reset()
    with torch.device("cpu"):
        torch.testing.assert_close(torch.compile(golu, backend="eager", fullgraph=True)(x), golu(x))


class Mine(torch.Tensor):
    """A subclass that keeps which torch functions it was asked for."""

    seen: list[object] = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.seen.append(func)
        return super().__torch_function__(func, types, args, kwargs)


def test_subclasses_see_one_function_and_keep_their_type() -> None:
    x = torch.randn(5)
    Mine.seen.clear()
    y = golu(x.as_subclass(Mine), *OTHER)
    assert Mine.seen == [golu] and type(y) is Mine
    assert torch.equal(y.as_subclass(torch.Tensor), golu(x, *OTHER))


def test_subclasses_compile() -> None:
    class Other(torch.Tensor):
        pass

    x = torch.randn(5)
    torch._dynamo.reset()
    y = torch.compile(golu, fullgraph=True, backend="eager")(x.as_subclass(Other))
    assert type(y) is Other
    torch.testing.assert_close(y.as_subclass(torch.Tensor), golu(x), rtol=2e-5, atol=1e-7)


def test_parameters_are_plain_tensors_too() -> None:
    x = nn.Parameter(torch.randn(5))
    golu(x).sum().backward()
    torch.testing.assert_close(x.grad.double(), reference.derivative(x), rtol=1e-6, atol=1e-6)


def test_copies_and_pickles() -> None:
    module = GoLU(*OTHER)
    x = torch.randn(9)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert twin is not module and torch.equal(twin(x), module(x))
        assert repr(twin) == "GoLU(alpha=0.8, beta=1.2, gamma=0.9)"
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), module(x))
    assert module.state_dict() == {}


# ---- parameters that are tensors ----


def formula_in_double(function: object, tensors: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Value and gradients of the definition itself, where float64 holds all of it."""
    x, alpha, beta, gamma = leaves = [t.detach().double().requires_grad_() for t in tensors]
    y = alpha * torch.exp(-beta * torch.exp(-gamma * x))
    y = y * x if function is golu else y
    return y.detach(), list(torch.autograd.grad(y.sum(), leaves))


@pytest.mark.parametrize("function", [golu, gompertz])
@pytest.mark.parametrize(
    ("dtype", "shape", "compiled"),
    [
        (torch.float64, (7,), False),
        (torch.float32, (), False),
        (torch.float32, (3, 1), False),
        (torch.bfloat16, (1,), False),
        (torch.float32, (7,), True),
    ],
)
def test_tensors_as_parameters(function: object, dtype: torch.dtype, shape: tuple[int, ...], compiled: bool) -> None:
    x = torch.linspace(-5, 9, 21).reshape(3, 7).to(dtype)
    parameters = [(torch.rand(shape) + low).to(torch.float64 if dtype is torch.float64 else torch.float32)
                  for low in (0.5, 0.5, 0.5)]  # fmt: skip
    leaves = [t.clone().requires_grad_() for t in (x, *parameters)]
    torch._dynamo.reset()
    run = torch.compile(function, fullgraph=True, backend="aot_eager") if compiled else function
    y = run(*leaves)
    assert y.dtype == dtype and y.shape == x.shape
    gradients = torch.autograd.grad(y.sum(), leaves)
    value, want = formula_in_double(function, leaves)
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 0.02}[dtype]
    torch.testing.assert_close(y.double(), value, rtol=tolerance, atol=tolerance)
    for gradient, leaf, exact in zip(gradients, leaves, want, strict=True):
        assert gradient.shape == leaf.shape and gradient.dtype == leaf.dtype
        torch.testing.assert_close(gradient.double(), exact, rtol=2 * tolerance, atol=2 * tolerance)


def test_one_tensor_among_floats() -> None:
    x, alpha = torch.randn(5), torch.tensor(2.0, requires_grad=True)
    for call, factor in ((golu(x, alpha, 1.2, 0.9), golu(x, 1.0, 1.2, 0.9)), (gompertz(x, alpha), gompertz(x))):
        (gradient,) = torch.autograd.grad(call.sum(), alpha)
        torch.testing.assert_close(gradient, factor.sum(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(call.detach(), 2 * factor, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("gamma", [0.9, -0.9])
def test_tensors_as_parameters_at_the_ends(dtype: torch.dtype, gamma: float) -> None:
    largest = torch.finfo(dtype).max
    open_side = [torch.inf, largest, 1e4]
    for at in (open_side, [-v for v in open_side]):
        x = torch.tensor(at).to(dtype).requires_grad_()
        parameters = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.8, 1.2, gamma)]
        y = golu(x, *parameters)
        slope, alpha, beta, steepness = torch.autograd.grad(y.sum(), [x, *parameters])
        is_open = (at[0] > 0) == (gamma > 0)
        assert y[0] == (at[0] if is_open else 0) and beta == steepness == 0
        assert not y.isnan().any() and (alpha.isinf() if is_open else alpha == 0)
        torch.testing.assert_close(slope, torch.full_like(slope, 0.8 if is_open else 0.0))


def test_second_derivatives_by_tensors() -> None:
    x = torch.linspace(-4, 8, 9, dtype=torch.float64, requires_grad=True)
    parameters = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in OTHER]
    assert gradgradcheck(golu, [x, *parameters])


def test_a_trace_with_tensors_serves_every_dtype() -> None:
    traced = torch.jit.trace(lambda x, alpha: golu(x, alpha, 1.2), (torch.zeros(3), torch.tensor(1.0)))
    for dtype in DTYPES:
        x = sample(dtype)
        y = traced(x, torch.tensor(0.5))
        assert y.dtype == dtype
        rtol = 0.01 if dtype.itemsize == 2 else 64 * torch.finfo(dtype).eps
        torch.testing.assert_close(y.double(), reference.value(x, 0.5, 1.2), rtol=rtol, atol=rtol / 100)
