"""What an activation costs: time of a training step and of inference, and memory, one batch at a time."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.compare.recipe import Recipe
from tasks.compare.training import initial_model, make_optimizer
from tasks.engine.images import Images

WARM_UP, LEAST_ROUNDS = 3, 5


def measure_costs(
    recipe: Recipe, images: Images, activations: list[str], baseline: str, seconds: float = 5.0
) -> dict[str, dict[str, Any]]:
    """For each activation the times of a step relative to the baseline, and the bytes of memory.

    Timing a whole run would charge an activation for whatever else the machine did meanwhile. Here all models step
    in turn, the first of a round being the last of the next; each round gives a ratio, and their median counts.
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
            "relative_train_time": _median_ratio(times[each]["train"], times[baseline]["train"]),
            "relative_inference_time": _median_ratio(times[each]["inference"], times[baseline]["inference"]),
            "train_step_ms": 1000 * median(times[each]["train"]),
            "inference_step_ms": 1000 * median(times[each]["inference"]),
            "memory_bytes": memory[each],
        }
        for each in activations
    }


def _median_ratio(times: list[float], baseline: list[float]) -> float:
    return median(each / base for each, base in zip(times, baseline, strict=True))


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
        return kept_for_backward(model, lambda: F.cross_entropy(model(x), y))
    before = torch.cuda.memory_allocated()
    train = _steps(recipe, images, activation, x, y)["train"]
    train()  # the optimiser makes its state in the first step
    torch.cuda.reset_peak_memory_stats()
    train()
    return torch.cuda.max_memory_allocated() - before


def kept_for_backward(model: nn.Module, forward: Callable[[], Tensor]) -> int:
    """The bytes that autograd keeps of one forward pass: each storage once and whole, the model's own not counted."""
    owned = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward()  # holds the graph, and so the storages, until they are counted
    total = sum(kept.values())
    del loss
    return total
