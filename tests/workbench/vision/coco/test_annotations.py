"""workbench/vision/coco/annotations.py: what a file says, and everything that can be wrong with it."""

import copy
import json
import math
import zlib

import numpy as np
import pytest
from pycocotools import mask as reference
from pycocotools.coco import COCO

from workbench.cli.errors import UserError
from workbench.vision.coco.annotations import Annotation, Picture, ground_truth, read_annotations
from workbench.vision.coco.targets import masks_of

SQUARE = [[2.0, 3.0, 12.0, 3.0, 12.0, 9.0, 2.0, 9.0]]
RUNS = {"size": [30, 40], "counts": [100, 20, 1080]}
CONTENT = {
    "info": {"year": 2017},
    "images": [
        {"id": 7, "file_name": "a.jpg", "width": 40, "height": 30, "license": 2},
        {"id": 1, "file_name": "more/b.png", "width": 20, "height": 25},
        {"id": 0, "file_name": "empty.jpg", "width": 1, "height": 1},
    ],
    "annotations": [
        {"id": 12, "image_id": 7, "category_id": 44, "bbox": [2, 3, 10, 6], "area": 57.5, "iscrowd": 0,
         "segmentation": SQUARE},
        {"id": 5, "image_id": 1, "category_id": 1, "bbox": [-1.5, 0, 4, 4], "segmentation": [[0, 0, 3, 0, 3, 3]]},
        {"id": 0, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 20, "iscrowd": 1,
         "segmentation": RUNS},
    ],
    "categories": [{"id": 44, "name": "bottle"}, {"id": 1, "name": "person", "supercategory": "person"}, {"id": 9999}],
}  # fmt: skip
NO_KEY = "no key"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "instances.json"


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def altered(key, value, of="annotations", entry=0):
    """The content with another value, or none, in one entry."""
    content = copy.deepcopy(CONTENT)
    content[of][entry][key] = value
    if value is NO_KEY:
        del content[of][entry][key]
    return content


def refused(path, said, masks=True):
    with pytest.raises(UserError) as error:
        read_annotations(path, masks)
    message = str(error.value)
    assert str(path) in message and said in message and "\n" not in message and len(message) < len(str(path)) + 200


def test_what_a_file_says(path):
    found = read_annotations(write(path, CONTENT), masks=True)
    assert found.path == path and found.checksum == zlib.crc32(path.read_bytes())
    assert found.pictures == (
        Picture(7, "a.jpg", 40, 30, (
            Annotation(44, (2.0, 3.0, 10.0, 6.0), 57.5, False, SQUARE),
            Annotation(1, (0.0, 0.0, 9.0, 9.0), 20.0, True, RUNS),
        )),
        Picture(1, "more/b.png", 20, 25, (Annotation(1, (-1.5, 0.0, 4.0, 4.0), 16.0, False, [[0, 0, 3, 0, 3, 3]]),)),
        Picture(0, "empty.jpg", 1, 1, ()),
    )  # fmt: skip
    assert list(found.categories.items()) == [(1, "person"), (44, "bottle"), (9999, "9999")]
    assert not found.left_out


def test_no_masks_are_kept_where_none_are_wanted(path):
    content = altered("segmentation", [[math.nan] * 6])
    del content["annotations"][1]["segmentation"]
    found = read_annotations(write(path, content))
    kept = [each for picture in found.pictures for each in picture.annotations]
    assert [each.segmentation for each in kept] == [None] * 3 and not found.left_out


# Files


def test_a_missing_file_is_refused_with_advice(path):
    with pytest.raises(UserError, match=f"^there is no file of annotations {path}: download it$"):
        read_annotations(path, advice="download it")
    with pytest.raises(UserError, match=f"^there is no file of annotations {path}$"):
        read_annotations(path)


def test_a_file_cut_anywhere_is_refused(path):
    whole = json.dumps(CONTENT).encode()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(path, "is damaged, or no JSON")


@pytest.mark.parametrize(
    "content",
    [b"\x80\x81", b"\xff\xfe\x00", b"{'images': 1}", b"[" * 100_000, b'{"images": [' + b"9" * 5000 + b"]}"],
    ids=["bytes", "cut UTF-16", "Python", "depth", "digits"],
)
def test_what_is_no_json_is_refused(content, path):
    path.write_bytes(content)
    refused(path, "is damaged, or no JSON")


def test_a_folder_is_refused(path):
    path.mkdir()
    refused(path, "cannot read")


LISTS = {"images": [], "annotations": [], "categories": []}


@pytest.mark.parametrize(
    "content",
    [[], "text", 5, None, {}, [LISTS], LISTS | {"images": {}}, LISTS | {"annotations": None}, {"images": []}],
    ids=str,
)
def test_json_of_another_shape_is_refused(content, path):
    refused(write(path, content), "lists of images, annotations, categories")


def test_no_categories_are_refused(path):
    refused(write(path, LISTS), "has no categories")


# Entries


@pytest.mark.parametrize("of", ["images", "annotations", "categories"])
@pytest.mark.parametrize("entry", ["text", 5, None, [], {}])
def test_an_entry_that_is_none_is_refused(of, entry, path):
    content = copy.deepcopy(CONTENT)
    content[of][1] = entry
    refused(write(path, content), f"{'category' if of == 'categories' else of[:-1]} entry 2 has no id")


@pytest.mark.parametrize("of", ["images", "annotations", "categories"])
@pytest.mark.parametrize("value", ["7", True, None, [7], {}, 7.0, math.nan, 2**63, -(10**400), NO_KEY])
def test_an_id_that_is_no_whole_number_is_refused(of, value, path):
    refused(write(path, altered("id", value, of, 1)), "entry 2 has no id that is a whole number")


@pytest.mark.parametrize(("of", "id"), [("images", 1), ("annotations", 5), ("categories", 1)])
def test_an_id_of_two_entries_is_refused(of, id, path):
    refused(write(path, altered("id", id, of)), f"the id {id} is that of two {'category' if of[0] == 'c' else of[:-1]}")


@pytest.mark.parametrize("number", [0, -1, 10_000, 2**40])
def test_a_category_out_of_range_is_refused(number, path):
    refused(write(path, altered("id", number, "categories")), f"category {number} is out of range: 1 to 9999")


SIDES = [0, -4, "40", None, True, 40.0, [40], math.nan, math.inf, 32769, 10**400, NO_KEY]
BOXES = [
    None, NO_KEY, "2 3 10 6", {}, [], [2, 3, 10], [2, 3, 10, 6, 1], ["2", "3", "10", "6"], [2, 3, None, 6],
    [[2], 3, 4, 5], [2, 3, True, 6], [math.nan, 3, 10, 6], [2, 3, math.inf, 6], [2, -math.inf, 10, 6], [2, 3, 1e300, 6],
    [-(10**400), 3, 10, 6],
]  # fmt: skip
WRONG = [
    *(("images", side, value, f"image 7 has a {side} of") for side in ("width", "height") for value in SIDES),
    *(("images", "file_name", value, "image 7 has no file_name") for value in (None, "", 5, ["a.jpg"], NO_KEY)),
    *(("categories", "name", value, "category 44 has a name of") for value in (None, 5, ["bottle"])),
    *(("annotations", "image_id", value, "annotation 12 is of image")
      for value in (99, "7", True, 7.0, None, [7], {}, math.nan, 10**400, NO_KEY)),
    *(("annotations", "category_id", value, "annotation 12 is of category")
      for value in (2, "1", True, 1.0, None, [1], {"id": 1}, 10**400, "x" * 9999, NO_KEY)),
    *(("annotations", "bbox", value, "annotation 12 has a bbox of") for value in BOXES),
    *(("annotations", "area", value, "annotation 12 has an area of")
      for value in (None, "57", [57], -1, True, math.nan, math.inf, 10**400)),
    *(("annotations", "iscrowd", value, "annotation 12 has an iscrowd of") for value in (None, "0", 2, [], math.nan)),
]  # fmt: skip


@pytest.mark.parametrize(("of", "key", "value", "said"), WRONG, ids=lambda each: str(each)[:20])
def test_a_wrong_value_is_refused_by_its_entry(of, key, value, said, path):
    write(path, altered(key, value, of))
    for masks in (False, True):
        refused(path, said, masks)


# Annotations that are left out


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ([2, 3, 0, 6], "whose box has no area"),
        ([2, 3, 10, -6], "whose box has no area"),
        ([40, 3, 10, 6], "whose box is outside of its image"),
        ([2, 30.5, 10, 6], "whose box is outside of its image"),
        ([-10, 3, 10, 6], "whose box is outside of its image"),
        ([2, -6, 10, 6], "whose box is outside of its image"),
    ],
)
def test_a_box_that_shows_nothing_is_left_out(box, why, path):
    found = read_annotations(write(path, altered("bbox", box)))
    assert found.left_out == {why: 1}
    assert [len(each.annotations) for each in found.pictures] == [1, 1, 0]


@pytest.mark.parametrize("box", [[39.9, 29.9, 10, 6], [-9.9, -5.9, 10, 6], [-10, -10, 100, 100]])
def test_a_box_that_is_partly_in_its_image_is_kept(box, path):
    found = read_annotations(write(path, altered("bbox", box)))
    assert found.pictures[0].annotations[0].box == tuple(box)


GOOD = reference.encode(np.asfortranarray(np.eye(30, 40, dtype=np.uint8)))["counts"].decode()
FAR = [1e9, -1e9, 80.0, -80.0, 1e300, math.inf, -math.inf, math.nan, 10**400]
UNDRAWABLE = [
    None, NO_KEY, "text", 5, True, [], {}, [[]], [5], ["abcdef"], [{}], [None], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5]],
    [[1, 2, 3, 4, 5, 6, 7]], [["1", "2", "3", "4", "5", "6"]], [[[1, 2], [3, 4], [5, 6]]], [[1, 2, None, 4, 5, 6]],
    [*SQUARE, [1, 2, 3, 4]], *([[1, 2, each, 4, 5, 6]] for each in FAR), [[1, 2, 3, 4, math.inf, -math.inf]],
    {"size": [30, 40]}, {"counts": [1200]}, RUNS | {"size": [40, 30]}, RUNS | {"size": [30]}, RUNS | {"size": None},
    RUNS | {"size": [30.0, 40.0]}, RUNS | {"counts": []}, RUNS | {"counts": None}, RUNS | {"counts": 1200},
    RUNS | {"counts": [100, 20]}, RUNS | {"counts": [100, 20, 1081]}, RUNS | {"counts": [-100, 200, 1100]},
    RUNS | {"counts": [100.0, 20.0, 1080.0]}, RUNS | {"counts": ["100", 1100]}, RUNS | {"counts": [[1200]]},
    RUNS | {"counts": [10**400, -(10**400), 1200]}, RUNS | {"counts": [True, 1199]},
    RUNS | {"counts": ""}, RUNS | {"counts": "no runs"}, RUNS | {"counts": GOOD[:-1]}, RUNS | {"counts": GOOD + "5"},
    RUNS | {"counts": "o" * 50 + "0"}, RUNS | {"counts": GOOD + "o"}, RUNS | {"counts": "é"},
    RUNS | {"counts": "\ud800"}, RUNS | {"counts": "\0"}, {"size": [40, 30], "counts": GOOD},
]  # fmt: skip


@pytest.mark.parametrize("segmentation", UNDRAWABLE, ids=lambda each: str(each)[:50])
def test_a_mask_that_cannot_be_drawn_is_left_out(segmentation, path):
    """Nothing is drawn here: the library takes all memory for a corner that is not a number."""
    found = read_annotations(write(path, altered("segmentation", segmentation)), masks=True)
    assert found.left_out == {"without a mask that can be drawn": 1}
    assert [len(each.annotations) for each in found.pictures] == [1, 1, 0]


BEYOND = [[-79.0, -79.0, 79.0, -79.0, 20.0, 79.0]]


@pytest.mark.parametrize(
    "segmentation", [SQUARE, BEYOND, [*SQUARE, [20, 20, 30, 20, 30, 28]], RUNS, RUNS | {"counts": GOOD}]
)
def test_a_mask_that_is_kept_is_drawn(segmentation, path):
    (picture, *_) = read_annotations(write(path, altered("segmentation", segmentation)), masks=True).pictures
    drawn = masks_of(picture.annotations[:1], picture)[0]
    if isinstance(segmentation, list):
        expected = reference.merge(reference.frPyObjects(segmentation, 30, 40))
    elif segmentation is RUNS:
        expected = reference.frPyObjects(RUNS, 30, 40)
    else:
        expected = {"size": [30, 40], "counts": GOOD.encode()}
    assert (drawn.numpy() == reference.decode(expected)).all() and drawn.any()


# Ground truth


def test_the_ground_truth_is_a_data_set_of_coco(path):
    found = read_annotations(write(path, CONTENT), masks=True)
    truth = ground_truth(found.pictures, found.categories)
    assert [each["id"] for each in truth["annotations"]] == [1, 2, 3]
    theirs = COCO()
    theirs.dataset = json.loads(json.dumps(truth))
    theirs.createIndex()
    assert theirs.imgs == {
        each["id"]: {key: each[key] for key in ("id", "file_name", "width", "height")} for each in CONTENT["images"]
    }
    assert {each["id"]: each["name"] for each in theirs.loadCats(theirs.getCatIds())} == found.categories
    for picture in found.pictures:
        entries = theirs.loadAnns(theirs.getAnnIds(imgIds=[picture.id]))
        for entry, annotation in zip(entries, picture.annotations, strict=True):
            assert entry["category_id"] == annotation.category and entry["bbox"] == list(annotation.box)
            assert entry["area"] == annotation.area and entry["iscrowd"] == int(annotation.crowd)
            assert (theirs.annToMask(entry) == masks_of([annotation], picture)[0].numpy()).all()
    assert read_annotations(write(path, truth), masks=True).pictures == found.pictures


def test_the_ground_truth_of_some_pictures_is_theirs(path):
    found = read_annotations(write(path, CONTENT), masks=True)
    truth = ground_truth(found.pictures[1:], found.categories)
    assert [each["id"] for each in truth["images"]] == [1, 0]
    assert [(each["id"], each["image_id"], each["bbox"]) for each in truth["annotations"]] == [(1, 1, [-1.5, 0, 4, 4])]
