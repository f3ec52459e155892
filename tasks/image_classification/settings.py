"""The settings of a training of torchvision's classifiers, which the ResNets have by default."""

from dataclasses import dataclass

from golu.activations import unknown_name
from workbench.cli.arguments import (
    fraction,
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    unit_float,
)
from workbench.cli.errors import UserError
from workbench.cli.settings import setting
from workbench.training.optimizers import OPTIMIZERS

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
