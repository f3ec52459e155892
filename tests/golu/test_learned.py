"""GoLU(trainable=True): values and all gradients against the formula in float64, and what becomes of bad input."""

import copy
import math
import pickle
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from golu import GoLU, TrainableGoLU, golu
from golu.learned import golu_learned
from tests.golu.test_gated import off
from tests.golu.test_keeping_output import normal

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
ROUNDING = {torch.float64: 1e-6, torch.float32: 3e-6, torch.float16: 6e-4, torch.bfloat16: 5e-3}  # relative L2


def plain(x: Tensor, logarithms: Sequence[Tensor], shape: list[int]) -> Tensor:
    alpha, beta, gamma = (each.exp().view(shape) for each in logarithms)
    return alpha * x * torch.exp(-beta * torch.exp(-gamma * x))


def some_logarithms(channels: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [(0.5 + torch.rand(channels, generator=generator)).log().to(dtype).requires_grad_() for _ in range(3)]


CASES: dict[str, tuple[int, int, Callable[[], Tensor]]] = {
    "one": (1, 1, lambda: normal(50_001)),
    "one, transposed": (1, 1, lambda: normal(30, 20).t()),
    "one, sliced": (1, 1, lambda: normal(30, 20)[:, ::3]),
    "one, of a scalar": (1, 1, lambda: normal(2)[0]),
    "channels": (33, 1, lambda: normal(7, 33, 5, 5)),
    "channels, channels_last": (33, 1, lambda: normal(7, 33, 5, 5).to(memory_format=torch.channels_last)),
    "long rows": (3, 1, lambda: normal(2, 3, 40_000)),
    "features": (130, 1, lambda: normal(700, 130)),
    "few features": (5, -1, lambda: normal(40, 5)),
    "the last dimension": (17, -1, lambda: normal(3, 40, 17)),
    "the first dimension": (4, 0, lambda: normal(4, 90)),
    "a transposed matrix": (30, 1, lambda: normal(30, 20).t()),
    "empty": (4, 1, lambda: normal(0, 4, 3)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_value_and_all_gradients(cpu_kernel: str, dtype: torch.dtype, case: str) -> None:
    channels, dim, make = CASES[case]
    x = make().to(dtype).detach().requires_grad_()
    logarithms = some_logarithms(channels)
    y = golu_learned(x, *logarithms, dim)
    assert (y.dtype, y.shape) == (dtype, x.shape)
    dy = (1 + normal(max(1, x.numel()), seed=4)).to(dtype)[: x.numel()].view(x.shape)  # sums that do not cancel
    found = torch.autograd.grad(y, (x, *logarithms), dy)
    shape = [1] * x.ndim if channels == 1 else [channels if i == dim % x.ndim else 1 for i in range(x.ndim)]
    exact = [each.detach().double().requires_grad_() for each in (x, *logarithms)]
    value = plain(exact[0], exact[1:], shape)
    for got, want in zip((y, *found), (value, *torch.autograd.grad(value, exact, dy.double())), strict=True):
        assert off(got.detach(), want.detach()) < ROUNDING[dtype]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_logarithms_of_another_dtype(cpu_kernel: str, dtype: torch.dtype) -> None:
    """As after model.bfloat16() or .double()."""
    x, dy = normal(1000).bfloat16().requires_grad_(), normal(1000, seed=1).bfloat16()
    logarithms = some_logarithms(1, dtype)
    y = golu_learned(x, *logarithms)
    found = torch.autograd.grad(y, (x, *logarithms), dy)
    assert [each.dtype for each in found] == [torch.bfloat16, dtype, dtype, dtype]
    exact = [each.detach().double().requires_grad_() for each in (x, *logarithms)]
    want = torch.autograd.grad(plain(exact[0], exact[1:], [1]), exact, dy.double())
    assert all(off(got, right) < 1e-2 for got, right in zip(found, want, strict=True))


def test_limits(cpu_kernel: str) -> None:
    x = torch.tensor([-math.inf, -1e4, -200.0, 0.0, 90.0, 1e30] * 9).requires_grad_()
    logarithms = [torch.tensor([math.log(each)]).requires_grad_() for each in (2.0, 0.5, 3.0)]
    y = golu_learned(x, *logarithms)
    dx, *of_parameters = torch.autograd.grad(y, (x, *logarithms), torch.ones_like(y))
    torch.testing.assert_close(dx[:6], torch.tensor([0, 0, 0, 2 * math.exp(-0.5), 2, 2]))
    assert of_parameters[0].isfinite()
    # where the gate is 0 or 1, and at 0, it does not matter
    assert all(each.abs() < 1e-9 for each in of_parameters[1:])


@pytest.mark.parametrize("channels", [1, 3])
def test_derivatives_of_derivatives(channels: int) -> None:
    x = normal(4, 3, 2, dtype=torch.float64).requires_grad_()
    logarithms = some_logarithms(channels, torch.float64)
    assert torch.autograd.gradcheck(golu_learned, (x, *logarithms))
    assert torch.autograd.gradgradcheck(golu_learned, (x, *logarithms))


@pytest.mark.parametrize("shape", [(4, 6, 500, 60), (60_000, 6), (360_000,)])
def test_bits_do_not_depend_on_the_number_of_threads(shape: tuple[int, ...]) -> None:
    x = normal(*shape).requires_grad_()
    logarithms = some_logarithms(6 if len(shape) > 1 else 1)
    threads, found = torch.get_num_threads(), []
    for each in (1, 2, 3):
        torch.set_num_threads(each)
        y = golu_learned(x, *logarithms)
        found.append((y, *torch.autograd.grad(y.square().sum(), (x, *logarithms))))
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_transforms_compile_and_export() -> None:
    module, x = GoLU(1.2, 0.8, 0.9, trainable=True).double(), normal(4, 6, dtype=torch.float64)
    want = golu(x, 1.2, 0.8, 0.9)
    torch.testing.assert_close(torch.func.vmap(module)(x), want, rtol=1e-6, atol=1e-6)
    _, tangent = torch.func.jvp(module, (x,), (torch.ones_like(x),))
    x.requires_grad_()
    (dx,) = torch.autograd.grad(module(x).sum(), x)
    torch.testing.assert_close(tangent, dx)
    torch.testing.assert_close(torch.compile(module, fullgraph=True, backend="aot_eager")(x), module(x))
    torch.testing.assert_close(torch.export.export(module, (x.detach(),)).module()(x), module(x))


def test_it_learns_what_made_the_data() -> None:
    torch.manual_seed(0)
    x = torch.randn(2000)
    target = golu(x, 1.5, 0.6, 1.3)
    module = GoLU(trainable=True)
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (module(x) - target).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = [math.exp(each) for each in module.parameters()]
    assert found == pytest.approx([1.5, 0.6, 1.3], rel=1e-3)


def test_the_module() -> None:
    module = GoLU(trainable=True, num_parameters=4, channel_dim=-1)
    assert type(module) is TrainableGoLU and [each.shape for each in module.parameters()] == [(4,)] * 3
    assert repr(module) == "TrainableGoLU(alpha, beta, gamma, num_parameters=4, channel_dim=-1)"
    some = GoLU(2.0, trainable=("alpha", "gamma"), inplace=True)
    assert [name for name, _ in some.named_parameters()] == ["log_alpha", "log_gamma"]
    x = normal(5)
    torch.testing.assert_close(some(x), 2 * GoLU()(x))
    other = GoLU(trainable=["alpha", "gamma"])
    other.load_state_dict(some.state_dict())
    for each in (other, copy.deepcopy(some), pickle.loads(pickle.dumps(some))):
        assert torch.equal(each(x), some(x))
    state = torch.get_rng_state()
    GoLU(trainable=True)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_plain_golu_is_still_one() -> None:
    for module in (GoLU(trainable=False), GoLU(), pickle.loads(pickle.dumps(GoLU(0.5)))):
        assert type(module) is GoLU and not [*module.parameters()]

    class Mine(GoLU):
        def __init__(self, name: str) -> None:
            super().__init__(0.5)
            self.name = name

    assert (Mine("x").alpha, Mine("x").name) == (0.5, "x")


MISTAKES: tuple[tuple[Callable[[], object], str], ...] = (
    (lambda: GoLU(trainable="alpha"), "not 'alpha'|some of alpha, beta, gamma"),
    (lambda: GoLU(trainable=("delta",)), r"trainable is True or some of alpha, beta, gamma, not \('delta',\)"),
    (lambda: GoLU(-1.0, trainable=True), "begin above 0, got alpha=-1"),
    (lambda: GoLU(math.nan, trainable=True), "finite parameters, got alpha=nan"),
    (lambda: GoLU(trainable=True, num_parameters=0), "num_parameters is 1 or the number of channels, not 0"),
    (lambda: GoLU(trainable=True, keep="output"), 'keep="output" does not go with trainable parameters'),
    (lambda: GoLU(trainable=True, num_parameters=4)(normal(2, 3)), r"shape \(2, 3\) has 3 there"),
    (lambda: GoLU(trainable=True, num_parameters=4)(normal(4)), r"dimension 1, but .* has no such dimension"),
    (
        lambda: golu_learned(normal(2, 3), *map(torch.zeros, (1, 3, 1))),
        r"one shape, .* not \(1,\) on cpu, \(3,\) on cpu",
    ),
    (
        lambda: golu_learned(normal(2), *[torch.zeros(())] * 3),
        r"one shape, \(1,\) or \(channels,\), .* not \(\) on cpu",
    ),
    (lambda: golu_learned(normal(2), *[torch.zeros(1, device=each) for each in ("cpu", "meta", "cpu")]), "on meta"),
)


@pytest.mark.filterwarnings("ignore:GoLU with alpha")
@pytest.mark.parametrize(("call", "said"), MISTAKES)
def test_mistakes(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        call()


def test_other_dtypes() -> None:
    with pytest.raises(TypeError, match="GoLU takes float16"):
        GoLU(trainable=True)(torch.ones(3, dtype=torch.int64))


def test_it_trains_in_a_model() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), GoLU(trainable=True, num_parameters=8), nn.Flatten(), nn.LazyLinear(2))
    x, y = torch.randn(16, 1, 6, 6), torch.arange(16) % 2
    optimizer = torch.optim.AdamW(model.parameters(), 0.02, weight_decay=0.0)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(each.abs().max() > 1e-3 for each in model[1].parameters())
