"""Activations by name."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import golu
from golu import available_activations, get_activation_function
from golu.golu_cuda_activation import GoLUCUDA


def _golu(x: Tensor) -> Tensor:
    return x * torch.exp(-torch.exp(-x))


EXPECTED: dict[str, Callable[[Tensor], Tensor]] = {
    "Sigmoid": F.sigmoid,
    "Tanh": F.tanh,
    "Softsign": F.softsign,
    "Softplus": F.softplus,
    "ReLU": F.relu,
    "LeakyReLU": F.leaky_relu,
    "PReLU": lambda x: F.prelu(x, torch.tensor([0.25], dtype=x.dtype)),
    "ELU": F.elu,
    "SELU": F.selu,
    "CELU": F.celu,
    "GELU": F.gelu,
    "GELU_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "Swish": lambda x: x * torch.sigmoid(x),
    "Mish": lambda x: x * torch.tanh(F.softplus(x)),
    "GoLU": _golu,
    "GoLUCUDA": _golu,
}


def test_the_names_are_these() -> None:
    assert available_activations() == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_name_gives_its_function(name: str) -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    module = get_activation_function(name).double()
    torch.testing.assert_close(module(x), EXPECTED[name](x), rtol=1e-12, atol=1e-14)
    same = [{name}, {"GoLU", "GoLUCUDA"}, {"ELU", "CELU"}]  # these two differ for other alphas than 1
    for other, function in EXPECTED.items():
        if {name, other} not in same:  # what is compared here tells the activations apart
            assert not torch.allclose(module(x), function(x), rtol=1e-5, atol=1e-5), other


@pytest.mark.parametrize("name", EXPECTED)
def test_every_call_gives_a_new_module(name: str) -> None:
    first, second = get_activation_function(name), get_activation_function(activation=name)
    assert isinstance(first, nn.Module)
    assert first is not second


def test_golucuda_is_golu() -> None:
    assert type(get_activation_function("GoLUCUDA")) is type(get_activation_function("GoLU")) is golu.GoLU is GoLUCUDA


@pytest.mark.parametrize(
    ("name", "closest"), [("relu", "ReLU"), ("GELUtanh", "GELU_tanh"), ("Swich", "Swish"), ("golucuda", "GoLUCUDA")]
)
def test_unknown_name_names_the_closest_and_all(name: str, closest: str) -> None:
    with pytest.raises(ValueError) as raised:
        get_activation_function(name)
    message = str(raised.value)
    assert message == f"unknown activation '{name}': did you mean {closest}? choose from {', '.join(EXPECTED)}"


def test_a_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(ValueError, match=r"^unknown activation 'xyz': choose from Sigmoid, Tanh, ") as raised:
        get_activation_function("xyz")
    assert "\n" not in str(raised.value)


def test_readme_blocks() -> None:
    from golu.activation_utils import get_activation_function

    # Check get_activation_function() for available activation functions
    activation_function = get_activation_function(activation="GoLUCUDA")

    x = torch.linspace(-4, 4, 9)
    torch.testing.assert_close(activation_function(x), _golu(x))
