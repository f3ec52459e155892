"""Decode and transform images one by one, in worker processes."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from golu.activations import unknown_name
from workbench.cli.errors import UserError
from workbench.training.sampling import Sampling
from workbench.training.seeding import derived_seed, seed_everything
from workbench.vision.datasets import DATASETS, limited, load_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

UNPACKING = ".unpacking.json"  # in ImageNet's folder until setup_dataset has unpacked and verified everything
FOLDER = "folder"  # the data set that is train/ and val/ below --data
DATASETS_HELP = (
    "data set: folder (or torch/imagenet), that is train/ and val/ in --data with a folder of images for each class; "
    "or cifar10 (or torch/cifar10), fashion_mnist, mnist, digits"
)
SMALL = 2**26  # bytes of images up to which their contents tell them apart, not only their names and sizes
PREFETCH = 4  # batches a worker keeps ready

Batch = tuple[Tensor, Tensor]
Transform = Callable[["Image"], Tensor]


class Pictures(Protocol):
    """Hold PIL images with their labels."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Image, int]: ...

    def name(self, index: int) -> str:
        """Return what an error calls the image."""

    def fingerprint(self) -> int:
        """Return a checksum that tells these images from others."""


class Folder:
    """Hold the images below `root`, a folder a class; if `limit` is given, so many, classes in proportion.

    Raises:
        UserError: the folder is missing, half unpacked, or has a class without an image.
    """

    def __init__(self, root: Path, flag: str, limit: int | None) -> None:
        from torchvision.datasets import ImageFolder

        if (root.parent / UNPACKING).exists():
            raise UserError(
                f"{root.parent} is half unpacked: python -m tasks.image_classification.setup_dataset "
                f"--data {root.parent.parent} resumes"
            )
        if not root.is_dir():
            raise UserError(
                f"there is no folder {root}: it has to hold one folder of images for each class "
                "(tasks.image_classification.setup_dataset makes it of ImageNet's archives)"
            )
        try:
            found = ImageFolder(str(root))
        except FileNotFoundError as error:
            raise UserError(f"{root} cannot be used: {error}") from error
        self.classes = found.classes
        self._root, self._load, self._samples = root, found.loader, found.samples
        if limit is not None:
            labels = torch.tensor(found.targets)
            chosen = limited(flag, labels, limit, len(found.classes))
            self._samples = [found.samples[i] for i in chosen.tolist()]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[Image, int]:
        path, label = self._samples[index]
        return self._load(path), label

    def name(self, index: int) -> str:
        return str(self._samples[index][0])

    def fingerprint(self) -> int:
        """Sum up names, labels and sizes, and of a small folder the contents: millions of files would take hours."""
        files = [Path(path) for path, _ in self._samples]
        sizes = [file.stat().st_size if file.exists() else -1 for file in files]  # -1: a link that leads nowhere
        small, checksum = sum(sizes) <= SMALL, 0
        for file, size, (_, label) in zip(files, sizes, self._samples, strict=True):
            what = os.fsencode(f"{file.relative_to(self._root)} {label} {size}")
            checksum = zlib.crc32(what + (file.read_bytes() if small and size > 0 else b""), checksum)
        return checksum


class Pixels:
    """Hold images in memory, uint8 (N, C, H, W), as RGB pictures."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self._x, self._labels = x, y.tolist()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Image, int]:
        from torchvision.transforms.functional import to_pil_image

        return to_pil_image(self._x[index]).convert("RGB"), self._labels[index]

    def name(self, index: int) -> str:
        return f"image {index}"

    def fingerprint(self) -> int:
        return zlib.crc32(self._x.contiguous().numpy().data, zlib.crc32(repr(self._labels).encode()))


@dataclass(frozen=True)
class Split:
    """Hold training and validation pictures, and the number of classes."""

    train: Pictures
    val: Pictures
    classes: int

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

    Raises:
        UserError: one is missing or unusable, or they have other classes.
    """
    train = Folder(path / "train", "--limit-train", limit_train)
    val = Folder(path / "val", "--limit-val", limit_val)
    other = set(train.classes) ^ set(val.classes)
    if other:
        raise UserError(f"{path}/train and {path}/val have to have the same classes; only one has {min(other)}")
    return Split(train, val, len(train.classes))


def open_pixels(name: str, data_dir: Path, limit_train: int | None = None, limit_val: int | None = None) -> Split:
    """Open one of the data sets of workbench.vision.datasets as pictures."""
    pixels = load_pixels(name, data_dir, limit_train, limit_val)
    return Split(Pixels(pixels.train_x, pixels.train_y), Pixels(pixels.val_x, pixels.val_y), pixels.classes)


@dataclass(frozen=True)
class _Broken:
    name: str
    reason: str


class _Samples:
    """Give the workers (index, seed) -> (x, y), where the seed decides on the augmentation."""

    def __init__(self, pictures: Pictures, transform: Transform) -> None:
        self._pictures, self._transform = pictures, transform

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int] | _Broken:
        index, seed = key
        seed_everything(seed)
        try:
            picture, label = self._pictures[index]
        except Exception as error:  # PIL has many ways of refusing a file
            return _Broken(self._pictures.name(index), str(error))
        return self._transform(picture), label


def _collate(samples: list[Any]) -> tuple[Batch | None, list[_Broken]]:
    good = [each for each in samples if not isinstance(each, _Broken)]
    return (default_collate(good) if good else None), [each for each in samples if isinstance(each, _Broken)]


class _Keys:
    """Hold the batches to read next, as the workers want them; replaced before each pass."""

    def __init__(self) -> None:
        self.batches: Iterator[list[tuple[int, int]]] = iter(())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.batches


class FromFiles:
    """Read batches of pictures to a device.

    Args:
        workers: processes that read ahead, for training and for validation; 0: none.
        skip_broken: leave out files that are no image, naming each once, instead of stopping at the first.
    """

    def __init__(
        self,
        split: Split,
        transforms: tuple[Transform, Transform],
        device: torch.device,
        workers: int = 0,
        skip_broken: bool = False,
    ) -> None:
        self._split, self._device, self._skip = split, device, skip_broken
        self._named: set[str] = set()
        self._keys = _Keys(), _Keys()
        self._loaders: list[DataLoader[Any]] = [
            DataLoader(
                _Samples(pictures, transform),  # type: ignore[arg-type]
                batch_sampler=keys,
                collate_fn=_collate,
                num_workers=workers,
                persistent_workers=workers > 0,
                prefetch_factor=PREFETCH if workers else None,
                pin_memory=device.type == "cuda",
            )
            for pictures, transform, keys in zip((split.train, split.val), transforms, self._keys, strict=True)
        ]

    def training(self, sampling: Sampling, epoch: int, first: int) -> Iterator[list[Batch]]:
        """Yield what `Task.training` has to."""

        def keys() -> Iterator[list[tuple[int, int]]]:
            for shares in sampling.steps(epoch, first):
                for samples, positions in shares:
                    seeds = [derived_seed(sampling.seed, "augment", epoch, each) for each in positions.tolist()]
                    yield list(zip(samples.tolist(), seeds, strict=True))

        batches = self._read(0, keys())
        for _ in range(first, sampling.steps_per_epoch):
            yield [self._whole(next(batches)) for _ in range(sampling.accumulation)]

    def validation(self, sampling: Sampling) -> Iterator[Batch]:
        """Yield this process's share of the validation images."""
        size = sampling.local_batch
        share = sampling.share(len(self._split.val))
        for batch in self._read(1, ([(index, 0) for index in some.tolist()] for some in share.split(size))):
            if batch is not None:
                yield batch

    def _read(self, which: int, keys: Iterator[list[tuple[int, int]]]) -> Iterator[Batch | None]:
        self._keys[which].batches = keys
        for batch, broken in self._loaders[which]:
            for each in broken:
                self._report(each)
            if batch is None:
                yield None
            else:
                x, y = batch
                yield x.to(self._device, non_blocking=True), y.to(self._device, non_blocking=True)

    def _report(self, broken: _Broken) -> None:
        message = f"{broken.name} is no image that can be read ({broken.reason})"
        if not self._skip:
            raise UserError(f"{message}: replace it, or leave such files out with --bad-images skip")
        if broken.name not in self._named:
            self._named.add(broken.name)
            print(f"warning: {message}, left out", file=sys.stderr)

    def _whole(self, batch: Batch | None) -> Batch:
        if batch is None:
            raise UserError("a whole batch of images could not be read: see the warnings above")
        return batch
