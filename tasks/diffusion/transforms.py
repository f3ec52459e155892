"""Make tensors of pictures, and give each its noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.vision.reading import Transform

if TYPE_CHECKING:
    from PIL.Image import Image


ELONGATED = 8  # times its shorter side, an image is so long that resizing all of it would be a waste


@dataclass(frozen=True)
class Noised:
    """Join a picture, transformed, with noise and a time step, which the seed of the sample decides."""

    transform: Transform
    timesteps: int

    def __call__(self, picture: Image, label: int) -> tuple[Tensor, Tensor, Tensor]:
        image = self.transform(picture)
        return image, torch.randn(image.shape), torch.randint(self.timesteps, ())


@dataclass(frozen=True)
class Fit:
    """Resize a picture so that its shorter side is `size` pixels: smaller by area, larger by interpolation."""

    size: int

    def __call__(self, picture: Image) -> Image:
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2.functional import center_crop, resize

        least = ELONGATED * min(picture.size)  # of a longer one the ends are cut off, which the centre does not need
        if max(picture.size) > least:
            picture = center_crop(picture, [min(each, least) for each in (picture.height, picture.width)])

        smaller = min(picture.size) > self.size
        fitted: Image = resize(picture, [self.size], InterpolationMode.BOX if smaller else InterpolationMode.BILINEAR)
        return fitted


def transform(size: int, channels: int, mirror: bool = False) -> Transform:
    """Make images (channels, size, size) from -1 to 1 of pictures, which are resized and cut to their centre."""
    from torchvision.transforms import v2

    steps = [
        *([v2.Grayscale()] if channels == 1 else []),
        *([v2.RandomHorizontalFlip()] if mirror else []),
        Fit(size),
        v2.CenterCrop(size),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5] * channels, [0.5] * channels),
        v2.ToPureTensor(),
    ]
    made: Transform = v2.Compose(steps)
    return made
