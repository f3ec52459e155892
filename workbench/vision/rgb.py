"""Make a picture in RGB, with 8 bits a channel, of any image that Pillow opens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

WITH_ALPHA = ("RGBA", "RGBa", "LA", "PA")
WHITE_16 = 2**16 - 1


def read_rgb(path: Path | str) -> Image:
    """Read an image file as `as_rgb` makes it; Pillow raises whatever it meets in a broken file."""
    from PIL import Image

    with Image.open(path) as file:
        return as_rgb(file)


def as_rgb(image: Image) -> Image:
    """Convert an image to RGB: what is transparent lies over white, and of 16 bits the upper 8 are taken.

    Pillow's own conversion shows what lies hidden where an image is transparent, and turns every grey of 16 bits above
    255 to white. Of colours with 16 bits it takes the upper 8 itself when it reads them.

    Raises:
        ValueError: its numbers are of another kind, of which nothing says how bright they are.
    """
    from PIL import Image

    image.load()  # some formats tell only now what is transparent
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, for which no white is known")
    if image.mode.startswith("I"):
        return _upper_bits(image)
    if image.mode not in WITH_ALPHA and "transparency" not in image.info:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _upper_bits(image: Image) -> Image:
    """Convert greys of 16 bits, which Pillow holds in 16 bits (I;16) or in 32 (I)."""
    from PIL import Image

    values = np.asarray(image)
    if values.min(initial=0) < 0 or values.max(initial=0) > WHITE_16:
        raise ValueError(f"its pixels go from {values.min()} to {values.max()}, which neither 8 nor 16 bits hold")
    if isinstance(transparent := image.info.get("transparency"), int):
        values = np.where(values == transparent, WHITE_16, values)
    return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
