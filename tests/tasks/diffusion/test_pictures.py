"""tasks/diffusion/pictures.py: CelebA in its real format, any folder of images, and the small data sets."""

import io
import os
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.diffusion.pictures import DATA_HELP, DATASETS_HELP, NAMES, open_pictures
from tests import celeba_miniature
from tests.celeba_miniature import IMAGES, PARTITION
from workbench.cli.errors import UserError
from workbench.training.sampling import Sampling
from workbench.vision.datasets import load_pixels
from workbench.vision.reading import FromFiles

ENDINGS = (
    ".jpg, .jpeg, .jpe, .jfif, .png, .ppm, .pgm, .pbm, .pnm, .bmp, .dib, .tif, .tiff, .webp, .gif, .avif, .heic, "
    ".heif, .jp2, .jxl, .tga"
)


def names(pictures, root):
    return [os.path.relpath(pictures.name(index), root) for index in range(len(pictures))]


def labels(pictures):
    return [pictures[index][1] for index in range(len(pictures))]


def refusal(*arguments):
    with pytest.raises(UserError) as refused:
        open_pictures(*arguments)
    return str(refused.value)


def put(folder, *files):
    """Write images; the same name has the same content. Returns the folder."""
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(list(path.name.encode())).integers(0, 256, (6, 5, 3), np.uint8)
        Image.fromarray(pixels).save(path, "PNG")
    return folder


def test_the_texts_of_help_name_every_data_set():
    assert NAMES == ("celeba", "folder", "digits", "fashion_mnist", "mnist", "cifar10")
    assert all(each in DATASETS_HELP for each in NAMES) and "every 10th" in DATASETS_HELP
    assert DATA_HELP == "folder of data sets, or of images"


# CelebA


def test_celeba_is_read_as_its_partition_says(tmp_path):
    folder = celeba_miniature.write(tmp_path)
    split, images = open_pictures("celeba", tmp_path, None, None), folder / IMAGES
    assert names(split.train, images) == [f"{number:06}.jpg" for number in range(1, 25)]
    assert names(split.val, images) == [f"{number:06}.jpg" for number in range(25, 33)]
    assert (split.classes, split.channels) == (1, 3) and {*labels(split.train), *labels(split.val)} == {0}
    picture, _ = split.val[2]
    expected = Image.open(io.BytesIO(celeba_miniature.picture(27)))
    assert picture.mode == "RGB" and picture.size == (178, 218) and picture.tobytes() == expected.tobytes()


def test_celeba_in_any_order_and_without_the_test_images(tmp_path):
    folder = celeba_miniature.write(tmp_path, train=3, val=2, test=2)
    (folder / PARTITION).write_text("\n000004.jpg  1\r\n\n000003.jpg 0\n000001.jpg 0\n000009.jpg 2\n")
    split = open_pictures("celeba", tmp_path)
    assert names(split.train, folder / IMAGES) == ["000003.jpg", "000001.jpg"]
    assert names(split.val, folder / IMAGES) == ["000004.jpg"]


def test_what_celeba_lacks_is_said(tmp_path):
    folder = tmp_path / "celeba"
    program = f"python -m tasks.diffusion.prepare_celeba --data {tmp_path}"
    advice = (
        f"{program} gets what is missing; where it cannot, download img_align_celeba.zip and list_eval_partition.txt "
        f"from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, and put them, unopened, into {folder} first"
    )
    assert refusal("celeba", tmp_path) == f"{folder} lacks {IMAGES} and {PARTITION}: {advice}"
    celeba_miniature.write(tmp_path)
    (folder / PARTITION).rename(folder / "x")
    assert refusal("celeba", tmp_path) == f"{folder} lacks {PARTITION}: {advice}"
    (folder / "x").rename(folder / PARTITION)
    for number in (7, 3, 32):
        (folder / IMAGES / f"{number:06}.jpg").unlink()
    said = f"{folder / IMAGES} lacks 3 of 32 images, as 000003.jpg: {program} completes it"
    assert refusal("celeba", tmp_path) == said
    for number in (3, 7):
        (folder / IMAGES / f"{number:06}.jpg").write_bytes(b"")  # of a disk that was full
    assert refusal("celeba", tmp_path) == said
    (folder / IMAGES).rename(folder / "x")
    (folder / IMAGES).write_text("a file")
    assert refusal("celeba", tmp_path) == f"{folder} lacks {IMAGES}: {advice}"


LIKE = 'has to be like "000001.jpg 0", with 0, 1 or 2, not'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("000002.jpg", f"line 2 {LIKE} '000002.jpg'"),
        ("000002.jpg 3", f"line 2 {LIKE} '000002.jpg 3'"),
        ("000002.jpg -1", f"line 2 {LIKE} '000002.jpg -1'"),
        ("000002.jpg 0 0", f"line 2 {LIKE} '000002.jpg 0 0'"),
        ("000002.jpg,0", f"line 2 {LIKE} '000002.jpg,0'"),
        ("<" * 99, f"line 2 {LIKE} '{'<' * 60}'"),
        ("../000002.jpg 0", "'../000002.jpg' in line 2 is no plain name of a file"),
        ("a\\000002.jpg 0", "'a\\\\000002.jpg' in line 2 is no plain name of a file"),
        (".. 0", "'..' in line 2 is no plain name of a file"),
        ("000001.jpg 0", "'000001.jpg' in line 2 is there twice"),
    ],
)
def test_a_broken_partition_is_refused(line, said, tmp_path):
    partition = celeba_miniature.write(tmp_path) / PARTITION
    lines = partition.read_text().splitlines()
    partition.write_text("\n".join([lines[0], line, *lines[2:]]))
    advice = "delete it, and python -m tasks.diffusion.prepare_celeba downloads it again"
    assert refusal("celeba", tmp_path) == f"{partition} is broken, {said}: {advice}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no line ends in 0: no image is for training"),
        (b"000001.jpg 0\n000002.jpg 2\n", "no line ends in 1: no image is for validation"),
        (b"000001.jpg 1\n", "no line ends in 0: no image is for training"),
        (b"\x89PNG\xff", "it is no text"),
    ],
)
def test_a_partition_without_a_split_is_refused(content, said, tmp_path):
    partition = celeba_miniature.write(tmp_path) / PARTITION
    partition.write_bytes(content)
    assert refusal("celeba", tmp_path).startswith(f"{partition} is broken, {said}: delete it")


# A folder


def test_every_tenth_image_of_a_folder_is_for_validation(tmp_path):
    files = [f"{number:02}.png" for number in range(11)] + [f"a/deep/{number}.PNG" for number in range(10)]
    put(tmp_path, *files, "b.jpeg", "c.WebP")
    (tmp_path / "notes.txt").write_text("no image")
    split = open_pictures("folder", tmp_path)
    expected = sorted([*files, "b.jpeg", "c.WebP"])
    assert (
        names(split.val, tmp_path) == [expected[0], expected[10], expected[20]] == ["00.png", "10.png", "a/deep/9.PNG"]
    )
    assert names(split.train, tmp_path) == [each for each in expected if each not in names(split.val, tmp_path)]
    assert (split.classes, split.channels) == (1, 3) and {*labels(split.train), *labels(split.val)} == {0}
    assert split.train[0][0].tobytes() == Image.open(tmp_path / "01.png").tobytes()
    two = open_pictures("folder", put(tmp_path / "two", "a.png", "b.png"))
    assert (len(two.train), len(two.val)) == (1, 1)


def test_train_and_val_of_a_folder_are_its_splits(tmp_path):
    put(tmp_path, "train/b.png", "train/sub/a.png", "val/c.png", "other/d.png", "e.png")
    split = open_pictures("folder", tmp_path)
    assert names(split.train, tmp_path) == ["train/b.png", "train/sub/a.png"]
    assert names(split.val, tmp_path) == ["val/c.png"]
    assert split.classes == 1


def test_folders_that_all_images_are_in_are_classes(tmp_path):
    put(tmp_path, "train/cat/1.png", "train/ant/2.png", "train/cat/more/3.png", "val/ant/4.png", "val/cat/5.png")
    split = open_pictures("folder", tmp_path)
    assert names(split.train, tmp_path / "train") == ["ant/2.png", "cat/1.png", "cat/more/3.png"]
    assert (labels(split.train), labels(split.val), split.classes) == ([0, 1, 1], [0, 1], 2)
    whole = put(tmp_path / "whole", *(f"{each}/{number:02}.png" for each in "abc" for number in range(10)))
    split = open_pictures("folder", whole)
    assert (split.classes, labels(split.val), Counter(labels(split.train))) == (3, [0, 1, 2], {0: 9, 1: 9, 2: 9})


@pytest.mark.parametrize(
    "files",
    [
        ["train/a/1.png", "train/b/2.png", "train/3.png", "val/a/4.png", "val/b/5.png"],
        ["train/a/1.png", "train/b/2.png", "train/3.png", "val/a/4.png", "val/b/5.png", "val/3.png"],
        ["train/1.png", "train/2.png", "val/1.png", "val/2.png"],
        ["train/a/1.png", "train/b/2.png", "val/a/4.png"],
        ["train/a/1.png", "train/b/2.png", "val/a/4.png", "val/c/5.png"],
        ["train/a/1.png", "train/a/2.png", "val/a/4.png"],
    ],
    ids=["one outside", "one outside in both", "none", "a class too few", "another class", "one class"],
)
def test_other_folders_are_no_classes(files, tmp_path):
    split = open_pictures("folder", put(tmp_path, *files))
    assert split.classes == 1 and {*labels(split.train), *labels(split.val)} == {0}


def test_hidden_files_and_folders_are_left_out(tmp_path):
    put(tmp_path, "a.png", "b.png", ".c.png", ".cache/d.png", "._a.png", "sub/.e.png")
    split = open_pictures("folder", tmp_path)
    assert names(split.train, tmp_path) + names(split.val, tmp_path) == ["b.png", "a.png"]


def test_links_are_followed_once(tmp_path):
    put(tmp_path / "elsewhere", "x.png", "sub/y.png")
    folder = put(tmp_path / "data", "a.png")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere")
    (folder / "round").symlink_to(folder)
    (tmp_path / "elsewhere/sub/up").symlink_to(tmp_path / "elsewhere")
    (folder / "self").symlink_to("self")
    (folder / "file.png").symlink_to(tmp_path / "elsewhere/x.png")
    split = open_pictures("folder", folder)
    found = sorted(names(split.train, folder) + names(split.val, folder))
    assert found == ["a.png", "again/sub/y.png", "again/x.png", "file.png"]


def test_a_link_that_leads_nowhere_is_named_when_it_is_read(tmp_path):
    folder = put(tmp_path, "a.png", "b.png")
    (folder / "c.png").symlink_to("nowhere")
    split = open_pictures("folder", folder)
    assert split.fingerprint().startswith("2+1 images ")
    data = FromFiles(split.train, split.val, (lambda *_: 0,) * 2, torch.device("cpu"))
    with pytest.raises(UserError, match=rf"^{folder}/c.png is no image that can be read .*--bad-images skip$"):
        list(data.training(Sampling(2, 2, seed=0), 0, 0))


def test_a_folder_that_cannot_be_used(tmp_path):
    there = tmp_path / "there"
    nothing = f"there is no folder {there}: --data gives the folder of images"
    assert refusal("folder", there) == nothing
    there.write_text("a file")
    assert refusal("folder", there) == nothing
    there.unlink()
    (there / "sub").mkdir(parents=True)
    (there / "sub/no.txt").write_text("no image")
    assert refusal("folder", there) == f"{there} has no image, in it or below: files that end in {ENDINGS}"
    put(there, "sub/one.png")
    assert (
        refusal("folder", there) == f"{there} has one image only, sub/one.png: there has to be another for validation"
    )
    put(there, "train/a.png")
    needs = "it needs both, or neither, and then every 10th image is for validation"
    assert refusal("folder", there) == f"{there} has train/ but no val/: {needs}"
    (there / "val").mkdir()
    assert refusal("folder", there) == f"{there}/val has no image, in it or below: files that end in {ENDINGS}"
    (there / "train").rename(there / "x")
    assert refusal("folder", there) == f"{there} has val/ but no train/: {needs}"
    (there / "x").rename(there / "train")
    put(there, "val/b.png")
    (there / ".unpacking.json").write_text("{}")
    program = f"python -m tasks.image_classification.setup_dataset --data {tmp_path}"
    assert refusal("folder", there) == f"{there} is half unpacked: {program} resumes"
    long = tmp_path / ("x" * 300)
    assert refusal("folder", long) == f"cannot read {long}: File name too long"
    assert refusal("celeba", long) == f"cannot read {long}/celeba/{IMAGES}: File name too long"


# The small data sets


def test_a_small_data_set_says_its_channels_and_classes(tmp_path, write_mnist, write_cifar10):
    split = open_pictures("digits", tmp_path, 20, 10)
    assert (len(split.train), len(split.val), split.classes, split.channels) == (20, 10, 10, 1)
    grey = load_pixels("digits", tmp_path, 20, 10).train_x[3, 0].numpy()
    assert (np.asarray(split.train[3][0]) == grey[:, :, None]).all()
    write_mnist(tmp_path / "MNIST/raw")
    write_mnist(tmp_path / "FashionMNIST/raw")
    write_cifar10(tmp_path)
    for name, channels in (("mnist", 1), ("fashion_mnist", 1), ("cifar10", 3)):
        assert open_pictures(name, tmp_path).channels == channels


@pytest.mark.parametrize(("dataset", "meant"), [("celaba", "celeba"), ("CIFAR10", "cifar10"), ("", None)])
def test_an_unknown_name_is_refused(dataset, meant, tmp_path):
    hint = f"did you mean {meant}? " if meant else ""
    assert refusal(dataset, tmp_path) == f"unknown dataset {dataset!r}: {hint}choose from {', '.join(NAMES)}"


# Limits


def test_a_limit_is_a_fixed_choice_spread_over_images_without_classes(tmp_path):
    folder = celeba_miniature.write(tmp_path) / IMAGES
    whole = names(open_pictures("celeba", tmp_path).train, folder)
    split, again = (open_pictures("celeba", tmp_path, 6, 3) for _ in range(2))
    chosen = names(split.train, folder)
    assert chosen == names(again.train, folder) == sorted(chosen) and len({*chosen}) == 6 and {*chosen} < {*whole}
    assert names(split.val, folder) == names(again.val, folder) and len(split.val) == 3
    assert {*chosen} & {*whole[:8]} and {*chosen} & {*whole[8:16]} and {*chosen} & {*whole[16:]}
    assert len(open_pictures("celeba", tmp_path, 1, 8).train) == 1
    assert len(open_pictures("celeba", tmp_path, 0, 8).train) == 0  # as for an evaluation
    for train, val, said in (
        (25, None, "--limit-train 25 is out of range: from 1 to 24 (all)"),
        (None, 9, "--limit-val 9 is out of range: from 1 to 8 (all)"),
    ):
        assert refusal("celeba", tmp_path, train, val) == said


def test_a_limit_takes_classes_in_proportion(tmp_path):
    files = [f"{split}/{each}/{number}.png" for split in ("train", "val") for each in "ab" for number in range(3)]
    put(tmp_path, *files, *(f"train/a/{number}.png" for number in range(3, 6)))
    split = open_pictures("folder", tmp_path, 6, 2)
    assert Counter(labels(split.train)) == {0: 4, 1: 2} and sorted(labels(split.val)) == [0, 1]
    for index in range(6):
        assert names(split.train, tmp_path / "train")[index][0] == "ab"[split.train[index][1]]
    said = "--limit-val 1 is out of range: from 2 (one image a class) to 6 (all)"
    assert refusal("folder", tmp_path, None, 1) == said
    assert refusal("digits", tmp_path, 5) == "--limit-train 5 is out of range: from 10 (one image a class) to 797 (all)"


# Fingerprints, and reading


def test_a_fingerprint_tells_images_and_not_where_they_are(tmp_path):
    found = set()
    for place in ("one", "two"):
        celeba_miniature.write(tmp_path / place)
        found.add(open_pictures("celeba", tmp_path / place).fingerprint())
    (fingerprint,) = found
    assert fingerprint.startswith("24+8 images ")
    one, two = tmp_path / "one/celeba", tmp_path / "two/celeba"
    (one / IMAGES / "000002.jpg").write_bytes(celeba_miniature.picture(3))
    text = (two / PARTITION).read_text()
    (two / PARTITION).write_text(text.replace("000024.jpg 0", "000024.jpg 1").replace("000025.jpg 1", "000025.jpg 0"))
    others = [open_pictures("celeba", tmp_path / each).fingerprint() for each in ("one", "two")]
    assert len({fingerprint, *others}) == 3 and others[1].startswith("24+8 images ")


def test_an_image_that_moves_to_another_class_changes_the_fingerprint(tmp_path):
    put(tmp_path, "train/a/1.png", "train/a/2.png", "train/b/3.png", "val/a/4.png", "val/b/5.png")
    before = open_pictures("folder", tmp_path).fingerprint()
    (tmp_path / "train/a/2.png").rename(tmp_path / "train/b/2.png")
    after = open_pictures("folder", tmp_path).fingerprint()
    assert before != after and before[:10] == after[:10] == "3+2 images"


@pytest.mark.parametrize("damage", [lambda path: os.truncate(path, 900), lambda path: path.write_text("<html>")])
def test_a_broken_image_is_named(damage, tmp_path, capsys):
    path = celeba_miniature.write(tmp_path) / IMAGES / "000007.jpg"
    damage(path)
    split = open_pictures("celeba", tmp_path)

    def read(skip):
        data = FromFiles(split.train, split.val, (lambda *_: 0,) * 2, torch.device("cpu"), skip_broken=skip)
        return [len(batch) for step in data.training(Sampling(24, 8, seed=0), 0, 0) for batch in step]

    with pytest.raises(UserError, match=rf"^{path} is no image that can be read \(.*\): replace it, or leave such .*"):
        read(skip=False)
    assert sorted(read(skip=True)) == [7, 8, 8]
    assert capsys.readouterr().err.startswith(f"warning: {path} is no image that can be read (")
