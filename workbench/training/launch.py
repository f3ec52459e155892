"""The processes of a run: one, or as many as torchrun starts; on the CPU with gloo, on GPUs with NCCL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from workbench.cli.errors import UserError
from workbench.training.memory import keep_freed_memory

if TYPE_CHECKING:
    from accelerate import Accelerator


@contextmanager
def launched(device: str | None = None) -> Iterator[Accelerator]:
    """The processes of this run, ready to talk to each other; afterwards they part.

    Args:
        device: "cpu", "cuda", or None for CUDA where there is one.

    Raises:
        UserError: CUDA is asked for, and there is none.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    check_device(device)
    cpu = device == "cpu" or not torch.cuda.is_available()
    accelerator = Accelerator(cpu=cpu, mixed_precision="no")  # autocast is the loop's
    if cpu:
        keep_freed_memory()
    else:
        torch.backends.cudnn.benchmark = True
    try:
        yield accelerator
    finally:
        accelerator.end_training()
        AcceleratorState._reset_state(reset_partial_state=True)  # a later run in this process starts afresh


def check_device(device: str | None) -> None:
    """A UserError if CUDA is asked for and there is none, before anything is read or made for it."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no CUDA device here; without the flag the CPU is used")


def placed(model: nn.Module, device: torch.device | str) -> nn.Module:
    """The model on the device; on a GPU in the layout that its convolutions prefer, channels last.

    On a CPU that layout makes ResNet-20 a fifth faster with ReLU and GoLU, but half as fast with torch's GELU, whose
    backward pass is slow where gradients come in another layout: a comparison of activations would compare that.
    """
    return model.to(device, memory_format=torch.channels_last if torch.device(device).type == "cuda" else None)


def process_count() -> int:
    """How many processes torchrun started, known before they are launched."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def cores() -> int:
    """The CPU cores that one process of this run may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def total(accelerator: Accelerator, values: Tensor) -> Tensor:
    """The sum of every process's values."""
    if accelerator.num_processes > 1:
        torch.distributed.all_reduce(values)
    return values


def by_process(accelerator: Accelerator, value: float) -> list[float]:
    """Every process's value, in their order."""
    if accelerator.num_processes == 1:
        return [value]
    from accelerate.utils import gather_object

    return gather_object([value])


def share_buffers(accelerator: Accelerator, *models: nn.Module) -> None:
    """Give every process the main one's buffers: without --sync-bn each has its own running statistics."""
    if accelerator.num_processes > 1:
        for model in models:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, 0)
