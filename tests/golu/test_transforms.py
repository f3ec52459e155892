"""Autograd to every order, functorch, tracing, compiling, exporting, autocast, subclasses."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from golu import GoLU, golu
from tests.golu import reference

UNIT, OTHER = (1.0, 1.0, 1.0), (0.8, 1.2, 0.9)


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


@pytest.mark.parametrize("strict", [False, True])
def test_export(strict: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 4), GoLU(*OTHER))
    batch = torch.export.Dim("batch")
    program = torch.export.export(model, (torch.randn(3, 4),), dynamic_shapes=({0: batch},), strict=strict)
    x = torch.randn(11, 4)
    torch.testing.assert_close(program.module()(x), model(x), rtol=2e-5, atol=1e-7)


def test_onnx() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = GoLU(*OTHER).eval()
    x = torch.cat([sample(torch.float32), torch.tensor([torch.inf, -torch.inf, -1e30, 1e30])])
    program = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
    buffer = io.BytesIO()
    program.save(buffer)
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), model(x), rtol=2e-5, atol=1e-7)


def test_trace_records_the_operation_and_not_a_constant() -> None:
    traced = torch.jit.trace(GoLU(), torch.zeros(3))
    x = torch.randn(3)
    torch.testing.assert_close(traced(x), golu(x), rtol=2e-5, atol=1e-7)


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


def test_a_mode_sees_the_operations() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Record():
        golu(torch.randn(3))
    assert seen.count(torch.ops.aten.exp.default) == 2


def test_subclasses_keep_their_type() -> None:
    class Mine(torch.Tensor):
        pass

    x = torch.randn(5).as_subclass(Mine)
    y = golu(x)
    assert type(y) is Mine
    torch.testing.assert_close(y.as_subclass(torch.Tensor), golu(x.as_subclass(torch.Tensor)), rtol=2e-5, atol=1e-7)


def test_parameters_are_plain_tensors_too() -> None:
    x = nn.Parameter(torch.randn(5))
    golu(x).sum().backward()
    torch.testing.assert_close(x.grad.double(), reference.derivative(x), rtol=1e-6, atol=1e-6)


def test_dtensor(tmp_path) -> None:
    import torch.distributed as dist
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor, init_device_mesh

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        x = torch.randn(4, 6)
        sharded = distribute_tensor(x, init_device_mesh("cpu", (1,)), [Shard(0)]).requires_grad_()
        y = golu(sharded)
        assert isinstance(y, DTensor) and y.placements == (Shard(0),)
        torch.testing.assert_close(y.full_tensor(), golu(x), rtol=2e-5, atol=1e-7)
        y.sum().backward()
        torch.testing.assert_close(sharded.grad.full_tensor().double(), reference.derivative(x), rtol=2e-5, atol=1e-6)
    finally:
        dist.destroy_process_group()


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
