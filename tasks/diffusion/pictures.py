"""Open the pictures that are learnt: CelebA, any folder of images, or a small data set that other tasks use too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from golu.activations import unknown_name
from tasks.diffusion import celeba
from workbench.cli.errors import UserError
from workbench.vision.datasets import DATASETS, chosen, limited
from workbench.vision.files import Split, checksum_of, open_pixels, require_unpacked
from workbench.vision.folders import ENDINGS, Listing, find_images
from workbench.vision.rgb import read_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

CELEBA, FOLDER = "celeba", "folder"
NAMES = (CELEBA, FOLDER, *DATASETS)
VAL_EVERY = 10  # images of a folder without train/ and val/, one is for validation
DATASETS_HELP = (
    "data set: celeba (faces, which tasks.diffusion.prepare_celeba puts into --data), folder (the images in --data, at "
    f"any depth: train/ and val/ if it has both, else every {VAL_EVERY}th by name, from the first on, is for "
    f"validation), or {', '.join(reversed(DATASETS))}"
)
DATA_HELP = "folder of data sets, or of images"


@dataclass(frozen=True)
class PictureFiles:
    """Hold images in files below a folder, each with its label."""

    folder: Path
    names: Sequence[str]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Image, int]:
        return read_rgb(self.folder / self.names[index]), self.labels[index]

    def name(self, index: int) -> str:
        return str(self.folder / self.names[index])

    def fingerprint(self) -> int:
        """Sum up names and sizes, and of a small folder the contents."""
        return checksum_of([(self.folder / name, name) for name in self.names])


def open_pictures(dataset: str, data: Path, limit_train: int | None = None, limit_val: int | None = None) -> Split:
    """Open one of `NAMES`.

    Raises:
        UserError: there is no such data set, it is missing or incomplete, or a limit is out of range.
    """
    if dataset not in NAMES:
        raise UserError(unknown_name("dataset", dataset, NAMES))
    if dataset in DATASETS:
        return open_pixels(dataset, data, limit_train, limit_val)
    try:
        return (_open_celeba if dataset == CELEBA else _open_folder)(data, limit_train, limit_val)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or data}: {error.strerror or error}") from error


def _open_celeba(data: Path, limit_train: int | None, limit_val: int | None) -> Split:
    folder, program = data / celeba.FOLDER, f"{celeba.PROGRAM} --data {data}"
    images, partition = folder / celeba.IMAGES, folder / celeba.PARTITION
    missing = [each.name for each, there in ((images, images.is_dir()), (partition, partition.is_file())) if not there]
    if missing:
        raise UserError(
            f"{folder} lacks {' and '.join(missing)}: {program} gets what is missing; where it cannot, "
            f"{celeba.by_hand(folder, (celeba.ARCHIVE, celeba.PARTITION))} first"
        )
    train, val, _ = celeba.read_partition(partition)
    if missing := celeba.absent(images, train + val):
        count = len(train) + len(val)
        raise UserError(f"{images} lacks {len(missing):,} of {count:,} images, as {missing[0]}: {program} completes it")
    return _split(images, train, images, val, limit_train, limit_val)


def _open_folder(data: Path, limit_train: int | None, limit_val: int | None) -> Split:
    if not data.is_dir():
        raise UserError(f"there is no folder {data}: --data gives the folder of images")
    require_unpacked(data)
    roots = data / "train", data / "val"
    there = [each for each in roots if each.is_dir()]
    if limit_train == 0 and there == [roots[1]]:
        roots = (roots[1], roots[1])
    elif len(there) == 1:
        (lacking,) = set(roots) - set(there)
        raise UserError(
            f"{data} has {there[0].name}/ but no {lacking.name}/: it needs both, or neither, and then every "
            f"{VAL_EVERY}th image is for validation"
        )
    if there:
        train, val = map(_images, roots)
        split = _split(roots[0], train.names, roots[1], val.names, limit_train, limit_val)
        return replace(split, left_out=Counter(train.left_out) + Counter(val.left_out))
    found = _images(data)
    names = found.names
    if len(names) < 2:
        raise UserError(f"{data} has one image only, {names[0]}: there has to be another for validation")
    train_names = [name for place, name in enumerate(names) if place % VAL_EVERY]
    split = _split(data, train_names, data, names[::VAL_EVERY], limit_train, limit_val)
    return replace(split, left_out=found.left_out)


def _split(
    train_root: Path,
    train: Sequence[str],
    val_root: Path,
    val: Sequence[str],
    limit_train: int | None,
    limit_val: int | None,
) -> Split:
    """Make a split of names below two folders; the folders in these are classes if both have the same."""
    classes = _classes(train)
    if classes != _classes(val):
        classes = []
    return Split(
        _limited("--limit-train", limit_train, train_root, train, classes),
        _limited("--limit-val", limit_val, val_root, val, classes),
        max(1, len(classes)),
    )


def _limited(flag: str, limit: int | None, root: Path, names: Sequence[str], classes: Sequence[str]) -> PictureFiles:
    if classes:
        number = {name: number for number, name in enumerate(classes)}
        labels = [number[name.partition("/")[0]] for name in names]
        places = limited(flag, torch.tensor(labels), limit, len(classes)).tolist()
    else:
        labels, places = [0] * len(names), chosen(flag, len(names), limit)
    return PictureFiles(root, [names[each] for each in places], [labels[each] for each in places])


def _classes(names: Sequence[str]) -> list[str]:
    """Return the folders that the images are in, or none if one of them is in no folder."""
    parts = [name.partition("/") for name in names]
    return sorted({folder for folder, _, _ in parts}) if all(rest for _, _, rest in parts) else []


def _images(root: Path) -> Listing:
    """Find the images below a folder, sorted by their names.

    Raises:
        UserError: there is none.
    """
    found = find_images(root)
    if not found.names:
        raise UserError(f"{root} has no image, in it or below: files that end in {', '.join(ENDINGS)}")
    return Listing(sorted(found.names), found.left_out)
