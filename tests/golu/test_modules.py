"""The module, its parameters and the documented import paths."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

import golu
from golu import GoLU
from golu.golu_activation import GoLU as DocumentedGoLU
from golu.golu_cuda_activation import GoLUCUDA


def test_documented_paths_are_one_class() -> None:
    assert GoLUCUDA is DocumentedGoLU is GoLU is golu.modules.GoLU


def test_readme_model() -> None:
    class SampleModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(128, 128)
            self.activation = GoLUCUDA()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.activation(self.fc(x))

    model = SampleModel().to("cpu")
    x = torch.randn(1, 128)
    hidden = model.fc(x).double()
    torch.testing.assert_close(model(x).double(), hidden * torch.exp(-torch.exp(-hidden)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_parameters_must_be_finite(name: str, value: float) -> None:
    module = GoLU(0.5, 0.6, 0.7)
    for call in (
        lambda: GoLU(**{name: value}),
        lambda: golu.golu(torch.ones(1), **{name: value}),
        lambda: golu.gompertz(torch.ones(1), **{name: value}),
        lambda: module.set_parameters(**{"alpha": 1.0, "beta": 1.0, "gamma": 1.0, name: value}),
    ):
        with pytest.raises(ValueError, match=f"finite parameters, got {name}="):
            call()
    assert (module.alpha, module.beta, module.gamma) == (0.5, 0.6, 0.7)


@pytest.mark.parametrize("parameters", [(-1, 1, 1), (1, -1, 1), (1, 0, 1), (1, 1, -1), (1, 1, 0)])
def test_parameters_outside_the_s_shape_warn(parameters: tuple[int, ...]) -> None:
    with pytest.warns(UserWarning, match="S-shaped") as caught:
        GoLU(*parameters)
    assert caught[0].filename == __file__


def test_import_is_light() -> None:
    """No task library, no compiler, no kernel: only torch and this package."""
    program = """
import sys, torch
before = set(sys.modules)
import golu
new = {name.split('.')[0] for name in set(sys.modules) - before}
assert 'golu.kernels.cpu' not in sys.modules
print(*sorted(new - set(sys.stdlib_module_names)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) <= {"golu", "torch"}
