"""Train a denoising diffusion model (DDPM, Ho et al. 2020) on images without their classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from tasks.diffusion.models import build_unet, noise_of
from tasks.diffusion.pictures import open_pictures
from tasks.diffusion.sampling import Sampler, draw, first_noise, largest_divisor
from tasks.diffusion.settings import PRECISIONS, Settings
from tasks.diffusion.transforms import Noised, transform
from workbench.cli.errors import UserError
from workbench.output.pictures import grid, save_picture
from workbench.training.launch import Machine, chosen_device, process_count, sum_over_processes, to_device
from workbench.training.metrics import Metric
from workbench.training.optimizers import make_optimizer
from workbench.training.runs import StoredRun
from workbench.training.sampling import Sampling
from workbench.training.schedules import tabulate
from workbench.training.task import Graph, Source
from workbench.vision.file_task import FileTask
from workbench.vision.files import Split
from workbench.vision.reading import Join

if TYPE_CHECKING:
    from accelerate import Accelerator
    from timm.utils import ModelEmaV3

LARGEST = 63  # images that an exported UNet takes at once: diffusers' goes another way from 64 on
SAMPLES_SEED = 0  # of the noise that grids of samples start from: the same for every activation and seed
METRICS = (
    Metric(
        "val_loss", "denoising loss",
        meaning="mean squared error of the predicted noise, over all validation images, each with noise and a time "
        "step that are the same for every activation and seed",
    ),
)  # fmt: skip

Batch = tuple[Tensor, Tensor, Tensor]  # images (N, C, H, W) from -1 to 1, as much noise, time steps int64 (N,)


class Diffusion(FileTask):
    """Learn to predict the noise in images; the batch size is that of a process."""

    settings: Settings
    split: Split
    metrics = METRICS

    def __init__(self, settings: Settings, source: Source, machine: Machine) -> None:
        if settings.mixed_precision is None:
            precision = "fp16" if chosen_device(machine.device) == "cuda" else "no"
            settings = replace(settings, mixed_precision=precision)
        super().__init__(settings, source, machine)
        self.epochs, self.batch_size = settings.epochs, settings.batch_size * process_count()
        self.clip_norm = settings.grad_clip or None
        self.autocast = PRECISIONS[str(settings.mixed_precision)]
        self.noise = noise_of(settings)

    def configuration(self) -> dict[str, Any]:
        return super().configuration() | {"overall_batch": self.batch_size}

    # Data

    def open_split(self) -> Split:
        return open_pictures(self.source.dataset, self.source.data, *self.limits)

    @property
    def extras(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Return the channels of the images, so that a checkpoint is all that sampling needs."""
        return {"image_channels": self.channels}

    def open(self, device: torch.device) -> None:
        super().open(device)
        self.channels = self.split.channels

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        self.channels, self.device = state["extras"]["image_channels"], device

    def graph(self, model: nn.Module) -> Graph:
        """Describe it as the noise (N, C, H, W) in noisy images, (N, C, H, W), of time steps, int64 (N,)."""
        side = self.settings.image_size
        inputs = {
            "images": torch.zeros(2, self.channels, side, side, device=self.device),
            "steps": torch.zeros(2, dtype=torch.int64, device=self.device),
        }
        return Graph(NoiseOf(model), inputs, {name: {0: "N"} for name in inputs}, {"N": LARGEST})

    def joins(self) -> tuple[Join, Join]:
        size, channels, steps = self.settings.image_size, self.channels, self.settings.timesteps
        return Noised(transform(size, channels, self.settings.mirror), steps), Noised(transform(size, channels), steps)

    # Model

    def model(self, activation: str) -> nn.Module:
        return to_device(build_unet(self.settings, self.channels, activation), self.device)

    def optimizer(self, model: nn.Module) -> Optimizer:
        return make_optimizer("adamw", model, self.settings.lr, self.settings.weight_decay)

    def rates(self, steps_per_epoch: int) -> list[float]:
        steps = self.epochs * steps_per_epoch
        warmup = min(self.settings.warmup_steps, steps // 10)

        def schedule(optimizer: Optimizer) -> LRScheduler:
            cosine = CosineAnnealingLR(optimizer, steps - warmup)
            if not warmup:
                return cosine
            return SequentialLR(optimizer, [LinearLR(optimizer, 0.1, total_iters=warmup), cosine], [warmup])

        return tabulate(self.settings.lr, steps, schedule)

    def average(self, model: nn.Module, steps_per_epoch: int) -> ModelEmaV3 | None:
        if not self.settings.ema_decay:
            return None
        from timm.utils import ModelEmaV3

        return ModelEmaV3(model, self.settings.ema_decay, use_warmup=True)

    # Learning

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return F.mse_loss(self.predict(model, batch).float(), batch[1])

    def evaluate(self, model: nn.Module, sampling: Sampling, accelerator: Accelerator) -> dict[str, float]:
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        for batch in self.validation(sampling):
            errors = (self.predict(model, batch).float() - batch[1]).square().flatten(1).mean(1)
            sums += torch.stack([errors.double().sum(), errors.new_tensor(len(errors)).double()])
        total, count = sum_over_processes(accelerator, sums).tolist()
        if count == 0:
            raise UserError("no validation image could be read: see the warnings above")
        return {"val_loss": total / count}

    def after_evaluation(self, model: nn.Module, run: StoredRun, entry: Mapping[str, Any]) -> None:
        """Draw samples, always from the same noise."""
        settings, path = self.settings, self.picture_due(run, entry, self.settings.sample_every)
        if path is None:
            return
        shape = (self.channels, settings.image_size, settings.image_size)
        noise = first_noise(SAMPLES_SEED, range(settings.samples), shape)
        sampler = Sampler("ddim", largest_divisor(settings.timesteps, settings.sample_steps))
        save_picture(path, grid(draw(model.eval(), noise, settings, sampler)[-1]))

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the noise that the model sees in the noisy images."""
        images, noise, steps = batch
        predicted: Tensor = model(self.noise.add_noise(images, noise, steps), steps).sample
        return predicted


class NoiseOf(nn.Module):
    """Return the noise that a UNet of diffusers sees as a plain tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, steps: Tensor) -> Tensor:
        noise: Tensor = self.model(images, steps).sample
        return noise
