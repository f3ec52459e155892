"""The registered operator: one name for modes, subclasses and the profiler, with the bits of a plain call."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.distributed as dist
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from torch.utils.flop_counter import FlopCounterMode

from golu import GoLU, golu
from tests.golu import reference

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
OTHER = (0.8, 1.2, 0.9)
FORWARD, BACKWARD = torch.ops.golu.golu.default, torch.ops.golu.golu_backward.default


class Record(TorchDispatchMode):
    """Keeps which operators it sees, without those that only make views."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is not torch.ops.aten.detach.default:
            self.seen.append(func)
        return func(*args, **(kwargs or {}))


def value_and_gradient(
    function: Callable[..., torch.Tensor], x: torch.Tensor, dy: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = x.detach().requires_grad_()
    y = function(leaf)
    y.backward(dy)
    return y.detach(), leaf.grad


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("strided", [False, True])
def test_opcheck(dtype: torch.dtype, strided: bool) -> None:
    """Schema, autograd registration, fake tensors and AOTAutograd, as torch itself checks them."""
    x = torch.randn(3, 4).to(dtype)
    x = (x.T if strided else x).requires_grad_()
    torch.library.opcheck(FORWARD, (x, *OTHER))
    torch.library.opcheck(BACKWARD, (torch.randn_like(x), x, *OTHER))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parameters", [(1.0, 1.0, 1.0), OTHER], ids=str)
def test_a_mode_sees_one_name_and_changes_no_bit(
    cpu_kernel: str, dtype: torch.dtype, parameters: tuple[float, ...]
) -> None:
    x, dy = (torch.randn(999).mul(3).to(dtype) for _ in range(2))
    plain = value_and_gradient(lambda t: golu(t, *parameters), x, dy)
    with Record() as mode:
        watched = value_and_gradient(lambda t: golu(t, *parameters), x, dy)
    assert mode.seen == [FORWARD, BACKWARD]
    assert torch.equal(plain[0], watched[0]) and torch.equal(plain[1], watched[1])


def test_a_mode_around_the_backward_pass_only() -> None:
    x = torch.randn(999, requires_grad=True)
    y = golu(x)
    with Record() as mode:
        y.sum().backward()
    assert BACKWARD in mode.seen and torch.ops.aten.exp.default not in mode.seen
    (plain,) = torch.autograd.grad(golu(x).sum(), x)
    assert torch.equal(x.grad, plain)


def test_under_inference_mode() -> None:
    with torch.inference_mode():
        x = torch.randn(5)
        with Record() as mode:
            y = golu(x)
        assert mode.seen == [FORWARD] and torch.equal(y, golu(x))


@pytest.mark.parametrize("strided", [False, True])
def test_only_the_input_is_saved_under_a_mode(strided: bool) -> None:
    x = torch.randn(64, 32)
    x = (x[:, ::2] if strided else x).requires_grad_()
    saved: list[torch.Tensor] = []
    with Record(), torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        golu(x, *OTHER)
    assert len(saved) == 1 and saved[0].data_ptr() == x.data_ptr() and saved[0].shape == x.shape


def test_derivatives_of_every_order() -> None:
    x = torch.linspace(-5, 9, 23, dtype=torch.float64, requires_grad=True)
    dy = torch.randn(23, dtype=torch.float64, requires_grad=True)
    with Record():
        assert torch.autograd.gradgradcheck(golu, x)
    assert torch.autograd.gradcheck(FORWARD, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(FORWARD, x, check_batched_grad=True)
    assert torch.autograd.gradcheck(BACKWARD, (dy, x), check_batched_grad=True)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(FORWARD))(x.detach()), reference.derivative(x))


def test_transforms_see_the_formula_under_a_mode() -> None:
    x = torch.randn(7, dtype=torch.float64)
    with Record() as mode:
        slopes = torch.func.vmap(torch.func.grad(golu))(x)
    assert FORWARD not in mode.seen
    torch.testing.assert_close(slopes, reference.derivative(x))


def test_the_profiler_shows_one_name_each_way() -> None:
    x = torch.randn(9, requires_grad=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        golu(x).sum().backward()
    counts = {event.key: event.count for event in profiler.key_averages()}
    assert counts["golu::golu"] == counts["golu::golu_backward"] == 1
    assert "aten::exp" not in counts


def test_the_flop_counter_counts_the_rest() -> None:
    model, x = torch.nn.Sequential(torch.nn.Linear(4, 8), GoLU()), torch.randn(3, 4)
    with FlopCounterMode(display=False) as counter:
        y = model(x)
    assert counter.get_total_flops() == 2 * 3 * 4 * 8
    assert torch.equal(y, model(x))


@pytest.mark.parametrize("tracing_mode", ["real", "fake", "symbolic"])
def test_make_fx_records_one_node(tracing_mode: str) -> None:
    x = torch.randn(3, 4)
    graph = make_fx(lambda t: golu(t, *OTHER), tracing_mode=tracing_mode)(x)
    assert [node.target for node in graph.graph.nodes if node.op == "call_function"] == [FORWARD]
    assert torch.equal(graph(x), golu(x, *OTHER))


@pytest.mark.parametrize(
    "view",
    {
        "transposed": lambda x: x.transpose(1, 3),
        "sliced": lambda x: x[:, ::2, 1:, ::3],
        "expanded": lambda x: x[:, :1].expand(-1, 9, -1, -1),
        "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    }.items(),
    ids=lambda item: item[0],
)
def test_fake_results_have_the_strides_of_real_ones(view: tuple) -> None:
    x = view[1](torch.randn(2, 6, 5, 7))
    real = golu(x)
    with torch._subclasses.FakeTensorMode() as mode:
        fake = golu(mode.from_tensor(x))
    assert (fake.shape, fake.stride(), fake.dtype) == (real.shape, real.stride(), real.dtype)


# ---- checkpointing ----


@pytest.mark.parametrize("recompute", [False, True], ids=["recompute plain", "recompute under a mode"])
@pytest.mark.parametrize("forward", [False, True], ids=["forward plain", "forward under a mode"])
@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
def test_checkpointing_under_modes(reentrant: bool, forward: bool, recompute: bool) -> None:
    linear, x = torch.nn.Linear(16, 16), torch.randn(5, 16, requires_grad=True)

    def block(t: torch.Tensor) -> torch.Tensor:
        return golu(linear(golu(t, *OTHER)))

    (want,) = torch.autograd.grad(block(x).sum(), x)
    with Record() if forward else contextlib.nullcontext():
        y = checkpoint(block, x, use_reentrant=reentrant)
    with Record() if recompute else contextlib.nullcontext():
        y.sum().backward()
    assert torch.equal(x.grad, want)


def test_selective_checkpointing_can_save_it() -> None:
    """As models choose by operator what is saved and what is computed again."""
    linear, x = torch.nn.Linear(16, 16), torch.randn(5, 16, requires_grad=True)

    def policy(_context, operator, *_args, **_kwargs):
        return CheckpointPolicy.MUST_SAVE if operator is FORWARD else CheckpointPolicy.PREFER_RECOMPUTE

    def block(t: torch.Tensor) -> torch.Tensor:
        return golu(linear(golu(t)))

    (want,) = torch.autograd.grad(block(x).sum(), x)
    contexts = functools.partial(create_selective_checkpoint_contexts, policy)
    with Record() as mode:
        checkpoint(block, x, use_reentrant=False, context_fn=contexts).sum().backward()
    assert mode.seen.count(torch.ops.aten.addmm.default) == 2
    assert mode.seen.count(FORWARD) == mode.seen.count(BACKWARD) == 2  # once for each call: nothing is computed again
    assert torch.equal(x.grad, want)


# ---- DTensor ----


@pytest.fixture
def mesh() -> Iterator[object]:
    """Two processes of which this is the first; collectives do nothing."""
    from torch.distributed.tensor import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield init_device_mesh("cpu", (2,))
    dist.destroy_process_group()


@pytest.mark.parametrize("placement", ["Shard(0)", "Shard(1)", "Replicate()"])
def test_dtensor_stays_where_it_is(mesh, placement: str) -> None:
    from torch.distributed import tensor
    from torch.distributed.tensor.debug import CommDebugMode

    placements = [eval(placement, vars(tensor))]
    x, dy = torch.randn(4, 6), torch.randn(4, 6)
    leaf = tensor.DTensor.from_local(x, mesh, placements).requires_grad_()
    with CommDebugMode() as communication:
        y = golu(leaf, *OTHER)
        y.backward(tensor.DTensor.from_local(dy, mesh, placements))
    assert communication.get_total_counts() == 0
    assert list(y.placements) == list(leaf.grad.placements) == placements
    value, gradient = value_and_gradient(lambda t: golu(t, *OTHER), x, dy)
    assert torch.equal(y.to_local(), value) and torch.equal(leaf.grad.to_local(), gradient)


def test_partial_dtensors_are_summed_first(mesh) -> None:
    from torch.distributed.tensor import DTensor, Partial
    from torch.distributed.tensor.debug import CommDebugMode

    with CommDebugMode() as communication:
        y = golu(DTensor.from_local(torch.randn(4, 6), mesh, [Partial()]))
    assert communication.get_total_counts() == 1 and not y.placements[0].is_partial()
