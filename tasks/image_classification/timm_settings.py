"""The settings of a training as timm's script does it.

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
