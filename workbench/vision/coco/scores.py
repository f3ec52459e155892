"""Score detections, instance masks and semantic maps: COCO's average precision, and the mean IoU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from workbench.training.metrics import VAL_LOSS, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Results = Sequence[Mapping[str, Any]]

DETECTIONS = 100  # of each image and class, those with the highest scores: COCO counts no more


class Measure(NamedTuple):
    """Say which numbers of COCO's evaluation a measure is the mean of.

    Args:
        key: its name in a trace, after "val_box_" or "val_mask_".
        title: its name for people, after "box" or "mask".
        meaning: how it is computed; {shape} stands for "box" or "mask".
        ious: which of the ten IoU thresholds 0.50, 0.55, ... 0.95.
        area: which of the areas: 0 all, 1 small, 2 medium, 3 large.
    """

    key: str
    title: str
    meaning: str
    ious: slice = slice(None)
    area: int = 0


MEASURES = (
    Measure(
        "ap",
        "AP",
        "average precision: area under the precision-recall curve, where a detection is right if the IoU of its "
        "{shape} with an object's reaches a threshold; mean over classes and the thresholds 0.50, 0.55 to 0.95",
    ),
    Measure("ap50", "AP50", "{shape} AP at an IoU of 0.50 alone: a rough {shape} is right", slice(0, 1)),
    Measure("ap75", "AP75", "{shape} AP at an IoU of 0.75 alone: the {shape} has to fit well", slice(5, 6)),
    Measure("ap_small", "AP small", "{shape} AP of the objects of less than 32 x 32 pixels", area=1),
    Measure("ap_medium", "AP medium", "{shape} AP of the objects from 32 x 32 to 96 x 96 pixels", area=2),
    Measure("ap_large", "AP large", "{shape} AP of the objects of more than 96 x 96 pixels", area=3),
    Measure(
        "ar",
        "AR",
        "average recall: share of the objects found by at most 100 detections per image and class, "
        "mean over classes and thresholds as for {shape} AP",
    ),
)

MEAN_IOU = Metric(
    "val_miou", "mean IoU", "%", True, "share of a class's true or predicted pixels that are both, mean over classes"
)
PIXEL_ACCURACY = Metric(
    "val_pixel_accuracy", "pixel accuracy", "%", True, "share of pixels whose class is predicted", "detail"
)
SEGMENTATION_METRICS = (MEAN_IOU, VAL_LOSS, PIXEL_ACCURACY)


def instance_metrics(masks: bool) -> tuple[Metric, ...]:
    """Return the metrics of detection; with masks, also those of instance segmentation, whose AP then judges."""
    return tuple(_metric(measure, shape) for measure in MEASURES for shape in _shapes(masks))


def average_precision(ground_truth: Mapping[str, Any], results: Results, masks: bool) -> dict[str, float]:
    """Evaluate detections as COCO does, and with masks their masks too.

    The area of an object is what its annotation says; that of a detection is its box's, or its mask's.

    Args:
        ground_truth: a data set as COCO's annotation files hold it, with "images", "annotations" and "categories".
            "segmentation" may be polygons or an RLE, and may be missing without masks. Not changed.
        results: detections as COCO's result files hold them: "image_id", "category_id", "score", "bbox" [x, y, width,
            height] in pixels, and with masks "segmentation", a compressed RLE. May be empty. Not changed.
        masks: whether to evaluate the masks besides the boxes.

    Returns:
        every metric of `instance_metrics(masks)` in percent; nan where there is no such object in the ground truth.

    Raises:
        AssertionError: a detection is of an image that the ground truth does not have.
        KeyError: an entry lacks a key named above.
    """
    tables = {shape: _evaluated(ground_truth, results, shape) for shape in _shapes(masks)}
    metrics = {}
    for measure in MEASURES:
        for shape, (precision, recall) in tables.items():
            table = recall if measure.key == "ar" else precision
            metrics[_metric(measure, shape).key] = _percent(table[measure.ious, ..., measure.area, 0])
    return metrics


def average_precision_by_class(ground_truth: Mapping[str, Any], results: Results, masks: bool) -> dict[str, float]:
    """Evaluate the boxes, or with masks the masks alone, of each category: see `average_precision`.

    Returns:
        the AP in percent by the category's name, in the order of the ids; nan without an object in the ground truth.
    """
    precision, _ = _evaluated(ground_truth, results, "mask" if masks else "box")
    names = {each["id"]: each["name"] for each in ground_truth["categories"]}
    return {names[key]: _percent(precision[:, :, index, 0, 0]) for index, key in enumerate(sorted(names))}


def _shapes(masks: bool) -> tuple[str, ...]:
    return ("mask", "box") if masks else ("box",)


def _metric(measure: Measure, shape: str) -> Metric:
    role = "score" if measure.key in ("ap", "ap50") else "detail"
    meaning = measure.meaning.replace("{shape}", shape)
    return Metric(f"val_{shape}_{measure.key}", f"{shape} {measure.title}", "%", True, meaning, role)


def _evaluated(
    ground_truth: Mapping[str, Any], results: Results, shape: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Match detections with objects.

    Returns:
        the precision (10 IoUs, 101 recalls, categories by id, 4 areas, 1), and the recall, the same without the
        recalls; -1 where there is no object.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    # copies, as the library writes into what it gets; and an object with id 0 would count as not found
    data = {key: [dict(each) for each in ground_truth[key]] for key in ("images", "annotations", "categories")}
    for number, annotation in enumerate(data["annotations"], start=1):
        annotation["id"] = number
    # without the boxes of masks, whose area would be taken for the mask's
    wanted = ("image_id", "category_id", "score", "segmentation" if shape == "mask" else "bbox")
    found = [{key: each[key] for key in wanted} for each in results]
    truth = COCO(data)
    kind = "segm" if shape == "mask" else "bbox"
    evaluation = COCOeval_faster(truth, truth.loadRes(found), kind, print_function=lambda *_: None)
    evaluation.params.maxDets = [DETECTIONS]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


def _percent(values: NDArray[np.float64]) -> float:
    """Return the mean of what is defined, in percent; nan if nothing is."""
    defined = values[values > -1]
    return 100 * float(defined.mean()) if defined.size else math.nan


def confusion(predicted: Tensor, target: Tensor, classes: int, ignore: int = 255) -> Tensor:
    """Count the pixels of each true class (row) that are predicted as each class (column).

    Args:
        predicted: int64, any shape, on any device.
        target: int64, the same shape and device.
        classes: how many there are.
        ignore: the target of pixels to leave out.

    Returns:
        int64 (classes, classes) on the same device; those of several batches may be added.

    Raises:
        ValueError: the shapes differ, or a pixel that is not left out has a class outside 0 to classes - 1.
    """
    if predicted.shape != target.shape:
        raise ValueError(f"predicted has shape {tuple(predicted.shape)}, target {tuple(target.shape)}")
    judged = target != ignore
    pairs = torch.stack([target[judged], predicted[judged]])
    if pairs.numel() and not 0 <= int(pairs.min()) <= int(pairs.max()) < classes:
        raise ValueError(f"classes from {int(pairs.min())} to {int(pairs.max())}, expected 0 to {classes - 1}")
    return torch.bincount(pairs[0] * classes + pairs[1], minlength=classes**2).reshape(classes, classes)


def class_ious(matrix: Tensor) -> Tensor:
    """Return each class's intersection over union, float64 (classes,), between 0 and 1, of a confusion matrix.

    A class without a true pixel is not counted: it is nan even if it was predicted. What was falsely predicted of it
    still lowers the classes that those pixels have.
    """
    matrix = matrix.double()
    both, true = matrix.diagonal(), matrix.sum(dim=1)
    return torch.where(true > 0, both / (true + matrix.sum(dim=0) - both), math.nan)


def mean_iou(matrix: Tensor) -> float:
    """Return the mean of `class_ious` over the classes that the data has, in percent; nan without any pixel."""
    return 100 * float(class_ious(matrix).nanmean())


def pixel_accuracy(matrix: Tensor) -> float:
    """Return the share of pixels whose class is predicted, in percent; nan without any pixel."""
    return 100 * float(matrix.diagonal().sum().double() / matrix.sum())
