"""Make diffusers' UNet with any activation, and the noise that it learns to remove."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from tasks.diffusion.settings import Settings
from workbench.training.swap import with_activation

if TYPE_CHECKING:
    from diffusers import DDPMScheduler


def build_unet(settings: Settings, image_channels: int, activation: str) -> nn.Module:
    """Make a UNet2DModel with the activation in every place, which its own act_fn does not reach.

    Args:
        image_channels: 1 for greyscale images, 3 for colour.
    """
    from diffusers import UNet2DModel

    attention = [level in settings.attention_levels for level in range(1, len(settings.channels) + 1)]
    model = UNet2DModel(
        sample_size=settings.image_size,
        in_channels=image_channels,
        out_channels=image_channels,
        block_out_channels=settings.channels,
        layers_per_block=settings.blocks,
        down_block_types=tuple("AttnDownBlock2D" if each else "DownBlock2D" for each in attention),
        up_block_types=tuple("AttnUpBlock2D" if each else "UpBlock2D" for each in reversed(attention)),
        add_attention=settings.middle_attention,
        norm_num_groups=settings.norm_groups,
        dropout=settings.dropout,
    )
    return with_activation(model, activation)


def noise_of(settings: Settings) -> DDPMScheduler:
    """Make the scheduler that adds the noise of training."""
    from diffusers import DDPMScheduler

    # by keyword: what is given by position is a default to `from_config`, and lost
    return DDPMScheduler(
        num_train_timesteps=settings.timesteps, beta_start=settings.beta_start, beta_end=settings.beta_end
    )
