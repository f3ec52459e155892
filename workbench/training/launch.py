"""Start the processes of a run: one, or as many as torchrun starts; on the CPU with gloo, on GPUs with NCCL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from workbench.cli.errors import UserError
from workbench.output.environment import peak_flops
from workbench.training.faults import explained
from workbench.training.memory import keep_freed_memory

if TYPE_CHECKING:
    from accelerate import Accelerator

R = TypeVar("R")


@dataclass(frozen=True)
class Machine:
    """Say what a run is trained on, and how: none of it changes a number beyond rounding.

    Args:
        device: "cpu", "cuda", or None for CUDA where there is one.
        workers: processes that read data ahead, for each process that trains.
        compile: compile the model with torch.compile.
        checkpoint_steps: steps between two checkpoints, besides the one after each evaluation.
        keep: whose weights are kept beside the newest checkpoint: those of the "best" evaluation, of "all" or of none
            ("last").
        wandb: the project at Weights & Biases that gets what TensorBoard gets; None: nothing is sent there.
    """

    device: str | None = None
    workers: int = 0
    compile: bool = False
    checkpoint_steps: int = 1000
    keep: str = "last"
    wandb: str | None = None


@contextmanager
def launched(device: str | None = None) -> Iterator[Accelerator]:
    """Connect the processes of this run within the block.

    Args:
        device: "cpu", "cuda", or None for CUDA where there is one.

    Raises:
        UserError: CUDA is asked for, and there is none; or as `explained`.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    cpu = chosen_device(device) == "cpu"
    accelerator = Accelerator(cpu=cpu, mixed_precision="no")  # the loop does autocast
    if cpu:
        keep_freed_memory()
    else:
        torch.backends.cudnn.benchmark = True
    try:
        with explained():
            yield accelerator
    finally:
        accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)  # a later run in this process starts afresh


def check_device(device: str | None) -> None:
    """Raise a UserError if CUDA is asked for and there is none, before anything is read or made for it."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; without the flag the CPU is used")


def chosen_device(device: str | None) -> str:
    """Return "cpu" or "cuda" for what --device says; None: CUDA where there is one.

    Raises:
        UserError: as `check_device`.
    """
    check_device(device)
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def to_device(model: nn.Module, device: torch.device | str) -> nn.Module:
    """Move the model to the device; on a GPU in the layout that its convolutions prefer, channels last.

    On a CPU that layout makes ResNet-20 a fifth faster with ReLU and GoLU, but half as fast with torch's GELU, whose
    backward pass is slow where gradients come in another layout: a comparison of activations would compare that.
    """
    model = model.to(device)
    return model.to(memory_format=torch.channels_last) if torch.device(device).type == "cuda" else model


def process_count() -> int:
    """Return how many processes torchrun started, known before they are launched."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Tell whether this is the process that prints and stores, known before they are launched."""
    return int(os.environ.get("RANK", "0")) == 0


def decided_by_main(accelerator: Accelerator, decide: Callable[[], R]) -> R:
    """Call `decide` in the main process, and give every process what it returned.

    Processes on several machines see several disks: what is stored on one of them must not be each one's own decision.

    Raises:
        UserError: `decide` raised it; every process raises the same.
    """
    if accelerator.num_processes == 1:
        return decide()
    found: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            found[0] = decide()
        except UserError as error:
            found[1] = str(error)
    torch.distributed.broadcast_object_list(found, src=0)
    if found[1] is not None:
        raise UserError(found[1])
    decided: R = found[0]
    return decided


def gathered_by_main(accelerator: Accelerator, values: list[R]) -> list[R] | None:
    """Collect the lists of all processes, however long each is, in the main one; the others get None."""
    if accelerator.num_processes == 1:
        return values
    lists: list[Any] | None = [None] * accelerator.num_processes if accelerator.is_main_process else None
    torch.distributed.gather_object(values, lists)
    return None if lists is None else [value for each in lists for value in each]


def require_same_everywhere(accelerator: Accelerator, what: str, value: str) -> None:
    """Compare a value over all processes.

    Raises:
        UserError: a process has another one.
    """
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import gather_object

    for process, other in enumerate(gather_object([value])):
        if other != value:
            raise UserError(
                f"process {process} has other {what} than process {accelerator.process_index}: {other}, {value}"
            )


def sum_over_processes(accelerator: Accelerator, values: Tensor) -> Tensor:
    """Add up every process's values."""
    if accelerator.num_processes > 1:
        torch.distributed.all_reduce(values)
    return values


def by_process(accelerator: Accelerator, value: float) -> list[float]:
    """Gather every process's value, in their order."""
    if accelerator.num_processes == 1:
        return [value]
    from accelerate.utils import gather_object

    values: list[float] = gather_object([value])
    return values


def utilisation(flops: float | None, samples_per_second: float, accelerator: Accelerator) -> dict[str, float]:
    """Return the model FLOP utilisation: what part of the GPUs' peak the model's own operations take.

    Args:
        flops: operations a sample; None, or a device without a known peak: nothing is returned.
    """
    peak = peak_flops(accelerator.device)
    if flops is None or peak is None:
        return {}
    return {"mfu": samples_per_second * flops / (peak * accelerator.num_processes)}


def share_buffers(accelerator: Accelerator, *models: nn.Module) -> None:
    """Give every process the main one's buffers: without --sync-bn each has its own running statistics."""
    if accelerator.num_processes > 1:
        for model in models:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, 0)


def share_statistics(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Share batch statistics over all processes, which torch does on GPUs only; elsewhere return the model as it is."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return converted
    if accelerator.num_processes > 1 and accelerator.is_main_process:
        print("--sync-bn has no effect on the CPU: each process has its own batch statistics")
    return model
