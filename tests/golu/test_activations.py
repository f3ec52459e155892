"""Activations by name."""

from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import golu
from golu import available_activations, get_activation_function, register
from golu.activations import ACTIVATIONS, compared_activations, distinct_activations, gated_activations
from golu.golu_cuda_activation import GoLUCUDA
from golu.neighbours import AGLU, xIELU


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
    "ReLU2": lambda x: x.clamp(min=0) ** 2,
    "TeLU": lambda x: x * torch.tanh(torch.exp(x)),
    "xIELU": lambda x: torch.where(x > 0, 0.8 * x**2, 0.8 * (torch.exp(x) - 1 - x)) + 0.5 * x,
    "AGLU": lambda x: x * (0.5 * torch.exp(-0.5 * x) + 1) ** -2,
    "GoLU_output": _golu,
    "TrainableGoLU": _golu,
}
GOLU = {"GoLU", "GoLUCUDA", "TrainableGoLU", "GoLU_output"}


def test_the_names_are_these() -> None:
    assert available_activations() == list(EXPECTED)
    assert distinct_activations() == [name for name in EXPECTED if name not in GOLU - {"GoLU"}]
    assert compared_activations() == ["ReLU", "GELU", "Swish", "Mish", "GoLU"]
    assert gated_activations() == ["ReLU", "GELU", "GELU_tanh", "Swish", "Mish", "GoLU", "TeLU", "AGLU"]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_name_gives_its_function(name: str) -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    module = get_activation_function(name).double()
    if isinstance(module, (xIELU, AGLU)):  # whose parameters had been rounded to float32
        module.reset_parameters()
    torch.testing.assert_close(module(x), EXPECTED[name](x), rtol=1e-12, atol=1e-14)
    same = [{name}, GOLU, {"ELU", "CELU"}]  # these two differ for other alphas than 1
    for other, function in EXPECTED.items():
        if not any({name, other} <= each for each in same):  # what is compared here tells the activations apart
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


@patch.dict(ACTIVATIONS)
def test_what_is_registered_is_known_by_all_its_names() -> None:
    register("Cube", nn.Identity, aliases=["x.3", "cube+"], gated=True, compared=True)
    assert available_activations() == [*EXPECTED, "Cube", "x.3", "cube+"]
    for names in (distinct_activations(), compared_activations(), gated_activations()):
        assert names[-1] == "Cube" and "x.3" not in names
    for name in ("Cube", "x.3", "cube+"):
        assert isinstance(get_activation_function(name), nn.Identity)
    with pytest.raises(ValueError, match=r"did you mean Cube\? choose from Sigmoid, .*, Cube, x\.3, cube\+$"):
        get_activation_function("cubes")
    register("Cube_fast", nn.Identity, same_as="Cube", gated=True)
    register("Plain", nn.Identity, like="x.3")
    assert compared_activations()[-1] == gated_activations()[-1] == "Cube" and distinct_activations()[-1] == "Plain"


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("GoLU", {}, "there is an activation GoLU already"),
        ("GoLUCUDA", {}, "there is an activation GoLUCUDA already"),
        ("New", {"aliases": ["Newer", "ReLU"]}, "there is an activation ReLU already"),
        ("New", {"aliases": ["Newer", "New"]}, "New"),
        ("New", {"aliases": ["Newer", "Newer"]}, "Newer"),
        ("New", {"aliases": ["a/b"]}, "an activation cannot be called 'a/b'"),
        ("New", {"aliases": ["Newer"], "like": "GolU"}, "unknown activation 'GolU': did you mean GoLU?"),
        *(
            (name, {}, "an activation cannot be called")
            for name in ("", ".", "..", ".x", "a b", "a\\b", "a\n", "Größe")
        ),
    ],
)
@patch.dict(ACTIVATIONS)
def test_what_cannot_be_registered_is_not(name: str, more: dict, message: str) -> None:
    before = dict(ACTIVATIONS)
    with pytest.raises(ValueError) as raised:
        register(name, nn.Identity, **more)
    assert message in str(raised.value) and before == ACTIVATIONS


def test_readme_blocks() -> None:
    from golu.activation_utils import get_activation_function

    # Check get_activation_function() for available activation functions
    activation_function = get_activation_function(activation="GoLUCUDA")

    x = torch.linspace(-4, 4, 9)
    torch.testing.assert_close(activation_function(x), _golu(x))
