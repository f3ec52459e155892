"""Measure what an activation costs: time of a training step and of inference, and memory, one batch at a time."""

import time
from statistics import median
from typing import Any

import torch

from workbench.output.estimates import median_interval
from workbench.training.memory import kept_for_backward
from workbench.training.stepper import Stepper
from workbench.training.task import Batch, Task

WARM_UP, LEAST_ROUNDS = 3, 10


def measure_costs(
    task: Task, activations: list[str], baseline: str, device: torch.device, seconds: float = 5.0
) -> dict[str, dict[str, Any]]:
    """Measure, for each activation, the times of a step relative to the baseline, and the bytes of memory.

    Timing a whole run would charge an activation for whatever else the machine did meanwhile. Here all models step
    in turn, the first of a round being the last of the next; each round gives a ratio, and their median counts.
    Times are in milliseconds, low and high the 95% interval of the median.
    """
    batch, cuda = task.example(), device.type == "cuda"
    memory = {each: _memory(task, each, batch, cuda) for each in activations}  # first, while no other model is there
    steppers = {each: Stepper(task, each, batch) for each in activations}
    times: dict[str, dict[str, list[float]]] = {each: {"train": [], "inference": []} for each in activations}
    order = list(activations)
    rounds = -WARM_UP
    start = time.perf_counter()
    while rounds < LEAST_ROUNDS or time.perf_counter() - start < seconds:
        for activation in order:
            stepper = steppers[activation]
            for phase, step in (("train", stepper.training), ("inference", stepper.inference)):
                elapsed = stepper.seconds(step)
                if rounds >= 0:
                    times[activation][phase].append(elapsed)
        order.append(order.pop(0))
        rounds += 1
    return {
        each: {
            "rounds": rounds,
            **_relative("train", times[each], times[baseline]),
            **_relative("inference", times[each], times[baseline]),
            "memory_bytes": memory[each],
        }
        for each in activations
    }


def _relative(phase: str, times: dict[str, list[float]], baseline: dict[str, list[float]]) -> dict[str, float]:
    ratios = [time / base for time, base in zip(times[phase], baseline[phase], strict=True)]
    ratio, low, high = median_interval(ratios)
    name = f"relative_{phase}_time"
    return {f"{phase}_step_ms": 1000 * median(times[phase]), name: ratio, f"{name}_low": low, f"{name}_high": high}


def _memory(task: Task, activation: str, batch: Batch, cuda: bool) -> int:
    """Return bytes: on CUDA the peak of a training step without the data set, on the CPU `kept_for_backward`."""
    if not cuda:
        model = Stepper(task, activation, batch).model
        own = (*model.parameters(), *model.buffers())
        return kept_for_backward(lambda: task.loss(model, batch), own)
    before = torch.cuda.memory_allocated()
    train = Stepper(task, activation, batch).training
    train()  # the optimiser makes its state in the first step
    torch.cuda.reset_peak_memory_stats()
    train()
    return torch.cuda.max_memory_allocated() - before
