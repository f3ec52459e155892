"""Read any image that Pillow opens as a picture: upright, in RGB, with 8 bits a channel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workbench.cli.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

WITH_ALPHA = ("RGBA", "RGBa", "LA", "PA")
WHITE_16 = 2**16 - 1
ORIENTATION = 0x0112  # what EXIF calls it
BITS, PHOTOMETRIC = 258, 262  # what TIFF calls the bits of a grey, and what is white
WHITE_IS_ZERO = 0


def read_rgb(path: Path | str, size: tuple[int, int] | None = None) -> Image:
    """Read an image file as `as_rgb` makes it, turned upright as its EXIF orientation says.

    Pillow raises whatever it meets in a broken file.

    Args:
        size: the width and height that its annotations say; where only the image as it is stored has that size, it is
            left as it is stored, since it was annotated so.
    """
    from PIL import Image

    with Image.open(path) as file:
        stored = as_rgb(file)
        turned = _upright(stored, _orientation(file))
    return stored if size == stored.size != turned.size else turned


def read_picture(path: Path) -> Image:
    """Read an image file of a user as `read_rgb` does.

    Raises:
        UserError: it is missing, or no image.
    """
    try:
        return read_rgb(path)
    except FileNotFoundError as error:
        raise UserError(f"there is no image {path}") from error
    except Exception as error:  # PIL has many ways of refusing a file
        raise UserError(f"{path} is no image that can be read ({error})") from error


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
    """Convert greys of 12 or 16 bits, which Pillow holds in 16 bits (I;16) or in 32 (I)."""
    from PIL import Image

    values, tags = np.asarray(image), getattr(image, "tag_v2", {})  # the tags of a TIFF file
    if tags and image.mode == "I":
        raise ValueError("its pixels are signed integers or have 32 bits, for which no white is known")
    if values.min(initial=0) < 0 or values.max(initial=0) > WHITE_16:
        raise ValueError(f"its pixels go from {values.min()} to {values.max()}, which neither 8 nor 16 bits hold")
    if isinstance(transparent := image.info.get("transparency"), int):
        values = np.where(values == transparent, WHITE_16, values)
    (bits,) = tags.get(BITS, (16,))
    grey = (values >> (bits - 8)).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = ~grey
    return Image.fromarray(grey).convert("RGB")


def _orientation(image: Image) -> int:
    """Return the EXIF orientation of a file that has been read, 1 to 8; of TIFF, Pillow has turned it already."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever Pillow meets in broken EXIF data; the pixels are none the worse
        return 1


def _upright(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)
