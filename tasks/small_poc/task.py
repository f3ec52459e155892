"""Train small models on small images, which are held in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from golu.activations import unknown_name
from tasks.small_poc.models import build_model
from tasks.small_poc.recipes import epoch_rates
from tasks.small_poc.settings import Settings
from workbench.cli.errors import UserError
from workbench.training.launch import Machine, to_device
from workbench.training.optimizers import make_optimizer
from workbench.training.sampling import Sampling
from workbench.training.schedules import tabulate
from workbench.training.task import Source
from workbench.vision.classification import Batch, Classification
from workbench.vision.datasets import CLASSES, DATASETS, Images, load_images
from workbench.vision.in_memory import InMemory

if TYPE_CHECKING:
    from PIL.Image import Image


class SmallImages(Classification):
    """Train the CIFAR models, MLPs and small convolutional networks.

    Raises:
        UserError: there is no such data set.
    """

    settings: Settings
    shape: tuple[int, int, int]  # of an image, once the data are open

    def __init__(self, settings: Settings, source: Source, machine: Machine) -> None:
        super().__init__(settings, source, machine)
        if source.dataset not in DATASETS:
            raise UserError(unknown_name("dataset", source.dataset, DATASETS))
        self.epochs, self.batch_size = settings.epochs, settings.batch_size
        self.autocast = torch.bfloat16 if settings.amp else None

    def open(self, device: torch.device) -> None:
        source = self.source
        self.take(load_images(source.dataset, source.data, source.limit_train, source.limit_val, device))

    def take(self, images: Images) -> None:
        """Take these images, wherever they are, as the data."""
        self.images, self.classes, self.names = images, images.classes, CLASSES[self.source.dataset]
        self.shape = tuple(images.train_x.shape[1:])
        self.mean, self.std, self.device = images.mean, images.std, images.train_x.device
        self.count, self.val_count = len(images.train_y), len(images.val_y)
        self._batches = InMemory(images, self.settings.augment)

    @property
    def extras(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Return what a picture has to become, beside the names of the classes."""
        return {**super().extras, "shape": list(self.shape), "mean": list(self.mean), "std": list(self.std)}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        super().restore(state, device)
        extras, self.device = state["extras"], device
        self.shape, self.mean, self.std = tuple(extras["shape"]), extras["mean"], extras["std"]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self.shape

    def prepare(self, picture: Image) -> Tensor:
        """Bring a picture to the size and the colours of those that the model was trained on."""
        from torchvision.transforms.functional import normalize, pil_to_tensor

        channels, height, width = self.shape
        picture = picture.convert("L" if channels == 1 else "RGB").resize((width, height))
        return normalize(pil_to_tensor(picture).float(), self.mean, self.std)

    def fingerprint(self) -> str:
        return self.images.fingerprint

    def model(self, activation: str) -> nn.Module:
        return to_device(build_model(self.settings.model, self.shape, self.classes, activation), self.device)

    def optimizer(self, model: nn.Module) -> Optimizer:
        s = self.settings
        return make_optimizer(s.opt, model, s.lr, s.weight_decay, s.momentum, s.vector_weight_decay)

    def rates(self, steps_per_epoch: int) -> list[float]:
        if self.settings.schedule == "milestones":
            return epoch_rates(self.settings)
        steps = self.epochs * steps_per_epoch
        return tabulate(self.settings.lr, steps, lambda optimizer: CosineAnnealingLR(optimizer, steps))

    def training(self, sampling: Sampling, epoch: int, first: int) -> Iterator[list[Batch]]:
        return self._batches.training(sampling, epoch, first)

    def validation(self, sampling: Sampling) -> Iterator[Batch]:
        return self._batches.validation(sampling)

    def example(self) -> Batch:
        count = self.batch_size
        return self.images.train_x[:count].clone(), self.images.train_y[:count].clone()
