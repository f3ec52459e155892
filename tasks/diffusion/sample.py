"""python -m tasks.diffusion.sample draws images from a trained model; `--help` explains every flag."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tasks.diffusion.sampling import BATCH, Sampler, draw, first_noise, to_pixels
from tasks.diffusion.trained import Trained, add_sampling_flags, load, sampler_of
from workbench.cli.arguments import Parser, positive_int
from workbench.cli.errors import UserError, run
from workbench.cli.progress import Progress
from workbench.output.pictures import grid, save_animation, save_picture
from workbench.output.storage import prepare_folder
from workbench.training.launch import chosen_device, to_device

DESCRIPTION = """\
Draw images from a trained diffusion model. The checkpoint has all that it takes.

  python -m tasks.diffusion.sample --checkpoint results/digits/tiny_unet/GoLU/checkpoint_0.pth
  python -m tasks.diffusion.sample --checkpoint FILE --number 4 --gif --interpolate 8

The same seed gives the same images, however many of them are drawn."""

FRAMES = 40  # of an animation


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser("python -m tasks.diffusion.sample", DESCRIPTION)
    add_sampling_flags(parser)
    parser.add_argument("--number", type=positive_int, default=16, metavar="N", help="number of images to draw")
    parser.add_argument("--batch-size", type=positive_int, default=BATCH, metavar="N", help="images drawn at once")
    parser.add_argument(
        "--output", type=Path, default=Path("samples"), metavar="DIR", help="folder to write to: samples.png is a grid"
    )
    parser.add_argument("--separate", action="store_true", help="write each image to a file of its own too")
    parser.add_argument("--gif", action="store_true", help="write denoising.gif too, from noise to the samples")
    parser.add_argument(
        "--interpolate", type=positive_int, metavar="N",
        help="write interpolation.png too: N images from the first sample to the second, their noise mixed (ddim)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    device = chosen_device(options.device)
    if options.interpolate == 1 or (options.interpolate and options.sampler != "ddim"):
        raise UserError("--interpolate takes at least 2 images, and --sampler ddim: ddpm's noise would hide the way")
    trained = load(options.checkpoint, options.average)
    sampler = sampler_of(options, trained.settings)
    to_device(trained.model, device)
    prepare_folder(options.output)
    print(f"wrote {', '.join(map(str, write(trained, sampler, options)))}")


def write(trained: Trained, sampler: Sampler, options: argparse.Namespace) -> list[Path]:
    """Draw what the options ask for, write it, and return the files."""
    noise, frames = first_noise(options.seed, range(options.number), trained.shape), set[int]()
    if options.gif:
        frames = set(torch.linspace(0, sampler.steps - 1, min(FRAMES, sampler.steps)).round().long().tolist())
    mixed = noise[:0]
    if options.interpolate:
        mixed = spherical(*first_noise(options.seed, range(2), trained.shape), options.interpolate)
    batches = sum(-(-len(each) // options.batch_size) for each in (noise, mixed))
    with Progress(batches * sampler.steps) as progress:
        images, between = (
            draw(
                trained.model, each, trained.settings, sampler, options.seed, frames, options.batch_size,
                progress.advance,
            ) if len(each) else []
            for each in (noise, mixed)
        )  # fmt: skip
    pictures = {"samples.png": grid(images[-1])}
    if between:
        pictures["interpolation.png"] = grid(between[-1], columns=options.interpolate)
    if options.separate:
        pictures |= {f"sample_{number}.png": image for number, image in enumerate(images[-1])}
    for name, picture in pictures.items():
        save_picture(options.output / name, picture)
    written = [options.output / name for name in pictures]
    if options.gif:
        written.append(options.output / "denoising.gif")
        save_animation(written[-1], [grid(each) for each in (to_pixels(noise), *images)])
    return written


def spherical(first: Tensor, last: Tensor, count: int) -> Tensor:
    """Go from one noise (C, H, W) to another in `count` steps, on the sphere where noise lies: (count, C, H, W)."""
    angle = torch.acos(torch.cosine_similarity(first.flatten(), last.flatten(), dim=0))
    part = torch.linspace(0, 1, count)[:, None, None, None]
    mixed: Tensor = (torch.sin((1 - part) * angle) * first + torch.sin(part * angle) * last) / torch.sin(angle)
    return mixed


if __name__ == "__main__":
    run(main)
