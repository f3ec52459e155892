"""Train torchvision's classifiers on images from files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.image_classification.settings import REPEATS, Settings
from workbench.training.launch import Machine, process_count, to_device
from workbench.training.optimizers import make_optimizer
from workbench.training.schedules import tabulate
from workbench.training.task import Source
from workbench.training.weights import Weights
from workbench.vision.classification import Batch
from workbench.vision.file_classification import FileClassification
from workbench.vision.models import check_input, torchvision_classifier
from workbench.vision.reading import Transform
from workbench.vision.weights import torchvision_weights

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


class TorchvisionClassification(FileClassification):
    """Train a classifier of torchvision as torchvision's reference does."""

    settings: Settings

    def __init__(self, settings: Settings, source: Source, machine: Machine) -> None:
        super().__init__(settings, source, machine)
        self.epochs, self.batch_size = settings.epochs, settings.batch_size
        self.accumulation = settings.gradient_accumulation_steps
        self.repeats = REPEATS if settings.ra_sampler else 1
        self.clip_norm, self.ema_every = settings.clip_grad_norm, settings.model_ema_steps
        self.sync_batch_norm = settings.sync_bn
        self.autocast = torch.bfloat16 if settings.amp else None

    def open(self, device: torch.device) -> None:
        super().open(device)
        self.transforms = _transforms(self.settings)
        self._loss = _Loss(self.settings, self.classes)

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        super().restore(state, device)
        self.transforms = _transforms(self.settings)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        side = self.settings.val_crop_size or self.settings.train_crop_size
        return 3, side, side

    def model(self, activation: str) -> nn.Module:
        s = self.settings
        model = to_device(torchvision_classifier(s.model, self.classes, activation), self.device)
        for side in {s.train_crop_size, s.val_crop_size or s.train_crop_size}:
            check_input(model, side, self.batch_size // (self.accumulation * process_count()))
        return model

    def published(self, name: str) -> Weights:
        return torchvision_weights(name, self.settings.model)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        s = self.settings
        return make_optimizer(s.opt, model, s.lr, s.wd, s.momentum, s.vector_wd)

    def rates(self, steps_per_epoch: int) -> list[float]:
        return epoch_rates(self.settings)

    def average(self, model: nn.Module, steps_per_epoch: int) -> ModelEmaV3 | None:
        """Average after warm-up as torchvision's reference does, with a decay made for the number of updates."""
        settings = self.settings
        if not settings.model_ema:
            return None
        from timm.utils import ModelEmaV3

        adjust = settings.batch_size * settings.model_ema_steps / settings.epochs
        decay = 1 - min(1.0, (1 - settings.model_ema_decay) * adjust)
        after = settings.lr_warmup_epochs * steps_per_epoch // settings.model_ema_steps
        return ModelEmaV3(model, decay, update_after_step=after)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return self._loss(model, batch)


def epoch_rates(settings: Settings) -> list[float]:
    """Return the learning rate of each epoch: warm-up, then the schedule over what is left."""
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import (
        ConstantLR,
        CosineAnnealingLR,
        ExponentialLR,
        LinearLR,
        LRScheduler,
        SequentialLR,
        StepLR,
    )

    def schedule(optimizer: Optimizer) -> LRScheduler:
        if settings.lr_scheduler == "steplr":
            return StepLR(optimizer, settings.lr_step_size, settings.lr_gamma)
        if settings.lr_scheduler == "exponentiallr":
            return ExponentialLR(optimizer, settings.lr_gamma)
        return CosineAnnealingLR(optimizer, max(1, settings.epochs - settings.lr_warmup_epochs), settings.lr_min)

    def warmed_up(optimizer: Optimizer) -> LRScheduler:
        if not settings.lr_warmup_epochs:
            return schedule(optimizer)
        warm_up = (LinearLR if settings.lr_warmup_method == "linear" else ConstantLR)(
            optimizer, settings.lr_warmup_decay, total_iters=settings.lr_warmup_epochs
        )
        return SequentialLR(optimizer, [warm_up, schedule(optimizer)], [settings.lr_warmup_epochs])

    return tabulate(settings.lr, settings.epochs, warmed_up)


def _transforms(settings: Settings) -> tuple[Transform, Transform]:
    """Make the transforms of training and of validation images."""
    from torchvision.transforms import v2

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    policies = {
        "ra": lambda: v2.RandAugment(),
        "ta_wide": lambda: v2.TrivialAugmentWide(),
        "augmix": lambda: v2.AugMix(),
        "imagenet": lambda: v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET),
    }
    to_tensor = [v2.PILToTensor(), v2.ToDtype(torch.float, scale=True), v2.Normalize(mean, std)]
    crop = settings.val_crop_size or settings.train_crop_size
    train = v2.Compose(
        [
            v2.RandomResizedCrop(settings.train_crop_size),
            v2.RandomHorizontalFlip(),
            *([policies[settings.auto_augment]()] if settings.auto_augment else []),
            *to_tensor,
            *([v2.RandomErasing(settings.random_erase)] if settings.random_erase else []),
        ]
    )
    val = v2.Compose([v2.Resize(settings.val_resize_size or math.ceil(crop * 8 / 7)), v2.CenterCrop(crop), *to_tensor])
    return train, val


class _Loss:
    """Compute the cross-entropy of a training batch, with mixup or cutmix if set, and smoothed labels."""

    def __init__(self, settings: Settings, classes: int) -> None:
        from torchvision.transforms import v2

        self._smoothing = settings.label_smoothing
        alphas = ((v2.MixUp, settings.mixup_alpha), (v2.CutMix, settings.cutmix_alpha))
        self._mixes = [mix(alpha=alpha, num_classes=classes) for mix, alpha in alphas if alpha > 0]

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        x, y = batch
        if self._mixes:
            x, y = self._mixes[int(torch.randint(len(self._mixes), ()))](x, y)
        return F.cross_entropy(model(x), y, label_smoothing=self._smoothing)
