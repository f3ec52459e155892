"""Write pictures and animations, whole or not at all."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workbench.output.storage import write_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

GAP, LEAST = 2, 64  # pixels between the images of a grid, and of an image in it: smaller ones are drawn larger


def save_picture(path: Path, image: Tensor) -> None:
    """Write an image, uint8 (C, H, W) with one or three channels, as PNG."""
    content = io.BytesIO()
    _picture(image).save(content, format="PNG")
    write_bytes(path, content.getvalue())


def save_animation(path: Path, frames: Sequence[Tensor], seconds: float = 0.1, pause: float = 2.0) -> None:
    """Write images, each uint8 (C, H, W), as an endless GIF.

    Args:
        seconds: for which each frame is shown.
        pause: for which the last one is.
    """
    first, *others = one_palette([_picture(each) for each in frames])
    times = [round(1000 * seconds)] * len(others) + [round(1000 * pause)]
    content = io.BytesIO()
    first.save(content, format="GIF", save_all=True, append_images=others, duration=times, loop=0)
    write_bytes(path, content.getvalue())


def grid(images: Tensor, columns: int | None = None) -> Tensor:
    """Put images, uint8 (N, C, H, W), side by side on white; a side is at least `LEAST` pixels.

    Args:
        columns: of the grid; None: about as many as rows.

    Returns:
        uint8 (3, H, W).
    """
    from torchvision.utils import make_grid

    factor = math.ceil(LEAST / min(images.shape[2:]))
    larger = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    columns = columns or math.ceil(math.sqrt(len(images)))
    made: Tensor = make_grid(larger.float(), nrow=columns, padding=GAP, pad_value=255)
    return made.to(torch.uint8)


def one_palette(pictures: Sequence[Image]) -> list[Image]:
    """Reduce pictures to the 256 colours that serve them all: with palettes of their own an animation flickers."""
    from PIL import Image

    height = sum(each.height for each in pictures)
    column = Image.new("RGB", (max(each.width for each in pictures), height))
    for number, each in enumerate(pictures):
        column.paste(each.convert("RGB"), (0, number * height // len(pictures)))
    palette = column.quantize(256)
    return [each.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE) for each in pictures]


def _picture(image: Tensor) -> Image:
    from torchvision.transforms.functional import to_pil_image

    picture: Image = to_pil_image(image.cpu())
    return picture
