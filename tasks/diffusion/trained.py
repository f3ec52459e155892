"""Load a trained diffusion model, and say by flags which one is taken and how it draws."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tasks.diffusion.sampling import DDIM_STEPS, SAMPLERS, Sampler, largest_divisor
from tasks.diffusion.settings import Settings
from tasks.diffusion.task import Diffusion
from tasks.diffusion.train_ddp import PROGRAM
from workbench.cli import flags
from workbench.cli.arguments import Parser, one_of, positive_int
from workbench.training.trained import own_checkpoint, trained


@dataclass(frozen=True)
class Trained:
    """Hold a trained model, for evaluation, and what its checkpoint says of it.

    Args:
        averaged: whether its weights are the moving average of the trained ones.
    """

    model: nn.Module
    settings: Settings
    configuration: dict[str, Any]
    image_channels: int
    averaged: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of an image: channels, height, width."""
        return self.image_channels, self.settings.image_size, self.settings.image_size


def load(path: Path, averaged: bool | None = None) -> Trained:
    """Load the model of a checkpoint of tasks.diffusion.train_ddp.

    Args:
        averaged: whether to take the moving average of its weights; None: if there is one.

    Raises:
        UserError: it is missing, broken, of another task, of an unknown activation, or has no moving average.
    """
    checkpoint = own_checkpoint(path, PROGRAM, averaged)
    task, model = trained(checkpoint, torch.device("cpu"))
    assert isinstance(task, Diffusion)
    return Trained(model, task.settings, dict(checkpoint.configuration), task.channels, checkpoint.averaged)


def add_model_flags(parser: Parser) -> None:
    """Add the flags that say which model is taken."""
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="checkpoint of a training with tasks.diffusion.train_ddp",
        **flags.REQUIRED,
    )  # fmt: skip
    flags.add_average_flag(parser)


def add_sampling_flags(parser: Parser) -> None:
    """Add the flags that say which model draws, and how."""
    add_model_flags(parser)
    parser.add_argument(
        "--sampler", type=one_of("sampler", SAMPLERS), default="ddim", metavar="NAME",
        help="how images are drawn: ddim (no noise is added, few steps suffice) or ddpm (noise is added in each step)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=positive_int, metavar="N",
        help="steps of the sampler, a divisor of those of the training (default: 50 of ddim, all of ddpm)",
    )  # fmt: skip
    flags.add_seed_flag(parser, "seed of the noise: the same seed gives the same images, however many are drawn")
    flags.add_device_flags(parser)


def sampler_of(options: argparse.Namespace, settings: Settings) -> Sampler:
    """Return the sampler that the flags describe.

    Raises:
        UserError: its steps do not divide those of the training.
    """
    usual = {"ddim": largest_divisor(settings.timesteps, DDIM_STEPS), "ddpm": settings.timesteps}
    sampler = Sampler(options.sampler, options.steps or usual[options.sampler])
    sampler.scheduler(settings)
    return sampler
