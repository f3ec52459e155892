"""python -m tasks.image_classification.train: torchvision's classifiers. `--help` explains every flag."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golu.activations import unknown_name
from workbench.cli.arguments import (
    Parser,
    fraction,
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    unit_float,
)
from workbench.cli.errors import UserError, run
from workbench.cli.settings import add_settings, chosen, configuration, setting
from workbench.training.launch import placed
from workbench.training.loop import Batch, Experiment
from workbench.training.optimizers import OPTIMIZERS, make_optimizer
from workbench.training.program import run_experiment
from workbench.training.sampling import Sampling
from workbench.training.schedules import tabulate
from workbench.vision.evaluation import evaluate
from workbench.vision.files import FromFiles, Transform
from workbench.vision.flags import add_file_flags, add_run_flags, where
from workbench.vision.models import check_input, share_statistics, torchvision_classifier
from workbench.vision.where import Where

if TYPE_CHECKING:
    from accelerate import Accelerator
    from timm.utils import ModelEmaV3

DESCRIPTION = """\
Train a classifier of torchvision on ImageNet-1K or other images. Killed and started again, it goes on.

  torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.train --data-path data/imagenet_1k \\
      --model resnet50 --activation GoLU --seed 0 --sync-bn --workers 8
  python -m tasks.image_classification.train --dataset digits --model resnet18 --train-crop-size 32 \\
      --batch-size 32 --epochs 2 --limit-val 200                  # a minute on a laptop, no download"""

SCHEDULES = ("steplr", "cosineannealinglr", "exponentiallr")
AUTO_AUGMENTS = ("imagenet", "ra", "ta_wide", "augmix")
REPEATS = 3  # of an image in an epoch's order, with --ra-sampler


@dataclass(frozen=True)
class Settings:
    """All that the numbers of a run depend on, with activation and seed; the defaults are those of the ResNets."""

    model: str = setting(str, "resnet50", "any classifier of torchvision")
    epochs: int = setting(positive_int, 90, "passes over the training images")
    batch_size: int = setting(positive_int, 256, "images a step, over all processes and accumulated batches")
    gradient_accumulation_steps: int = setting(positive_int, 1, "batches that each process accumulates for a step")
    opt: str = setting(str, "sgd", f"one of {', '.join(OPTIMIZERS)}")
    lr: float = setting(positive_float, 0.1, "the highest learning rate")
    momentum: float = setting(unit_float, 0.9, "where the optimiser has one")
    wd: float = setting(non_negative_float, 1e-4, "weight decay")
    vector_wd: float | None = setting(non_negative_float, None, "weight decay of biases and norms; none: as all others")
    lr_scheduler: str = setting(str, "steplr", f"one of {', '.join(SCHEDULES)}")
    lr_step_size: int = setting(positive_int, 30, "epochs after which steplr multiplies the rate")
    lr_gamma: float = setting(positive_float, 0.1, "by what steplr and exponentiallr multiply it")
    lr_min: float = setting(non_negative_float, 0.0, "where cosineannealinglr ends")
    lr_warmup_epochs: int = setting(non_negative_int, 0, "epochs of warm-up, before the schedule begins")
    lr_warmup_method: str = setting(str, "constant", "linear (it rises) or constant")
    lr_warmup_decay: float = setting(fraction, 0.01, "what part of the rate warm-up begins with")
    label_smoothing: float = setting(unit_float, 0.0, "of labels")
    mixup_alpha: float = setting(non_negative_float, 0.0, "mixup; 0: none")
    cutmix_alpha: float = setting(non_negative_float, 0.0, "cutmix; 0: none; with both, one of them at random")
    auto_augment: str | None = setting(str, None, f"one of {', '.join(AUTO_AUGMENTS)}")
    random_erase: float = setting(unit_float, 0.0, "how often a rectangle is erased")
    ra_sampler: bool = setting(bool, False, f"repeated augmentation: {REPEATS} versions of an image in a batch")
    train_crop_size: int = setting(positive_int, 224, "side of a training image")
    val_resize_size: int | None = setting(
        positive_int, None, "shorter side of a validation image; none: the crop's 8/7"
    )
    val_crop_size: int | None = setting(positive_int, None, "side of what is cut out of it; none: as in training")
    clip_grad_norm: float | None = setting(positive_float, None, "largest norm of the gradient")
    model_ema: bool = setting(bool, False, "evaluate also the moving average of the weights; it chooses the best epoch")
    model_ema_steps: int = setting(positive_int, 32, "steps between two updates of the moving average")
    model_ema_decay: float = setting(unit_float, 0.99998, "of the moving average, for an update a image and epoch")
    sync_bn: bool = setting(bool, False, "batch statistics over all processes (on GPUs)")
    amp: bool = setting(bool, False, "mixed precision: bfloat16 where it is safe")

    def __post_init__(self) -> None:
        for name, known in {
            "opt": tuple(OPTIMIZERS),
            "lr_scheduler": SCHEDULES,
            "lr_warmup_method": ("linear", "constant"),
            "auto_augment": (None, *AUTO_AUGMENTS),
        }.items():
            if getattr(self, name) not in known:
                raise UserError(unknown_name(name, getattr(self, name), [each for each in known if each]))


def main() -> None:
    parser = Parser("python -m tasks.image_classification.train", DESCRIPTION)
    add_file_flags(parser, ["--data-path"], "folder", Path("data/imagenet_1k"))
    add_run_flags(parser, ["--output-dir"], ["--activation"])
    add_settings(parser, Settings(), also={"wd": ["--weight-decay"]})
    options = parser.parse_args()
    settings, place = chosen(options, Settings()), where(options)
    stored = configuration(settings) | place.choice()
    run_experiment(
        place.run_folder(settings.model), stored, lambda accelerator: make(settings, place, accelerator), place.device
    )


def make(settings: Settings, place: Where, accelerator: Accelerator) -> Experiment:
    """The experiment of this process."""
    with accelerator.main_process_first():  # which may have to download
        split = place.open()
    sampling = Sampling(
        len(split.train),
        settings.batch_size,
        place.seed,
        accelerator.process_index,
        accelerator.num_processes,
        settings.gradient_accumulation_steps,
        REPEATS if settings.ra_sampler else 1,
    )
    model = torchvision_classifier(settings.model, split.classes, place.activation)
    if settings.sync_bn:
        model = share_statistics(model, accelerator)
    model = placed(model, accelerator.device)
    for side in {settings.train_crop_size, settings.val_crop_size or settings.train_crop_size}:
        check_input(model, side, sampling.local_batch)
    ema = _ema(settings, model, sampling.steps_per_epoch)
    optimizer = make_optimizer(settings.opt, model, settings.lr, settings.wd, settings.momentum, settings.vector_wd)
    data = FromFiles(split, _transforms(settings), sampling, accelerator.device, place.workers, place.skip_broken)
    if place.compile:
        model.compile()
    return Experiment(
        model=model,
        optimizer=optimizer,
        rates=epoch_rates(settings),
        epochs=settings.epochs,
        steps_per_epoch=sampling.steps_per_epoch,
        samples_per_step=settings.batch_size,
        seed=place.seed,
        batches=data.training,
        loss=_Loss(settings, split.classes),
        evaluate=lambda model: evaluate(model, data.validation(), accelerator),
        judge="val_accuracy" if ema is None else "ema_val_accuracy",
        clip_norm=settings.clip_grad_norm,
        ema=ema,
        ema_every=settings.model_ema_steps,
        autocast=torch.bfloat16 if settings.amp else None,
        checkpoint_every=place.checkpoint_steps,
    )


def epoch_rates(settings: Settings) -> list[float]:
    """The learning rate of each epoch: warm-up, then the schedule over what is left."""
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


def _ema(settings: Settings, model: nn.Module, steps_per_epoch: int) -> ModelEmaV3 | None:
    """As torchvision's reference: the decay is made for the number of updates, and starts after warm-up."""
    if not settings.model_ema:
        return None
    from timm.utils import ModelEmaV3

    adjust = settings.batch_size * settings.model_ema_steps / settings.epochs
    decay = 1 - min(1.0, (1 - settings.model_ema_decay) * adjust)
    after = settings.lr_warmup_epochs * steps_per_epoch // settings.model_ema_steps
    return ModelEmaV3(model, decay, update_after_step=after)


def _transforms(settings: Settings) -> tuple[Transform, Transform]:
    """Of training and of validation images."""
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
    """Cross-entropy of a training batch, mixed if it shall be, with smoothed labels."""

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


if __name__ == "__main__":
    run(main)
