"""Classification of images that fit in memory."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from tasks.compare.models import build_model
from tasks.compare.problem import Metric
from tasks.compare.recipe import Recipe
from workbench.cli.errors import UserError
from workbench.training import optimizers
from workbench.training.launch import placed
from workbench.training.loop import Experiment
from workbench.training.sampling import Sampling
from workbench.training.schedules import tabulate
from workbench.training.seeding import seed_everything
from workbench.vision.datasets import Images, load_images
from workbench.vision.evaluation import evaluate
from workbench.vision.in_memory import InMemory

if TYPE_CHECKING:
    from accelerate import Accelerator

ACCURACY = Metric("val_accuracy", "accuracy (%)", "accuracy: on the validation images", "in percentage points")


class ImageProblem:
    """A Problem; its learning rate falls to 0 along a cosine, step by step."""

    metrics = (ACCURACY,)
    autocast = None

    def __init__(self, recipe: Recipe, images: Images) -> None:
        if len(images.train_y) < recipe.batch_size:
            raise UserError(f"--batch-size {recipe.batch_size} is more than the {len(images.train_y)} training images")
        self._recipe, self._images = recipe, images
        self.size = f"{len(images.train_y)} training and {len(images.val_y)} validation images"
        self.steps = recipe.epochs * (len(images.train_y) // recipe.batch_size)
        self.configuration: dict[str, Any] = asdict(recipe)

    def initial_model(self, activation: str, seed: int) -> nn.Module:
        seed_everything(seed)
        _, channels, height, width = self._images.train_x.shape
        model = build_model(self._recipe.model, (channels, height, width), self._images.classes, activation)
        return placed(model, self._images.train_x.device)

    def make_optimizer(self, model: nn.Module) -> Optimizer:
        """AdamW; its weight decay leaves biases, norms and what an activation learns (PReLU's slope) alone."""
        recipe = self._recipe
        return optimizers.make_optimizer("adamw", model, recipe.lr, recipe.weight_decay, vector_weight_decay=0.0)

    def a_batch(self) -> tuple[Tensor, Tensor]:
        count = self._recipe.batch_size
        return self._images.train_x[:count].clone(), self._images.train_y[:count].clone()

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    def experiment(self, activation: str, seed: int, accelerator: Accelerator) -> Experiment:
        recipe, images = self._recipe, self._images
        model = self.initial_model(activation, seed)
        sampling = Sampling(len(images.train_y), recipe.batch_size, seed)
        data = InMemory(images, sampling, recipe.augment)
        return Experiment(
            model=model,
            optimizer=self.make_optimizer(model),
            rates=tabulate(recipe.lr, self.steps, lambda optimizer: CosineAnnealingLR(optimizer, self.steps)),
            epochs=recipe.epochs,
            steps_per_epoch=sampling.steps_per_epoch,
            samples_per_step=recipe.batch_size,
            seed=seed,
            batches=data.training,
            loss=self.loss,
            evaluate=lambda model: evaluate(model, data.validation(), accelerator),
        )


def open_images(recipe: Recipe, data_dir: Path) -> ImageProblem:
    """The problem of a recipe, its images on the recipe's device."""
    images = load_images(recipe.dataset, data_dir, recipe.limit_train, recipe.limit_val)
    return ImageProblem(recipe, images.to(recipe.device))
