"""What is compared: a model and its data, to be trained with any activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from workbench.training.loop import Experiment

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Metric:
    """A number that says how good a model is.

    Args:
        key: in the trace of a run.
        title: at the head of a column, and on an axis after "validation".
        meaning: for the legend.
        unit: of a difference, for the legend.
    """

    key: str
    title: str
    meaning: str
    unit: str


class Problem(Protocol):
    """A model and its data as `train` and `measure_costs` need them."""

    metrics: tuple[Metric, ...]  # the first one judges
    size: str  # of its data, for people
    steps: int  # of a run
    autocast: torch.dtype | None
    configuration: dict[str, Any]  # all that the numbers of a run depend on but activation and seed, for JSON

    def initial_model(self, activation: str, seed: int) -> nn.Module:
        """The model as training starts from it, on its device: the same weights whatever the activation."""
        ...

    def make_optimizer(self, model: nn.Module) -> Optimizer: ...

    def a_batch(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one batch, as they go through the model at once."""
        ...

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor: ...

    def experiment(self, activation: str, seed: int, accelerator: Accelerator) -> Experiment: ...
