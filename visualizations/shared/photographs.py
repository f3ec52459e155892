"""Photographs for the figures that need real images: the two inside scikit-learn's wheel, or a file of the user's."""

import warnings
from pathlib import Path

import numpy as np

from workbench.cli.errors import UserError
from workbench.vision.rgb import as_rgb

SAMPLES = ("china", "flower")  # 427 x 640 each, by courtesy of scikit-learn; no download
SMALLEST = 8  # pixels on a side


def photograph(name_or_path: str | Path) -> np.ndarray:
    """The image as float64 (H, W, 3) in [0, 1]: "china", "flower", or a file that Pillow reads.

    Raises:
        UserError: there is no such file, it is no image, or one smaller than 8 x 8.
    """
    path = Path(name_or_path)
    if path.exists():
        image = _read(path)
    elif str(name_or_path).removesuffix(".jpg") in SAMPLES:
        from sklearn.datasets import load_sample_image

        image = load_sample_image(f"{path.stem}.jpg") / 255.0
    else:
        raise UserError(f"there is no image {path}: name a file, or one of {', '.join(SAMPLES)}, which are built in")
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST:
        raise UserError(f"{path} has {height} x {width} pixels, too few: give an image of at least 8 x 8")
    return image


def reduced(image: np.ndarray, longest: int) -> np.ndarray:
    """The image with at most so many pixels on its longer side, by averaging squares of pixels."""
    factor = -(-max(image.shape[:2]) // longest)
    down, across = (min(factor, side) for side in image.shape[:2])
    height, width = image.shape[0] // down, image.shape[1] // across
    squares = image[: height * down, : width * across].reshape(height, down, width, across, 3)
    return squares.mean(axis=(1, 3))


def short_name(name_or_path: str | Path) -> str:
    """The photograph's name for a legend or a CSV: the file's without folder and ending."""
    return Path(name_or_path).stem


def _read(path: Path) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                upright = ImageOps.exif_transpose(file)
                if upright.mode.startswith("I"):  # 16 bits of grey, which converting to RGB would clip at 255
                    return np.repeat(np.asarray(upright, dtype=np.float64)[..., None] / 65535, 3, axis=2).clip(0, 1)
                return np.asarray(as_rgb(upright), dtype=np.float64) / 255
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"{path} is too large an image: scale it down to less than 80 megapixels") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path} cannot be read as an image ({error}): give a JPEG, PNG or WebP file") from None
