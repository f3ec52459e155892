"""Make of annotations what a model learns: boxes, labels and masks, or a map of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench.cli.errors import UserError
from workbench.vision.coco.annotations import Annotation, Picture

IGNORED = 255  # in a map of classes: pixels that count neither in the loss nor in the evaluation


@dataclass(frozen=True)
class Instances:
    """Make {"image_id", "boxes", "labels"} of a picture, and with `masks` these too; crowds are left out.

    boxes: float (N, 4), x1 y1 x2 y2 within the image; labels: int64 (N,), the categories; masks: bool (N, H, W).
    """

    masks: bool = False

    def __call__(self, picture: Picture) -> dict[str, Any]:
        from torchvision import tv_tensors

        size = (picture.height, picture.width)
        objects = [each for each in picture.annotations if not each.crowd]
        boxes = torch.tensor([each.box for each in objects], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes[:, 0::2].clamp_(0, picture.width)
        boxes[:, 1::2].clamp_(0, picture.height)
        target = {
            "image_id": picture.id,
            "boxes": tv_tensors.BoundingBoxes(boxes.float(), format="XYXY", canvas_size=size),
            "labels": torch.tensor([each.category for each in objects], dtype=torch.int64),
        }
        if self.masks:
            target["masks"] = tv_tensors.Mask(masks_of(objects, picture))
        return target


@dataclass(frozen=True)
class ClassMap:
    """Make a map of classes, int64 (H, W), of a picture: 0 is the background, pixels of several classes are ignored.

    Args:
        classes: the class of each category that is learnt; objects of others are background.

    Raises:
        UserError: there are too many classes.
    """

    classes: Mapping[int, int]

    def __post_init__(self) -> None:
        if len(self.classes) >= IGNORED:
            raise UserError(f"the data have {len(self.classes)} categories, more than the {IGNORED - 1} of a map")

    def __call__(self, picture: Picture) -> Tensor:
        from torchvision import tv_tensors

        objects = [each for each in picture.annotations if each.category in self.classes]
        masks = masks_of(objects, picture)
        classes = torch.tensor([self.classes[each.category] for each in objects], dtype=torch.int64)
        result = torch.zeros(picture.height, picture.width, dtype=torch.int64)
        if objects:
            result = (masks * classes[:, None, None]).amax(0)
            result[masks.sum(0) > 1] = IGNORED
        mask: Tensor = tv_tensors.Mask(result)
        return mask


def masks_of(objects: list[Annotation], picture: Picture) -> Tensor:
    """Draw the objects' masks, bool (N, H, W)."""
    from faster_coco_eval import mask

    height, width = picture.height, picture.width
    masks = torch.zeros(len(objects), height, width, dtype=torch.bool)
    for number, each in enumerate(objects):
        encoded = each.segmentation
        if not isinstance(encoded, dict):
            encoded = mask.merge(mask.frPyObjects(encoded, height, width))
        elif isinstance(encoded["counts"], list):
            encoded = mask.frPyObjects(encoded, height, width)
        masks[number] = torch.from_numpy(mask.decode(encoded)).bool()
    return masks
