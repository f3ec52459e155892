"""Calls of activations that no reading of source finds are swapped all the same, and no other model changes."""

import copy
import functools
import operator
import types
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from golu import (
    GoLU,
    find_activations,
    golu,
    replace_activation_by_name,
    replace_activation_by_torch_module,
)
from tests.golu.operations import Operations

X = torch.linspace(-3, 3, 13)
FUNCTIONS = [F.relu]


def helper(x: Tensor) -> Tensor:
    return F.relu(x)


class Held(nn.Module):
    at_class = types.MappingProxyType({"relu": F.relu})

    def __init__(self, act: Callable[..., Tensor]) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x) + 0


class Deep(Held):
    """Is no activation itself, as it holds a module."""

    def __init__(self, act: Callable[..., Tensor]) -> None:
        super().__init__(act)
        self.before = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.before(x))


class Keyword(Held):
    def forward(self, x: Tensor) -> Tensor:
        return self.act(x.clone(), inplace=True) + 0


class Alias(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        act = F.relu
        return act(x) + 0


class Listed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for act in FUNCTIONS:
            x = act(x)
        return x + 0


class AtClass(Held):
    def forward(self, x: Tensor) -> Tensor:
        return self.at_class["relu"](x) + 0


class Default(nn.Module):
    def forward(self, x: Tensor, act: Callable[[Tensor], Tensor] = F.relu) -> Tensor:
        return act(x) + 0


class ByName(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return getattr(F, "re" + "lu")(x) + operator.methodcaller("relu")(x) * 0


class InFile(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return helper(x) + 0


class OtherForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.forward = self.other  # type: ignore[method-assign]

    def other(self, x: Tensor) -> Tensor:
        return F.relu(x) + 0


class ByMethod(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)

    def inner(self, x: Tensor) -> Tensor:
        return F.relu(x) + 0


FORMS: dict[str, Callable[[], nn.Module]] = {
    "attribute": lambda: Held(F.relu),
    "keyword": lambda: Keyword(F.relu),
    "partial": lambda: Held(functools.partial(F.relu, inplace=False)),
    "lambda": lambda: Held(lambda x: F.relu(x)),
    "builtin": lambda: Held(torch.relu),
    "operator": lambda: Held(torch.ops.aten.relu.default),
    "alias": Alias,
    "list": Listed,
    "class": lambda: AtClass(F.relu),
    "default": Default,
    "getattr": ByName,
    "helper": InFile,
    "forward": OtherForward,
    "checkpoint": ByMethod,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_call(form: str) -> None:
    model, other = FORMS[form](), FORMS[form]()
    whole = nn.Sequential(model)
    replace_activation_by_name(whole, "ReLU", "GoLU", functional=True, example=X)
    x = X.clone().requires_grad_()
    y = whole(x)
    torch.testing.assert_close(y, golu(X), rtol=0, atol=0)
    (slope,) = torch.autograd.grad(y.sum(), x)
    leaf = X.clone().requires_grad_()
    torch.testing.assert_close(slope, torch.autograd.grad(golu(leaf).sum(), leaf)[0], rtol=0, atol=0)
    torch.testing.assert_close(other(X), F.relu(X), rtol=0, atol=0)
    twin = copy.deepcopy(whole)
    torch.testing.assert_close(twin(X), golu(X), rtol=0, atol=0)


@pytest.mark.parametrize("form", ["attribute", "partial", "alias", "list", "default", "helper"])
def test_torch_compile_takes_it_along_in_one_graph(form: str) -> None:
    model = nn.Sequential(nn.Linear(13, 13), FORMS[form]())
    replace_activation_by_name(model, "ReLU", "GoLU", functional=True, example=X)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(X), golu(model[0](X)))


class Shadowing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([relu(x) for relu in (torch.abs, torch.neg)])


relu = F.relu


def test_a_name_of_an_inner_scope_is_not_the_global_one() -> None:
    model = Shadowing()
    assert find_activations(model).functional == []
    with pytest.warns(UserWarning, match="no ReLU was found: the model holds .*swapped when they happen"):
        replace_activation_by_name(model, "ReLU", "GoLU", functional=True)
    torch.testing.assert_close(model(X), torch.stack([X.abs(), -X]))


GLOBAL = Held(F.gelu)


def test_a_module_that_a_library_keeps_for_all_models_stays_as_it_is() -> None:
    first, second = nn.Sequential(GLOBAL, GLOBAL), nn.Sequential(GLOBAL)
    replace_activation_by_name(first, "GELU", "GoLU", functional=True)
    assert first[0] is first[1]
    torch.testing.assert_close(first(X), golu(golu(X)), rtol=0, atol=0)
    torch.testing.assert_close(second(X), F.gelu(X), rtol=0, atol=0)
    assert type(GLOBAL) is Held


def test_a_hook_on_the_module_of_one_model_is_not_one_on_that_of_another() -> None:
    first, second, seen = nn.Sequential(GLOBAL), nn.Sequential(GLOBAL), []
    replace_activation_by_name(first, "GELU", "GoLU", functional=True)
    first[0].register_forward_hook(lambda *_: seen.append("hook"))
    second(X)
    assert seen == []
    first(X)
    assert seen == ["hook"]


class Undecided(Deep):
    kind = "tanh"

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.before(x), approximate=self.kind)


def test_an_approximation_that_is_chosen_late_is_a_gelu_alone() -> None:
    model = nn.Sequential(Undecided(torch.abs))
    with pytest.warns(UserWarning, match=r"^no ReLU was replaced: the model holds GELU\(approximate=self\.kind\) x1"):
        replace_activation_by_name(model, "ReLU", "GoLU", functional=True)
    replace_activation_by_torch_module(model, nn.GELU, GoLU, functional=True)
    torch.testing.assert_close(model(X), golu(X), rtol=0, atol=0)
    assert find_activations(model).functional == []


class Inside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.relu(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return dy


def test_what_cannot_be_intercepted_is_told_when_it_happens() -> None:
    model = nn.Sequential(Deep(Inside.apply))
    replace = functools.partial(replace_activation_by_name, model, "ReLU", "GoLU", functional=True)
    with pytest.warns(UserWarning, match="no ReLU was found: the model holds .*swapped when they happen"):
        replace()
    with pytest.warns(UserWarning, match=r"relu is called in a torch\.autograd\.Function.*not replaced"):
        torch.testing.assert_close(model(X), F.relu(X))

    model = nn.Sequential(Deep(lambda x: checkpoint(lambda v: F.relu(v), x, use_reentrant=False)))
    with pytest.warns(UserWarning, match="no ReLU was found: the model holds .*swapped when they happen"):
        replace_activation_by_name(model, "ReLU", "GoLU", functional=True)
    with pytest.raises(
        RuntimeError, match=r"in a function given to torch\.utils\.checkpoint.*give checkpoint a module"
    ):
        model(X.clone().requires_grad_())


def test_an_example_shows_what_is_left() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.RNN(3, 4, nonlinearity="relu"))
    with pytest.warns(
        UserWarning, match=r"could not be swapped: nonlinearity='relu' in RNN.*inside of rnn_relu in RNN"
    ):
        replace_activation_by_name(model, "ReLU", "GoLU", functional=True, example=torch.randn(2, 3))


def test_observed_are_calls_with_their_place_and_number() -> None:
    model = nn.Sequential(nn.ReLU(), Listed(), nn.BatchNorm1d(13), Deep(helper))
    model(X[None].expand(4, 13))
    before = copy.deepcopy(model.state_dict())
    report = find_activations(model, X[None].expand(4, 13))
    assert [(o.path, o.activation, o.call, o.count) for o in report.observed or []] == [
        ("0", "ReLU", "module", 1),
        ("1", "ReLU", "module", 1),  # which is a ReLU of another class
        ("3", "ReLU", "relu", 1),
    ]
    assert "computed" in str(report)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x * self.weight)


class Plus(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return w + 1


def test_parametrizations_before_and_after() -> None:
    for first in (True, False):
        model = Scaled()
        if first:
            parametrize.register_parametrization(model, "weight", Plus())
        replace_activation_by_name(model, "ReLU", "GoLU", functional=True)
        if not first:
            parametrize.register_parametrization(model, "weight", Plus())
        torch.testing.assert_close(model(X), golu(3 * X))
        assert [c for c in find_activations(model).functional if c.class_name == "Scaled"] == []
        parametrize.remove_parametrizations(model, "weight")
        torch.testing.assert_close(model(X), golu(3 * X))


def test_registries_of_subclasses_do_not_see_the_new_class() -> None:
    seen = []

    class Registered(nn.Module):
        def __init_subclass__(cls) -> None:
            seen.append(cls)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x) + 0

    model = Registered()
    replace_activation_by_name(model, "ReLU", "GoLU", functional=True)
    torch.testing.assert_close(model(X), golu(X), rtol=0, atol=0)
    assert seen == []


def test_hooks_of_a_replaced_module_stay() -> None:
    model, seen = nn.Sequential(nn.ReLU()), []
    handle = model[0].register_forward_hook(lambda module, args, y: seen.append(type(module)))
    replace_activation_by_torch_module(model, nn.ReLU, GoLU)
    model(X)
    handle.remove()
    model(X)
    assert seen == [GoLU]


def test_names_of_torch_and_of_attributes() -> None:
    model: Any = nn.Module()
    model.activation2, model.activation1 = nn.ReLU(), nn.ReLU()
    replace_activation_by_name(model, "activation2", "SiLU")
    assert (type(model.activation1), type(model.activation2)) == (nn.ReLU, nn.SiLU)


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x) ** 2


def test_what_the_new_activation_calls_is_its_own() -> None:
    model = nn.Sequential(Held(F.relu), nn.Sequential(nn.ReLU()))
    whole = Held(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replace_activation_by_name(whole, "ReLU", Squared, functional=True, example=X)
    torch.testing.assert_close(whole(X), (F.relu(X) ** 2) ** 2)


# ---- models that people use ----


SMALL = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 40,
}  # fmt: skip
FAMILIES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "bert": ("BertModel", SMALL, "GELU", "gelu"),
    "roberta": ("RobertaForMaskedLM", SMALL, "GELU", "gelu"),
    "xlm": ("XLMModel", {"vocab_size": 50, "emb_dim": 16, "n_layers": 2, "n_heads": 2}, "GELU", "gelu"),
    "gpt2": ("GPT2LMHeadModel", {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2}, "GELU_tanh", "tanh"),
    "llama": ("LlamaForCausalLM", SMALL, "SiLU", "silu"),
    "gemma": ("GemmaForCausalLM", SMALL, "GELU_tanh", "gelu"),
    "mamba": ("MambaForCausalLM", {**SMALL, "state_size": 4}, "SiLU", "silu"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers(family: str) -> None:
    cls, settings, old, operation = FAMILIES[family]
    architecture = getattr(transformers, cls)
    known = architecture.config_class(**settings).to_dict()
    torch.manual_seed(0)
    made = [architecture(architecture.config_class(**{**known, **settings})).eval() for _ in range(2)]
    model, other = made
    ids = torch.arange(6)[None]
    with torch.no_grad():
        before, untouched = model(input_ids=ids)[0], other(input_ids=ids)[0]
    replace_activation_by_name(model, old, "GoLU", functional=True, example={"input_ids": ids})
    with torch.no_grad(), Operations() as operations:
        after = model(input_ids=ids)[0]
    assert operation not in operations.counts
    assert not torch.equal(before, after)
    with torch.no_grad():
        torch.testing.assert_close(other(input_ids=ids)[0], untouched, rtol=0, atol=0)
        torch.testing.assert_close(copy.deepcopy(model)(input_ids=ids)[0], after)  # in other memory: to rounding
