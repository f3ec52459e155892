"""workbench/vision/coco/scenes.py: the files as pycocotools reads them, and the pictures."""

import dataclasses
import gzip
import json
import struct
from collections import Counter
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from scipy.ndimage import binary_fill_holes

from workbench.cli.errors import UserError
from workbench.vision import datasets
from workbench.vision.coco import scenes
from workbench.vision.coco.scenes import SIZES, SPLITS, complete, write_scenes

TRAIN, VAL = 50, 25  # two scenes and one are empty, three and one have a crowd
NOWHERE = Path("not-needed")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools, with a new NumPy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes("scenes", folder, NOWHERE, TRAIN, VAL)
    return folder


@pytest.fixture(scope="module", params=SPLITS)
def split(request, folder):
    """One of the splits, as pycocotools reads it."""
    return read(folder, request.param)


def read(folder, split):
    return COCO(str(folder / "annotations" / f"instances_{split}.json"))


def annotations_of(folder, split):
    return json.loads((folder / "annotations" / f"instances_{split}.json").read_text())["annotations"]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_fashion_mnist(data):
    """A filled rectangle in every image; the classes of training are 0 to 4, those of validation 5 to 9."""
    raw = data / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    for name, first in (("train", 0), ("t10k", 5)):
        x, y = np.zeros((20, 28, 28), np.uint8), first + np.arange(20, dtype=np.uint8) % 5
        for number, image in enumerate(x):
            image[2:26, 4 : 14 + number % 10] = 40 + 10 * number
        for kind, array in (("images-idx3", x), ("labels-idx1", y)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (raw / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))


def use_photograph(monkeypatch, photograph):
    monkeypatch.setattr("sklearn.datasets.load_sample_image", lambda _: photograph)


def test_layout(folder):
    counts = {"train2017": TRAIN, "val2017": VAL}
    assert set(contents(folder)) == {
        *(f"{split}/{number:012d}.jpg" for split, count in counts.items() for number in range(1, count + 1)),
        *(f"annotations/instances_{split}.json" for split in SPLITS),
    }
    for split, count in counts.items():
        stored = json.loads((folder / "annotations" / f"instances_{split}.json").read_text())
        assert list(stored) == ["info", "licenses", "images", "annotations", "categories"]
        assert [image["id"] for image in stored["images"]] == list(range(1, count + 1))
        assert [category["id"] for category in stored["categories"]] == list(range(1, 11))
        assert [category["name"] for category in stored["categories"]] == list("0123456789")
        assert {category["supercategory"] for category in stored["categories"]} == {"digit"}


@pytest.mark.parametrize("split", SPLITS)
def test_pictures_have_the_sizes_stored(folder, split):
    found = set()
    for image in read(folder, split).imgs.values():
        with Image.open(folder / split / image["file_name"]) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert picture.size == (image["width"], image["height"])
            found.add(picture.size)
    assert found == set(SIZES)


def test_annotations_describe_their_masks(split):
    assert [annotation["id"] for annotation in split.anns.values()] == list(range(1, len(split.anns) + 1))
    assert {annotation["category_id"] for annotation in split.anns.values()} == set(range(1, 11))
    for annotation in split.anns.values():
        mask = split.annToMask(annotation)
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        assert annotation["bbox"] == box
        assert annotation["area"] == mask.sum() >= 40
        assert 16 <= max(box[2:]) <= 72


def test_each_kind_of_segmentation_where_it_belongs(split):
    kinds = Counter()
    for annotation in split.anns.values():
        stored, mask = annotation["segmentation"], split.annToMask(annotation).astype(bool)
        image = split.imgs[annotation["image_id"]]
        if isinstance(stored, dict):
            assert stored["size"] == [image["height"], image["width"]]
            assert isinstance(stored["counts"], list)
            if not annotation["iscrowd"]:  # polygons would lose the hole
                assert mask.sum() <= scenes.FAITHFUL * binary_fill_holes(mask).sum()
            kinds["crowd" if annotation["iscrowd"] else "RLE"] += 1
        else:
            assert annotation["iscrowd"] == 0
            for polygon in stored:
                x, y = np.array(polygon).reshape(-1, 2).T
                assert len(x) >= 3
                assert 0 <= x.min() < x.max() <= image["width"]
                assert 0 <= y.min() < y.max() <= image["height"]
            pieces = rle.frPyObjects(stored, image["height"], image["width"])
            assert rle.area(pieces).sum() <= mask.sum() + 2  # none lies within another
            kinds["polygon" if len(stored) == 1 else "polygons"] += 1
    assert set(kinds) == {"crowd", "RLE", "polygon", "polygons"}
    assert kinds["polygon"] + kinds["polygons"] > 2 * kinds["RLE"]


def test_items_a_scene(split):
    counts = {number: len(split.getAnnIds(number, iscrowd=False)) for number in split.imgs}
    assert [number for number, count in counts.items() if count == 0] == list(range(25, len(counts) + 1, 25))
    assert set(counts.values()) == set(range(6))
    crowds = [annotation["image_id"] for annotation in split.anns.values() if annotation["iscrowd"]]
    assert crowds == list(range(16, len(counts) + 1, 16))


def test_items_share_no_pixels_but_at_their_edges(split):
    for number in split.imgs:
        masks = [split.annToMask(annotation).astype(bool) for annotation in split.imgToAnns[number]]
        for index, mask in enumerate(masks):
            for other in masks[:index]:
                assert (mask & other).sum() < 0.1 * min(mask.sum(), other.sum())


@pytest.mark.parametrize("name", scenes.SCENES)
def test_masks_lie_on_the_items(name, tmp_path, monkeypatch):
    """What is the same before a black photograph and a white one is an item."""
    write_fashion_mnist(tmp_path)
    for shade in (0, 255):
        use_photograph(monkeypatch, np.full((427, 640, 3), shade, np.uint8))
        write_scenes(name, tmp_path / str(shade), tmp_path, 16, 1)
    split = read(tmp_path / "0", "train2017")
    for number, image in split.imgs.items():
        black, white = (
            np.asarray(Image.open(tmp_path / str(shade) / "train2017" / image["file_name"]), float)
            for shade in (0, 255)
        )
        difference = np.abs(white - black).mean(2)
        painted = difference < difference.max() / 2
        masks = [split.annToMask(annotation).astype(bool) for annotation in split.imgToAnns[number]]
        described = np.logical_or.reduce(masks)
        assert (painted & described).sum() > 0.95 * (painted | described).sum()


def test_a_scene_depends_on_no_other(folder, tmp_path):
    write_scenes("scenes", tmp_path, NOWHERE, 20, 5)
    for split, count in (("train2017", 20), ("val2017", 5)):
        for number in range(1, count + 1):
            name = f"{split}/{number:012d}.jpg"
            assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
        first = [annotation for annotation in annotations_of(folder, split) if annotation["image_id"] <= count]
        assert annotations_of(tmp_path, split) == first


def test_training_and_validation_see_different_parts_of_the_photographs(tmp_path, monkeypatch):
    photograph = np.zeros((427, 640, 3), np.uint8)
    photograph[:, :384, 0] = photograph[:, 384:, 2] = 255
    use_photograph(monkeypatch, photograph)
    monkeypatch.setattr(scenes, "EMPTY_EVERY", 1)
    write_scenes("scenes", tmp_path, NOWHERE, 12, 12)
    for split, colour in (("train2017", 0), ("val2017", 2)):
        for path in (tmp_path / split).iterdir():
            picture = np.asarray(Image.open(path)).astype(int)
            assert picture[..., colour].min() > picture[..., 2 - colour].max() + 100


def test_training_and_validation_share_no_items(tmp_path, monkeypatch):
    digits = datasets.load_pixels("digits", NOWHERE)
    assert not {x.numpy().tobytes() for x in digits.train_x} & {x.numpy().tobytes() for x in digits.val_x}
    marked = dataclasses.replace(
        digits, train_y=torch.full_like(digits.train_y, 3), val_y=torch.full_like(digits.val_y, 8)
    )
    monkeypatch.setattr(scenes, "load_pixels", lambda *_: marked)
    write_scenes("scenes", tmp_path, NOWHERE, 6, 6)
    for split, category in (("train2017", 4), ("val2017", 9)):
        assert {annotation["category_id"] for annotation in annotations_of(tmp_path, split)} == {category}


def test_killed_anywhere_and_started_again(tmp_path, monkeypatch):
    write_scenes("scenes", tmp_path / "whole", NOWHERE, 3, 2)
    whole, rename = contents(tmp_path / "whole"), Path.replace
    last = 3 + len(whole) - 1  # the folders are tried out, too
    for killed in range(last + 1):
        left = killed

        def kill(self, target):
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return rename(self, target)

        folder = tmp_path / str(killed)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "replace", kill)
            write_scenes("scenes", folder, NOWHERE, 3, 2)
        assert not complete(folder)
        unfinished = contents(folder)
        assert unfinished.items() <= whole.items()
        assert len(unfinished) >= 5 or not any(name.startswith("annotations") for name in unfinished)
        write_scenes("scenes", folder, NOWHERE, 3, 2)
        assert complete(folder)
        assert contents(folder) == whole


def test_another_program_writes_them_meanwhile(tmp_path, monkeypatch):
    write_scenes("scenes", tmp_path / "alone", NOWHERE, 3, 2)
    write, left = scenes.write_bytes, iter(["another"])

    def write_beside_another(path, content):
        if path.name == "000000000002.jpg" and next(left, None):
            write_scenes("scenes", tmp_path / "both", NOWHERE, 3, 2)
        write(path, content)

    monkeypatch.setattr(scenes, "write_bytes", write_beside_another)
    write_scenes("scenes", tmp_path / "both", NOWHERE, 3, 2)
    assert next(left, None) is None
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")


def test_fashion_scenes(tmp_path):
    write_fashion_mnist(tmp_path)
    write_scenes("fashion_scenes", tmp_path / "scenes", tmp_path, 20, 16)
    train, val = (read(tmp_path / "scenes", split) for split in SPLITS)
    assert [train.cats[id]["name"] for id in (1, 10)] == ["T-shirt", "ankle boot"]
    assert {annotation["category_id"] for annotation in train.anns.values()} == set(range(1, 6))
    assert {annotation["category_id"] for annotation in val.anns.values()} == set(range(6, 11))
    assert sum(annotation["iscrowd"] for annotation in train.anns.values()) == 1


@pytest.mark.filterwarnings("error:invalid value")  # 0 / 0
def test_black_images_are_items_too(tmp_path, monkeypatch):
    digits = datasets.load_pixels("digits", NOWHERE)
    black = dataclasses.replace(digits, train_x=torch.zeros_like(digits.train_x))
    monkeypatch.setattr(scenes, "load_pixels", lambda *_: black)
    write_scenes("scenes", tmp_path, NOWHERE, 3, 1)
    assert complete(tmp_path)


def test_what_is_refused(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(datasets, "DEBIAN_FASHION_MNIST", tmp_path / "not-installed")
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", offline)
    with pytest.raises(UserError, match=r"no network.* put train-images.* into .*FashionMNIST/raw") as error:
        write_scenes("fashion_scenes", tmp_path / "scenes", tmp_path)
    assert "\n" not in str(error.value)
    assert not complete(tmp_path / "scenes")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="it is a file"):
        write_scenes("scenes", tmp_path / "file", NOWHERE, 1, 1)
