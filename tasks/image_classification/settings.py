"""Define the settings of a training of torchvision's classifiers; the defaults are those of the ResNets."""

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
    """Hold all that the numbers of a run depend on, with activation and seed; the defaults are those of the ResNets."""

    model: str = setting(str, "resnet50", "model: any classifier of torchvision")
    epochs: int = setting(positive_int, 90, "number of epochs")
    batch_size: int = setting(positive_int, 256, "images in a step, over all processes and accumulated batches")
    gradient_accumulation_steps: int = setting(positive_int, 1, "number of accumulated batches in each process")
    opt: str = setting(str, "sgd", f"optimiser: one of {', '.join(OPTIMIZERS)}")
    lr: float = setting(positive_float, 0.1, "highest learning rate")
    momentum: float = setting(unit_float, 0.9, "momentum of the optimiser")
    wd: float = setting(non_negative_float, 1e-4, "weight decay")
    vector_wd: float | None = setting(non_negative_float, None, "weight decay of biases and norms; none: as all others")
    lr_scheduler: str = setting(str, "steplr", f"schedule of the learning rate: one of {', '.join(SCHEDULES)}")
    lr_step_size: int = setting(positive_int, 30, "epochs after which steplr lowers the learning rate")
    lr_gamma: float = setting(positive_float, 0.1, "factor of steplr and exponentiallr on the learning rate")
    lr_min: float = setting(non_negative_float, 0.0, "last learning rate of cosineannealinglr")
    lr_warmup_epochs: int = setting(non_negative_int, 0, "warm-up epochs, before the schedule begins")
    lr_warmup_method: str = setting(str, "constant", "learning rate in warm-up: linear (it rises) or constant")
    lr_warmup_decay: float = setting(fraction, 0.01, "fraction of the learning rate with which warm-up begins")
    label_smoothing: float = setting(unit_float, 0.0, "label smoothing; 0 turns it off")
    mixup_alpha: float = setting(non_negative_float, 0.0, "alpha of mixup; 0 turns it off")
    cutmix_alpha: float = setting(non_negative_float, 0.0, "alpha of cutmix; 0 turns it off; with both, one at random")
    auto_augment: str | None = setting(str, None, f"automatic augmentation: one of {', '.join(AUTO_AUGMENTS)}")
    random_erase: float = setting(unit_float, 0.0, "probability with which a rectangle of an image is erased")
    ra_sampler: bool = setting(bool, False, f"repeated augmentation: {REPEATS} versions of an image in a batch")
    train_crop_size: int = setting(positive_int, 224, "side of a training image in pixels")
    val_resize_size: int | None = setting(
        positive_int, None, "shorter side of a validation image in pixels, before it is cropped; none: 8/7 of the crop"
    )
    val_crop_size: int | None = setting(positive_int, None, "side of a validation crop in pixels; none: as in training")
    clip_grad_norm: float | None = setting(positive_float, None, "gradient clipping: largest norm; none: off")
    model_ema: bool = setting(bool, False, "also evaluate the weights' moving average; it chooses the best epoch")
    model_ema_steps: int = setting(positive_int, 32, "steps between updates of the moving average")
    model_ema_decay: float = setting(unit_float, 0.99998, "decay of the moving average, for one image and one epoch")
    sync_bn: bool = setting(bool, False, "share batch norm statistics over all processes (on GPUs)")
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
