"""GoLU(keep="output"): the same values, and the derivative from the output and one bit an element."""

import copy
import math
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from golu import GoLU, update_golu_parameters
from golu.functional import golu, golu_keeping_output
from tests.golu import reference

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
PARAMETERS = ((1.0, 1.0, 1.0), (0.7, 0.5, 1.3), (2.0, 2.0, 0.5), (3.0, 0.01, 1.0))
MINIMUM = -0.5671432904097838  # -W(1)


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def gradient(x: Tensor, dy: Tensor | None = None, *parameters: float) -> Tensor:
    x = x.detach().requires_grad_()
    y = golu_keeping_output(x, *parameters)
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y) if dy is None else dy)
    return dx


@contextmanager
def kept() -> Iterator[list[Tensor]]:
    found: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: found.append(each) or each, lambda each: each):
        yield found


@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 7, 64, 1000, 70_001])
def test_values_are_those_of_golu(cpu_kernel: str, dtype: torch.dtype, parameters: tuple, count: int) -> None:
    x = 3 * normal(count, dtype=dtype)
    assert torch.equal(golu_keeping_output(x.requires_grad_(), *parameters), golu(x.detach(), *parameters))


# relative L2 error, and largest absolute error; both come of rounding the output to the dtype, near the minimum
ERRORS = {
    torch.float64: (1e-11, 1e-7),
    torch.float32: (1.6e-6, 3e-4),
    torch.float16: (6e-4, 6e-3),
    torch.bfloat16: (3e-3, 1.5e-2),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_derivative_is_right_up_to_the_rounding_of_the_output(cpu_kernel: str, dtype: torch.dtype) -> None:
    x = normal(1_000_001, dtype=dtype)
    want = reference.derivative(x)
    error = gradient(x).double() - want
    relative, absolute = ERRORS[dtype]
    assert error.norm() < relative * want.norm()
    assert error.abs().max() < absolute
    assert abs(error.mean()) < 1e-4  # no bias


@pytest.mark.parametrize("parameters", PARAMETERS[1:])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_derivative_with_other_parameters(cpu_kernel: str, dtype: torch.dtype, parameters: tuple) -> None:
    x, dy = normal(100_001, dtype=dtype), normal(100_001, dtype=dtype, seed=1)
    want = dy.double() * reference.derivative(x, *parameters)
    error = gradient(x, dy, *parameters).double() - want
    assert error.norm() < 5 * ERRORS[dtype][0] * want.norm()


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits(cpu_kernel: str, dtype: torch.dtype) -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0, 6e4, -6e4, -100.0, 40.0] * 9, dtype=dtype)
    dx = gradient(x)[:9]
    assert dx[0].isnan()
    assert dx[[1, 5, 8]].tolist() == [1, 1, 1]
    assert dx[[2, 6, 7]].tolist() == [0, 0, 0]
    torch.testing.assert_close(dx[3:5], torch.full((2,), math.exp(-1), dtype=dtype))


def test_the_tail_on_the_left_keeps_its_relative_precision(cpu_kernel: str) -> None:
    x = torch.linspace(-4.4, -0.9, 10_001, dtype=torch.float64).float()
    torch.testing.assert_close(gradient(x).double(), reference.derivative(x), rtol=2e-4, atol=1e-36)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 8, 1001])
def test_an_eighth_of_a_byte_an_element_is_kept_beyond_the_output(dtype: torch.dtype, count: int) -> None:
    with kept() as found:
        y = golu_keeping_output(normal(count, dtype=dtype).requires_grad_())
    others = [each for each in found if each.data_ptr() != y.data_ptr()]
    assert len(found) == len(others) + 1
    assert sum(each.nbytes for each in others) == math.ceil(count / 8)


LAYOUTS = {
    "transposed": lambda x: x.view(30, 50).t(),
    "channels_last": lambda x: x.view(3, 4, 5, 25).to(memory_format=torch.channels_last),
    "sliced": lambda x: x.view(30, 50)[:, ::2],
    "expanded": lambda x: x[:15, None].expand(15, 7),
    "no dimension": lambda x: x[0],
    "empty": lambda x: x[:0].view(0, 4),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(cpu_kernel: str, layout: str, dtype: torch.dtype) -> None:
    x = LAYOUTS[layout](normal(1500, dtype=dtype)).detach().requires_grad_()
    y = golu_keeping_output(x)
    assert torch.equal(y, golu(x)) and y.stride() == golu(x).stride()
    dy = normal(x.numel(), dtype=dtype, seed=1).view(x.shape)
    for each in (dy, dy.as_strided(x.shape, y.stride())):
        (dx,) = torch.autograd.grad(y, x, each, retain_graph=True)
        want = each.double() * reference.derivative(x)
        torch.testing.assert_close(dx.double(), want, rtol=1e-3, atol={torch.bfloat16: 0.1}.get(dtype, 1e-3))


@pytest.mark.parametrize("contiguous", [False, True])
def test_hooks_may_give_the_output_back_in_another_layout(cpu_kernel: str, contiguous: bool) -> None:
    x = (normal(4, 6) if contiguous else normal(4, 6).t()).requires_grad_()

    def other(saved: Tensor) -> Tensor:
        if saved.ndim == 1:  # the sides of the minimum
            return saved
        return saved.t().contiguous().t() if contiguous else saved.contiguous()

    with torch.autograd.graph.saved_tensors_hooks(other, lambda saved: saved):
        y = golu_keeping_output(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad.double(), reference.derivative(x), rtol=1e-4, atol=1e-4)


def test_derivatives_of_derivatives() -> None:
    for parameters in ((1.0, 1.0, 1.0), (0.7, 0.5, 1.3)):
        x = normal(40, dtype=torch.float64).requires_grad_()

        def function(x: Tensor, parameters: tuple = parameters) -> Tensor:
            return golu_keeping_output(x, *parameters)

        assert torch.autograd.gradcheck(function, x)
        assert torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-3)])
def test_the_second_derivative_at_the_minimum(cpu_kernel: str, dtype: torch.dtype, tolerance: float) -> None:
    x = torch.tensor([MINIMUM, MINIMUM - 1e-3, MINIMUM + 1e-3, -2.0, 0.5], dtype=dtype, requires_grad=True)
    (dx,) = torch.autograd.grad(golu_keeping_output(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(dx.sum(), x)
    want = reference.second_derivative(x)
    torch.testing.assert_close(second[1:].double(), want[1:], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        second[0].double(), want[0], rtol=0.05, atol=0
    )  # where the slope is 0, and is divided by


def test_transforms_see_golu() -> None:
    x = normal(5, 4, dtype=torch.float64)
    want = reference.derivative(x)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(lambda v: golu_keeping_output(v).sum()))(x), want)
    _, tangent = torch.func.jvp(golu_keeping_output, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, want)
    y = golu_keeping_output(x.requires_grad_())
    (batched,) = torch.autograd.grad(y, x, torch.stack([torch.ones_like(y)] * 2), is_grads_batched=True)
    torch.testing.assert_close(batched, torch.stack([want, want]), rtol=1e-6, atol=1e-6)


def test_functions_are_seen_by_modes_and_subclasses() -> None:
    seen = []

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with kept() as found, Mode():
        y = golu_keeping_output(normal(80).requires_grad_())
    assert golu_keeping_output in seen
    assert sorted(each.nbytes for each in found) == [10, y.nbytes]


def test_compiled_it_is_golu() -> None:
    x = normal(1000).requires_grad_()
    compiled = torch.compile(GoLU(keep="output"), fullgraph=True, backend="aot_eager")
    y = compiled(x)
    torch.testing.assert_close(y, golu(x))
    (dx,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(dx.double(), reference.derivative(x), rtol=1e-5, atol=1e-6)


def test_scripted_and_exported() -> None:
    x = normal(10)
    torch.testing.assert_close(torch.jit.script(GoLU(keep="output"))(x), golu(x))
    torch.testing.assert_close(torch.export.export(GoLU(keep="output"), (x,)).module()(x), golu(x))


def test_checkpointing_and_in_place_changes() -> None:
    x = normal(100).requires_grad_()
    checkpoint(golu_keeping_output, x, use_reentrant=False).sum().backward()
    torch.testing.assert_close(x.grad, gradient(x))
    y = golu_keeping_output(x)
    y += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    x, dy = normal(300_001), normal(300_001, seed=1)
    threads = torch.get_num_threads()
    found = []
    for each in (1, 2, 3):
        torch.set_num_threads(each)
        found.append(gradient(x, dy))
    torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_the_module() -> None:
    module = GoLU(0.9, 0.8, 0.7, keep="output")
    assert repr(module) == 'GoLU(alpha=0.9, beta=0.8, gamma=0.7, keep="output")'
    assert repr(GoLU()) == "GoLU(alpha=1, beta=1, gamma=1)"
    for each in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert each.keep == "output"
    with kept() as found:
        y = module(normal(80).requires_grad_())
    assert sorted(each.nbytes for each in found) == [10, y.nbytes]


def test_a_whole_model() -> None:
    model = nn.Sequential(GoLU(), nn.Linear(2, 2), GoLU(0.5))
    assert update_golu_parameters(model, keep="output") is model
    assert (model[0].keep, model[2].keep, model[2].alpha) == ("output", "output", 0.5)
    update_golu_parameters(model, new_alpha=0.7)
    assert (model[0].keep, model[2].alpha) == ("output", 0.7)
    with pytest.raises(ValueError, match=r"beta from 0\.01 to 2"):
        update_golu_parameters(model, new_beta=3.0)
    assert model[0].beta == 1.0
    update_golu_parameters(model, new_beta=3.0, keep="input")
    assert (model[0].beta, model[0].keep) == (3.0, "input")


@pytest.mark.parametrize("parameters", [(-1.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, -1.0), (1.0, 2.5, 1.0)])
@pytest.mark.filterwarnings("ignore:GoLU with alpha")
def test_parameters_with_which_the_output_does_not_tell(parameters: tuple) -> None:
    for call in (lambda: GoLU(*parameters, keep="output"), lambda: golu_keeping_output(torch.ones(1), *parameters)):
        with pytest.raises(ValueError, match=r'keep="output" takes positive alpha and gamma, and beta from 0\.01 to 2'):
            call()


def test_mistakes() -> None:
    with pytest.raises(ValueError, match='keep is "input" or "output", not \'both\''):
        GoLU(keep="both")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="GoLU takes float16"):
        golu_keeping_output(torch.ones(2, dtype=torch.int64))
    with pytest.raises(TypeError, match="GoLU takes float16"):
        golu_keeping_output(3.0)  # type: ignore[arg-type]
