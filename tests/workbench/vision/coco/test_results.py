"""workbench/vision/coco/results.py: what is found, as COCO's files have it."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as reference
from pycocotools.coco import COCO

from tasks.table import program_of
from workbench.vision.coco.prediction import PredictionProgram
from workbench.vision.coco.results import encoded, region, results_of


def shapes(height, width):
    """Masks of many kinds, with at least a pixel each."""
    rng = np.random.default_rng(0)
    masks = np.zeros((6, height, width), bool)
    masks[0] = True
    masks[1, height - 1, width - 1] = True
    masks[2, 2:5, 3:9] = True
    masks[3] = rng.random((height, width)) < 0.5
    masks[4, :, 0] = True
    masks[5, 1, 1] = masks[5, height - 2, width - 3] = True
    return torch.from_numpy(masks)


@pytest.mark.parametrize(("height", "width"), [(12, 17), (17, 12), (300, 260)])
def test_a_mask_comes_back(height, width):
    for mask in [*shapes(height, width), torch.zeros(height, width, dtype=torch.bool)]:
        found = encoded(mask)
        assert found == json.loads(json.dumps(found)) and found["size"] == [height, width]
        assert (reference.decode(found) == mask.numpy()).all()
        assert found["counts"].encode() == reference.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))["counts"]


@pytest.mark.parametrize(("height", "width"), [(12, 17), (17, 12)])
def test_a_region_has_the_area_and_the_box_of_its_mask(height, width):
    for mask in shapes(height, width):
        found = region(mask)
        assert found.keys() == {"segmentation", "area", "bbox"} and found == json.loads(json.dumps(found))
        assert (reference.decode(found["segmentation"]) == mask.numpy()).all()
        assert found["area"] == reference.area(found["segmentation"]) == mask.numpy().sum()
        assert found["bbox"] == reference.toBbox(found["segmentation"]).tolist()


def output(dtype=torch.float32, masks=True):
    """As a detector of torchvision gives it."""
    probabilities = torch.rand(3, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    probabilities[0, 0, 0, :3] = torch.tensor([0.5, 0.5001, 0.4999])
    return {
        "boxes": torch.tensor([[1.5, 2.0, 11.0, 9.25], [0, 0, 30, 20], [7, 8, 7.5, 8.5]], dtype=dtype),
        "labels": torch.tensor([90, 1, 3]),
        "scores": torch.tensor([0.875, 0.5, 0.0625], dtype=dtype),
    } | ({"masks": probabilities} if masks else {})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_boxes_become_results(dtype):
    assert results_of(output(dtype, masks=False), 42) == [
        {"image_id": 42, "category_id": 90, "bbox": [1.5, 2.0, 9.5, 7.25], "score": 0.875},
        {"image_id": 42, "category_id": 1, "bbox": [0.0, 0.0, 30.0, 20.0], "score": 0.5},
        {"image_id": 42, "category_id": 3, "bbox": [7.0, 8.0, 0.5, 0.5], "score": 0.0625},
    ]


def test_masks_are_where_the_probability_is_above_one_half():
    given = output()
    found = results_of(given, 42)
    for entry, probability in zip(found, given["masks"], strict=True):
        assert (reference.decode(entry["segmentation"]) == (probability[0] > 0.5).numpy()).all()
    first = reference.decode(found[0]["segmentation"])
    assert first[0, :3].tolist() == [0, 1, 0]
    assert [{**each, "segmentation": None} for each in found] == [
        {**each, "segmentation": None} for each in results_of(output(masks=False), 42)
    ]


def test_nothing_found_makes_no_results():
    for masks in (False, True):
        nothing = {name: each[:0] for name, each in output(masks=masks).items()}
        assert results_of(nothing, 42) == []


def test_pycocotools_reads_the_results():
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": 42, "width": 30, "height": 20}],
        "categories": [{"id": number} for number in (1, 3, 90)],
        "annotations": [],
    }
    truth.createIndex()
    given = output()
    theirs = truth.loadRes(json.loads(json.dumps(results_of(given, 42))))
    for entry, probability in zip(theirs.loadAnns(theirs.getAnnIds()), given["masks"], strict=True):
        assert (theirs.annToMask(entry) == (probability[0] > 0.5).numpy()).all()


@pytest.mark.parametrize(("image", "output"), [("one.png", "."), ("there/one.png", "there"), ("one.png", "there/..")])
def test_no_image_is_overwritten_by_its_picture(image, output, tmp_path, program, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / image).write_bytes(b"not even read")
    predicting = PredictionProgram(
        "tasks.x.predict", program_of("object_detection"), "", tmp_path / "none.pth", find=None
    )
    code, _, err = program(predicting, image, "--output", output)
    assert (code, err) == (2, f"error: the image {tmp_path / image} would be overwritten: choose another --output\n")
