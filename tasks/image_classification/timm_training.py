"""Training as timm's script does it, for the programs that are run so; each gives its settings to `run_timm`.

Settings are named as timm's flags, and mean the same, but for one thing: the last batch of an epoch is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from golu.activations import unknown_name
from workbench.cli.arguments import (
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    unit_float,
)
from workbench.cli.errors import UserError
from workbench.cli.settings import configuration, setting, several
from workbench.training.launch import placed, process_count
from workbench.training.loop import Batch, Experiment
from workbench.training.program import run_experiment
from workbench.training.sampling import Sampling
from workbench.training.schedules import tabulate_timm
from workbench.vision.evaluation import evaluate
from workbench.vision.files import FromFiles, Transform
from workbench.vision.models import check_input, share_statistics, timm_classifier
from workbench.vision.where import Where

if TYPE_CHECKING:
    from accelerate import Accelerator
    from timm.utils import ModelEmaV3


@dataclass(frozen=True)
class Settings:
    """All that the numbers of a run depend on, with activation and seed."""

    model: str = setting(str, "resnet50", "any of timm's")
    img_size: int | None = setting(
        positive_int, None, "side of the square that images are brought to; none: the model's"
    )
    epochs: int = setting(positive_int, 300, "passes over the training images")
    batch_size: int = setting(positive_int, 128, "images of a batch, in each process")
    grad_accum_steps: int = setting(positive_int, 1, "batches that each process accumulates for a step")
    opt: str = setting(str, "sgd", "any optimiser of timm; sgd has Nesterov momentum, momentum has not")
    opt_eps: float | None = setting(positive_float, None, "epsilon of the optimiser (none: its own)")
    opt_betas: tuple[float, ...] | None = several(unit_float, None, "betas of the optimiser (none: its own)")
    momentum: float = setting(unit_float, 0.9, "where the optimiser has one")
    weight_decay: float = setting(non_negative_float, 2e-5, "of all but biases and norms")
    layer_decay: float | None = setting(positive_float, None, "a layer's learning rate is this times the next one's")
    clip_grad: float | None = setting(positive_float, None, "largest norm of the gradient")
    lr: float | None = setting(positive_float, None, "learning rate (none: from lr_base)")
    lr_base: float = setting(positive_float, 0.1, "learning rate for an overall batch of lr_base_size")
    lr_base_size: int = setting(positive_int, 256, "the overall batch that lr_base is for")
    lr_base_scale: str | None = setting(
        str, None, "linear or sqrt in the overall batch (none: sqrt for ada... and lamb, as timm)"
    )
    sched: str = setting(str, "cosine", "cosine, step, poly, tanh or constant")
    sched_on_updates: bool = setting(bool, False, "change the rate at each step, not each epoch")
    warmup_lr: float = setting(non_negative_float, 1e-5, "learning rate at the start")
    warmup_epochs: int = setting(non_negative_int, 5, "over which it rises linearly")
    min_lr: float = setting(non_negative_float, 0.0, "where it ends")
    decay_epochs: float = setting(positive_float, 90.0, "between two steps of the step schedule")
    decay_rate: float = setting(positive_float, 0.1, "by which the step schedule multiplies")
    drop: float | None = setting(unit_float, None, "dropout")
    drop_path: float | None = setting(unit_float, None, "stochastic depth")
    smoothing: float = setting(unit_float, 0.1, "of labels")
    mixup: float = setting(non_negative_float, 0.0, "alpha; 0: none")
    cutmix: float = setting(non_negative_float, 0.0, "alpha; 0: none")
    mixup_prob: float = setting(unit_float, 1.0, "how often a batch is mixed")
    mixup_switch_prob: float = setting(unit_float, 0.5, "how often by cutmix, if both are on")
    aa: str | None = setting(str, None, "automatic augmentation, as rand-m9-mstd0.5")
    color_jitter: float = setting(non_negative_float, 0.4, "strength, without automatic augmentation")
    hflip: float = setting(unit_float, 0.5, "how often images are mirrored")
    reprob: float = setting(unit_float, 0.0, "how often a rectangle is erased")
    remode: str = setting(str, "pixel", "what it is filled with: pixel (noise), rand (a colour) or const (black)")
    crop_pct: float | None = setting(
        positive_float, None, "of the resized validation image that is kept; none: the model's"
    )
    interpolation: str | None = setting(str, None, "of resizing (none: the model's, and at random in training)")
    model_ema: bool = setting(
        bool, False, "evaluate also the moving average of the weights, and choose the best epoch by it"
    )
    model_ema_decay: float = setting(unit_float, 0.9998, "of the moving average")
    sync_bn: bool = setting(bool, False, "batch statistics over all processes")
    amp: bool = setting(bool, False, "mixed precision")
    amp_dtype: str = setting(str, "bfloat16", "bfloat16 or float16")

    def __post_init__(self) -> None:
        from timm.optim import list_optimizers

        choices = {
            "sched": ("cosine", "step", "poly", "tanh", "constant"),
            "remode": ("pixel", "rand", "const"),
            "amp_dtype": ("bfloat16", "float16"),
            "lr_base_scale": (None, "linear", "sqrt"),
            "opt": tuple(each for each in list_optimizers() if each != "adahessian"),  # it needs second derivatives
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UserError(unknown_name(name, getattr(self, name), [each for each in known if each]))
        if self.opt_betas is not None and (len(self.opt_betas) != 2 or max(self.opt_betas) >= 1):
            raise UserError(f"--opt-betas takes two numbers below 1, not {' '.join(map(str, self.opt_betas))}")
        if (self.mixup > 0 or self.cutmix > 0) and self.batch_size % 2:
            raise UserError(f"mixup and cutmix pair images: a batch of {self.batch_size} is odd")

    def learning_rate(self, overall_batch: int) -> float:
        """`lr`, or what lr_base is for so large a batch."""
        if self.lr is not None:
            return self.lr
        adaptive = any(each in self.opt for each in ("ada", "lamb"))
        scale = self.lr_base_scale or ("sqrt" if adaptive else "linear")
        ratio = overall_batch / self.lr_base_size
        return self.lr_base * (math.sqrt(ratio) if scale == "sqrt" else ratio)


def run_timm(settings: Settings, where: Where) -> None:
    """Train, or go on, and store everything in <results>/<dataset>/<model>/<activation>."""
    overall = settings.batch_size * settings.grad_accum_steps * process_count()
    stored = configuration(settings) | where.choice()
    stored |= {"overall_batch": overall, "lr": settings.learning_rate(overall)}
    folder = where.run_folder(settings.model)
    notes = {"run_name": where.run_name} if where.run_name else {}
    run_experiment(folder, stored, lambda accelerator: _make(settings, where, accelerator), where.device, notes)


def _make(settings: Settings, where: Where, accelerator: Accelerator) -> Experiment:
    from timm.optim import create_optimizer_v2

    with accelerator.main_process_first():  # which may have to download
        split = where.open()
    overall = settings.batch_size * settings.grad_accum_steps * accelerator.num_processes
    sampling = Sampling(
        len(split.train),
        overall,
        where.seed,
        accelerator.process_index,
        accelerator.num_processes,
        settings.grad_accum_steps,
    )
    model = _model(settings, where, split.classes, accelerator)
    given = {"eps": settings.opt_eps, "betas": settings.opt_betas, "layer_decay": settings.layer_decay}
    lr = settings.learning_rate(overall)
    given = {name: value for name, value in given.items() if value is not None}
    try:
        optimizer = create_optimizer_v2(model, settings.opt, lr, settings.weight_decay, settings.momentum, **given)
    except (AssertionError, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise UserError(f"the optimiser {settings.opt} cannot be made with {given}: {error}") from error
    rates = _rates(settings, lr, sampling.steps_per_epoch)
    transforms, side = _transforms(settings, model)
    check_input(model, side, settings.batch_size)
    data = FromFiles(split, transforms, sampling, accelerator.device, where.workers, where.skip_broken)
    ema = _ema(settings, model)
    if where.compile:
        model.compile()
    return Experiment(
        model=model,
        optimizer=optimizer,
        rates=rates,
        epochs=settings.epochs,
        steps_per_epoch=sampling.steps_per_epoch,
        samples_per_step=overall,
        seed=where.seed,
        batches=data.training,
        loss=_Loss(settings, split.classes),
        evaluate=lambda model: evaluate(model, data.validation(), accelerator),
        judge="val_accuracy" if ema is None else "ema_val_accuracy",
        clip_norm=settings.clip_grad,
        ema=ema,
        autocast=getattr(torch, settings.amp_dtype) if settings.amp else None,
        checkpoint_every=where.checkpoint_steps,
    )


def _model(settings: Settings, where: Where, classes: int, accelerator: Accelerator) -> nn.Module:
    model = timm_classifier(
        settings.model,
        classes,
        where.activation,
        settings.img_size,
        drop_rate=settings.drop,
        drop_path_rate=settings.drop_path,
    )
    if settings.sync_bn:
        model = share_statistics(model, accelerator)
    return placed(model, accelerator.device)


def _rates(settings: Settings, lr: float, steps_per_epoch: int) -> list[float]:
    return tabulate_timm(
        lr,
        steps_per_epoch,
        sched=settings.sched,
        num_epochs=settings.epochs,
        decay_epochs=settings.decay_epochs,
        decay_rate=settings.decay_rate,
        warmup_lr=settings.warmup_lr,
        warmup_epochs=settings.warmup_epochs,
        min_lr=settings.min_lr,
        step_on_epochs=not settings.sched_on_updates,
    )


def _ema(settings: Settings, model: nn.Module) -> ModelEmaV3 | None:
    from timm.utils import ModelEmaV3

    return ModelEmaV3(model, settings.model_ema_decay) if settings.model_ema else None


def _transforms(settings: Settings, model: nn.Module) -> tuple[tuple[Transform, Transform], int]:
    """Of training and of validation images, and the side of what they give."""
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
    """Cross-entropy of a training batch, mixed if it shall be, with smoothed labels."""

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
