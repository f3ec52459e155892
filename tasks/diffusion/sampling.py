"""Draw samples from a diffusion model; each depends on its own noise alone, not on how many are drawn at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from golu import available_activations
from golu.activations import unknown_name
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
BATCH = 64  # images drawn at once; it changes speed and memory only


@dataclass(frozen=True)
class Sampler:
    """Say how samples are drawn: by DDIM (Song et al. 2021) without noise, or DDPM with noise in each step."""

    name: str = "ddim"
    steps: int = DDIM_STEPS

    def scheduler(self, settings: Settings) -> SchedulerMixin:
        """Make diffusers' scheduler for the noise that a model was trained with.

        Raises:
            UserError: the steps do not divide those of training: diffusers would leave noise in the samples.
        """
        from diffusers import DDIMScheduler, DDPMScheduler

        if settings.timesteps % self.steps:
            raise UserError(
                f"--steps {self.steps} does not divide the {settings.timesteps} diffusion steps of the training: take "
                f"{largest_divisor(settings.timesteps, self.steps)}"
            )
        kind = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler}[self.name]
        # "trailing" begins with pure noise, as the samples do; diffusers' default leaves the last step of training out
        scheduler = kind.from_config(noise_of(settings).config, timestep_spacing="trailing")
        scheduler.set_timesteps(self.steps)
        return scheduler


def largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of `number` that is not above `most`."""
    return next(each for each in range(min(number, most), 0, -1) if number % each == 0)


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
    state: dict[str, Any] = read_trained(path)
    if averaged and not state.get("ema"):
        raise UserError(f"{path} has no moving average of the weights: it was trained without --ema-decay")
    try:
        configuration, channels = state["configuration"], state["extras"]["image_channels"]
        settings, activation = from_configuration(configuration, Settings), configuration["activation"]
        if activation not in available_activations():
            raise UserError(f"{path}: {unknown_name('activation', activation, available_activations())}")
        model = build_unet(settings, channels, activation)
        average = bool(state["ema"]) if averaged is None else averaged
        model.load_state_dict(state["ema"] if average else state["model"])
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is no checkpoint of tasks.diffusion.train_ddp") from error
    return Trained(model.eval(), settings, configuration, channels, average)


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
    model: nn.Module,
    noise: Tensor,
    settings: Settings,
    sampler: Sampler,
    seed: int = 0,
    kept: Collection[int] = (),
    batch_size: int = BATCH,
    after_step: Callable[[], object] = lambda: None,
) -> list[Tensor]:
    """Return the images that a model makes of noise (N, C, H, W), uint8, after some of the steps; the last: samples.

    Args:
        kept: the steps, counted from 0; the last one need not be named.
        after_step: called after each step of each batch.
    """
    device = next(model.parameters()).device
    drawn: dict[int, list[Tensor]] = {each: [] for each in sorted({*kept, sampler.steps - 1})}
    for numbers in torch.arange(len(noise)).split(batch_size):
        batch = noise[numbers].to(device)
        for step, images in enumerate(denoised(model, batch, settings, sampler, numbers.tolist(), seed)):
            if step in drawn:
                drawn[step].append(to_pixels(images))
            after_step()
    return [torch.cat(each) for each in drawn.values()]


def to_pixels(images: Tensor) -> Tensor:
    """Make images from -1 to 1 uint8, on the CPU; what is beyond is cut off."""
    return images.add(1).mul(127.5).round().clamp(0, 255).byte().cpu()


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
    flags.add_device_flag(parser)


def sampler_of(options: argparse.Namespace, settings: Settings) -> Sampler:
    """Return the sampler that the flags describe.

    Raises:
        UserError: its steps do not divide those of the training.
    """
    usual = {"ddim": largest_divisor(settings.timesteps, DDIM_STEPS), "ddpm": settings.timesteps}
    sampler = Sampler(options.sampler, options.steps or usual[options.sampler])
    sampler.scheduler(settings)
    return sampler
