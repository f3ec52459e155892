"""What is no model, no factory, or compiled already: said in one line, or left as it is."""

import pytest
import torch
from torch import nn

from golu import GoLU, find_activations, register, replace_activation_by_name, replace_activation_by_torch_module
from golu import update_golu_parameters as update
from golu.integrations.swapping import swap


class Gated(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) + 1


def compiled(kind: str) -> nn.Module:
    parts = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), Gated())
    return torch.jit.script(parts) if kind == "scripted" else torch.jit.trace(parts, torch.ones(2, 3))


@pytest.mark.parametrize("kind", ["scripted", "traced"])
def test_what_is_compiled_by_torchscript_stays_and_the_rest_is_replaced(kind: str) -> None:
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(compiled(kind), nn.ReLU())
    before = model[0](x)
    assert ("1", "ReLU") in find_activations(model).modules
    replaced = replace_activation_by_name(model, "ReLU", "GoLU")
    assert type(replaced[1]) is GoLU
    assert torch.equal(replaced[0](x), before)
    again = nn.Sequential(compiled(kind), nn.ReLU())
    assert type(replace_activation_by_torch_module(again, nn.ReLU, GoLU)[1]) is GoLU


@pytest.mark.parametrize("kind", ["scripted", "traced"])
def test_a_functional_swap_warns_of_what_is_compiled(kind: str) -> None:
    with pytest.warns(UserWarning, match="a scripted module"):
        replace_activation_by_name(nn.Sequential(compiled(kind), nn.ReLU()), "ReLU", "GoLU", functional=True)


def test_swap_takes_what_is_compiled_and_replaces_a_quick_gelu() -> None:
    class QuickGELU(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.sigmoid(1.702 * x)

    with pytest.warns(UserWarning, match="a scripted module"):
        model = swap(nn.Sequential(compiled("scripted"), nn.ReLU(), QuickGELU()))
    assert [type(each) for each in model[1:]] == [GoLU, GoLU]


@pytest.mark.parametrize(
    "call",
    [
        lambda: find_activations(None),  # type: ignore[arg-type]
        lambda: replace_activation_by_name(None, "ReLU", GoLU),  # type: ignore[arg-type]
        lambda: replace_activation_by_torch_module(None, nn.ReLU, GoLU),  # type: ignore[arg-type]
        lambda: update(None, 1.0),  # type: ignore[arg-type]
        lambda: swap(None),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_model(call) -> None:
    with pytest.raises(TypeError, match=r"it takes a model \(torch.nn.Module\), not a NoneType"):
        call()


@pytest.mark.parametrize("factory", ["nn.ReLU", 3, None])
def test_a_factory_has_to_be_callable(factory: object) -> None:
    with pytest.raises(TypeError, match="the factory of Nothing returns a new module when it is called"):
        register("Nothing", factory)  # type: ignore[arg-type]


def test_a_model_without_any_activation_is_told_so() -> None:
    with pytest.raises(ValueError, match="holds no GoLU to update nor any other activation"):
        update(nn.Linear(2, 2), new_alpha=0.5)
    with pytest.raises(ValueError, match="holds no GoLU to update, but"):
        update(nn.Sequential(nn.ReLU()), new_alpha=0.5)
