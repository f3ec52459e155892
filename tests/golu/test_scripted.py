"""A scripted or traced module in a model stays as it is, is listed, and does not hinder a swap of the rest."""

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golu import GoLU, find_activations, golu, replace_activation_by_name, update_golu_parameters
from golu.integrations.swapping import left, swap

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
X = torch.linspace(-3, 3, 12).view(4, 3)
LEFT = "ReLU that could not be swapped: relu in Block, a scripted module$"


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm1d(3), nn.ReLU()
        self.gates = nn.ModuleList([nn.GELU("tanh"), nn.Identity()])

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(x))
        for gate in self.gates:
            x = gate(x)
        return F.silu(x)


def frozen(module: nn.Module) -> nn.Module:
    return torch.jit.freeze(torch.jit.script(module.eval()))


def traced(module: nn.Module) -> nn.Module:
    return torch.jit.trace(module.eval(), X)


@pytest.fixture(params=[torch.jit.script, traced, frozen], ids=["scripted", "traced", "frozen"])
def block(request: pytest.FixtureRequest) -> nn.Module:
    compiled: Callable[[nn.Module], nn.Module] = request.param
    return compiled(Block()).eval()


def test_it_is_in_the_report(block: nn.Module) -> None:
    report = find_activations(nn.Sequential(block, nn.ReLU6()))
    assert report.modules == [("1", "ReLU6")]
    assert {(each.path, each.class_name, each.source) for each in report.functional} == {
        ("0", "Block", "a scripted module")
    }
    assert [(each.activation, each.call) for each in report.functional] == [
        ("ReLU", "relu"),
        ("GELU_tanh", "gelu"),
        ("SiLU", "silu"),
    ]


def test_what_it_computes_is_observed_once(block: nn.Module) -> None:
    observed = find_activations(nn.Sequential(block, nn.ReLU()), X).observed
    assert observed is not None
    assert [(each.path, each.activation, each.count) for each in observed] == [
        ("0", "ReLU", 1),
        ("0", "GELU_tanh", 1),
        ("0", "SiLU", 1),
        ("1", "ReLU", 1),
    ]


@pytest.mark.parametrize("functional", [False, True])
def test_the_rest_is_swapped(block: nn.Module, functional: bool) -> None:
    model = nn.Sequential(block, nn.ReLU())
    expected = golu(block(X))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        replace_activation_by_name(model, "ReLU", "GoLU", functional=functional)
    assert model[0] is block and isinstance(model[1], GoLU)
    torch.testing.assert_close(model(X), expected)
    assert len(caught) == functional
    if functional:
        assert str(caught[0].message).endswith(LEFT.rstrip("$"))
    update_golu_parameters(model, new_alpha=2.0)
    torch.testing.assert_close(model(X), 2 * expected)


def test_a_model_that_is_scripted_itself_stays(block: nn.Module) -> None:
    expected = block(X)
    with pytest.warns(UserWarning, match=LEFT):
        assert replace_activation_by_name(block, "ReLU", "GoLU", functional=True) is block
    with pytest.warns(UserWarning, match="no ReLU was replaced: the model holds ReLU x1 "):
        replace_activation_by_name(block, "ReLU", "GoLU")
    torch.testing.assert_close(block(X), expected)


def test_names_of_attributes_mean_those_outside_of_it() -> None:
    model = nn.ModuleDict({"scripted": torch.jit.script(Block()), "other": Block()})
    replace_activation_by_name(model, "act", "GoLU")
    assert isinstance(model["other"].act, GoLU) and model["scripted"].act.original_name == "ReLU"
    with pytest.raises(ValueError, match="unknown activation 'act'"):
        replace_activation_by_name(model["scripted"], "act", "GoLU")


def test_where_a_parent_holds_it_a_scripted_module_can_be_replaced() -> None:
    model = nn.Sequential()
    model.act = torch.jit.script(nn.ReLU())
    replace_activation_by_name(model, "act", "GoLU")
    assert isinstance(model.act, GoLU)


def test_integrations_say_that_it_is_left(block: nn.Module) -> None:
    model = nn.Sequential(block, nn.Mish())
    assert left(model) == {"ReLU": 1, "GELU_tanh": 1, "SiLU": 1, "Mish": 1}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        swap(model)
    assert left(model) == {"ReLU": 1, "GELU_tanh": 1, "SiLU": 1} and isinstance(model[1], GoLU)
    assert [str(each.message).split()[3] for each in caught] == ["GELU_tanh", "ReLU", "SiLU"]
