"""Train models of timm on images from files, as timm's script does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.image_classification.timm_settings import Settings
from workbench.cli.errors import UserError
from workbench.training.launch import Machine, process_count, to_device
from workbench.training.schedules import tabulate_timm
from workbench.training.task import Source
from workbench.training.weights import Weights
from workbench.vision.classification import Batch
from workbench.vision.file_classification import FileClassification
from workbench.vision.models import check_input, timm_classifier
from workbench.vision.reading import Join, Transform
from workbench.vision.weights import timm_weights

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3


class TimmClassification(FileClassification):
    """Train any model of timm; its batch size is that of a process, as timm's is."""

    settings: Settings

    def __init__(self, settings: Settings, source: Source, machine: Machine) -> None:
        super().__init__(settings, source, machine)
        self.epochs, self.accumulation = settings.epochs, settings.grad_accum_steps
        self.batch_size = settings.batch_size * settings.grad_accum_steps * process_count()
        self.lr = settings.learning_rate(self.batch_size)
        self.clip_norm, self.sync_batch_norm = settings.clip_grad, settings.sync_bn
        self.autocast = getattr(torch, settings.amp_dtype) if settings.amp else None

    def configuration(self) -> dict[str, Any]:
        return super().configuration() | {"overall_batch": self.batch_size, "lr": self.lr}

    def open(self, device: torch.device) -> None:
        super().open(device)
        self._loss = _Loss(self.settings, self.classes)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return 3, self._side, self._side

    def model(self, activation: str) -> nn.Module:
        s = self.settings
        regularisation = {"drop_rate": s.drop, "drop_path_rate": s.drop_path}
        model = timm_classifier(s.model, self.classes, activation, s.img_size, **regularisation)
        model = to_device(model, self.device)
        self.transforms, self._side = _transforms(s, model)
        check_input(model, self._side, s.batch_size)
        return model

    def joins(self) -> tuple[Join, Join]:
        if not hasattr(self, "transforms"):  # they are the model's, and none has been made
            self.model("ReLU")
        return super().joins()

    def published(self, name: str) -> Weights:
        return timm_weights(name, self.settings.model, self.settings.img_size)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        from timm.optim import create_optimizer_v2

        settings = self.settings
        given = {"eps": settings.opt_eps, "betas": settings.opt_betas, "layer_decay": settings.layer_decay}
        given = {name: value for name, value in given.items() if value is not None}
        try:
            return create_optimizer_v2(model, settings.opt, self.lr, settings.weight_decay, settings.momentum, **given)
        except (AssertionError, ValueError, TypeError, RuntimeError, ImportError) as error:
            raise UserError(f"the optimiser {settings.opt} cannot be made with {given}: {error}") from error

    def rates(self, steps_per_epoch: int) -> list[float]:
        s = self.settings
        return tabulate_timm(
            self.lr,
            steps_per_epoch,
            sched=s.sched,
            num_epochs=s.epochs,
            decay_epochs=s.decay_epochs,
            decay_rate=s.decay_rate,
            warmup_lr=s.warmup_lr,
            warmup_epochs=s.warmup_epochs,
            min_lr=s.min_lr,
            step_on_epochs=not s.sched_on_updates,
        )

    def average(self, model: nn.Module, steps_per_epoch: int) -> ModelEmaV3 | None:
        from timm.utils import ModelEmaV3

        return ModelEmaV3(model, self.settings.model_ema_decay) if self.settings.model_ema else None

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return self._loss(model, batch)


def _transforms(settings: Settings, model: nn.Module) -> tuple[tuple[Transform, Transform], int]:
    """Make the transforms of training and of validation images, and the side of what they give."""
    from timm.data import create_transform, resolve_data_config

    config = resolve_data_config(
        {"img_size": settings.img_size, "crop_pct": settings.crop_pct, "interpolation": settings.interpolation or ""},
        model=model,
    )
    common = {name: config[name] for name in ("input_size", "mean", "std")}
    try:
        train = create_transform(
            **common,
            is_training=True,
            interpolation=settings.interpolation or "random",
            auto_augment=settings.aa,
            color_jitter=settings.color_jitter,
            hflip=settings.hflip,
            re_prob=settings.reprob,
            re_mode=settings.remode,
        )
        val = create_transform(**common, interpolation=config["interpolation"], crop_pct=config["crop_pct"])
    except (AssertionError, KeyError, ValueError) as error:
        given = f"--aa {settings.aa}, --interpolation {settings.interpolation}"
        raise UserError(f"timm makes no augmentation of {given}: {error!r}") from error
    return (train, val), config["input_size"][-1]


class _Loss:
    """Compute the cross-entropy of a training batch, with mixup or cutmix if set, and smoothed labels."""

    def __init__(self, settings: Settings, classes: int) -> None:
        from timm.data import Mixup

        self._smoothing = settings.smoothing
        self._mix = None
        if settings.mixup > 0 or settings.cutmix > 0:
            self._mix = Mixup(
                settings.mixup,
                settings.cutmix,
                prob=settings.mixup_prob,
                switch_prob=settings.mixup_switch_prob,
                label_smoothing=settings.smoothing,
                num_classes=classes,
            )

    def __call__(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        x, y = batch
        even = len(x) - len(x) % 2  # mixing pairs images; a file that was left out can make their number odd
        if self._mix is None or even == 0:
            return F.cross_entropy(model(x), y, label_smoothing=self._smoothing)
        x, mixed = self._mix(x[:even], y[:even])
        return F.cross_entropy(model(x), mixed)
