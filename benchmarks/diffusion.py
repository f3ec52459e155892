"""Images a second of a diffusion model's training beside a plain diffusers loop, and of each activation.

python -m benchmarks.diffusion
python -m benchmarks.diffusion --device cuda
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmarks import report
from benchmarks.epochs import Epoch, add_flags, measured_twice, rows, text, without_evaluation
from benchmarks.training import loop_epoch
from golu.activations import compared_activations
from tasks.diffusion.recipes import RECIPES
from tasks.diffusion.settings import PRECISIONS, Settings
from tasks.diffusion.task import Diffusion
from workbench.cli.errors import run
from workbench.training.launch import Machine, check_device, launched
from workbench.training.seeding import seed_everything
from workbench.training.task import Source
from workbench.vision.files import Split

NAMES = sorted(compared_activations(), key=lambda name: name != "Swish")  # what UNets have comes first


class Samples:
    """Pictures as a tutorial transforms them."""

    def __init__(self, split: Split, size: int) -> None:
        self.pictures = split.train
        grey = [transforms.Grayscale()] if split.channels == 1 else []
        self.transform = transforms.Compose(
            [*grey, transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor(),
             transforms.Normalize([0.5], [0.5])]
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        image: Tensor = self.transform(self.pictures[index][0])
        return image


def plain_epoch(task: Diffusion, device: str) -> Epoch:
    """An epoch as diffusers' documentation writes it."""
    from diffusers import DDPMScheduler

    settings, dtype = task.settings, PRECISIONS[str(task.settings.mixed_precision)]
    seed_everything(0)
    model = task.model("Swish")  # as a UNet2DModel comes
    optimizer = torch.optim.AdamW(model.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)
    scaler = torch.amp.GradScaler(device, enabled=dtype is torch.float16)
    noise_scheduler = DDPMScheduler(num_train_timesteps=1000)
    loader = DataLoader(
        Samples(task.split, settings.image_size), settings.batch_size, shuffle=True, drop_last=True,  # type: ignore[arg-type]
        num_workers=task.machine.workers, persistent_workers=task.machine.workers > 0, pin_memory=device == "cuda",
    )  # fmt: skip

    def epoch() -> float:
        start = time.perf_counter()
        model.train()
        running = 0.0
        for clean in loader:
            clean = clean.to(device, non_blocking=True)
            noise = torch.randn_like(clean)
            steps = torch.randint(0, 1000, (len(clean),), device=device)
            noisy = noise_scheduler.add_noise(clean, noise, steps)
            with torch.autocast(device, dtype, enabled=dtype is not None):
                loss = F.mse_loss(model(noisy, steps, return_dict=False)[0].float(), noise)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            running += loss.item()
        return time.perf_counter() - start

    return epoch


def opened(settings: Settings, images: int, device: str) -> Diffusion:
    """The task on so many images, an epoch at a time."""
    machine = Machine(device, workers=0 if device == "cpu" else 8)
    task = Diffusion(settings, Source("digits", limit_train=images), machine)
    task.open(torch.device(device))
    without_evaluation(task)
    return task


def main(arguments: Sequence[str] | None = None) -> None:
    parser = report.parser("diffusion", __doc__)
    add_flags(parser, steps=10, rounds=6)
    options = report.parse(parser, arguments)
    check_device(options.device)
    torch.set_num_threads(options.threads)
    recipe = RECIPES["tiny_unet" if options.device == "cpu" else "ddpm_unet"]
    settings = replace(recipe, epochs=1, sample_every=0)
    images = options.steps * settings.batch_size
    with launched(options.device) as accelerator:
        task = partial(opened, settings, images, options.device)
        ours = {name: lambda name=name: loop_epoch(accelerator, task(), name) for name in NAMES}
        beside = {"plain loop": lambda: plain_epoch(task(), options.device), "this loop": ours["Swish"]}
        numbers = {
            f"{recipe.model} with Swish": rows(measured_twice(beside, options.rounds), images, "images", "plain loop"),
            f"{recipe.model} with each activation": rows(
                measured_twice(ours, options.rounds), images, "images", "Swish"
            ),
        }
    sections = {name: text(each, "images") for name, each in numbers.items()}
    print("\n\n".join(sections.values()))
    report.write(
        "diffusion", options, "Training speed of a diffusion model",
        f"{'fp16' if options.device == 'cuda' else 'fp32'}, {options.threads} thread{'s' * (options.threads > 1)}, "
        f"images of {settings.image_size} x {settings.image_size}, batch {settings.batch_size}, reading them included. "
        f"Epochs of {options.steps} steps in turn, medians of {options.rounds} rounds with two models of each; speed is"
        " relative to the first row, and above 1 is faster.",
        sections, numbers,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
