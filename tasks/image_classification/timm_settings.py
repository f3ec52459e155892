"""Define the settings of a training as timm's script does it.

They are named as timm's flags, and mean the same, but for one thing: the last batch of an epoch is left out.
"""

import math
from dataclasses import dataclass

from golu.activations import unknown_name
from workbench.cli.arguments import (
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    unit_float,
)
from workbench.cli.errors import UserError
from workbench.cli.settings import setting, several


@dataclass(frozen=True)
class Settings:
    """Hold all that the numbers of a run depend on, with activation and seed."""

    model: str = setting(str, "resnet50", "model: any of timm's")
    img_size: int | None = setting(
        positive_int, None, "side in pixels of the square that images are resized to; none: the model's"
    )
    epochs: int = setting(positive_int, 300, "number of epochs")
    batch_size: int = setting(positive_int, 128, "images in a batch, in each process")
    grad_accum_steps: int = setting(positive_int, 1, "number of accumulated batches in each process")
    opt: str = setting(str, "sgd", "optimiser: any of timm's; sgd has Nesterov momentum, momentum has not")
    opt_eps: float | None = setting(positive_float, None, "epsilon of the optimiser (none: its own)")
    opt_betas: tuple[float, ...] | None = several(unit_float, None, "betas of the optimiser (none: its own)")
    momentum: float = setting(unit_float, 0.9, "momentum of the optimiser")
    weight_decay: float = setting(non_negative_float, 2e-5, "weight decay of all but biases and norms")
    layer_decay: float | None = setting(positive_float, None, "a layer's learning rate is this times the next one's")
    clip_grad: float | None = setting(positive_float, None, "gradient clipping: largest norm; none: off")
    lr: float | None = setting(positive_float, None, "learning rate (none: from lr_base)")
    lr_base: float = setting(positive_float, 0.1, "learning rate for an overall batch of lr_base_size")
    lr_base_size: int = setting(positive_int, 256, "overall batch size that lr_base is for")
    lr_base_scale: str | None = setting(
        str, None, "how lr_base grows with the overall batch: linear or sqrt (none: sqrt for ada... and lamb, as timm)"
    )
    sched: str = setting(str, "cosine", "cosine, step, poly, tanh or constant")
    sched_on_updates: bool = setting(bool, False, "change the learning rate at each step, not each epoch")
    warmup_lr: float = setting(non_negative_float, 1e-5, "learning rate at the start of warm-up")
    warmup_epochs: int = setting(non_negative_int, 5, "warm-up epochs, in which the learning rate rises linearly")
    min_lr: float = setting(non_negative_float, 0.0, "lowest learning rate, at the end")
    decay_epochs: float = setting(positive_float, 90.0, "epochs between two drops of the step schedule")
    decay_rate: float = setting(positive_float, 0.1, "factor of each drop of the step schedule")
    drop: float | None = setting(unit_float, None, "probability of dropout")
    drop_path: float | None = setting(unit_float, None, "probability of dropping a path (stochastic depth)")
    smoothing: float = setting(unit_float, 0.1, "label smoothing; 0 turns it off")
    mixup: float = setting(non_negative_float, 0.0, "alpha of mixup; 0 turns it off")
    cutmix: float = setting(non_negative_float, 0.0, "alpha of cutmix; 0 turns it off")
    mixup_prob: float = setting(unit_float, 1.0, "probability with which a batch is mixed by mixup or cutmix")
    mixup_switch_prob: float = setting(unit_float, 0.5, "probability of cutmix instead of mixup, if both are on")
    aa: str | None = setting(str, None, "automatic augmentation, such as rand-m9-mstd0.5")
    color_jitter: float = setting(non_negative_float, 0.4, "strength of colour jitter, without automatic augmentation")
    hflip: float = setting(unit_float, 0.5, "probability with which an image is mirrored")
    reprob: float = setting(unit_float, 0.0, "probability with which a rectangle of an image is erased")
    remode: str = setting(str, "pixel", "filling of erased rectangles: pixel (noise), rand (a colour) or const (black)")
    crop_pct: float | None = setting(
        positive_float, None, "fraction of the resized validation image that the crop keeps; none: the model's"
    )
    interpolation: str | None = setting(str, None, "interpolation of resizing (none: the model's; random in training)")
    model_ema: bool = setting(
        bool, False, "also evaluate the moving average of the weights, and choose the best epoch by it"
    )
    model_ema_decay: float = setting(unit_float, 0.9998, "decay of the moving average of the weights")
    sync_bn: bool = setting(bool, False, "share batch norm statistics over all processes (on GPUs)")
    amp: bool = setting(bool, False, "mixed precision, in --amp-dtype")
    amp_dtype: str = setting(str, "bfloat16", "data type of mixed precision: bfloat16 or float16")

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
        """Return `lr`, or what lr_base gives for so large a batch."""
        if self.lr is not None:
            return self.lr
        adaptive = any(each in self.opt for each in ("ada", "lamb"))
        scale = self.lr_base_scale or ("sqrt" if adaptive else "linear")
        ratio = overall_batch / self.lr_base_size
        return self.lr_base * (math.sqrt(ratio) if scale == "sqrt" else ratio)
