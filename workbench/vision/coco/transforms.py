"""Augment images together with their boxes, masks or maps of classes, as torchvision's reference trainings do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from workbench.vision.coco.targets import IGNORED
from workbench.vision.reading import Join

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
FILL = (123, 117, 104)  # around an image that is enlarged: about that mean
DETECTION = ("hflip", "lsj", "multiscale", "ssd", "ssdlite")
RESIZING = ("lsj", "multiscale")  # these decide on the size: the model does not resize once more


def detection_join(augmentation: str | None, min_size: int, max_size: int, hflip_prob: float = 0.5) -> Join:
    """Make samples (image, target) of pictures with boxes: float (3, H, W) from 0 to 1, and plain tensors.

    Args:
        augmentation: of training images, one of DETECTION; None: of validation images.
        min_size, max_size: the sides in pixels that the model sees. For 800, as on COCO, multiscale draws the shorter
            one from 480 to 800 and lsj cuts out 1024 x 1024; for others in proportion.
        hflip_prob: the probability with which a training image is mirrored.
    """
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    fill: Any = {tv_tensors.Image: FILL, "others": 0}
    square = (round(1.28 * min_size),) * 2
    shorter = [round(min_size * (0.6 + 0.04 * each)) for each in range(11)]
    to_float = v2.ToDtype(torch.float, scale=True)
    if augmentation is None:
        return v2.Compose([v2.ToImage(), to_float, v2.ToPureTensor()])  # type: ignore[no-any-return]
    augmentations: dict[str, list[Any]] = {
        "hflip": [],
        "lsj": [v2.ScaleJitter(square), v2.RandomCrop(square, pad_if_needed=True, fill=fill)],
        "multiscale": [v2.RandomShortestSize(shorter, max_size)],
        "ssd": [v2.RandomPhotometricDistort(), v2.RandomZoomOut(fill), v2.RandomIoUCrop()],
        "ssdlite": [v2.RandomIoUCrop()],
    }
    steps = [*augmentations[augmentation], v2.RandomHorizontalFlip(hflip_prob), to_float, v2.SanitizeBoundingBoxes()]
    return v2.Compose([v2.ToImage(), *steps, v2.ToPureTensor()])  # type: ignore[no-any-return]


def segmentation_join(
    base_size: int, crop_size: int | None = None, scales: Sequence[float] = (0.5, 2.0), hflip_prob: float = 0.5
) -> Join:
    """Make samples (image, classes) of pictures with maps of classes: float (3, H, W), normalised, and int64 (H, W).

    Args:
        base_size: the shorter side in pixels.
        crop_size: the side of training images, cut out and padded where they are smaller; None: of validation images.
        scales: the smallest and the largest factor on the shorter side of training images.
        hflip_prob: the probability with which one is mirrored.
    """
    from torchvision.transforms import v2

    to_float = [v2.ToDtype(torch.float, scale=True), v2.Normalize(MEAN, STD), v2.ToPureTensor()]
    if crop_size is None:
        return v2.Compose([v2.ToImage(), v2.Resize(base_size), *to_float])  # type: ignore[no-any-return]
    smallest, largest = (max(1, int(each * base_size)) for each in scales)
    resize = v2.RandomResize(smallest, max(largest, smallest + 1))  # the largest one is never drawn
    steps = [resize, v2.RandomHorizontalFlip(hflip_prob), _Padded(crop_size)]
    return v2.Compose([v2.ToImage(), *steps, v2.RandomCrop(crop_size), *to_float])  # type: ignore[no-any-return]


class _Padded:
    """Pad images at the right and at the bottom to a size; torchvision's RandomCrop would pad on all sides."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, image: Any, classes: Any) -> tuple[Any, Any]:
        from torchvision.transforms.v2.functional import pad

        height, width = image.shape[-2:]
        padding = [0, 0, max(0, self._size - width), max(0, self._size - height)]
        return pad(image, padding, fill=0), pad(classes, padding, fill=IGNORED)
