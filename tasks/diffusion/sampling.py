"""Draw samples from a diffusion model; each depends on its own noise alone, not on how many are drawn at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tasks.diffusion.models import noise_of
from tasks.diffusion.settings import Settings
from workbench.cli.errors import UserError
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
