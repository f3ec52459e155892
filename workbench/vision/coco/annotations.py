"""Read annotations in COCO's format, and check every entry before any of them is used."""

from __future__ import annotations

import json
import math
import reprlib
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.cli.errors import UserError

LARGEST_ID = 9999  # of a category: a model has an output for every number up to the largest
LARGEST_SIDE = 2**15  # pixels of an image: drawing a mask takes memory in proportion
KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Annotation:
    """Hold an object, or a crowd of them: its category, its box (x, y, width, height) in pixels, and its mask."""

    category: int
    box: tuple[float, float, float, float]
    area: float
    crowd: bool
    segmentation: Any  # polygons or a run-length encoding, as the file has it; None if masks are not wanted


@dataclass(frozen=True)
class Picture:
    """Name an image file, its size in pixels, and what is annotated in it."""

    id: int
    file: str
    width: int
    height: int
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True)
class Annotations:
    """Hold what a file of annotations says."""

    path: Path
    pictures: tuple[Picture, ...]
    categories: dict[int, str]
    left_out: Mapping[str, int]  # annotations that cannot be used: how many, by what is wrong with them
    checksum: int  # of the file


def read_annotations(path: Path, masks: bool = False, advice: str = "") -> Annotations:
    """Read a file such as COCO's instances_train2017.json.

    Annotations whose box has no area or lies outside of the image, or whose mask cannot be drawn, are left out and
    counted; whatever else is wrong is an error.

    Args:
        masks: whether an annotation has to have a mask; otherwise none is kept.
        advice: what to do if there is no such file.

    Raises:
        UserError: the file is missing or damaged, or an entry is not what it has to be; it is named.
    """
    content, checksum = _content(path, advice)
    categories = _categories(path, content["categories"])
    images = _by_id(path, "image", content["images"])
    for image in images.values():
        _check_image(path, image)
    found: dict[int, list[Annotation]] = {each: [] for each in images}
    left_out: Counter[str] = Counter()
    for entry in _by_id(path, "annotation", content["annotations"]).values():
        _check_annotation(path, entry, images, categories)
        of = images[entry["image_id"]]
        wrong = _wrong(entry, of, masks)
        if wrong:
            left_out[wrong] += 1
            continue
        found[of["id"]].append(_annotation(entry, masks))
    pictures = tuple(
        Picture(each["id"], each["file_name"], each["width"], each["height"], tuple(found[each["id"]]))
        for each in images.values()
    )
    return Annotations(path, pictures, categories, left_out, checksum)


def ground_truth(pictures: Iterable[Picture], categories: Mapping[int, str]) -> dict[str, Any]:
    """Return pictures and their annotations as a data set in COCO's format, annotations numbered from 1."""
    pictures = list(pictures)
    annotations = [
        {
            "id": 0, "image_id": picture.id, "category_id": each.category, "bbox": list(each.box), "area": each.area,
            "iscrowd": int(each.crowd), "segmentation": each.segmentation,
        }
        for picture in pictures
        for each in picture.annotations
    ]  # fmt: skip
    for number, annotation in enumerate(annotations, start=1):  # COCO's evaluation takes 0 for no match
        annotation["id"] = number
    return {
        "images": [
            {"id": each.id, "file_name": each.file, "width": each.width, "height": each.height} for each in pictures
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
    }


def _content(path: Path, advice: str) -> tuple[dict[str, Any], int]:
    try:
        text = path.read_bytes()
        content = json.loads(text)
    except FileNotFoundError as error:
        raise UserError(f"there is no file of annotations {path}{advice and ': ' + advice}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # what is no UTF-8 is one too; and lists in lists in lists
        raise UserError(f"{path} is damaged, or no JSON ({error}): unpack or write it again") from error
    if not isinstance(content, dict) or any(not isinstance(content.get(key), list) for key in KEYS):
        raise UserError(f"{path} is not in COCO's format: it has to have lists of {', '.join(KEYS)}")
    return content, zlib.crc32(text)


def _by_id(path: Path, what: str, entries: Sequence[Any]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not _is_whole(entry.get("id")):
            raise UserError(f"{path}: {what} entry {number} has no id that is a whole number of at most 64 bits")
        if entry["id"] in found:
            raise UserError(f"{path}: the id {entry['id']} is that of two {what} entries")
        found[entry["id"]] = entry
    return found


def _categories(path: Path, entries: Sequence[Any]) -> dict[int, str]:
    categories = {}
    for number, entry in _by_id(path, "category", entries).items():
        if not 1 <= number <= LARGEST_ID:
            raise UserError(f"{path}: category {number} is out of range: 1 to {LARGEST_ID}, as 0 is the background")
        name = entry.get("name", str(number))
        if not isinstance(name, str):
            raise UserError(f"{path}: category {number} has a name of {reprlib.repr(name)}, not a text")
        categories[number] = name
    if not categories:
        raise UserError(f"{path} has no categories")
    return dict(sorted(categories.items()))


def _check_image(path: Path, image: Mapping[str, Any]) -> None:
    where = f"{path}: image {image['id']}"
    if not isinstance(image.get("file_name"), str) or not image["file_name"]:
        raise UserError(f"{where} has no file_name")
    for side in ("width", "height"):
        if not _is_whole(image.get(side)) or not 1 <= image[side] <= LARGEST_SIDE:
            found = reprlib.repr(image.get(side))
            raise UserError(f"{where} has a {side} of {found}, not a whole number of pixels from 1 to {LARGEST_SIDE}")


def _check_annotation(
    path: Path, entry: Mapping[str, Any], images: Mapping[int, Any], categories: Mapping[int, Any]
) -> None:
    where = f"{path}: annotation {entry['id']}"
    for what, key, known in (("image", "image_id", images), ("category", "category_id", categories)):
        if not _is_whole(entry.get(key)) or entry[key] not in known:
            raise UserError(f"{where} is of {what} {reprlib.repr(entry.get(key))}, which is not in the file")
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(each) for each in box):
        raise UserError(f"{where} has a bbox of {reprlib.repr(box)}, not four numbers of pixels")
    area = entry.get("area", 0)
    if not _is_number(area) or area < 0:
        raise UserError(f"{where} has an area of {reprlib.repr(area)}, not a number of pixels")
    if entry.get("iscrowd", 0) not in (0, 1):
        raise UserError(f"{where} has an iscrowd of {reprlib.repr(entry['iscrowd'])}, neither 0 nor 1")


def _wrong(entry: Mapping[str, Any], image: Mapping[str, Any], masks: bool) -> str:
    """Say what is wrong with an annotation; "" if it can be used."""
    x, y, width, height = entry["bbox"]
    if width <= 0 or height <= 0:
        return "whose box has no area"
    if x >= image["width"] or y >= image["height"] or x + width <= 0 or y + height <= 0:
        return "whose box is outside of its image"
    if masks and not _can_be_drawn(entry.get("segmentation"), image["width"], image["height"]):
        return "without a mask that can be drawn"
    return ""


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**63  # what the library that evaluates can hold


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2 * LARGEST_SIDE**2  # NaN is not


def _can_be_drawn(segmentation: Any, width: int, height: int) -> bool:
    """Tell whether these are polygons or a run-length encoding of such an image: the library that draws checks less."""
    if isinstance(segmentation, dict):
        counts, size = segmentation.get("counts"), segmentation.get("size")
        if size != [height, width] or not all(_is_whole(each) for each in size):
            return False
        if isinstance(counts, str):
            return _can_be_decoded(segmentation)
        if not isinstance(counts, list) or not all(type(each) is int and each >= 0 for each in counts):
            return False
        return sum(counts) == width * height
    if not isinstance(segmentation, list) or not segmentation:
        return False
    far = 2 * max(width, height)
    try:
        return all(
            len(each) >= 6 and len(each) % 2 == 0 and math.isfinite(sum(each)) and -far < min(each) <= max(each) < far
            for each in segmentation
        )
    except (TypeError, OverflowError):  # a polygon is no list of numbers
        return False


def _can_be_decoded(encoding: dict[str, Any]) -> bool:
    from faster_coco_eval import mask

    try:
        mask.decode(encoding)
    except (ValueError, RuntimeError):
        return False
    return True


def _annotation(entry: Mapping[str, Any], masks: bool) -> Annotation:
    x, y, width, height = (float(each) for each in entry["bbox"])
    return Annotation(
        entry["category_id"], (x, y, width, height), float(entry.get("area", width * height)),
        bool(entry.get("iscrowd", 0)), entry.get("segmentation") if masks else None,
    )  # fmt: skip
