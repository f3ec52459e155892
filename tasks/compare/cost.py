"""What an activation costs: time of a training step and of inference, and memory, one batch at a time."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tasks.compare.recipe import Recipe
from tasks.compare.training import initial_model, make_optimizer
from tasks.engine.images import Images
from tasks.engine.memory import kept_for_backward
from tasks.engine.statistics import median_interval

WARM_UP, LEAST_ROUNDS = 3, 10


def measure_costs(
    recipe: Recipe, images: Images, activations: list[str], baseline: str, seconds: float = 5.0
) -> dict[str, dict[str, Any]]:
    """For each activation the times of a step relative to the baseline, and the bytes of memory.

    Timing a whole run would charge an activation for whatever else the machine did meanwhile. Here all models step
    in turn, the first of a round being the last of the next; each round gives a ratio, and their median counts.
    Times are in milliseconds, low and high the 95% interval of the median.
    """
    x, y = images.train_x[: recipe.batch_size].clone(), images.train_y[: recipe.batch_size].clone()
    memory = {each: _memory(recipe, images, each, x, y) for each in activations}  # first, while no other model is there
    steps = {each: _steps(recipe, images, each, x, y) for each in activations}
    times: dict[str, dict[str, list[float]]] = {each: {"train": [], "inference": []} for each in activations}
    order = list(activations)
    rounds = -WARM_UP
    start = time.perf_counter()
    while rounds < LEAST_ROUNDS or time.perf_counter() - start < seconds:
        for activation in order:
            for phase, step in steps[activation].items():
                elapsed = _timed(step, x.is_cuda)
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


def _steps(recipe: Recipe, images: Images, activation: str, x: Tensor, y: Tensor) -> dict[str, Callable[[], None]]:
    model = initial_model(recipe, images, activation, seed=0)
    optimizer = make_optimizer(recipe, model)

    def train() -> None:
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    @torch.inference_mode()
    def inference() -> None:
        model.eval()
        model(x)

    return {"train": train, "inference": inference}


def _timed(step: Callable[[], None], cuda: bool) -> float:
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _memory(recipe: Recipe, images: Images, activation: str, x: Tensor, y: Tensor) -> int:
    """On CUDA the peak of a training step without the data set; the CPU counts no peak: there `kept_for_backward`."""
    if not x.is_cuda:
        model = initial_model(recipe, images, activation, seed=0)
        own = (*model.parameters(), *model.buffers())
        return kept_for_backward(lambda: F.cross_entropy(model(x), y), own)
    before = torch.cuda.memory_allocated()
    train = _steps(recipe, images, activation, x, y)["train"]
    train()  # the optimiser makes its state in the first step
    torch.cuda.reset_peak_memory_stats()
    train()
    return torch.cuda.max_memory_allocated() - before
