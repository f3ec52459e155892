"""workbench/vision/coco/pictures.py: images and annotations in COCO's layout, in files."""

import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image

from workbench.cli.errors import UserError
from workbench.training.sampling import Sampling
from workbench.vision.coco import pictures as module
from workbench.vision.coco.pictures import open_coco
from workbench.vision.reading import FromFiles

SQUARE = [[1, 1, 9, 1, 9, 9, 1, 9]]
SPLITS = {"train": 6, "val": 3}


def write(folder):
    """Write 6 training and 3 validation images; one of each has no object."""
    rng = np.random.default_rng(0)
    (folder / "annotations").mkdir(parents=True)
    for split, count in SPLITS.items():
        (folder / f"{split}2017").mkdir()
        images, annotations = [], []
        for number in range(count):
            width, height, name = 20 + number, 30, f"{split}_{number}.png"
            pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{split}2017" / name)
            images.append({"id": 10 + number, "file_name": name, "width": width, "height": height})
            if number != 1:
                entry = {"id": number, "image_id": 10 + number, "category_id": 2, "bbox": [1, 1, 8, 8]}
                annotations.append(entry | {"segmentation": SQUARE})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 2, "name": "cat"}]}
        annotation_file(folder, split).write_text(json.dumps(content))
    return folder


def annotation_file(folder, split):
    return folder / f"annotations/instances_{split}2017.json"


def change(folder, split, alter):
    """Change what a file of annotations says."""
    content = json.loads(annotation_file(folder, split).read_text())
    alter(content)
    annotation_file(folder, split).write_text(json.dumps(content))


def opened(data, dataset="own", **more):
    return open_coco(dataset, data, lambda categories: Told(tuple(categories)), lambda each: each.annotations, **more)


class Told:
    """Tell of a picture its id, its objects, and the categories."""

    def __init__(self, categories):
        self.categories = categories

    def __call__(self, picture):
        return picture.id, len(picture.annotations), self.categories


def ids(pictures):
    return [each.id for each in pictures.pictures]


@pytest.mark.parametrize(
    ("dataset", "place"), [("coco", "."), ("coco", "coco"), ("own", "own"), ("own data.v2", "own data.v2")]
)
def test_a_data_set_is_found_and_read(dataset, place, tmp_path):
    folder = write(tmp_path / "data" / place)
    split = opened(tmp_path / "data", dataset)
    assert ids(split.train) == [10, 12, 13, 14, 15] and ids(split.val) == [10, 11, 12]
    assert (len(split.train), len(split.val), split.categories) == (5, 3, {2: "cat"})
    for pictures, name in ((split.train, "train"), (split.val, "val")):
        for index, id in enumerate(ids(pictures)):
            image, target = pictures[index]
            path = folder / f"{name}2017/{name}_{id - 10}.png"
            assert pictures.name(index) == str(path)
            assert image.mode == "RGB" and image.tobytes() == Image.open(path).tobytes()
            assert target == (id, int(id != 11), (2,))


def test_the_folder_coco_comes_before_the_data_folder_itself(tmp_path):
    write(tmp_path)
    write(tmp_path / "coco")
    assert opened(tmp_path, "coco").val.name(0) == str(tmp_path / "coco/val2017/val_0.png")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_other_images_become_rgb(mode, tmp_path):
    path = write(tmp_path / "own") / "val2017/val_0.png"
    picture = Image.open(path).convert(mode)
    picture.save(path, "TIFF" if mode == "CMYK" else "PNG")
    image, _ = opened(tmp_path).val[0]
    assert image.mode == "RGB" and image.tobytes() == picture.convert("RGB").tobytes()


@pytest.mark.parametrize("dataset", ["..", ".", "", "../own", "own/", "/own", "a/b"])
def test_a_path_is_no_name(dataset, tmp_path):
    write(tmp_path / "own")
    write(tmp_path / "data")
    with pytest.raises(UserError, match=r"^--dataset .* is no name: --data gives the folder that it is in$"):
        opened(tmp_path / "data", dataset)


def test_an_unknown_name_is_refused(tmp_path):
    write(tmp_path / "own")
    with pytest.raises(UserError, match=rf"^unknown dataset 'scense': did you mean scenes\?.*{tmp_path}/scense/ann"):
        opened(tmp_path, "scense")


def test_what_to_download_is_said_of_coco_alone(tmp_path):
    with pytest.raises(UserError, match=rf"{tmp_path}/annotations/instances_train2017.json: download .* {tmp_path}$"):
        opened(tmp_path, "coco")
    annotation_file(write(tmp_path / "own"), "val").unlink()
    with pytest.raises(UserError, match=r"no file of annotations .*instances_val2017.json$"):
        opened(tmp_path)


def test_generated_scenes_are_written_once(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(module, "write_scenes", lambda name, folder, data: written.append((name, data, write(folder))))
    for _ in range(2):
        assert len(opened(tmp_path, "scenes").train) == 5
    assert written == [("scenes", tmp_path, tmp_path / "scenes")]


# Limits


def test_limits_are_a_fixed_choice(tmp_path):
    write(tmp_path / "own")
    chosen = [opened(tmp_path, limits=(3, 2)) for _ in range(2)]
    assert ids(chosen[0].train) == ids(chosen[1].train) and ids(chosen[0].val) == ids(chosen[1].val)
    for pictures, count, whole in ((chosen[0].train, 3, [10, 12, 13, 14, 15]), (chosen[0].val, 2, [10, 11, 12])):
        assert ids(pictures) == sorted(set(ids(pictures))) and len(ids(pictures)) == count
        assert set(ids(pictures)) < set(whole)
    assert ids(chosen[0].train) != [10, 12, 13]
    smaller = [set(ids(opened(tmp_path, limits=(limit, None)).train)) for limit in range(1, 6)]
    assert all(one < other for one, other in itertools.pairwise(smaller))


@pytest.mark.parametrize(
    ("limits", "said"),
    [((6, None), "--limit-train 6 is out of range: from 1 to 5"), ((5, 4), "--limit-val 4 is out of range: .* to 3")],
)
def test_a_limit_out_of_range_is_refused(limits, said, tmp_path):
    write(tmp_path / "own")
    with pytest.raises(UserError, match=said):
        opened(tmp_path, limits=limits)


# What is left out


def test_what_is_left_out_is_said_once(tmp_path, capsys, monkeypatch):
    folder = write(tmp_path / "own")
    opened(tmp_path)
    assert capsys.readouterr().out == "instances_train2017.json: left out 1 images without an object to learn\n"
    for split in SPLITS:
        change(folder, split, lambda content: content["annotations"][0].update(bbox=[1, 1, 0, 8]))
        change(folder, split, lambda content: content["annotations"][1].update(segmentation=[[1, 2]]))
    split = opened(tmp_path)
    assert ids(split.train) == [13, 14, 15] and ids(split.val) == [10, 11, 12]
    parts = "1 annotations whose box has no area, 1 annotations without a mask that can be drawn"
    assert capsys.readouterr() == (
        f"instances_train2017.json: left out {parts}, 3 images without an object to learn\n"
        f"instances_val2017.json: left out {parts}\n",
        "",
    )
    assert ids(opened(tmp_path, masks=False).train) == [12, 13, 14, 15]
    capsys.readouterr()
    monkeypatch.setenv("RANK", "1")
    opened(tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("split", "key"), [("train", "images"), ("train", "annotations"), ("val", "images")])
def test_an_empty_set_is_refused(split, key, tmp_path):
    folder = write(tmp_path / "own")
    change(folder, split, lambda content: content.update({"annotations": [], key: []}))
    with pytest.raises(UserError, match=f"instances_{split}2017.json has no image that anything can be learnt from"):
        opened(tmp_path)


def test_other_categories_are_refused(tmp_path):
    folder = write(tmp_path / "own")
    change(folder, "val", lambda content: content["categories"].append({"id": 3, "name": "dog"}))
    with pytest.raises(UserError, match=r"train2017.json and .*val2017.json have to have the same categories"):
        opened(tmp_path)


# Files


@pytest.mark.parametrize(("absent", "others"), [([3], ""), ([0, 2, 5], r" \(nor are 2 others\)")])
def test_absent_images_are_counted(absent, others, tmp_path):
    folder = write(tmp_path / "own")
    for number in absent:
        (folder / f"train2017/train_{number}.png").unlink()
    said = f"^there is no {folder}/train2017/train_{absent[0]}.png, which the annotations name{others}$"
    with pytest.raises(UserError, match=said):
        opened(tmp_path)


def test_absent_images_that_are_not_read_are_no_error(tmp_path):
    folder = write(tmp_path / "own")
    (folder / "train2017/train_1.png").unlink()  # without an object
    limited = opened(tmp_path, limits=(1, None))
    for number in {0, 2, 3, 4, 5} - {each - 10 for each in ids(limited.train)}:
        (folder / f"train2017/train_{number}.png").unlink()
    assert ids(opened(tmp_path, limits=(1, None)).train) == ids(limited.train)


@pytest.mark.parametrize("name", ["none.png", "more/none.png", "x" * 300, "\0", "\ud800.png", "..", "/"])
def test_a_name_of_no_file_is_refused(name, tmp_path):
    change(write(tmp_path / "own"), "val", lambda content: content["images"][1].update(file_name=name))
    with pytest.raises(UserError, match=r"^there is no .*, which the annotations name$"):
        opened(tmp_path)


def test_images_may_be_in_folders(tmp_path):
    folder = write(tmp_path / "own")
    (folder / "val2017/more").mkdir()
    (folder / "val2017/val_1.png").rename(folder / "val2017/more/one.png")
    change(folder, "val", lambda content: content["images"][1].update(file_name="more/one.png"))
    assert opened(tmp_path).val[1][0].size == (21, 30)


def test_a_missing_folder_of_images_is_refused(tmp_path):
    folder = write(tmp_path / "own")
    (folder / "val2017").rename(folder / "val")
    with pytest.raises(UserError, match=r"there is no .*/val2017/val_0.png, which the annotations name \(nor are 2"):
        opened(tmp_path)


def read(split, skip=False):
    """What is read: the ids of each training step, and of validation."""
    join = lambda picture, target: target[0]  # noqa: E731
    data = FromFiles(split.train, split.val, (join, join), torch.device("cpu"), 0, skip, collate=list, val_batch=1)
    sampling = Sampling(len(split.train), 5, seed=0)
    return [batch for step in data.training(sampling, 0, 0) for batch in step], list(data.validation(sampling))


def other_size(path):
    Image.new("RGB", (30, 22)).save(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (other_size, r"it has 30 x 22 pixels, but 22 x 30 according to its annotations"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), ".*"),
        (lambda path: path.write_text("text"), ".*cannot identify.*"),
    ],
    ids=["size", "cut", "text"],
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_broken_image_is_refused_or_left_out_if_asked(split, damage, reason, tmp_path, capsys):
    path = write(tmp_path / "own") / f"{split}2017/{split}_2.png"
    damage(path)
    with pytest.raises(UserError, match=rf"^{path} is no image that can be read \({reason}\): .*--bad-images skip$"):
        read(opened(tmp_path))
    (batch,), validation = read(opened(tmp_path), skip=True)
    assert sorted(batch) == [each for each in (10, 12, 13, 14, 15) if (split, each) != ("train", 12)]
    assert validation == [[each] for each in (10, 11, 12) if (split, each) != ("val", 12)]
    assert [line.split(" is no")[0] for line in capsys.readouterr().err.splitlines()] == [f"warning: {path}"]


# Fingerprints


def test_a_fingerprint_tells_data_and_not_where_they_are(tmp_path):
    folder = write(tmp_path / "own")
    fingerprint = opened(tmp_path).fingerprint()
    assert fingerprint.startswith("5+3 images ")
    write(tmp_path / "elsewhere/coco")
    assert opened(tmp_path / "elsewhere", "coco").fingerprint() == fingerprint
    found = {
        fingerprint,
        opened(tmp_path, limits=(4, None)).fingerprint(),
        opened(tmp_path, limits=(5, 2)).fingerprint(),
    }
    for number, path in enumerate([folder / "train2017/train_2.png", folder / "val2017/val_1.png"], start=4):
        content = path.read_bytes()
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        found.add(opened(tmp_path).fingerprint())
        assert len(found) == number
    for number, split in enumerate(SPLITS, start=6):
        change(folder, split, lambda content: content["annotations"][0].update(bbox=[1, 1, 8, 7]))
        found.add(opened(tmp_path).fingerprint())
        assert len(found) == number
