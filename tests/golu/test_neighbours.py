"""ReLU2, TeLU, xIELU and AGLU: against mpmath and transformers, at their limits, and under all that torch has."""

import copy
import math
import pickle
from collections.abc import Callable

import mpmath  # sympy's, which torch brings
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, hessian, jvp, stack_module_state, vmap

from golu import find_activations, get_activation_function, golu, replace_activation_by_name
from golu.neighbours import AGLU, ReLU2, TeLU, xIELU

INF = math.inf
DTYPES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
ROUNDING = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 2e-6, torch.float64: 1e-13}


def exact_xielu(x: float, p: float, n: float) -> mpmath.mpf:
    return p * x**2 + x / 2 if x > 0 else n * (mpmath.expm1(x) - x) + x / 2


def exact_aglu(x: float, lambd: float, kappa: float) -> mpmath.mpf:
    return x * (lambd * mpmath.exp(-kappa * x) + 1) ** (-1 / mpmath.mpf(lambd))


# a module, its formula with all digits, and what stands in for its parameters there
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[..., mpmath.mpf], tuple[float, ...]]] = {
    "ReLU2": (ReLU2, lambda x: max(x, 0) ** 2, ()),
    "TeLU": (TeLU, lambda x: x * mpmath.tanh(mpmath.exp(x)), ()),
    "xIELU": (xIELU, exact_xielu, (0.8, 0.8)),
    "steep xIELU": (lambda: xIELU(1.75, 0.625), exact_xielu, (1.75, 0.625)),
    "AGLU": (AGLU, exact_aglu, (0.5, 0.5)),
    "logistic AGLU": (lambda: AGLU(1.0, 2.0), exact_aglu, (1.0, 2.0)),
    "flat AGLU": (lambda: AGLU(30.0, 0.25), exact_aglu, (30.0, 0.25)),
    "Gompertz's AGLU": (lambda: AGLU(1e-6, 1.0), exact_aglu, (1e-6, 1.0)),
}
EVERY_CASE = pytest.mark.parametrize("case", CASES)
EVERY_NAME = pytest.mark.parametrize("name", ["ReLU2", "TeLU", "xIELU", "AGLU"])


def module_of(case: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """With parameters that have no other rounding than that of the dtype."""
    module = CASES[case][0]().to(dtype)
    if isinstance(module, (xIELU, AGLU)):
        module.reset_parameters()
    return module


def sample() -> Tensor:
    """In fp64; no number near 0, where ReLU2 and xIELU bend."""
    return torch.cat([torch.linspace(-9, -0.3, 24), torch.linspace(0.2, 9, 24)]).double()


# ---- values and gradients ----


@DTYPES
@EVERY_CASE
def test_values_and_slopes_are_those_of_the_formula(case: str, dtype: torch.dtype) -> None:
    chosen = [0.0, -3e-7, -2e-6, 1e-6, *range(-30, 31, 3), -0.7, 0.7, 2.3, 4.9, 5.1]
    x = torch.tensor(chosen, dtype=torch.float64).to(dtype).requires_grad_()
    module = module_of(case, dtype if dtype == torch.float64 else torch.float32)
    y = module(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    _, formula, numbers = CASES[case]
    with mpmath.workdps(40):
        points, h = [mpmath.mpf(each) for each in x.tolist()], mpmath.mpf(10) ** -15
        exact = [float(formula(each, *numbers)) for each in points]
        exact_slope = [float((formula(each, *numbers) - formula(each - h, *numbers)) / h) for each in points]
    assert y.dtype == slope.dtype == dtype
    tiny = {"rtol": ROUNDING[dtype], "atol": ROUNDING[dtype] * 0.2}
    torch.testing.assert_close(y.double(), torch.tensor(exact, dtype=torch.float64), **tiny)
    # in 1 - tanh^2, and in differences, digits are lost that are no more than rounding beside a slope of 1
    tiny = {"rtol": 2 * ROUNDING[dtype] + 1e-12, "atol": 2 * ROUNDING[dtype] + 1e-12}
    torch.testing.assert_close(slope.double(), torch.tensor(exact_slope, dtype=torch.float64), **tiny)


@EVERY_CASE
def test_gradients_of_all_orders(case: str) -> None:
    module = module_of(case)
    parameters = dict(module.named_parameters())
    x = sample().requires_grad_()

    def function(x: Tensor, *values: Tensor) -> Tensor:
        return functional_call(module, dict(zip(parameters, values, strict=True)), (x,))

    if case == "Gompertz's AGLU":  # lambda's own steps are too small for differences
        parameters = {}
    inputs = (x, *(each.detach().clone().requires_grad_() for each in parameters.values()))
    assert gradcheck(function, inputs, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True)
    assert gradgradcheck(function, inputs, check_batched_grad=True, check_fwd_over_rev=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_xielu_is_that_of_transformers(dtype: torch.dtype) -> None:
    activations = pytest.importorskip("transformers.activations")
    theirs = activations.XIELUActivation(dtype=dtype)
    ours = xIELU(eps=-1e-6).to(dtype)
    ours.load_state_dict({name: each for name, each in theirs.state_dict().items() if "alpha" in name})
    x = torch.cat([sample().to(dtype), torch.tensor([0.0, -0.0, -1e-7, -1e-5, 1e-5, 1e4, -1e4], dtype=dtype)])
    grads = []
    for module in (theirs, ours):
        leaf = x.clone().requires_grad_()
        module(leaf).sum().backward()
        grads.append([leaf.grad, *(each.grad / len(x) for each in (module.alpha_p, module.alpha_n))])
    # in bf16 theirs rounds at every step, and ours at the end
    tiny = {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 0.02}[dtype]
    torch.testing.assert_close(ours(x), theirs(x), rtol=tiny, atol=tiny)
    torch.testing.assert_close(grads[1][0], grads[0][0], rtol=tiny, atol=tiny)
    if dtype != torch.bfloat16:  # whose sums of 50 numbers are not worth a comparison
        torch.testing.assert_close(grads[1][1:], grads[0][1:], rtol=tiny, atol=tiny)


def test_xielu_without_a_bound_has_the_slope_of_its_formula_at_0() -> None:
    for eps, slope in ((0.0, 0.5), (-1e-6, -0.3)):
        x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        xIELU(eps=eps)(x).sum().backward()
        assert x.grad.tolist() == pytest.approx([slope] * 2, rel=1e-6)


@pytest.mark.parametrize("lambd", [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8])
def test_golu_is_the_limit_of_aglu(lambd: float) -> None:
    """For x and kappa, which is GoLU's gamma; the derivative for lambda tends to x * gate * u^2 / 2."""
    module = AGLU(lambd, 1.0).double()
    module.reset_parameters()
    x = torch.linspace(-7, 40, 471, dtype=torch.float64, requires_grad=True)
    gamma = torch.ones(1, dtype=torch.float64, requires_grad=True)
    y, limit = module(x), golu(x, 1.0, 1.0, gamma)
    near = {"rtol": 0.0, "atol": 0.5 * lambd}
    torch.testing.assert_close(y, limit, **near)
    found, wanted = (
        torch.autograd.grad(y.sum(), x, retain_graph=True),
        torch.autograd.grad(limit.sum(), x, retain_graph=True),
    )
    torch.testing.assert_close(found, wanted, **near)
    (found,), (wanted,) = (
        torch.autograd.grad(y.sum(), module.kappa, retain_graph=True),
        torch.autograd.grad(limit.sum(), gamma),
    )
    torch.testing.assert_close(found / torch.sigmoid(module.kappa), wanted, rtol=20 * lambd, atol=0)
    u = torch.exp(-x.detach())
    (found,) = torch.autograd.grad(y.sum(), module.lambd)
    found = found / torch.sigmoid(module.lambd)
    torch.testing.assert_close(found, (x * torch.exp(-u) * u**2 / 2).detach().sum().view(1), rtol=20 * lambd, atol=1e-5)


def test_aglu_is_swish_for_1() -> None:
    x = sample()
    torch.testing.assert_close(module_of("logistic AGLU")(x / 2) * 2, F.silu(x), rtol=1e-13, atol=1e-15)


# ---- limits ----

ENDS = {  # value and slope at -inf and at inf
    "ReLU2": (0.0, 0.0, INF, INF),
    "TeLU": (-0.0, 0.0, INF, 1.0),
    "xIELU": (INF, -0.3, INF, INF),
    "AGLU": (-0.0, 0.0, INF, 1.0),
    "logistic AGLU": (-0.0, 0.0, INF, 1.0),
    "flat AGLU": (-0.0, 0.0, INF, 1.0),
    "Gompertz's AGLU": (-0.0, 0.0, INF, 1.0),
}


@DTYPES
@pytest.mark.parametrize("case", ENDS)
def test_the_ends(case: str, dtype: torch.dtype) -> None:
    module = module_of(case, torch.float32)
    largest = torch.finfo(dtype).max
    for at, value, slope in ((-1, *ENDS[case][:2]), (1, *ENDS[case][2:])):
        for far in (INF, largest) if largest > 1e30 else (INF,):
            x = torch.tensor([at * far], dtype=dtype, requires_grad=True)
            y = module(x)
            (first,) = torch.autograd.grad(y, x, create_graph=True)
            second = torch.autograd.grad(first, x)[0] if first.requires_grad else torch.zeros(1)
            if far == INF:
                assert y.item() == value and math.copysign(1, y.item()) == math.copysign(1, value)
            else:
                assert not y.isnan() and (value != 0 or y.item() == 0)
            assert first.item() == pytest.approx(slope, rel=1e-2) or (far < INF and slope == INF and first > 1e30)
            assert second.isfinite().all()
    x = torch.tensor([math.nan, 1.0], dtype=dtype, requires_grad=True)
    y = module(x)
    (first,) = torch.autograd.grad(y.sum(), x)
    assert y.isnan().tolist() == first.isnan().tolist() == [True, False]


@DTYPES
@pytest.mark.parametrize("case", [case for case in CASES if "AGLU" in case])
def test_at_the_ends_nothing_depends_on_the_parameters_of_aglu(case: str, dtype: torch.dtype) -> None:
    module = module_of(case, torch.float32)
    largest = torch.finfo(dtype).max
    x = torch.tensor([-INF, INF, -largest, largest], dtype=dtype, requires_grad=True)
    for create_graph in (False, True):
        found = torch.autograd.grad(module(x).sum(), (module.lambd, module.kappa), create_graph=create_graph)
        assert [each.item() for each in found] == [0, 0]
    second = torch.autograd.grad(sum(found), (x, module.lambd, module.kappa))
    assert all((each == 0).all() for each in second)


def test_xielus_parameters_at_the_ends() -> None:
    """Each has a part of the line only, in which its derivative grows without bound."""
    module = xIELU()
    for at, expected in ((-INF, (0.0, INF)), (INF, (INF, 0.0))):
        found = torch.autograd.grad(module(torch.tensor([at])), (module.alpha_p, module.alpha_n))
        assert tuple(each.item() for each in found) == expected


@pytest.mark.parametrize("raw", [-1000.0, -100.0, 1000.0])
def test_aglu_stays_finite_wherever_its_parameters_go(raw: float) -> None:
    module = AGLU()
    for name in ("lambd", "kappa"):
        moved = copy.deepcopy(module)
        nn.init.constant_(getattr(moved, name), raw)
        x = torch.linspace(-50, 50, 101, requires_grad=True)
        y = moved(x)
        y.sum().backward()
        assert all(each.isfinite().all() for each in (y, x.grad, moved.lambd.grad, moved.kappa.grad))


def test_telu_keeps_its_slope_where_exp_overflows() -> None:
    for dtype, at in ((torch.float16, 12.0), (torch.bfloat16, 90.0), (torch.float32, 90.0), (torch.float64, 720.0)):
        x = torch.tensor([at], dtype=dtype, requires_grad=True)
        TeLU()(x).backward()
        assert x.grad.item() == 1.0


# ---- mistakes ----


@EVERY_NAME
@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (torch.arange(3), "torch.int64"),
        (torch.ones(3, dtype=torch.bool), "torch.bool"),
        (torch.ones(3, dtype=torch.complex64), "torch.complex64"),
        ([1.0], "list"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_other_inputs_are_an_error(name: str, x: object, kind: str) -> None:
    with pytest.raises(TypeError) as raised:
        get_activation_function(name)(x)
    assert str(raised.value) == (
        f"{name} takes float16, bfloat16, float32 or float64 tensors, not {kind}; convert it first"
    )


BAD = [
    *((xIELU, "alpha_p_init", value) for value in (0.0, -1.0, INF, math.nan)),
    *((xIELU, "alpha_n_init", value) for value in (0.5, 0.1, INF, math.nan)),
    *((xIELU, "beta", value) for value in (0.8, -INF, math.nan)),
    *((xIELU, "eps", value) for value in (1e-06, -INF, math.nan)),
    *((AGLU, name, value) for name in ("lambd_init", "kappa_init") for value in (0.0, -1.0, 1e-11, 1e11, math.nan)),
]


@pytest.mark.parametrize(("module", "name", "value"), BAD)
def test_parameters_out_of_bounds_are_an_error(module: type[nn.Module], name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{module.__name__} needs .*{name}={value}"):
        module(**{name: value})


# ---- what torch does to modules ----


@EVERY_NAME
@DTYPES
def test_shapes_and_layouts(name: str, dtype: torch.dtype) -> None:
    module = get_activation_function(name)
    for shape in ((), (0,), (2, 3, 4, 5)):
        assert module(torch.randn(shape).to(dtype)).shape == shape
    x = torch.randn(2, 3, 4, 5).to(dtype)
    last = x.to(memory_format=torch.channels_last)
    assert module(last).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module(last), module(x))
    torch.testing.assert_close(module.to(dtype)(x), get_activation_function(name)(x), rtol=2e-2, atol=2e-2)


@EVERY_NAME
def test_copies_and_stored_states_are_the_same(name: str) -> None:
    module = get_activation_function(name)
    with torch.no_grad():
        for each in module.parameters():
            each += 0.3
    x = sample().float()
    fresh = get_activation_function(name)
    fresh.load_state_dict(module.state_dict())
    for each in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), fresh):
        assert torch.equal(each(x), module(x)) and repr(each) == repr(module)


def test_they_say_how_they_were_made() -> None:
    assert repr(AGLU(2, 0.25)) == "AGLU(lambd_init=2, kappa_init=0.25)"
    assert repr(xIELU(1, 2, 0.25, -1e-6)) == "xIELU(alpha_p_init=1, alpha_n_init=2, beta=0.25, eps=-1e-06)"
    assert (repr(ReLU2()), repr(TeLU())) == ("ReLU2()", "TeLU()")


@EVERY_NAME
def test_they_draw_no_random_numbers_and_learn_vectors(name: str) -> None:
    before = torch.get_rng_state()
    module = get_activation_function(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert [each.shape for each in module.parameters()] == [(1,)] * {"xIELU": 2, "AGLU": 2}.get(name, 0)


@EVERY_NAME
def test_under_functorch(name: str) -> None:
    module, x = get_activation_function(name).double(), sample()
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(module(leaf).sum(), leaf)
    torch.testing.assert_close(vmap(grad(module))(x), slope)
    torch.testing.assert_close(jvp(module, (x,), (torch.full_like(x, 2.0),))[1], 2 * slope)
    torch.testing.assert_close(vmap(module, in_dims=1)(x.view(6, 8)), module(x).view(6, 8).T)
    assert hessian(lambda each: module(each).sum())(x).isfinite().all()
    if list(module.parameters()):  # an ensemble
        parameters, _ = stack_module_state([module, module])
        both = vmap(lambda each: functional_call(module, each, (x,)))(parameters)
        torch.testing.assert_close(both, module(x).expand(2, -1))


@EVERY_NAME
def test_compiled_exported_and_traced(name: str) -> None:
    module, x = get_activation_function(name), sample().float()
    torch._dynamo.reset()
    found = []
    for function in (module, torch.compile(module, fullgraph=True, backend="aot_eager")):
        module.zero_grad()
        leaf = x.clone().requires_grad_()
        y = function(leaf)
        y.sum().backward()
        found.append([y.detach(), leaf.grad, *(each.grad.clone() for each in module.parameters())])
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(torch.export.export(module, (x,)).module()(x), module(x))
    torch.testing.assert_close(torch.jit.trace(module, x)(x + 1), module(x + 1))


@EVERY_NAME
def test_under_autocast(name: str) -> None:
    model = nn.Sequential(nn.Linear(8, 8), get_activation_function(name))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(torch.randn(4, 8))
        assert y.dtype == torch.bfloat16 and model[1](torch.randn(4)).dtype == torch.float32
    y.sum().backward()
    assert all(each.grad.dtype == torch.float32 and each.grad.isfinite().all() for each in model.parameters())


# ---- in models ----


class _Mine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


class _MyTeLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.tanh(torch.exp(x))


class _Block(nn.Module):
    """Calls what the neighbours are made of, beside an activation."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(F.relu(x) - 1) + torch.tanh(x) + F.softplus(x)


def test_they_are_found_by_class_and_by_what_is_computed() -> None:
    model = nn.Sequential(_Mine(), _MyTeLU(), ReLU2(), TeLU(), xIELU(), AGLU())
    names = ["ReLU2", "TeLU", "ReLU2", "TeLU", "xIELU", "AGLU"]
    report = find_activations(model, torch.randn(5))
    assert [name for _, name in report.modules] == names and not report.functional
    assert [(each.activation, each.count) for each in report.observed] == [(name, 1) for name in names]
    for name in dict.fromkeys(names):
        swapped = replace_activation_by_name(copy.deepcopy(model), name, "GoLU")
        left = [each for _, each in find_activations(swapped).modules]
        assert left == ["GoLU" if each == name else each for each in names]


@EVERY_NAME
def test_a_swap_leaves_alone_what_they_are_made_of(name: str) -> None:
    x, activation = torch.randn(9), get_activation_function(name)
    for old, kept in (("ReLU", 0), ("Tanh", 1), ("Softplus", 2)):
        functions = [F.relu, torch.tanh, F.softplus]
        functions[kept] = golu
        relu, tanh, softplus = functions
        block = replace_activation_by_name(_Block(copy.deepcopy(activation)), old, "GoLU", functional=True, example=x)
        assert torch.equal(block(x), activation(relu(x) - 1) + tanh(x) + softplus(x))
        assert isinstance(block.activation, type(activation))
    block = replace_activation_by_name(_Block(nn.ReLU()), "ReLU", name, functional=True, example=x)
    assert torch.equal(block(x), activation(activation(x) - 1) + torch.tanh(x) + F.softplus(x))
