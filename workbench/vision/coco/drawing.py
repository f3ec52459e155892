"""Draw what is in images, and what a model finds there: boxes, masks and maps of classes.

Images and pictures are uint8 (3, H, W). A picture is its image, or k times as large where text would not
be legible.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from workbench.vision.coco.targets import IGNORED

if TYPE_CHECKING:
    from PIL import Image

LEAST = 480  # pixels of a picture's longer side, so that text is legible
MOST = 50  # objects drawn in an image, fewer than 256
TINT = 0.5  # share of the class's colour where its mask is
CELL, GAP, TEXT, COLUMN = 400, 12, 14, 160  # pixels in a grid: longer sides, between pictures, text, legend's columns
WHITE = (255, 255, 255)
# hues go round in steps, looks (saturation, value) take turns: these, of many tried, keep 20 colours furthest apart
_HUE, _STEP, _LOOKS = 0.6, 0.395, ((1.0, 1.0), (1.0, 0.7), (0.45, 1.0), (1.0, 0.45))


@dataclass(frozen=True)
class Objects:
    """Hold what there is in an image, or what was found in it."""

    boxes: Tensor  # float (N, 4), x1 y1 x2 y2 in pixels of the image
    labels: Tensor  # int64 (N,), the class ids
    scores: Tensor | None = None  # float (N,) from 0 to 1; None for ground truth
    masks: Tensor | None = None  # bool (N, H, W)


class _Tag(NamedTuple):
    text: str
    colour: tuple[int, int, int]
    x: float
    y: float
    centred: bool = False  # on x, y, which is the lower left corner otherwise


def colour_of(class_id: int) -> tuple[int, int, int]:
    """Return the red, green and blue of a class, 0 to 255, the same in every picture; IGNORED is grey."""
    if class_id == IGNORED:
        return 128, 128, 128
    red, green, blue = colorsys.hsv_to_rgb((_HUE + class_id * _STEP) % 1, *_LOOKS[class_id % len(_LOOKS)])
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_objects(image: Tensor, objects: Objects, names: Mapping[int, str]) -> Tensor:
    """Draw boxes, each with its class and score, and tint masks; the highest score is on top.

    Without scores smaller objects are on top. Of more than MOST objects the best are drawn, or the largest. A class
    that is not among `names` has no name in the picture.
    """
    from PIL import ImageDraw

    order = _from_the_bottom(objects)
    labels = objects.labels[order].tolist()
    scores = [""] * len(order) if objects.scores is None else [f" {each:.2f}" for each in objects.scores[order]]
    top = torch.zeros(image.shape[1:], dtype=torch.uint8)  # the number of the object that is seen, from 1
    if objects.masks is not None:
        for number, each in enumerate(order, 1):
            top[objects.masks[each].cpu()] = number
    canvas, size = _tinted(image, top, [0, *labels])
    corners = (objects.boxes[order] * (canvas.width / image.shape[2])).clamp(0, max(canvas.size)).round().int()
    draw, tags = ImageDraw.Draw(canvas), []
    for label, score, (x1, y1, x2, y2) in zip(labels, scores, corners.tolist(), strict=True):
        last = max(x1, min(x2, canvas.width) - 1), max(y1, min(y2, canvas.height) - 1)  # pixel within the box
        draw.rectangle((x1, y1, *last), outline=colour_of(label), width=size // 6)
        tags.append(_Tag((names.get(label, "") + score).strip(), colour_of(label), x1, y1))
    return _with_tags(canvas, tags, size)


def draw_classes(image: Tensor, classes: Tensor, names: Mapping[int, str]) -> Tensor:
    """Tint classes, int64 (H, W) from 0 to 255; the background, 0, stays as it is, and IGNORED is grey.

    Those among `names` are named in the picture, where they are widest.
    """
    from scipy.ndimage import distance_transform_edt

    canvas, size = _tinted(image, classes.cpu(), range(IGNORED + 1))
    coarse = math.ceil(max(classes.shape) / 256)  # nobody sees where exactly it is widest
    few, step, tags = classes.cpu()[::coarse, ::coarse], coarse * canvas.width / classes.shape[1], []
    for each in sorted(set(few.unique().tolist()) & set(names) - {0, IGNORED}):
        depth = distance_transform_edt(pad(few == each, (1, 1, 1, 1)).numpy())[1:-1, 1:-1] * step
        if 2 * depth.max() > size:  # a speck has no name
            row, column = divmod(int(depth.argmax()), few.shape[1])
            tags.append(_Tag(names[each], colour_of(each), (column + 0.5) * step, (row + 0.5) * step, centred=True))
    return _with_tags(canvas, tags, size)


def occurring(names: Mapping[int, str], maps: Iterable[Tensor]) -> dict[int, str]:
    """Return the names of the classes, and of IGNORED, that are in any of the maps, int64 (H, W): a grid's legend."""
    found = {each for classes in maps for each in classes.unique().tolist()} - {0}
    return {each: name for each, name in {**names, IGNORED: "not labelled"}.items() if each in found}


def grid(pairs: Sequence[tuple[Tensor, Tensor]], legend: Mapping[int, str] | None, title: str) -> Tensor:
    """Put pictures of the ground truth beside those of the prediction; from 3 pairs on there are two a line.

    Larger pictures are reduced to CELL. The legend names classes by their ids.
    """
    from PIL import Image
    from torchvision.transforms.functional import to_pil_image

    cells = [to_pil_image(each.cpu()) for pair in pairs for each in pair]
    for each in cells:
        each.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    across, wide = 4 if len(pairs) > 2 else 2, max(each.width for each in cells)
    left = [GAP + column * wide + (column + column // 2) * GAP for column in range(across)]
    lines = [cells[start : start + across] for start in range(0, len(cells), across)]
    width, y = max(left[-1] + wide + GAP, 4 * COLUMN), 4 * TEXT  # room for the title and the headings
    columns, foot = width // COLUMN, y + sum(max(each.height for each in line) + GAP for line in lines)
    canvas = Image.new("RGB", (width, foot + math.ceil(len(legend or {}) / columns) * 2 * TEXT), WHITE)
    tags = [_Tag(title, WHITE, GAP, GAP + TEXT)]
    tags += [_Tag(("ground truth", "prediction")[place % 2], WHITE, x, y) for place, x in enumerate(left)]
    for line in lines:
        for x, cell in zip(left, line, strict=False):
            canvas.paste(cell, (x, y))
        y += max(each.height for each in line) + GAP
    for place, (each, name) in enumerate((legend or {}).items()):
        row, column = divmod(place, columns)
        tags.append(_Tag(name, colour_of(each), GAP + column * COLUMN, y + row * 2 * TEXT + TEXT + GAP / 2))
    return _with_tags(canvas, tags, TEXT)


def _from_the_bottom(objects: Objects) -> list[int]:
    """Return which objects to draw, in this order; a model that diverges may give boxes that are no numbers."""
    boxes = objects.boxes
    rank = (boxes[:, 2:] - boxes[:, :2]).prod(1) if objects.scores is None else objects.scores
    best = [each for each in rank.argsort(descending=True).tolist() if boxes[each].isfinite().all()][:MOST]
    return best if objects.scores is None else best[::-1]


def _tinted(image: Tensor, top: Tensor, classes: Sequence[int]) -> tuple[Image.Image, int]:
    """Return an image's picture, tinted where the map (H, W) of places in `classes` is not 0, and its text's size."""
    from scipy.ndimage import maximum_filter, minimum_filter
    from torchvision.transforms.functional import pil_to_tensor, to_pil_image

    factor = math.ceil(LEAST / max(top.shape))
    canvas = to_pil_image(image.cpu()).resize((factor * top.shape[1], factor * top.shape[0]))
    size = max(canvas.size) // 40
    if not top.any():
        return canvas, size
    top = top.byte().repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    near = 2 * (size // 12) + 1  # pixels; a pixel with another number so near is in an outline
    outline = torch.from_numpy(maximum_filter(top.numpy(), near) != minimum_filter(top.numpy(), near))
    colours = torch.tensor([colour_of(each) for each in classes], dtype=torch.uint8)[top.int()].permute(2, 0, 1)
    plain = pil_to_tensor(canvas)
    tinted = torch.where(outline, colours, ((1 - TINT) * plain + TINT * colours).round().byte())
    return to_pil_image(torch.where(top == 0, plain, tinted)), size


def _with_tags(canvas: Image.Image, tags: Sequence[_Tag], size: int) -> Tensor:
    """Write tags within the picture, the last one on top, each a little lower where it would cover another."""
    import matplotlib
    from PIL import ImageDraw, ImageFont
    from torchvision.transforms.functional import pil_to_tensor

    file = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"  # has more letters than Pillow's own font
    font, draw = ImageFont.truetype(file, size), ImageDraw.Draw(canvas)
    margin, high = size // 4, sum(font.getmetrics())
    placed: list[tuple[int, int, int, _Tag]] = []
    for tag in reversed([each for each in tags if each.text]):
        wide = math.ceil(font.getlength(tag.text)) + 2 * margin
        x, y = (tag.x - wide / 2, tag.y - high / 2) if tag.centred else (tag.x, tag.y - high)
        x = max(0, min(int(x), canvas.width - wide))
        beside = [top for left, top, width, _ in placed if x < left + width and left < x + wide]
        tops = [max(0, min(int(y) + step * high, canvas.height - high)) for step in range(4)]
        free = [top for top in tops if all(abs(top - other) >= high for other in beside)]
        placed.append((x, (free or tops)[0], wide, tag))
    for x, y, wide, tag in reversed(placed):
        draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=tag.colour)
        light = sum(share * each for share, each in zip((0.3, 0.59, 0.11), tag.colour, strict=True))
        draw.text((x + margin, y + high / 2), tag.text, "black" if light > 128 else "white", font, "lm")
    picture: Tensor = pil_to_tensor(canvas)
    return picture
