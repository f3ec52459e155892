"""Hidden activations are swapped, whether modules or calls, and what is kept stays."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golu.integrations.diffusers import complete
from golu.integrations.swapping import has_golu, left, swap
from tests.golu.integrations.hidden import computed


class Attention(nn.Module):
    """Has the same activation twice: once to keep weights positive."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.kernel, self.gate = nn.ReLU(), nn.ReLU(), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.act(x)) * self.kernel(x)


class Bound(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x) + 1


@pytest.fixture
def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.SiLU(), Attention(), Bound())


def test_everything_hidden_is_swapped(model: nn.Module) -> None:
    assert left(model) == {"SiLU": 1, "ReLU": 3} and not has_golu(model)
    assert swap(model) is model
    assert computed(model, torch.randn(2, 4)) == (4, {})
    assert not left(model) and has_golu(model)


def test_what_is_kept_stays(model: nn.Module) -> None:
    kernel = model[2].kernel
    assert left(model, keep=["kernel"]) == {"SiLU": 1, "ReLU": 2}
    swap(model, keep=["kernel"], keep_calls=(Bound,))
    assert model[2].kernel is kernel
    assert computed(model, torch.randn(2, 4)) == (2, {"relu": 2})


def test_what_cannot_be_swapped_is_said_where_it_was_called() -> None:
    recurrent = nn.Sequential(nn.RNN(2, 2, nonlinearity="relu"))
    for call in (lambda: swap(recurrent), lambda: complete(recurrent)):
        with pytest.warns(UserWarning, match="ReLU that could not be swapped: .*nonlinearity") as caught:
            call()
        assert (caught[0].filename, caught[0].lineno) == (__file__, call.__code__.co_firstlineno)
