"""workbench/vision/coco/targets.py: boxes and masks of objects, and maps of classes."""

import numpy as np
import pytest
import torch
from pycocotools import mask as reference
from torchvision import tv_tensors

from workbench.cli.errors import UserError
from workbench.vision.coco.annotations import Annotation, Picture
from workbench.vision.coco.targets import IGNORED, ClassMap, Instances, masks_of

HEIGHT, WIDTH = 30, 40
TRIANGLE = [[3.5, 2.0, 30.0, 4.5, 12.25, 27.0]]
SEVERAL = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0, 1.0, 9.0], [20.0, 15.0, 39.0, 15.0, 30.0, 29.5]]
OVER_THE_BORDER = [[-5.0, -8.0, 22.0, -8.0, 22.0, 14.0, -5.0, 50.0]]
ELLIPSE = np.hypot((np.arange(HEIGHT)[:, None] - 14) / 9, (np.arange(WIDTH) - 22) / 13) < 1
RUNS = {"size": [HEIGHT, WIDTH], "counts": [35, 20, 10, 20, 315, 300, 500]}  # down the columns
COMPRESSED = reference.encode(np.asfortranarray(ELLIPSE.astype(np.uint8)))
COMPRESSED = {"size": [HEIGHT, WIDTH], "counts": COMPRESSED["counts"].decode()}
SHAPES = (TRIANGLE, SEVERAL, OVER_THE_BORDER, RUNS, COMPRESSED)


def drawn(segmentation):
    """A mask as pycocotools draws it."""
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        return reference.decode(segmentation).astype(bool)
    found = reference.frPyObjects(segmentation, HEIGHT, WIDTH)
    return reference.decode(found if isinstance(segmentation, dict) else reference.merge(found)).astype(bool)


def picture(*objects):
    """A picture with objects of (category, box, segmentation) or (category, box, segmentation, crowd)."""
    found = [Annotation(category, box, 1.0, bool(crowd), shape) for category, box, shape, *crowd in objects]
    return Picture(17, "a.jpg", WIDTH, HEIGHT, tuple(found))


BOX = (0.0, 0.0, 5.0, 5.0)


def test_boxes_end_at_the_border_and_crowds_are_left_out():
    target = Instances()(
        picture(
            (5, (2.0, 3.5, 10.25, 6.0), None),
            (5, (0.0, 0.0, 40.0, 30.0), None, True),
            (9999, (-3.0, -4.0, 10.0, 20.0), None),
            (1, (35.5, 20.0, 10.0, 10.5), None),
            (2, (-2e9, -2e9, 2e9 + 7, 2e9 + 9), None),
            (3, (0.1, 0.2, 0.3, 0.4), None),
        )
    )
    assert target.keys() == {"image_id", "boxes", "labels"} and target["image_id"] == 17
    assert target["labels"].tolist() == [5, 9999, 1, 2, 3] and target["labels"].dtype == torch.int64
    expected = [
        [2, 3.5, 12.25, 9.5],
        [0, 0, 7, 16],
        [35.5, 20, 40, 30],
        [0, 0, 7, 9],
        [0.1, 0.2, 0.1 + 0.3, 0.2 + 0.4],
    ]
    assert torch.equal(target["boxes"].as_subclass(torch.Tensor), torch.tensor(expected))
    assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)
    assert target["boxes"].format.value == "XYXY" and target["boxes"].canvas_size == (HEIGHT, WIDTH)


@pytest.mark.parametrize("objects", [[], [(1, BOX, RUNS, True)]], ids=["nothing", "a crowd"])
def test_a_picture_without_objects(objects):
    target = Instances(masks=True)(picture(*objects))
    assert target["boxes"].shape == (0, 4) and target["boxes"].dtype == torch.float32
    assert target["labels"].shape == (0,) and target["labels"].dtype == torch.int64
    assert target["masks"].shape == (0, HEIGHT, WIDTH) and target["masks"].dtype == torch.bool


def test_masks_are_those_of_pycocotools():
    objects = [(number, BOX, shape) for number, shape in enumerate(SHAPES, start=1)]
    target = Instances(masks=True)(picture(*objects, (9, BOX, TRIANGLE, True)))
    expected = np.stack([drawn(shape) for shape in SHAPES])
    assert (expected[-1] == ELLIPSE).all() and (expected[3].T.ravel()[35:55]).all()
    assert all(50 < each.sum() < 900 for each in expected)
    assert target["masks"].dtype == torch.bool and (target["masks"].numpy() == expected).all()
    assert isinstance(target["masks"], tv_tensors.Mask)
    assert target["labels"].tolist() == [1, 2, 3, 4, 5]


def test_drawing_changes_no_annotation():
    before = [repr(each) for each in SHAPES]
    whole = picture(*((1, BOX, each) for each in SHAPES))
    assert torch.equal(masks_of(list(whole.annotations), whole), masks_of(list(whole.annotations), whole))
    assert [repr(each) for each in SHAPES] == before


def by_hand(objects, classes):
    """A map of classes, pixel by pixel."""
    masks = [(classes[category], drawn(shape)) for category, _, shape, *_ in objects if category in classes]
    result = np.zeros((HEIGHT, WIDTH), np.int64)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            here = [number for number, mask in masks if mask[row, column]]
            result[row, column] = 255 if len(here) > 1 else here[0] if here else 0
    return result


CLASSES = {10: 1, 44: 2, 3: 20}
LEFT = [[0.0, 20.0, 8.0, 20.0, 8.0, 30.0, 0.0, 30.0]]


@pytest.mark.parametrize(
    "objects",
    [
        [(10, BOX, TRIANGLE)],
        [(10, BOX, TRIANGLE), (44, BOX, COMPRESSED), (3, BOX, LEFT)],
        [(10, BOX, TRIANGLE), (10, BOX, COMPRESSED)],
        [(10, BOX, TRIANGLE), (99, BOX, COMPRESSED), (3, BOX, LEFT)],
        [(10, BOX, TRIANGLE), (3, BOX, RUNS, True)],
        [(99, BOX, TRIANGLE)],
        [],
    ],
    ids=["one", "overlaps", "overlaps of one class", "not learnt", "a crowd", "none is learnt", "empty"],
)
def test_a_map_of_classes_is_that_of_a_loop(objects, request):
    found = ClassMap(CLASSES)(picture(*objects))
    expected = by_hand(objects, CLASSES)
    assert found.dtype == torch.int64 and isinstance(found, tv_tensors.Mask)
    assert (found.numpy() == expected).all()
    assert (IGNORED in expected) == ("overlaps" in request.node.name or "crowd" in request.node.name)


def test_more_classes_than_a_map_can_hold_are_refused():
    most = {number: number for number in range(1, IGNORED)}
    assert int(ClassMap(most)(picture((254, BOX, LEFT))).max()) == 254
    with pytest.raises(UserError, match=r"^the data have 255 categories, more than the 254 of a map$"):
        ClassMap(most | {255: 255})
