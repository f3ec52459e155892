"""Make the model of a checkpoint again, and evaluate it: all that is needed is in the checkpoint, but the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from golu import available_activations
from golu.activations import unknown_name
from workbench.cli.errors import UserError
from workbench.cli.settings import from_configuration
from workbench.training.checkpoint import State, read_trained
from workbench.training.launch import Machine, launched, share_buffers
from workbench.training.sampling import Sampling
from workbench.training.task import Source, Spec, Task, opened

if TYPE_CHECKING:
    from workbench.training.program import TrainingProgram

Programs = Callable[[str], "TrainingProgram"]  # by the module that a checkpoint names


def usable(
    task: Task, model: nn.Module, averaged: nn.Module | None, metrics: Any, configuration: Mapping[str, Any]
) -> State:
    """Return what a checkpoint holds for the use of the model: `Checkpoint` reads it."""
    return {
        "configuration": configuration,
        "metrics": metrics,
        "model": model.state_dict(),
        "ema": None if averaged is None else averaged.state_dict(),
        "extras": dict(task.extras),
        "program": task.program,
        "source": {"dataset": task.source.dataset, "data": str(task.source.data)},
    }


@dataclass(frozen=True)
class Checkpoint:
    """Hold a checkpoint that was read, with the program that wrote it.

    Args:
        averaged: whether its weights are the moving average of the trained ones.
    """

    path: Path
    state: State
    program: TrainingProgram
    averaged: bool

    @property
    def configuration(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.state["configuration"]
        return found

    @property
    def weights(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.state["ema" if self.averaged else "model"]
        return found

    @property
    def source(self) -> Source:
        """Return the data that it was trained on."""
        stored, configuration = self.state["source"], self.configuration
        limits = configuration["limit_train"], configuration["limit_val"]
        return Source(stored["dataset"], Path(stored["data"]), *limits, configuration.get("bad_images", "refuse"))

    def spec(self, source: Source | None = None, device: str | None = None) -> Spec:
        """Specify its task, on the same data or on others."""
        kind = type(next(iter(self.program.recipes.values())))
        settings = from_configuration(self.configuration, kind)
        return Spec(self.program.task_class, settings, source or self.source, Machine(device), self.program.module)

    def task(self, device: torch.device) -> Task:
        """Make its task as training left it, but without the data."""
        task = self.spec(device=device.type).task()
        task.restore(self.state, device)
        return task

    def model(self, task: Task) -> nn.Module:
        """Make its model, for evaluation.

        Raises:
            UserError: the checkpoint does not fit the program any more.
        """
        activation = self.configuration["activation"]
        if activation not in available_activations():
            raise UserError(f"{self.path}: {unknown_name('activation', activation, available_activations())}")
        model = task.model(activation)
        try:
            model.load_state_dict(self.weights)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise UserError(f"{self.path} is no checkpoint of {self.program.module}") from error
        return model.eval()


def open_checkpoint(path: Path, programs: Programs, averaged: bool | None = None) -> Checkpoint:
    """Read the checkpoint of a training.

    Args:
        averaged: whether to take the moving average of the weights; None: if there is one.

    Raises:
        UserError: it is missing, broken, of a training that diverged or of no program, or has no moving average.
    """
    state = read_trained(path)
    if averaged and not state.get("ema"):
        raise UserError(f"{path} has no moving average of the weights: it was trained without one")
    program = programs(program_named(state, path))
    averaged = bool(state.get("ema")) if averaged is None else averaged
    return Checkpoint(path, state, program, averaged)


def program_named(state: State, path: Path) -> str:
    """Return the module of the program that has written a checkpoint.

    Raises:
        UserError: the checkpoint does not say it.
    """
    if not {"program", "source", "extras", "configuration"} <= state.keys():
        raise UserError(f"{path} does not say which program trained it: it is of an earlier version")
    return str(state["program"])


def own_checkpoint(path: Path, program: TrainingProgram, averaged: bool | None = None) -> Checkpoint:
    """Read a checkpoint that this program has written; the rest as in `open_checkpoint`.

    Raises:
        UserError: another program has.
    """

    def only(module: str) -> TrainingProgram:
        if module != program.module:
            raise UserError(f"{path} is no checkpoint of {program.module}: {module} has written it")
        return program

    return open_checkpoint(path, only, averaged)


def trained(checkpoint: Checkpoint, device: torch.device) -> tuple[Task, nn.Module]:
    """Make a checkpoint's task, without its data, and its model, for evaluation.

    Raises:
        UserError: the checkpoint does not fit its program any more.
    """
    try:
        task = checkpoint.task(device)
        return task, checkpoint.model(task)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise UserError(f"{checkpoint.path} is no checkpoint of {checkpoint.program.module}") from error


def evaluated(checkpoint: Checkpoint, source: Source, device: str | None) -> tuple[Task, dict[str, float]]:
    """Evaluate a checkpoint on the validation part of data, over all processes.

    Raises:
        UserError: the data are missing, or are not of the kind that the model was trained on.
    """
    with launched(device) as accelerator:
        with accelerator.main_process_first():
            task = opened(checkpoint.spec(source, device), accelerator.device)
        _require_same(task, checkpoint)
        task.restore(checkpoint.state, accelerator.device)
        model = checkpoint.model(task)
        share_buffers(accelerator, model)
        precision = torch.autocast(accelerator.device.type, task.autocast, enabled=task.autocast is not None)
        with torch.inference_mode(), precision:
            seed, place = checkpoint.configuration["seed"], accelerator.process_index
            # of one step, as other data may have fewer training samples than that takes, or none
            sampling = Sampling(
                task.batch_size, task.batch_size, seed, place, accelerator.num_processes, task.accumulation
            )
            return task, task.evaluate(model, sampling, accelerator)


def _require_same(task: Task, checkpoint: Checkpoint) -> None:
    trained_on = checkpoint.state["extras"]
    for name, value in task.extras.items():
        if trained_on.get(name) != value:
            raise UserError(
                f"{checkpoint.path} was trained on {checkpoint.configuration['dataset']}, whose {name} are "
                f"{_short(trained_on.get(name))}; those of {task.dataset} are {_short(value)}"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 100 else f"{text[:90]} ..."
