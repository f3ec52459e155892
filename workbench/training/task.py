"""Define what can be trained: a task gives data, model, optimiser, learning rates, loss and evaluation.

The loop, the stored runs and the comparison do the rest. A new task is a subclass of `Task`, and a line in
tasks/table.py makes it a program and a row of every comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from workbench.cli.errors import UserError
from workbench.cli.settings import configuration
from workbench.training.launch import Machine
from workbench.training.metrics import Metric
from workbench.training.sampling import Sampling
from workbench.training.weights import Weights, weights_of

if TYPE_CHECKING:
    from accelerate import Accelerator
    from timm.utils import ModelEmaV3

    from workbench.training.runs import StoredRun

Batch = Any  # whatever the task says


@dataclass(frozen=True)
class Source:
    """Say where a run's data and first weights come from, and which data are taken.

    Args:
        only_val: whether the training part may be absent, and is not looked at where it is in files of its own.
    """

    dataset: str
    data: Path = Path("data")
    limit_train: int | None = None
    limit_val: int | None = None
    bad_images: str = "refuse"
    init_from: Path | None = None  #: the weights that it starts from
    only_val: bool = False

    def choice(self) -> dict[str, Any]:
        """Return which data are taken, as a run's configuration says it."""
        return {"limit_train": self.limit_train, "limit_val": self.limit_val}


@dataclass(frozen=True)
class Graph:
    """Describe a model as a function of tensors.

    Args:
        module: takes the inputs and returns a tensor.
        inputs: an example of each, by its name.
        free: sizes that may be others: a name of the size for a dimension of an input.
        largest: of such sizes, where there is a limit.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    free: Mapping[str, Mapping[int, str]]
    largest: Mapping[str, int] = field(default_factory=dict)


class Task:
    """Define what is trained, with whatever activation and seed.

    A subclass sets `metrics`, `epochs` and `batch_size`, and defines `open`, `fingerprint`, `model`, `optimizer`,
    `rates`, `training`, `loss`, `evaluate` and, to be compared, `example` and `predict`. It is made before anything is
    read, and refuses invalid settings; after `open` it may be asked for any number of runs.

    Args:
        settings: a frozen dataclass, each field a `setting()`.
        source: where data come from.
        machine: what it runs on.
    """

    metrics: Sequence[Metric]  #: what `evaluate` gives; the first one judges
    epochs: int  #: passes over the training set, or parts of the run that end in an evaluation
    batch_size: int  #: samples of a step, over all processes and accumulated batches
    count: int  #: samples of the training set, once it is open
    accumulation: int = 1  #: batches that a process accumulates for a step
    repeats: int = 1  #: how often a sample is drawn in a row
    steps: int | None = None  #: of the whole run, if its last epoch is shorter than the others
    axis: str = "epoch"  #: what a trace counts, "epoch" or "step"
    unit: str = "images"  #: what samples are called in speeds
    samples_per_item: int = 1  #: units in a sample, as the tokens of a sequence
    clip_norm: float | None = None  #: the largest norm, for gradient clipping
    autocast: torch.dtype | None = None  #: float16 is scaled, bfloat16 needs no scaling
    ema_every: int = 1  #: steps between two updates of the moving average
    starts_trained: bool = False  #: whether its first weights are those of a model trained on this task
    sync_batch_norm: bool = False  #: batch statistics over all processes, on GPUs
    print_every: int | None = None  #: steps between two lines of progress; None for those of evaluations only
    extras: Mapping[str, Any] = {}  #: plain values that a checkpoint holds for its users, as the names of classes
    beginning: str = ""  #: what its last run started from, for people
    program: str = ""  #: the module of the program that trains it, which a checkpoint names

    def __init__(self, settings: Any, source: Source, machine: Machine) -> None:
        self.settings, self.source, self.machine = settings, source, machine

    # What it is called

    @property
    def dataset(self) -> str:
        """Name the first folder of its results."""
        return self.source.dataset

    @property
    def model_name(self) -> str:
        """Name the second folder of its results."""
        return str(self.settings.model)

    def configuration(self) -> dict[str, Any]:
        """Return all that the numbers depend on beside data set, model, activation and seed, for JSON."""
        return configuration(self.settings) | self.source.choice()

    @property
    def size(self) -> str:
        """Say how large its data are, for people."""
        return f"{self.count} training samples"

    def amounts(self) -> dict[str, Any]:
        """Return how many samples and classes its data have, and what was left out of them, for the results."""
        return {}

    # Data

    def open(self, device: torch.device) -> None:
        """Read the data, or find out what there is; the main process does it first, as it may have to download them.

        Raises:
            UserError: they are missing or damaged.
        """
        raise NotImplementedError

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Set what a trained model depends on from its checkpoint, instead of opening the data.

        Args:
            state: the checkpoint; its "extras" are those of the task that was trained.

        Raises:
            KeyError, TypeError, AttributeError: it is not this task's.
        """
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Return what tells these data from others: how many there are, and a checksum."""
        raise NotImplementedError

    def sampling(self, seed: int, process: int = 0, processes: int = 1) -> Sampling:
        """Deal out samples to steps, processes and accumulated batches."""
        return Sampling(self.count, self.batch_size, seed, process, processes, self.accumulation, self.repeats)

    def training(self, sampling: Sampling, epoch: int, first: int) -> Iterator[list[Batch]]:
        """Yield this process's batches on its device, for each step of an epoch (both from 0) from `first` on."""
        raise NotImplementedError

    # Model

    def model(self, activation: str) -> nn.Module:
        """Make the model as training starts from it, on the device: the same weights whatever the activation.

        The seed has been set.
        """
        raise NotImplementedError

    def starting_point(self, run: StoredRun) -> dict[str, Any]:
        """Return what a run's first weights are taken from, for its configuration: it may depend on its seed.

        Raises:
            UserError: it is missing or unfit.
        """
        return {} if self.source.init_from is None else {"init_from": self._given().fingerprint()}

    def published(self, name: str) -> Weights:
        """Return weights that the model's own library publishes under this name; they are downloaded once.

        Raises:
            UserError: there are none.
        """
        raise UserError("no weights are published by that name")

    def adapted(self, weights: Weights) -> Weights:
        """Return weights under the names of this task's model, where another library calls them otherwise."""
        return weights

    def _given(self) -> Weights:
        path = self.source.init_from
        assert path is not None, "asked of runs that start from weights"
        try:
            return self.adapted(weights_of(path) if path.exists() else self.published(str(path)))
        except UserError as error:
            raise error if path.exists() else UserError(f"--init-from: there is no file {path}; {error}") from error

    def initialize(self, model: nn.Module, run: StoredRun) -> None:
        """Load the weights that a run starts from, where those of `model` are not to be its first ones.

        Raises:
            UserError: they are of another architecture.
        """
        if self.source.init_from is None:
            return
        weights = self._given()
        anew = weights.fit_into(model)
        self.beginning = f"starts from {weights.source}" + (f"; made anew: {', '.join(anew)}" if anew else "")
        if weights.activation not in ("", run.activation):
            self.beginning += f"; its layers were trained for {weights.activation}, and have to learn {run.activation}"

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Make the optimiser; its learning rate is set before each step."""
        raise NotImplementedError

    def rates(self, steps_per_epoch: int) -> Sequence[float]:
        """Return learning rates, one an epoch or one a step: they are spread evenly over the run."""
        raise NotImplementedError

    def average(self, model: nn.Module, steps_per_epoch: int) -> ModelEmaV3 | None:
        """Make the moving average of the weights, which is evaluated too and then judges; None: there is none."""
        return None

    def flops_per_sample(self, model: nn.Module) -> float | None:
        """Count floating-point operations forward and backward; None: no utilisation is reported."""
        return None

    # Learning

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the mean loss over a batch, whose gradient is followed."""
        raise NotImplementedError

    def evaluate(self, model: nn.Module, sampling: Sampling, accelerator: Accelerator) -> dict[str, float]:
        """Return the value of every metric over the whole validation set, the same in every process."""
        raise NotImplementedError

    def unreadable(self, accelerator: Accelerator) -> dict[str, int]:
        """Return how many samples could not be read so far and were left out, for the trace. Every process calls it."""
        return {}

    def after_evaluation(self, model: nn.Module, run: StoredRun, entry: Mapping[str, Any]) -> None:
        """Write files into the run's folder, as a picture of predictions. The main process calls it.

        A picture at `run.picture_path(entry)` is shown by TensorBoard too.

        Args:
            model: the one that judges, as the moving average of the weights does.
        """

    # What a trained model is used for

    def graph(self, model: nn.Module) -> Graph:
        """Describe the model as a function of tensors, to be exported.

        Raises:
            UserError: it is none.
        """
        raise UserError(f"a model of {self.program} is no graph of tensors: --format safetensors stores its weights")

    # What an activation costs

    def example(self) -> Batch:
        """Return a batch as it goes through the model at once."""
        raise NotImplementedError

    def predict(self, model: nn.Module, batch: Batch) -> Any:
        """Return what the model gives for a batch when it is used."""
        return model(batch[0])


@dataclass(frozen=True)
class Spec:
    """Say what a task is made of: it can be sent to another process, and two of them compared."""

    task_class: Callable[[Any, Source, Machine], Task]
    settings: Any
    source: Source
    machine: Machine
    program: str = ""

    def task(self) -> Task:
        """Make a new task.

        Raises:
            UserError: the settings are invalid.
        """
        task = self.task_class(self.settings, self.source, self.machine)
        task.program = self.program
        return task


@lru_cache(maxsize=32)
def opened(spec: Spec, device: torch.device) -> Task:
    """Open the task's data, and keep the task for the next run of the same."""
    task = spec.task()
    task.open(device)
    return task
