"""CelebA made small, in the real format: JPEGs of 178 x 218, and the list of which split has which."""

import functools
import io
import zipfile

import numpy as np
from PIL import Image

SIZE = (178, 218)
IMAGES, ARCHIVE, PARTITION = "img_align_celeba", "img_align_celeba.zip", "list_eval_partition.txt"


@functools.cache
def picture(number, seed=0):
    """A JPEG with smooth patches of colour, the same for the same number and seed."""
    pixels = np.random.default_rng([seed, number]).integers(0, 256, (6, 5, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize(SIZE, Image.Resampling.BICUBIC).save(content, "JPEG")
    return content.getvalue()


def images(train=24, val=8, test=4, seed=0):
    """Name -> content of every image."""
    return {f"{number:06}.jpg": picture(number, seed) for number in range(1, train + val + test + 1)}


def write_partition(data, train=24, val=8, test=4):
    """Write which split has which, as the real list does: those for training come first. Returns the folder."""
    folder = data / "celeba"
    folder.mkdir(parents=True, exist_ok=True)
    splits = [0] * train + [1] * val + [2] * test
    lines = [f"{number:06}.jpg {split}\n" for number, split in enumerate(splits, start=1)]
    (folder / PARTITION).write_text("".join(lines))
    return folder


def write(data, train=24, val=8, test=4, seed=0):
    """Write what is below --data when all is unpacked. Returns the folder."""
    folder = write_partition(data, train, val, test)
    (folder / IMAGES).mkdir(exist_ok=True)
    for name, content in images(train, val, test, seed).items():
        (folder / IMAGES / name).write_bytes(content)
    return folder


def write_archive(data, train=24, val=8, test=4, seed=0):
    """Write what can be downloaded: the archive and the list. Returns the folder."""
    folder = write_partition(data, train, val, test)
    (folder / ARCHIVE).write_bytes(pack(images(train, val, test, seed)))
    return folder


def pack(files, compression=zipfile.ZIP_STORED):
    """A zip archive as the real one: an entry for the folder first; `files` is name -> content, or a list of pairs."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        archive.writestr(f"{IMAGES}/", b"")
        for name, each in files.items() if isinstance(files, dict) else files:
            archive.writestr(name if "/" in name else f"{IMAGES}/{name}", each)
    return content.getvalue()
