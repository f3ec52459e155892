"""Make small scenes in COCO's layout: data for detection and segmentation without a download.

A scene is a piece of one of the photographs that scikit-learn ships, with digits or clothes pasted on it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.random import PCG64, Generator

from workbench.output.storage import prepare_folder, write_bytes, write_text
from workbench.vision.datasets import load_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

TRAIN, VAL = 600, 120  # scenes
SPLITS = ("train2017", "val2017")
SIZES = ((128, 128), (160, 120), (120, 160), (160, 96), (96, 160))  # width, height
MIDDLE = 384  # the photographs' columns before it are for training, the 256 from it on for validation
EMPTY_EVERY, CROWD_EVERY = 25, 16  # every so many scenes have no items, or a crowd beside the items
ITEMS = (1, 5)  # in a scene, at least and at most
ITEM_SIZES, CROWD_SIZES = (28, 69), (16, 21)  # pixels of an image's longer side; the item may have 3 more
BEYOND = 0.15  # share of an item's width and height that may lie beyond the border
SEEN = 0.7  # share of every item that is seen, in spite of the border and later items
TRIES = 30  # at a place for an item, which is then left out
FAITHFUL = 0.95  # intersection over union of the polygons with the mask; below it the mask is stored as RLE


class Kind(NamedTuple):
    """Say what is pasted."""

    dataset: str  # of grey images, as `load_pixels` names it
    supercategory: str
    classes: tuple[str, ...]
    ink: float  # share of an image's brightest value from which on a pixel belongs to the item
    darkest: float  # share of its colour that a black pixel of the item has


_CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
SCENES = {
    "scenes": Kind("digits", "digit", tuple("0123456789"), ink=0.3, darkest=0.5),  # little ink: thick strokes
    "fashion_scenes": Kind("fashion_mnist", "clothing", _CLOTHES, ink=0.06, darkest=0.3),
}


class Material(NamedTuple):
    """Hold what the scenes of a split are made of."""

    kind: Kind
    photographs: list[Image]
    images: np.ndarray  # uint8 (N, h, w)
    labels: np.ndarray  # (N,)


class Item(NamedTuple):
    """Hold an item of a scene, or a crowd of them."""

    label: int
    crowd: bool
    pixels: int  # before anything hides them
    mask: np.ndarray  # bool (H, W): what is seen of it


def complete(folder: Path) -> bool:
    """Tell whether `write_scenes` came to its end in this folder."""
    return all(_annotation_file(folder, split).is_file() for split in SPLITS)


def write_scenes(name: str, folder: Path, data: Path, train: int = TRAIN, val: int = VAL) -> None:
    """Write so many scenes as COCO's train2017, val2017 and annotations; `data` is where data sets are looked for.

    They are the same every time, no file is ever half written, and the annotations come last: a program that was
    killed can start again, and two at once write the same.

    Raises:
        UserError: the data set is missing or unreadable, or the folder cannot be written to.
    """
    contents = {}
    for split, material, count in zip(SPLITS, _materials(SCENES[name], data), (train, val), strict=True):
        prepare_folder(folder / split)
        contents[split] = _write_images(folder / split, material, count)
    prepare_folder(folder / "annotations")
    for split, content in contents.items():
        write_text(_annotation_file(folder, split), json.dumps(content, separators=(",", ":")) + "\n")


def _annotation_file(folder: Path, split: str) -> Path:
    return folder / "annotations" / f"instances_{split}.json"


def _materials(kind: Kind, data: Path) -> tuple[Material, Material]:
    """Load what training and validation scenes are made of; they share no image and no part of a photograph."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    pixels = load_pixels(kind.dataset, data)
    photographs = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    left = [Image.fromarray(each[:, :MIDDLE]) for each in photographs]
    right = [Image.fromarray(each[:, MIDDLE:]) for each in photographs]
    train = Material(kind, left, pixels.train_x[:, 0].numpy(), pixels.train_y.numpy())
    return train, Material(kind, right, pixels.val_x[:, 0].numpy(), pixels.val_y.numpy())


def _write_images(folder: Path, material: Material, count: int) -> dict[str, Any]:
    """Write so many scenes as JPEG files and return what COCO's file of annotations says about them."""
    kind, names = material.kind, enumerate(material.kind.classes, start=1)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        picture, items = _scene(material, Generator(PCG64([SPLITS.index(folder.name), number])), number)
        encoded, name = io.BytesIO(), f"{number:012d}.jpg"
        picture.save(encoded, "JPEG", quality=90)
        write_bytes(folder / name, encoded.getvalue())
        width, height = picture.size
        images.append({"id": number, "file_name": name, "width": width, "height": height, "license": 1})
        for item in items:
            annotations.append({"id": len(annotations) + 1, "image_id": number, **_annotation(item)})
    return {
        "info": {"description": f"{kind.dataset} on scikit-learn's photos by danielbuechele and vultilion (Flickr)"},
        "licenses": [{"id": 1, "name": "Attribution License", "url": "https://creativecommons.org/licenses/by/2.0/"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": id, "name": name, "supercategory": kind.supercategory} for id, name in names],
    }


def _scene(material: Material, rng: Generator, number: int) -> tuple[Image, list[Item]]:
    """Make the scene of this number: the picture and the items in it."""
    picture, items = _background(material.photographs, rng), list[Item]()
    if number % EMPTY_EVERY == 0:
        return picture, items
    if number % CROWD_EVERY == 0:
        items = _paste(picture, items, *_crowd(material, rng), True, rng)
    for index in rng.integers(len(material.labels), size=rng.integers(*ITEMS, endpoint=True)):
        sprite = _sprite(material, index, ITEM_SIZES, rng)
        items = _paste(picture, items, sprite, int(material.labels[index]), False, rng)
    return picture, items


def _background(photographs: list[Image], rng: Generator) -> Image:
    """Cut a piece out of a photograph: shrunk a little, mirrored or not, a bit darker or lighter."""
    from PIL import Image, ImageEnhance, ImageOps

    size, photograph = SIZES[rng.integers(len(SIZES))], photographs[rng.integers(len(photographs))]
    shrink = rng.uniform(1, 1.5)
    width, height = (round(shrink * side) for side in size)
    x, y = rng.integers([photograph.width - width, photograph.height - height], endpoint=True).tolist()
    piece = photograph.crop((x, y, x + width, y + height)).resize(size, Image.Resampling.BICUBIC)
    piece = ImageEnhance.Contrast(piece).enhance(rng.uniform(0.75, 1.1))
    piece = ImageEnhance.Brightness(piece).enhance(rng.uniform(0.75, 1.05))
    return ImageOps.mirror(piece) if rng.random() < 0.5 else piece


def _crowd(material: Material, rng: Generator) -> tuple[Image, int]:
    """Paint four to six small items of one class close to each other: the sprite, and their label."""
    from PIL import Image

    label = material.labels[rng.integers(len(material.labels))]
    same = np.flatnonzero(material.labels == label)
    places = [(x, y) for x in (0, 18, 36) for y in (0, 18)]
    crowd = Image.new("RGBA", (36 + 5 + CROWD_SIZES[1], 18 + 5 + CROWD_SIZES[1]))
    for place in rng.permutation(6)[: rng.integers(4, 6, endpoint=True)]:
        x, y = places[place] + rng.integers(5, size=2, endpoint=True)
        crowd.alpha_composite(_sprite(material, rng.choice(same), CROWD_SIZES, rng), (int(x), int(y)))
    return crowd, int(label)


def _sprite(material: Material, index: int, sizes: tuple[int, int], rng: Generator) -> Image:
    """Paint a grey image in a colour, with an outline, the longer side between `sizes`; around it is nothing."""
    from PIL import Image
    from scipy.ndimage import binary_erosion

    kind, image = material.kind, material.images[index]
    size, brightest = rng.integers(*sizes, endpoint=True), image.max()
    # painted twice as large and reduced at the end, which makes smooth edges
    padded, scale = Image.fromarray(np.pad(image, 1)), 2 * size / max(image.shape)
    large = (round(scale * padded.width), round(scale * padded.height))
    grey = np.asarray(padded.resize(large, Image.Resampling.BICUBIC))
    item = grey >= kind.ink * brightest
    inside = binary_erosion(item, iterations=max(1, size // 16))
    colour, outline = _colours(rng)
    painted = np.zeros((*grey.shape, 4), np.uint8)  # red, green, blue, opacity
    painted[item] = (*outline, 255)
    share = kind.darkest + (1 - kind.darkest) * np.arange(256) / max(1, brightest)  # of the colour, for every grey
    painted[inside, :3] = (share.clip(0, 1)[:, None] * colour)[grey[inside]]
    sprite = Image.fromarray(painted).reduce(2)
    return sprite.crop(sprite.getbbox())


def _colours(rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Choose a light colour with a dark outline, or a dark one with a light outline."""
    hue = np.clip(np.abs((6 * rng.random() + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    light, dark = 255 - rng.uniform(130, 190) * (1 - hue), rng.uniform(90, 140) * hue
    return (light, dark / 4) if rng.random() < 0.6 else (dark, 255 - 40 * (1 - hue))


def _paste(picture: Image, items: list[Item], sprite: Image, label: int, crowd: bool, rng: Generator) -> list[Item]:
    """Paste a sprite where it and the items stay visible, and return all; find no such place, and leave it out."""
    from PIL import Image

    alpha = sprite.getchannel("A")
    pixels = int(np.count_nonzero(np.asarray(alpha) >= 128))
    low = [-int(BEYOND * own) for own in sprite.size]
    high = [side - own - least for side, own, least in zip(picture.size, sprite.size, low, strict=True)]
    for _ in range(TRIES):
        x, y = rng.integers(low, high, endpoint=True).tolist()
        layer = Image.new("L", picture.size)
        layer.paste(alpha, (x, y))
        mask = np.asarray(layer) >= 128
        now = [*(each._replace(mask=each.mask & ~mask) for each in items), Item(label, crowd, pixels, mask)]
        if all(np.count_nonzero(each.mask) >= SEEN * each.pixels for each in now):
            picture.paste(sprite, (x, y), sprite)
            return now
    return items


def _annotation(item: Item) -> dict[str, Any]:
    """Describe an item as COCO does: by polygons if they can, else by RLE, and by the box and area of either."""
    from faster_coco_eval.core import mask as coco

    height, width = item.mask.shape
    changes = np.flatnonzero(np.diff(item.mask.T.ravel(), prepend=False))  # down the columns
    runs = np.diff(changes, prepend=0, append=item.mask.size).tolist()  # outside, inside, outside, ...
    stored: Any = {"counts": runs, "size": [height, width]}
    encoded = coco.frPyObjects(stored, height, width)
    if not item.crowd and (polygons := list(_polygons(item.mask))):
        drawn = coco.merge(coco.frPyObjects(polygons, height, width))
        if coco.iou([drawn], [encoded], [0])[0, 0] > FAITHFUL:
            stored, encoded = polygons, drawn
    box, area = coco.toBbox([encoded])[0].tolist(), int(coco.area([encoded])[0])
    return dict(category_id=item.label + 1, iscrowd=int(item.crowd), bbox=box, area=area, segmentation=stored)


def _polygons(mask: np.ndarray) -> Iterator[list[float]]:
    """Trace the outlines of a mask's pieces, but of no holes, as x, y, x, y, ..."""
    from contourpy import contour_generator

    padded = np.pad(mask, 1).astype(float)  # so that outlines close at the border
    for outline in contour_generator(z=padded).lines(0.5):
        corners = np.asarray(outline)[:-1] - 0.5  # less the padding, 1, and to a pixel's middle, 0.5
        (x, y), (next_x, next_y) = corners.T, np.roll(corners, -1, axis=0).T
        if (x * next_y - y * next_x).sum() > 4:  # twice the area: negative for a hole, and this much for no sliver
            yield corners[::2].ravel().tolist()  # half of them will do, and are half the file
