"""What an activation costs: time of a training step and of inference, and memory, one batch at a time."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from tasks.compare.problem import Problem
from workbench.output.estimates import median_interval
from workbench.training.memory import kept_for_backward

WARM_UP, LEAST_ROUNDS = 3, 10


def measure_costs(
    problem: Problem, activations: list[str], baseline: str, seconds: float = 5.0
) -> dict[str, dict[str, Any]]:
    """For each activation the times of a step relative to the baseline, and the bytes of memory.

    Timing a whole run would charge an activation for whatever else the machine did meanwhile. Here all models step
    in turn, the first of a round being the last of the next; each round gives a ratio, and their median counts.
    Times are in milliseconds, low and high the 95% interval of the median.
    """
    batch = problem.a_batch()
    cuda = batch[0].is_cuda
    memory = {each: _memory(problem, each, batch) for each in activations}  # first, while no other model is there
    steps = {each: _steps(problem, each, batch) for each in activations}
    times: dict[str, dict[str, list[float]]] = {each: {"train": [], "inference": []} for each in activations}
    order = list(activations)
    rounds = -WARM_UP
    start = time.perf_counter()
    while rounds < LEAST_ROUNDS or time.perf_counter() - start < seconds:
        for activation in order:
            for phase, step in steps[activation].items():
                elapsed = _timed(step, cuda)
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


def _steps(problem: Problem, activation: str, batch: tuple[Tensor, Tensor]) -> dict[str, Callable[[], None]]:
    model = problem.initial_model(activation, seed=0)
    optimizer = problem.make_optimizer(model)

    def precision() -> torch.autocast:
        return torch.autocast(batch[0].device.type, problem.autocast, enabled=problem.autocast is not None)

    def train() -> None:
        model.train()
        optimizer.zero_grad()
        with precision():
            loss = problem.loss(model, batch)
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def inference() -> None:
        model.eval()
        with precision():
            model(batch[0])

    return {"train": train, "inference": inference}


def _timed(step: Callable[[], None], cuda: bool) -> float:
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _memory(problem: Problem, activation: str, batch: tuple[Tensor, Tensor]) -> int:
    """On CUDA the peak of a training step without the data set; the CPU counts no peak: there `kept_for_backward`."""
    if not batch[0].is_cuda:
        model = problem.initial_model(activation, seed=0)
        own = (*model.parameters(), *model.buffers())
        return kept_for_backward(lambda: problem.loss(model, batch), own)
    before = torch.cuda.memory_allocated()
    train = _steps(problem, activation, batch)["train"]
    train()  # the optimiser makes its state in the first step
    torch.cuda.reset_peak_memory_stats()
    train()
    return torch.cuda.max_memory_allocated() - before
