"""workbench/vision/coco/scores.py against pycocotools, and against sums written out."""

import contextlib
import copy
import io
import json
import logging
import math
import random

import pytest
import torch
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from workbench.vision.coco.scores import (
    SEGMENTATION_METRICS,
    average_precision,
    average_precision_by_class,
    class_ious,
    confusion,
    instance_metrics,
    mean_iou,
    pixel_accuracy,
)

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

HEIGHT, WIDTH = 150, 190
STATS = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "ar": 8}  # in COCO's order
CATEGORIES = [{"id": key, "name": name} for key, name in ((7, "cat"), (2, "dog"), (90, "owl"), (11, "none"))]


def polygon(box):
    """Return the octagon within a box."""
    x, y, w, h = box
    corners = ((0, 0.3), (0.3, 0), (0.7, 0), (1, 0.3), (1, 0.7), (0.7, 1), (0.3, 1), (0, 0.7))
    return [value for a, b in corners for value in (x + a * w, y + b * h)]


def compressed(box, as_text):
    """Return the mask of `polygon` as detectors give it."""
    encoded = rle.merge(rle.frPyObjects([polygon(box)], HEIGHT, WIDTH))
    return {"size": encoded["size"], "counts": encoded["counts"].decode() if as_text else encoded["counts"]}


def uncompressed(box):
    """Return the mask of a box as runs, column by column, as COCO's crowds are stored."""
    x, y, w, h = (int(value) for value in box)
    runs = [x * HEIGHT + y] + [h, HEIGHT - h] * (w - 1) + [h]
    return {"size": [HEIGHT, WIDTH], "counts": [*runs, HEIGHT * WIDTH - sum(runs)]}


def outline(rng, box, crowd):
    """Return a segmentation in one of the forms that an annotation may have."""
    if crowd and rng.random() < 0.5:
        return uncompressed(box)
    if crowd or rng.random() < 0.2:
        return compressed(box, as_text=rng.random() < 0.5)
    left = [*box[:2], box[2] / 3, box[3]]
    return [polygon(box)] if rng.random() < 0.7 else [polygon(left), polygon([box[0] + box[2] / 2, *left[1:]])]


def random_box(rng):
    """Return a small, medium or large box within the image."""
    size = rng.choice([(4, 30), (25, 95), (80, 145)])
    w, h = rng.uniform(*size), rng.uniform(*size)
    return [rng.uniform(0, WIDTH - w - 1), rng.uniform(0, HEIGHT - h - 1), w, h]


def problem(seed):
    """Return ground truth and detections, with all that makes an evaluation hard."""
    rng = random.Random(seed)
    images = [{"id": 5 * number + 3, "width": WIDTH, "height": HEIGHT} for number in range(10)]
    rng.shuffle(images)
    annotations, results = [], []

    def detect(image, category, box, score):
        entry = {"image_id": image["id"], "category_id": category, "bbox": box, "score": round(score, 1)}  # many ties
        results.append(entry | {"segmentation": compressed(box, as_text=rng.random() < 0.5)})

    for image in images[1:]:  # the first has no object
        for _ in range(rng.randint(1, 9)):
            box, crowd = random_box(rng), rng.random() < 0.2
            category = rng.choice([7, 2, 90])
            entry = {"id": len(annotations), "image_id": image["id"], "category_id": category, "bbox": box}
            area = box[2] * box[3] * rng.choice([0.3, 0.8, 1, 3])  # its own, not the box's
            entry |= {"iscrowd": int(crowd), "area": area, "segmentation": outline(rng, box, crowd)}
            annotations.append(entry)
            for _ in range(rng.choice([0, 1, 1, 2, 4])):  # missed, found, found again
                shift = 0.02 + 0.3 * rng.random()
                sides = zip(box, box[2:] * 2, strict=True)
                moved = [value + shift * rng.uniform(-0.5, 0.5) * side for value, side in sides]
                other = rng.choice([7, 2, 90]) if rng.random() < 0.1 else category
                detect(image, other, moved, rng.betavariate(4, 2))
    for image in images[:-2]:  # the last two have few detections, or none
        for _ in range(rng.randint(0, 6)):
            detect(image, rng.choice([7, 2, 90, 11]), random_box(rng), rng.random())
    for _ in range(130):  # more than count
        detect(images[2], 7, random_box(rng), rng.random())
    results = [each for each in results if each["image_id"] != images[-1]["id"]]
    results[0]["bbox"][2] = 0.0  # an empty box
    results[1]["segmentation"] = compressed([0, 0, 0, 0], as_text=True)  # and an empty mask
    rng.shuffle(results)
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}, results


def reference(truth, results, kind, category=None):
    """Return pycocotools' twelve numbers."""
    truth, results = copy.deepcopy((truth, results))
    for number, annotation in enumerate(truth["annotations"], start=1):
        annotation["id"] = number
    if kind == "segm":
        for each in results:
            del each["bbox"]  # else it takes the box's area for the mask's
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = truth
        data.createIndex()
        found = COCO()
        found.dataset = truth | {"annotations": []}
        found.createIndex()
        evaluation = COCOeval(data, data.loadRes(results) if results else found, kind)
        if category is not None:
            evaluation.params.catIds = [category]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [math.nan if value == -1 else 100 * value for value in evaluation.stats]


def expected_metrics(truth, results, masks):
    shapes = {"box": "bbox"} | ({"mask": "segm"} if masks else {})
    found = {shape: reference(truth, results, kind) for shape, kind in shapes.items()}
    return {f"val_{shape}_{key}": stats[index] for shape, stats in found.items() for key, index in STATS.items()}


def close(expected):
    return pytest.approx(expected, rel=0, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(8))
def test_equals_pycocotools(seed):
    truth, results = problem(seed)
    metrics = average_precision(truth, results, masks=True)
    assert metrics == close(expected_metrics(truth, results, masks=True))
    assert all(0 < value < 100 for value in metrics.values()), "else the problem tells little"
    assert len(set(metrics.values())) == len(metrics)
    for masks, kind in ((False, "bbox"), (True, "segm")):
        by_class = {each["name"]: reference(truth, results, kind, each["id"])[0] for each in CATEGORIES}
        assert average_precision_by_class(truth, results, masks) == close(by_class)
        assert math.isnan(by_class["none"])


@pytest.mark.parametrize("masks", [False, True])
def test_gives_every_metric_in_order_and_the_first_judges(masks):
    metrics = instance_metrics(masks)
    assert list(average_precision(*problem(0), masks)) == [each.key for each in metrics]
    shapes = ["mask", "box"] if masks else ["box"]
    assert [each.key for each in metrics[: len(shapes)]] == [f"val_{shape}_ap" for shape in shapes]
    assert {each.key for each in metrics} == {f"val_{shape}_{key}" for shape in shapes for key in STATS}
    assert {each.key for each in metrics if each.role == "score"} == {
        f"val_{shape}_{key}" for shape in shapes for key in ("ap", "ap50")
    }
    assert len({each.title for each in metrics} | {each.meaning for each in metrics}) == 2 * len(metrics)
    assert all(each.unit == "%" and each.higher_is_better and "{" not in each.meaning for each in metrics)


def test_boxes_need_no_segmentation():
    truth, results = problem(3)
    expected = {key: value for key, value in average_precision(truth, results, True).items() if "box" in key}
    for each in truth["annotations"] + results:
        del each["segmentation"]
    assert average_precision(truth, results, masks=False) == expected


@pytest.mark.parametrize("masks", [False, True])
def test_no_detection_finds_nothing(masks):
    truth, _ = problem(1)
    metrics = average_precision(truth, [], masks)
    assert metrics == close(expected_metrics(truth, [], masks))
    assert set(metrics.values()) == {0.0}
    assert average_precision_by_class(truth, [], masks) == close({"dog": 0, "cat": 0, "none": math.nan, "owl": 0})


@pytest.mark.parametrize("found", [False, True])
def test_nothing_is_defined_without_objects(found):
    truth, results = problem(1)
    truth["annotations"] = []
    metrics = average_precision(truth, results if found else [], masks=True)
    assert all(math.isnan(value) for value in metrics.values())


@pytest.mark.parametrize(("area", "size"), [(900, "small"), (1100, "medium"), (9000, "medium"), (9300, "large")])
def test_a_single_object_with_id_0_is_found_and_has_the_size_that_its_annotation_says(area, size):
    box = [10, 20, 60, 40]
    entry = {"image_id": 1, "category_id": 7, "bbox": box, "segmentation": [polygon(box)]}
    image = {"id": 1, "width": WIDTH, "height": HEIGHT}
    truth = {"images": [image], "annotations": [entry | {"id": 0, "area": area, "iscrowd": 0}]}
    truth["categories"] = [{"id": 7, "name": "cat"}]
    result = entry | {"score": 0.4, "segmentation": compressed(box, as_text=True)}
    metrics = average_precision(truth, [result], masks=True)
    absent = {f"ap_{each}" for each in ("small", "medium", "large") if each != size}
    keys = [each.key for each in instance_metrics(masks=True)]
    assert metrics == close({key: math.nan if key.split("_", 2)[2] in absent else 100 for key in keys})


@pytest.mark.filterwarnings("error")
def test_changes_no_input_and_prints_nothing(capfd, caplog):
    caplog.set_level(logging.INFO)
    truth, results = problem(2)
    before = copy.deepcopy((truth, results))
    average_precision(truth, results, masks=True)
    average_precision_by_class(truth, results, masks=True)
    average_precision(truth, [], masks=True)
    assert (truth, results) == before
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_takes_what_json_holds():
    truth, results = problem(4)
    for each in results:
        if isinstance(each["segmentation"]["counts"], bytes):
            each["segmentation"]["counts"] = each["segmentation"]["counts"].decode()
    for each in truth["annotations"]:
        if isinstance(each["segmentation"], dict) and isinstance(each["segmentation"]["counts"], bytes):
            each["segmentation"]["counts"] = each["segmentation"]["counts"].decode()
    read = json.loads(json.dumps([truth, results]))
    assert average_precision(*read, masks=True) == average_precision(*problem(4), masks=True)


def test_a_detection_of_an_unknown_image_is_an_error():
    truth, results = problem(0)
    truth["images"] = [each for each in truth["images"] if each["id"] != results[0]["image_id"]]
    with pytest.raises(AssertionError, match="do not correspond"):
        average_precision(truth, results, masks=False)


def maps(seed, classes=5, ignore=255):
    """Return a predicted and a true map; class 3 is not true anywhere, class 4 neither true nor predicted."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(classes - 2, (2, 9, 7), generator=generator)
    predicted = torch.where(torch.rand(target.shape, generator=generator) < 0.6, target, target * 7 % 4)
    predicted[0, 0, :3] = torch.tensor([3, 3, 0])
    target[torch.rand(target.shape, generator=generator) < 0.2] = ignore
    target[0, 0, :2] = 1
    predicted[1, 8, 6], target[1, 8, 6] = 4, ignore
    return predicted, target


def counted(predicted, target, ignore=255):
    """Return the pairs of true and predicted class, pixel by pixel."""
    pairs = zip(target.flatten().tolist(), predicted.flatten().tolist(), strict=True)
    return [pair for pair in pairs if pair[0] != ignore]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, needs_cuda])])
@pytest.mark.parametrize(("seed", "ignore"), [(0, 255), (1, 255), (2, -100)])
def test_mean_iou_against_plain_loops(seed, ignore, device):
    predicted, target = maps(seed, ignore=ignore)
    matrix = confusion(predicted.to(device), target.to(device), 5, ignore)
    pairs = counted(predicted, target, ignore)
    assert matrix.dtype == torch.int64 and matrix.device.type == device
    assert matrix.tolist() == [[pairs.count((true, guess)) for guess in range(5)] for true in range(5)]
    ious = []
    for each in range(3):
        either = [pair for pair in pairs if each in pair]
        ious.append(either.count((each, each)) / len(either))
    assert class_ious(matrix).dtype == torch.float64
    assert class_ious(matrix).tolist() == pytest.approx([*ious, math.nan, math.nan], abs=1e-12, nan_ok=True)
    assert mean_iou(matrix) == pytest.approx(100 * sum(ious) / 3, abs=1e-9)
    assert pixel_accuracy(matrix) == pytest.approx(100 * sum(a == b for a, b in pairs) / len(pairs), abs=1e-9)


def test_a_class_that_is_only_predicted_lowers_the_others_alone():
    target = torch.tensor([0, 0, 1, 1])
    matrix = confusion(torch.tensor([0, 2, 1, 1]), target, 3)
    assert class_ious(matrix).tolist() == pytest.approx([0.5, 1, math.nan], nan_ok=True)
    assert mean_iou(matrix) == 75
    assert pixel_accuracy(matrix) == 75


def test_a_class_that_is_never_predicted_counts_as_0():
    matrix = confusion(torch.tensor([0, 0]), torch.tensor([0, 1]), 2)
    assert class_ious(matrix).tolist() == [0.5, 0]
    assert mean_iou(matrix) == 25


def test_matrices_of_batches_add_up():
    predicted, target = maps(5)
    parts = [confusion(*pair, 5) for pair in zip(predicted, target, strict=True)]
    assert torch.equal(sum(parts), confusion(predicted, target, 5))


def test_without_judged_pixels_nothing_is_defined():
    matrix = confusion(torch.tensor([1, 2]), torch.tensor([255, 255]), 3)
    assert matrix.tolist() == [[0] * 3] * 3
    assert math.isnan(mean_iou(matrix)) and math.isnan(pixel_accuracy(matrix))


@pytest.mark.parametrize(("predicted", "target"), [([3], [0]), ([-1], [1]), ([0], [3]), ([0], [-1]), ([0], [0, 0])])
def test_refuses_what_is_no_class_and_other_shapes(predicted, target):
    with pytest.raises(ValueError, match=r"class|shape"):
        confusion(torch.tensor(predicted), torch.tensor(target), 3)


def test_segmentation_is_judged_by_the_mean_iou():
    assert [each.key for each in SEGMENTATION_METRICS] == ["val_miou", "val_loss", "val_pixel_accuracy"]
    assert [each.role for each in SEGMENTATION_METRICS] == ["score", "loss", "detail"]
    assert [each.higher_is_better for each in SEGMENTATION_METRICS] == [True, False, True]
