"""Define the settings of a training of a diffusion model; recipes.py has named sets of them."""

from dataclasses import dataclass

import torch

from golu.activations import unknown_name
from workbench.cli.arguments import non_negative_float, non_negative_int, positive_float, positive_int, unit_float
from workbench.cli.errors import UserError
from workbench.cli.settings import setting, several

PRECISIONS = {"no": None, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """Hold all that the numbers of a run depend on, with data, activation and seed."""

    model: str = setting(str, "ddpm_unet", "name of the recipe")
    epochs: int = setting(positive_int, 50, "number of epochs")
    batch_size: int = setting(positive_int, 64, "images in a step, of each process")
    lr: float = setting(positive_float, 3e-4, "highest learning rate")
    warmup_steps: int = setting(
        non_negative_int, 1000, "steps in which the learning rate rises from a tenth, at most a tenth of all"
    )
    weight_decay: float = setting(non_negative_float, 0.01, "weight decay of AdamW")
    grad_clip: float = setting(non_negative_float, 0.0, "gradient clipping: largest gradient norm; 0 turns it off")
    mixed_precision: str | None = setting(
        str, None, f"precision: one of {', '.join(PRECISIONS)}; if it is not given, fp16 on a GPU and no on a CPU"
    )
    ema_decay: float = setting(
        unit_float, 0.0, "decay of a moving average of the weights, which is evaluated too and judges; 0: there is none"
    )
    image_size: int = setting(positive_int, 64, "side of the images in pixels: resized by area, and cut to the centre")
    mirror: bool = setting(bool, True, "mirror training images at random")
    channels: tuple[int, ...] = several(positive_int, (128, 256, 256, 256), "channels of each level of the UNet")
    blocks: int = setting(positive_int, 2, "residual blocks of a level, on the way down; up there is one more")
    attention_levels: tuple[int, ...] = several(
        non_negative_int, (2,), "levels whose blocks have attention, counted from 1; 0: none"
    )
    middle_attention: bool = setting(bool, True, "attention in the middle of the UNet")
    norm_groups: int = setting(positive_int, 32, "groups of the group norms")
    dropout: float = setting(unit_float, 0.1, "dropout in the residual blocks; 0 turns it off")
    timesteps: int = setting(positive_int, 1000, "diffusion steps from an image to noise")
    beta_start: float = setting(positive_float, 1e-4, "variance of the noise of the first diffusion step")
    beta_end: float = setting(positive_float, 0.02, "variance of the noise of the last one; they rise linearly")
    samples: int = setting(positive_int, 16, "images in a grid of samples", stored=False)
    sample_every: int = setting(
        non_negative_int, 1, "epochs between two grids of samples, and one at the end; 0: none", stored=False
    )
    sample_steps: int = setting(positive_int, 50, "steps in which they are drawn (ddim), at most", stored=False)

    def __post_init__(self) -> None:
        if self.mixed_precision is not None and self.mixed_precision not in PRECISIONS:
            raise UserError(unknown_name("mixed_precision", self.mixed_precision, PRECISIONS))
        levels, smallest = len(self.channels), 2 ** (len(self.channels) - 1)
        if self.image_size % smallest or self.image_size < 2 * smallest:
            raise UserError(
                f"--image-size {self.image_size} cannot be halved {levels - 1} times, as a UNet of {levels} levels "
                f"does: take a multiple of {smallest} from {2 * smallest} on"
            )
        if max(self.attention_levels) > levels:
            raise UserError(f"--attention-levels {max(self.attention_levels)} is out of range: there are {levels}")
        for each in self.channels:
            if each % self.norm_groups:
                raise UserError(f"--channels {each} is no multiple of --norm-groups {self.norm_groups}")
            if self.with_attention and each % 8:
                raise UserError(f"--channels {each} is no multiple of 8, the channels of a head of attention")
        if not self.beta_start <= self.beta_end < 1:
            raise UserError(f"--beta-start {self.beta_start} and --beta-end {self.beta_end} must rise, and be below 1")
        if self.dropout == 1 or self.ema_decay == 1:
            raise UserError("--dropout and --ema-decay must be below 1")

    @property
    def with_attention(self) -> bool:
        """Tell whether there is any attention."""
        return self.middle_attention or any(self.attention_levels)
