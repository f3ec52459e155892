"""Read the real images of a trained model: samples are compared with some, and classifiers learn from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tasks.diffusion.pictures import open_pictures
from tasks.diffusion.sampling import to_pixels
from tasks.diffusion.transforms import transform
from workbench.cli.errors import UserError
from workbench.training.sampling import Sampling
from workbench.training.seeding import generator_for
from workbench.vision.files import Split
from workbench.vision.reading import FromFiles, Labelled, Pictures

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 64


@dataclass(frozen=True)
class _Some:
    """Hold some of the pictures."""

    pictures: Pictures
    places: list[int]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Image, Any]:
        return self.pictures[self.places[index]]

    def name(self, index: int) -> str:
        return self.pictures.name(self.places[index])

    def fingerprint(self) -> int:
        return self.pictures.fingerprint()


def open_same(configuration: Mapping[str, Any], data: Path) -> Split:
    """Open the pictures that a model was trained and validated on.

    Args:
        configuration: of the training.

    Raises:
        UserError: they are missing, or not the same any more.
    """
    limits = configuration.get("limit_train"), configuration.get("limit_val")
    split = open_pictures(configuration["dataset"], data, *limits)
    found, wanted = split.fingerprint(), configuration["data"]
    if found != wanted:
        raise UserError(
            f"the model was trained on other images ({wanted}) than those of {configuration['dataset']} in {data} "
            f"({found}): give the folder of its own with --data"
        )
    return split


def read_images(
    pictures: Pictures, count: int, channels: int, size: int, skip_broken: bool = False
) -> tuple[Tensor, Tensor]:
    """Read a fixed random choice of `count` pictures, or all if there are fewer, as a diffusion model sees them.

    Args:
        skip_broken: leave out files that are no image, naming each, instead of stopping at the first.

    Returns:
        images, uint8 (N, channels, size, size), in random order, and labels, int64 (N,).

    Raises:
        UserError: a file is no image, or none of them is.
    """
    order = torch.randperm(len(pictures), generator=generator_for(0, "real images"))
    some = _Some(pictures, order[:count].tolist())
    join = Labelled(transform(size, channels))
    files = FromFiles(some, some, (join, join), torch.device("cpu"), skip_broken=skip_broken, val_batch=BATCH)
    batches = [(to_pixels(images), labels) for images, labels in files.validation(Sampling(len(some), 1, seed=0))]
    if not batches:
        raise UserError(f"none of {len(some)} images could be read, as {some.name(0)}")
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)
