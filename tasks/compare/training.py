"""One run: one activation and one seed, from the first weights to the last epoch."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.compare.models import build_model
from tasks.compare.recipe import Recipe
from tasks.engine.images import Images
from tasks.engine.seeding import data_generator, seed_everything

EVALUATION_BATCH = 1000  # changes speed and memory only


def initial_model(recipe: Recipe, images: Images, activation: str, seed: int) -> nn.Module:
    """The model as training starts from it, on the images' device: the same weights whatever the activation."""
    seed_everything(seed)
    _, channels, height, width = images.train_x.shape
    model = build_model(recipe.model, (channels, height, width), images.classes, activation)
    return model.to(images.train_x.device)


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW; its weight decay leaves biases, norms and what an activation learns (PReLU's slope) alone."""
    matrices = [each for each in model.parameters() if each.ndim >= 2]
    vectors = [each for each in model.parameters() if each.ndim < 2]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, recipe.lr, weight_decay=recipe.weight_decay)


def batches(recipe: Recipe, count: int, generator: torch.Generator) -> list[Tensor]:
    """The indices of each batch of an epoch, shuffled; the last one is left out unless it is full."""
    return list(torch.randperm(count, generator=generator).split(recipe.batch_size))[: count // recipe.batch_size]


def train(
    recipe: Recipe, images: Images, activation: str, seed: int, after_step: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Train once and return what happened: every epoch, the final one, and the best one (optimistic, being chosen
    by what it reports). At a loss that is no finite number the run ends as diverged: final and best are None.
    """
    model = initial_model(recipe, images, activation, seed)
    optimizer = make_optimizer(recipe, model)
    steps = len(images.train_y) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * steps)
    generator = data_generator(seed)
    epochs: list[dict[str, Any]] = []
    diverged_at = None
    start = time.perf_counter()
    for epoch in range(1, recipe.epochs + 1):
        epoch_start = time.perf_counter()
        model.train()
        total = torch.zeros((), device=images.train_x.device)
        for batch in batches(recipe, len(images.train_y), generator):
            x, y = images.train_x[batch], images.train_y[batch]
            if recipe.augment:
                x = crop_and_flip(x, generator)
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
            after_step()
        train_loss = total.item() / steps
        val_loss, val_accuracy = evaluate(model, images.val_x, images.val_y)
        if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
            diverged_at = epoch
            break
        result = {"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}
        epochs.append(result | {"seconds": time.perf_counter() - epoch_start})
    return {
        "activation": activation,
        "seed": seed,
        "diverged_at": diverged_at,
        "seconds": time.perf_counter() - start,
        "final": None if diverged_at else epochs[-1],
        "best": None if diverged_at else max(epochs, key=lambda each: each["val_accuracy"]),
        "epochs": epochs,
    }


@torch.inference_mode()
def evaluate(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Mean negative log-likelihood in nats, and accuracy in percent, over all of x (N, C, H, W)."""
    model.eval()
    loss, correct = 0.0, 0
    for some_x, some_y in zip(x.split(EVALUATION_BATCH), y.split(EVALUATION_BATCH), strict=True):
        logits = model(some_x)
        loss += F.cross_entropy(logits, some_y, reduction="sum").item()
        correct += int((logits.argmax(dim=1) == some_y).sum())
    return loss / len(y), 100 * correct / len(y)


def crop_and_flip(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image of x (N, C, H, W) shifted by up to 4 pixels, its edge reflected, and every other one mirrored."""
    count, channels, height, width = x.shape
    padded = F.pad(x, (4, 4, 4, 4), mode="reflect")
    rows = torch.randint(9, (count, 1), generator=generator) + torch.arange(height)
    columns = torch.randint(9, (count, 1), generator=generator) + torch.arange(width)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    image, channel = torch.arange(count)[:, None, None, None], torch.arange(channels)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
