"""Say before a run what will make it slow, or end it: cores that others use, too many threads, too little memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import stateless
from torch.utils._pytree import tree_leaves, tree_map

from workbench.training.memory import kept_for_backward
from workbench.training.task import Batch, Task

CGROUP = Path("/sys/fs/cgroup/memory.max")
LIKELY = 1000  # what a deep network keeps of a batch is seldom more than so many times its size


def crowded(threads: int, available: int, busy: float) -> Iterator[str]:
    """Say that there are more threads than cores, or that other programs use the cores.

    Args:
        threads: of all processes of the run here.
        available: cores here.
        busy: how many of them other programs keep busy.
    """
    if threads > available:
        yield (
            f"{threads} threads share {available} cores, and wait for each other: with --threads or fewer processes, "
            "as many threads as cores, it is faster"
        )
    elif threads > 1 and busy > 0.5 and threads + busy > available + 0.5:
        yield (
            f"other programs keep {busy:.1f} of {available} cores busy, and {threads} threads that wait for each other "
            "can make a step 20 times slower: wait until they have ended, or give this and them --threads 1"
        )


def too_large(needed: int | None, free: float) -> Iterator[str]:
    """Say that a training step needs more memory than there is.

    Args:
        needed: bytes; None: not known.
        free: bytes that a process can have.
    """
    if needed is not None and needed > free:
        yield (
            f"a step needs about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: the system may end the "
            "training; a smaller batch or smaller images need less"
        )


def busy_cores(seconds: float = 0.2) -> float:
    """Measure how many cores are busy while this process waits."""
    import psutil

    part: float = psutil.cpu_percent(seconds) / 100
    return part * (psutil.cpu_count() or 1)


def free_bytes() -> int:
    """Return the bytes that are free, or that a container may still take if that is less."""
    import psutil

    memory = psutil.virtual_memory()
    limit = CGROUP.read_text().strip() if CGROUP.exists() else "max"
    free: int = memory.available
    return free if limit == "max" else min(free, int(limit))


def needed_bytes(task: Task, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> int | None:
    """Foretell the bytes that a training step takes: weights, gradients, optimiser and what is kept for backward.

    The forward pass is simulated with tensors that have shapes, and no memory. None where that is not worth its
    seconds, since the model and the batch are small, or where it cannot be done, as in detectors, whose shapes depend
    on values.
    """
    copies = 2 + (2 if "Adam" in type(optimizer).__name__ else 1)
    held = copies * sum(each.nbytes for each in model.parameters())
    inputs = sum(each.nbytes for each in tree_leaves(batch) if isinstance(each, Tensor))
    if held + LIKELY * inputs < free_bytes() / 4:
        return None
    try:
        return held + _kept(task, model, batch)
    except Exception:  # whatever a model does that needs values; the training itself will show what is wrong
        return None


def _kept(task: Task, model: nn.Module, batch: Batch) -> int:
    """Count the bytes that a forward pass keeps for backward, without memory for them."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:

        def fake(value: Any) -> Any:
            return mode.from_tensor(value) if isinstance(value, Tensor) else value

        state = {name: fake(each) for name, each in (*model.named_parameters(), *model.named_buffers())}
        shapes = tree_map(fake, batch)
        precision = torch.autocast("cpu", task.autocast, enabled=task.autocast is not None)
        with stateless._reparametrize_module(model, state), precision:
            return kept_for_backward(lambda: task.loss(model, shapes), state.values())
