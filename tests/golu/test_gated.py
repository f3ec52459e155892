"""golu_gate and GoGLU: golu(gate) * up by one kernel, against the plain formula in float64."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from golu import GoGLU, golu_gate
from golu.functional import golu
from tests.golu import reference
from tests.golu.test_keeping_output import kept, normal

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
# what one rounding costs; relative L2
ROUNDING = {torch.float64: 1e-15, torch.float32: 1e-7, torch.float16: 3e-4, torch.bfloat16: 2.5e-3}


def halves(x: Tensor) -> list[Tensor]:
    return [each.detach().requires_grad_() for each in x.chunk(2, -1)]


PAIRS: dict[str, Callable[[torch.dtype], list[Tensor]]] = {
    "halves of one": lambda dtype: halves(normal(37, 2 * 203, dtype=dtype)),
    "halves of a batch": lambda dtype: halves(normal(3, 5, 2 * 40, dtype=dtype)),
    "contiguous": lambda dtype: [normal(70_001, dtype=dtype, seed=i).requires_grad_() for i in range(2)],
    "transposed": lambda dtype: [normal(30, 50, dtype=dtype, seed=i).t().requires_grad_() for i in range(2)],
    "rows apart": lambda dtype: [normal(4, 6, 8, dtype=dtype, seed=i)[:, ::2].requires_grad_() for i in range(2)],
    "a scalar": lambda dtype: [normal(2, dtype=dtype, seed=i)[0].requires_grad_() for i in range(2)],
    "empty": lambda dtype: [normal(0, 4, dtype=dtype).requires_grad_() for _ in range(2)],
}


def off(got: Tensor, want: Tensor) -> float:
    """The relative L2 error."""
    return float((got.double() - want).norm()) / max(float(want.norm()), 1e-30)


@pytest.mark.parametrize("parameters", [(1.0, 1.0, 1.0), (0.7, 0.5, 1.3)])
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_value_and_gradients_are_rounded_once(
    cpu_kernel: str, dtype: torch.dtype, pair: str, parameters: tuple
) -> None:
    gate, up = PAIRS[pair](dtype)
    y = golu_gate(gate, up, *parameters)
    assert (y.shape, y.dtype) == (gate.shape, dtype)
    dy = normal(max(1, y.numel()), dtype=dtype, seed=2)[: y.numel()].view(y.shape)
    dgate, dup = torch.autograd.grad(y, (gate, up), dy)
    value = reference.value(gate, *parameters)
    limit = 2 * ROUNDING[dtype]
    assert off(y.detach(), value * up.detach().double()) < limit
    assert off(dgate, dy.double() * up.detach().double() * reference.derivative(gate, *parameters)) < limit
    assert off(dup, dy.double() * value) < limit


def test_limits(cpu_kernel: str) -> None:
    gate = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -1e4, 1e30] * 20).requires_grad_()
    up = torch.full_like(gate, 2.0).requires_grad_()
    y = golu_gate(gate, up)
    dgate, dup = torch.autograd.grad(y, (gate, up), torch.ones_like(y))
    for got, want in (
        (y, [math.nan, math.inf, -0.0, 0.0, -0.0, 2e30]),
        (dgate, [math.nan, 2.0, 0.0, 2 / math.e, 0.0, 2.0]),
        (dup, [math.nan, math.inf, -0.0, 0.0, -0.0, 1e30]),
    ):
        torch.testing.assert_close(got.detach()[:6], torch.tensor(want), equal_nan=True)


def test_only_gate_and_up_are_kept_and_gradients_are_new_memory() -> None:
    gate, up = (normal(64, seed=i).requires_grad_() for i in range(2))
    with kept() as found:
        y = golu_gate(gate, up)
    assert [each.data_ptr() for each in found] == [gate.data_ptr(), up.data_ptr()]
    before = gate.detach().clone(), up.detach().clone()
    gradients = torch.autograd.grad(y, (gate, up), torch.ones_like(y))
    assert torch.equal(gate, before[0]) and torch.equal(up, before[1])
    assert len({each.data_ptr() for each in (gate, up, y, *gradients)}) == 5


def test_halves_are_read_where_they_are() -> None:
    gate, up = halves(normal(8, 32))
    with kept() as found:
        golu_gate(gate, up)
    assert {each.data_ptr() for each in found} == {gate.data_ptr(), up.data_ptr()}
    assert all(each.stride() == (32, 1) for each in found)


def test_derivatives_of_derivatives() -> None:
    gate, up = (normal(12, dtype=torch.float64, seed=i).requires_grad_() for i in range(2))
    assert torch.autograd.gradcheck(golu_gate, (gate, up))
    assert torch.autograd.gradgradcheck(golu_gate, (gate, up))


def test_one_side_may_need_no_gradient() -> None:
    gate, up = normal(5), normal(5, seed=1).requires_grad_()
    golu_gate(gate, up).sum().backward()
    torch.testing.assert_close(up.grad, golu(gate))


def test_transforms_compile_and_export() -> None:
    gate, up = normal(4, 6, dtype=torch.float64), normal(4, 6, dtype=torch.float64, seed=1)
    want = up * reference.derivative(gate)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(lambda g, u: golu_gate(g, u).sum()))(gate, up), want)
    _, tangent = torch.func.jvp(golu_gate, (gate, up), (torch.ones_like(gate), torch.zeros_like(up)))
    torch.testing.assert_close(tangent, want)
    compiled = torch.compile(golu_gate, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(gate.requires_grad_(), up), golu_gate(gate, up))
    module = GoGLU(6, 8)
    exported = torch.export.export(module, (up.float(),)).module()
    torch.testing.assert_close(exported(up.float()), module(up.float()))
    checkpoint(golu_gate, gate, up, use_reentrant=False).sum().backward()
    torch.testing.assert_close(gate.grad, want)


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    gate, up = halves(normal(300, 2 * 1001))
    threads, found = torch.get_num_threads(), []
    for each in (1, 2, 3):
        torch.set_num_threads(each)
        y = golu_gate(gate, up)
        found.append((y, *torch.autograd.grad(y.sum(), (gate, up))))
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_mistakes() -> None:
    for gate, up, said in (
        (torch.ones(3), torch.ones(4), r"the same shape, got \(3,\) and \(4,\)"),
        (torch.ones(3), torch.ones(3).double(), "the same dtype, got torch.float32 and torch.float64"),
        (torch.ones(3), torch.ones(3, device="meta"), "the same device, got cpu and meta"),
    ):
        with pytest.raises(ValueError, match=f"gate and up have to have {said}"):
            golu_gate(gate, up)
    with pytest.raises(TypeError, match="golu_gate takes two tensors, not float"):
        golu_gate(torch.ones(3), 1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="GoLU takes float16"):
        golu_gate(torch.ones(3, dtype=torch.int32), torch.ones(3, dtype=torch.int32))
    with pytest.raises(ValueError, match="finite parameters, got beta=nan"):
        GoGLU(2, 2, beta=math.nan)


# The module


def plain(module: GoGLU, x: Tensor) -> Tensor:
    gate = F.linear(x, module.gate_proj.weight, module.gate_proj.bias)
    product = gate * torch.exp(-torch.exp(-gate)) * F.linear(x, module.up_proj.weight, module.up_proj.bias)
    return F.linear(product, module.down_proj.weight, module.down_proj.bias)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_goglu_is_its_formula(bias: bool, recompute: bool) -> None:
    torch.manual_seed(0)
    module = GoGLU(10, 24, bias=bias, recompute=recompute).double()
    assert {name.split(".")[0] for name in module.state_dict()} == {"gate_proj", "up_proj", "down_proj"}
    x = normal(3, 5, 10, dtype=torch.float64).requires_grad_()
    inputs = (x, *module.parameters())
    ours, theirs = module(x), plain(module, x)
    torch.testing.assert_close(ours, theirs)
    dy = normal(3, 5, 10, dtype=torch.float64, seed=3)
    for a, b in zip(torch.autograd.grad(ours, inputs, dy), torch.autograd.grad(theirs, inputs, dy), strict=True):
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradgradcheck(module, x)


def tensors_of_hidden_size(module: nn.Module, x: Tensor, hidden: int) -> int:
    """How many different tensors of the hidden size a training step keeps."""
    with kept() as found:
        module(x)
    size = x.numel() // x.shape[-1] * hidden
    return len({each.data_ptr() for each in found if each.numel() == size})


def test_goglu_keeps_three_tensors_or_two_where_swiglu_keeps_four() -> None:
    class SwiGLU(GoGLU):
        def forward(self, x: Tensor) -> Tensor:
            return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))

    x = normal(2, 7, 10).requires_grad_()
    modules = SwiGLU(10, 24), GoGLU(10, 24), GoGLU(10, 24, recompute=True)
    assert [tensors_of_hidden_size(each, x, 24) for each in modules] == [4, 3, 2]


def test_goglu_under_autocast_and_copied() -> None:
    module = copy.deepcopy(GoGLU(10, 24, recompute=True))
    assert "recompute=True" in repr(module)
    x = normal(4, 10)
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), plain(module, x), rtol=3e-2, atol=3e-2)
