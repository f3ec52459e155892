"""Open images in files, or in memory as if they were in files, with the number of their class."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from golu.activations import unknown_name
from workbench.cli.errors import UserError
from workbench.vision.datasets import CLASSES, DATASETS, limited, load_pixels
from workbench.vision.folders import contents, find_images, told
from workbench.vision.reading import Pictures
from workbench.vision.rgb import as_rgb, read_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

UNPACKING = ".unpacking.json"  # in ImageNet's folder until setup_dataset has unpacked and verified everything
FOLDER = "folder"  # the data set that is train/ and val/ below --data
DATASETS_HELP = (
    "data set: folder (or torch/imagenet), that is train/ and val/ in --data with a folder of images for each class; "
    "or cifar10 (or torch/cifar10), fashion_mnist, mnist, digits"
)
DATA_HELP = "folder of data sets, or of images in train/ and val/"
OUTSIDE = "files outside of the classes"
SMALL = 2**26  # bytes of images up to which their contents tell them apart, not only their names and sizes


class Folder:
    """Hold the images below `root`, a folder a class; if `limit` is given, so many, classes in proportion.

    `left_out` says how many files of each ending are no images.

    Raises:
        UserError: the folder is missing, unreadable, half unpacked, or has a class without an image.
    """

    def __init__(self, root: Path, flag: str, limit: int | None) -> None:
        require_unpacked(root.parent)
        if not root.is_dir():
            raise UserError(
                f"there is no folder {root}: it has to hold one folder of images for each class "
                "(tasks.image_classification.setup_dataset makes it of ImageNet's archives)"
            )
        self._root = root
        self.classes, outside = contents(root)
        found = find_images(root, self.classes)
        self.left_out = Counter(found.left_out) + Counter({OUTSIDE: len(outside)})
        number = {name: number for number, name in enumerate(self.classes)}
        labelled = [(number[name.partition("/")[0]], name) for name in found.names]
        if empty := sorted(set(number) - {self.classes[label] for label, _ in labelled}):
            raise UserError(f"{root} cannot be used: there is no image in {', '.join(empty[:3])}{told(self.left_out)}")
        if not labelled:
            raise UserError(f"{root} cannot be used: it has no folder of images for each class{told(self.left_out)}")
        labelled.sort(key=lambda each: (each[0], *each[1].rpartition("/")))  # as torchvision's ImageFolder has them
        chosen = limited(flag, torch.tensor([label for label, _ in labelled]), limit, len(self.classes))
        self._samples = [(f"{root}/{labelled[i][1]}", labelled[i][0]) for i in chosen.tolist()]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Image, int]:
        path, label = self._samples[index]
        return read_rgb(path), label

    def name(self, index: int) -> str:
        return str(self._samples[index][0])

    def fingerprint(self) -> int:
        """Sum up names, labels and sizes, and of a small folder the contents."""
        return checksum_of([(Path(path), f"{Path(path).relative_to(self._root)} {y}") for path, y in self._samples])


def require_unpacked(folder: Path) -> None:
    """Refuse a folder that ImageNet is still being unpacked in.

    Raises:
        UserError: it is one.
    """
    if (folder / UNPACKING).exists():
        raise UserError(
            f"{folder} is half unpacked: python -m tasks.image_classification.setup_dataset "
            f"--data {folder.parent} resumes"
        )


def checksum_of(files: Sequence[tuple[Path, str]]) -> int:
    """Sum up what is said of files, their sizes, and if these are small their contents: millions would take hours."""
    sizes = [_size(file) for file, _ in files]
    small, checksum = sum(sizes) <= SMALL, 0
    for (file, said), size in zip(files, sizes, strict=True):
        content = _content(file) if small and size > 0 else b""
        checksum = zlib.crc32(os.fsencode(f"{said} {size}") + content, checksum)
    return checksum


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # one that may not be read; reading it as an image names it
        return b""


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # a link that leads nowhere; reading names it
        return -1


class Pixels:
    """Hold images in memory, uint8 (N, C, H, W), as RGB pictures."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self._x, self._labels = x, y.tolist()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Image, int]:
        from torchvision.transforms.functional import to_pil_image

        return as_rgb(to_pil_image(self._x[index])), self._labels[index]

    def name(self, index: int) -> str:
        return f"image {index}"

    def fingerprint(self) -> int:
        return zlib.crc32(self._x.contiguous().numpy().data, zlib.crc32(repr(self._labels).encode()))


@dataclass(frozen=True)
class Split:
    """Hold training and validation pictures, and the number of classes.

    Args:
        channels: of the pictures before they became RGB.
        names: of the classes.
        left_out: files in their folders that are no images: how many of each ending.
    """

    train: Pictures
    val: Pictures
    classes: int
    channels: int = 3
    names: Sequence[str] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Tell these images from others: how many, and a checksum of training and validation images."""
        checksum = zlib.crc32(f"{self.train.fingerprint()} {self.val.fingerprint()}".encode())
        return f"{len(self.train)}+{len(self.val)} images {checksum:08x}"


def open_split(dataset: str, data: Path, limit_train: int | None = None, limit_val: int | None = None) -> Split:
    """Open the pictures of a data set by the name that `plain_name` gives it."""
    if dataset == FOLDER:
        return open_folder(data, limit_train, limit_val)
    return open_pixels(dataset, data, limit_train, limit_val)


def plain_name(dataset: str) -> str:
    """Understand timm's names of data sets, in any case, with their prefix or without.

    Raises:
        UserError: there is no such data set.
    """
    name = dataset.lower().removeprefix("torch/").replace("fashionmnist", "fashion_mnist")
    name = FOLDER if name in ("imagenet", "image_folder", "") else name
    if name != FOLDER and name not in DATASETS:
        raise UserError(unknown_name("dataset", dataset, ["torch/imagenet", FOLDER, "torch/cifar10", *DATASETS]))
    return name


def open_folder(path: Path, limit_train: int | None = None, limit_val: int | None = None) -> Split:
    """Open <path>/train and <path>/val, each with one folder a class, as ImageNet has them.

    If `limit_train` is 0, as for an evaluation, there need not be the first.

    Raises:
        UserError: one is missing or unusable, or they have other classes.
    """
    val = Folder(path / "val", "--limit-val", limit_val)
    if limit_train == 0:
        return Split(
            Pixels(torch.empty(0), torch.empty(0)), val, len(val.classes), names=val.classes, left_out=val.left_out
        )
    train = Folder(path / "train", "--limit-train", limit_train)
    other = set(train.classes) ^ set(val.classes)
    if other:
        raise UserError(f"{path}/train and {path}/val have to have the same classes; only one has {min(other)}")
    return Split(train, val, len(train.classes), names=train.classes, left_out=train.left_out + val.left_out)


def open_pixels(name: str, data_dir: Path, limit_train: int | None = None, limit_val: int | None = None) -> Split:
    """Open one of the data sets of workbench.vision.datasets as pictures."""
    pixels = load_pixels(name, data_dir, limit_train, limit_val)
    train, val = Pixels(pixels.train_x, pixels.train_y), Pixels(pixels.val_x, pixels.val_y)
    return Split(train, val, pixels.classes, channels=pixels.train_x.shape[1], names=CLASSES[name])
