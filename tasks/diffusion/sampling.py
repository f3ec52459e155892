"""Draw samples from a diffusion model; each depends on its own noise alone, not on how many are drawn at once."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tasks.diffusion.models import build_unet, noise_of
from tasks.diffusion.settings import Settings
from workbench.cli import flags
from workbench.cli.arguments import Parser, one_of, positive_int
from workbench.cli.errors import UserError
from workbench.cli.settings import from_configuration
from workbench.training.checkpoint import read_trained
from workbench.training.seeding import generator_for

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

SAMPLERS = ("ddim", "ddpm")
DDIM_STEPS = 50  # of the 1000 of training: more hardly change an image


@dataclass(frozen=True)
class Sampler:
    """Say how samples are drawn: by DDIM (Song et al. 2021) without noise, or DDPM with noise in each step."""

    name: str = "ddim"
    steps: int = DDIM_STEPS

    def scheduler(self, settings: Settings) -> SchedulerMixin:
        """Make diffusers' scheduler for the noise that a model was trained with.

        Raises:
            UserError: there are more steps than those of training.
        """
        from diffusers import DDIMScheduler, DDPMScheduler

        if self.steps > settings.timesteps:
            raise UserError(
                f"--steps {self.steps} are more than the {settings.timesteps} diffusion steps of the training"
            )
        kind = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler}[self.name]
        # "trailing" begins with pure noise, as the samples do; diffusers' default leaves the last step of training out
        scheduler = kind.from_config(noise_of(settings).config, timestep_spacing="trailing")
        scheduler.set_timesteps(self.steps)
        return scheduler


@dataclass(frozen=True)
class Trained:
    """Hold a trained model, for evaluation, and what its checkpoint says of it."""

    model: nn.Module
    settings: Settings
    configuration: dict[str, Any]
    image_channels: int

    @property
    def device(self) -> torch.device:
        """Return where the model is."""
        return next(self.model.parameters()).device

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of an image: channels, height, width."""
        return self.image_channels, self.settings.image_size, self.settings.image_size


def load(path: Path, averaged: bool | None = None) -> Trained:
    """Load the model of a checkpoint of tasks.diffusion.train_ddp.

    Args:
        averaged: whether to take the moving average of its weights; None: if there is one.

    Raises:
        UserError: it is missing, broken, of another task, or has no moving average.
    """
    state: dict[str, Any] = read_trained(path)
    if averaged and not state.get("ema"):
        raise UserError(f"{path} has no moving average of the weights: it was trained without --ema-decay")
    try:
        configuration, channels = state["configuration"], state["extras"]["image_channels"]
        settings = from_configuration(configuration, Settings)
        model = build_unet(settings, channels, configuration["activation"])
        average = state["ema"] if averaged is None else averaged
        model.load_state_dict(state["ema"] if average else state["model"])
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is no checkpoint of tasks.diffusion.train_ddp") from error
    return Trained(model.eval(), settings, configuration, channels)


def first_noise(seed: int, numbers: Iterable[int], shape: Sequence[int]) -> Tensor:
    """Draw the noise that the samples of these numbers start from, float32 (N, *shape)."""
    return torch.stack([torch.randn(*shape, generator=generator_for(seed, "sample", each)) for each in numbers])


def denoised(
    model: nn.Module, noise: Tensor, settings: Settings, sampler: Sampler, numbers: Sequence[int] = (), seed: int = 0
) -> Iterator[Tensor]:
    """Yield the images (N, C, H, W) after each step from pure noise (N, C, H, W) to samples, from about -1 to 1.

    Args:
        numbers: of the samples, which decide on DDPM's noise together with the seed; none: from 0 on.
    """
    scheduler, images = sampler.scheduler(settings), noise
    generators = [generator_for(seed, "steps", each) for each in numbers or range(len(noise))]
    for step in scheduler.timesteps:
        with torch.inference_mode():
            predicted = model(images, step.to(noise.device)).sample
            images = scheduler.step(predicted, step, images, generator=generators).prev_sample
        yield images


def draw(
    model: nn.Module, noise: Tensor, settings: Settings, sampler: Sampler, numbers: Sequence[int] = (), seed: int = 0
) -> Tensor:
    """Return the samples of a model, uint8 (N, C, H, W); the arguments are those of `denoised`."""
    (last,) = deque(denoised(model, noise, settings, sampler, numbers, seed), maxlen=1)
    return to_pixels(last)


def to_pixels(images: Tensor) -> Tensor:
    """Make images from -1 to 1 uint8, on the CPU; what is beyond is cut off."""
    return images.add(1).mul(127.5).round().clamp(0, 255).byte().cpu()


def add_model_flags(parser: Parser) -> None:
    """Add the flags that say which model is taken."""
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="checkpoint of a training with tasks.diffusion.train_ddp",
        **flags.REQUIRED,
    )  # fmt: skip
    parser.add_argument(
        "--average", action=argparse.BooleanOptionalAction,
        help="take the moving average of the weights, or the weights themselves (default: the average if there is one)",
    )  # fmt: skip


def add_sampling_flags(parser: Parser) -> None:
    """Add the flags that say which model draws, and how."""
    add_model_flags(parser)
    parser.add_argument(
        "--sampler", type=one_of("sampler", SAMPLERS), default="ddim", metavar="NAME",
        help="how images are drawn: ddim (no noise is added, few steps suffice) or ddpm (noise is added in each step)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=positive_int, metavar="N",
        help="steps of the sampler (default: 50 of ddim, or as many as in training of ddpm)",
    )  # fmt: skip
    flags.add_seed_flag(parser, "seed of the noise: the same seed gives the same images, however many are drawn")
    flags.add_device_flag(parser)


def sampler_of(options: argparse.Namespace, settings: Settings) -> Sampler:
    """Return the sampler that the flags describe.

    Raises:
        UserError: it has more steps than the training.
    """
    usual = {"ddim": min(DDIM_STEPS, settings.timesteps), "ddpm": settings.timesteps}
    sampler = Sampler(options.sampler, options.steps or usual[options.sampler])
    sampler.scheduler(settings)
    return sampler
