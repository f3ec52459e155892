"""Open images with annotations in COCO's layout: annotations/instances_<split>2017.json beside <split>2017/."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from golu.activations import unknown_name
from workbench.cli.errors import UserError
from workbench.training.launch import is_main_process
from workbench.vision.coco.annotations import Annotations, Picture, read_annotations
from workbench.vision.coco.scenes import SCENES, complete, write_scenes
from workbench.vision.datasets import chosen
from workbench.vision.files import checksum_of
from workbench.vision.rgb import read_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

COCO = "coco"
SPLITS = ("train", "val")
DOWNLOAD = (
    "download train2017.zip and val2017.zip from http://images.cocodataset.org/zips, and "
    "annotations_trainval2017.zip from http://images.cocodataset.org/annotations, and unzip them in {}"
)
DATASETS_HELP = (
    "data set: scenes (digits on photographs, made without a download), fashion_scenes, coco (annotations/, train2017/ "
    "and val2017/ in --data or in its folder coco), or any folder in --data with that layout"
)

DATA_HELP = "folder of data sets, each with annotations/, train2017/ and val2017/"


@dataclass(frozen=True)
class CocoPictures:
    """Hold images in files, each with what is to be learnt of its annotations.

    Args:
        folder: where the files are.
        target: makes what is learnt of a picture.
        checksum: of the annotations.
    """

    pictures: Sequence[Picture]
    folder: Path
    target: Callable[[Picture], Any]
    checksum: int = 0

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Image, Any]:
        picture = self.pictures[index]
        image = read_rgb(self.folder / picture.file, (picture.width, picture.height))
        if image.size != (picture.width, picture.height):
            found, said = (f"{width} x {height}" for width, height in (image.size, (picture.width, picture.height)))
            raise ValueError(f"it has {found} pixels, but {said} according to its annotations")
        return image, self.target(picture)

    def name(self, index: int) -> str:
        return str(self.folder / self.pictures[index].file)

    def fingerprint(self) -> int:
        """Sum up annotations, names and sizes of files, and of a small folder the contents."""
        return checksum_of([(self.folder / each.file, f"{each.id} {self.checksum}") for each in self.pictures])


@dataclass(frozen=True)
class CocoSplit:
    """Hold training and validation pictures, and the categories by number."""

    train: CocoPictures
    val: CocoPictures
    categories: dict[int, str]
    left_out: ClassVar[Mapping[str, int]] = {}  # a file that the annotations do not name is not looked for

    def fingerprint(self) -> str:
        """Tell these images from others: how many, and a checksum of training and validation images."""
        checksum = zlib.crc32(f"{self.train.fingerprint()} {self.val.fingerprint()} {self.categories}".encode())
        return f"{len(self.train)}+{len(self.val)} images {checksum:08x}"


def folder_of(dataset: str, data: Path) -> Path:
    """Return the folder of a data set.

    Raises:
        UserError: the name is a path, or there is no such data set.
    """
    if Path(dataset).name != dataset or dataset in ("", ".."):
        raise UserError(f"--dataset {dataset} is no name: --data gives the folder that it is in")
    folder = data / dataset
    if dataset in SCENES or (folder / "annotations").is_dir():
        return folder
    if dataset == COCO:
        return data
    raise UserError(
        f"{unknown_name('dataset', dataset, [*SCENES, COCO])}; nor is there a folder {folder / 'annotations'}"
    )


def open_coco(
    dataset: str,
    data: Path,
    target: Callable[[dict[int, str]], Callable[[Picture], Any]],
    learnt: Callable[[Picture], bool],
    limits: tuple[int | None, int | None] = (None, None),
    masks: bool = True,
) -> CocoSplit:
    """Open a data set; generated ones are written first.

    If `limits[0]` is 0, as for an evaluation, the training images and their annotations need not be there.

    Args:
        target: makes, of the categories, what makes of a picture what is learnt.
        learnt: whether there is anything to learn from a picture; others are left out of the training images.
        limits: the number of training and of validation images: a fixed choice; None: all.
        masks: whether annotations have to have masks.

    Raises:
        UserError: something is missing or damaged, or a limit is out of range.
    """
    folder = folder_of(dataset, data)
    if dataset in SCENES and not complete(folder):
        write_scenes(dataset, folder, data)
    files = [folder / "annotations" / f"instances_{split}2017.json" for split in SPLITS]
    advice = DOWNLOAD.format(folder) if dataset == COCO else ""
    only_val = limits[0] == 0
    annotations = [read_annotations(file, masks, advice) for file in (files[1:] if only_val else files)]
    train, val = annotations[0], annotations[-1]
    if train.categories != val.categories:
        raise UserError(f"{train.path} and {val.path} have to have the same categories")
    pictures = [] if only_val else [each for each in train.pictures if learnt(each)]
    if not only_val:
        _report(train, len(train.pictures) - len(pictures))
    _report(val, 0)
    made = target(train.categories)
    opened = CocoSplit(
        CocoPictures(_limited("train", pictures, limits[0], train.path), folder / "train2017", made, train.checksum),
        CocoPictures(_limited("val", val.pictures, limits[1], val.path), folder / "val2017", made, val.checksum),
        train.categories,
    )
    for split in (opened.train, opened.val):
        _check_files(split)
    return opened


def _limited(split: str, pictures: Sequence[Picture], limit: int | None, path: Path) -> list[Picture]:
    if not pictures and limit != 0:
        raise UserError(f"{path} has no image that anything can be learnt from")
    return [pictures[each] for each in chosen(f"--limit-{split}", len(pictures), limit)]


def _check_files(split: CocoPictures) -> None:
    """Raise a UserError if an image is named by the annotations but absent."""
    there = set(_names(split.folder))
    absent = [each for each in split.pictures if each.file not in there and not _is_file(split.folder / each.file)]
    if absent:
        others = f" (nor are {len(absent) - 1} others)" if len(absent) > 1 else ""
        raise UserError(f"there is no {split.folder / absent[0].file}, which the annotations name{others}")


def _names(folder: Path) -> Iterable[str]:
    try:
        return [each.name for each in os.scandir(folder) if each.is_file()]
    except OSError:  # there is no such folder, or it may not be read
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, or a folder that may not be read
        return False


def _report(annotations: Annotations, without: int) -> None:
    """Print, once, what of a file is left out."""
    parts = [f"{count} annotations {wrong}" for wrong, count in sorted(annotations.left_out.items())]
    parts += [f"{without} images without an object to learn"] if without else []
    if parts and is_main_process():
        print(f"{annotations.path.name}: left out {', '.join(parts)}", flush=True)
