"""One run: one activation and one seed, from the first weights to the last epoch."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from tasks.classification.evaluation import evaluate
from tasks.classification.in_memory import InMemory
from tasks.compare.models import build_model
from tasks.compare.recipe import Recipe
from tasks.engine import optimizers
from tasks.engine.images import Images
from tasks.engine.launch import launched, placed
from tasks.engine.loop import Experiment
from tasks.engine.loop import train as run_loop
from tasks.engine.sampling import Sampling
from tasks.engine.schedules import tabulate
from tasks.engine.seeding import seed_everything


def initial_model(recipe: Recipe, images: Images, activation: str, seed: int) -> nn.Module:
    """The model as training starts from it, on the images' device: the same weights whatever the activation."""
    seed_everything(seed)
    _, channels, height, width = images.train_x.shape
    model = build_model(recipe.model, (channels, height, width), images.classes, activation)
    return placed(model, images.train_x.device)


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW; its weight decay leaves biases, norms and what an activation learns (PReLU's slope) alone."""
    return optimizers.make_optimizer("adamw", model, recipe.lr, recipe.weight_decay, vector_weight_decay=0.0)


def train(
    recipe: Recipe, images: Images, activation: str, seed: int, after_step: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Train once and return what happened: every epoch, the final one, and the best one (optimistic, being chosen
    by what it reports). At a loss that is no finite number the run ends as diverged: final and best are None.
    """
    model = initial_model(recipe, images, activation, seed)
    sampling = Sampling(len(images.train_y), recipe.batch_size, seed)
    steps = recipe.epochs * sampling.steps_per_epoch
    data = InMemory(images, sampling, recipe.augment)
    with launched(recipe.device) as accelerator:
        experiment = Experiment(
            model=model,
            optimizer=make_optimizer(recipe, model),
            rates=tabulate(recipe.lr, steps, lambda optimizer: CosineAnnealingLR(optimizer, steps)),
            epochs=recipe.epochs,
            steps_per_epoch=sampling.steps_per_epoch,
            samples_per_step=recipe.batch_size,
            seed=seed,
            batches=data.training,
            loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
            evaluate=lambda model: evaluate(model, data.validation(), accelerator),
        )
        outcome = run_loop(experiment, accelerator, after_step=after_step)
    seconds = outcome.pop("train_seconds") + outcome.pop("inference_seconds")
    return {"activation": activation, "seed": seed, "seconds": seconds, **outcome}
