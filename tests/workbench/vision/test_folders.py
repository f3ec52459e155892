"""workbench/vision/folders.py: which files of a folder are images, and what is said of the others."""

import os

import numpy as np
import pytest
import torchvision
from PIL import Image

from workbench.cli.errors import UserError
from workbench.vision.files import Folder, open_folder
from workbench.vision.folders import ENDINGS, find_images, told
from workbench.vision.rgb import read_rgb

LINKS = "links to folders that are there already"


def put(folder, *files):
    """Write images, whatever their names say, and empty files of other endings. Returns the folder."""
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in ENDINGS:
            Image.new("RGB", (4, 3), (10, 20, 30)).save(path, "PNG")
        else:
            path.touch()
    return folder


def opened(root):
    return Folder(root, "--limit-train", None)


def found(folder, root):
    """The images of a folder of classes, each with its label."""
    return [(os.path.relpath(folder.name(index), root), folder[index][1]) for index in range(len(folder))]


def refusal(root):
    with pytest.raises(UserError, match=r"^[^\n]*$") as refused:
        opened(root)
    return str(refused.value)


def test_images_at_any_depth_have_torchvisions_order(tmp_path):
    names = [
        "a/z.png",
        "a/b/1.png",
        "a/b/c/2.PNG",
        "a/b-c/3.jpeg",
        "a/B/4.webp",
        "a-b/5.tif",
        "a/b.png",
        "é/6.jpg",
        "a b/7.ppm",
    ]
    root = put(tmp_path, *names)
    theirs = torchvision.datasets.ImageFolder(str(root))
    ours = opened(root)
    assert ours.classes == theirs.classes == ["a", "a b", "a-b", "é"]
    assert [(ours.name(index), ours[index][1]) for index in range(len(ours))] == theirs.samples
    assert len(theirs) == len(names) and not ours.left_out


@pytest.mark.parametrize("suffix", ["gif", "avif", "tga", "jp2", "jfif", "pbm", "dib"])
def test_formats_beyond_torchvisions_are_read(suffix, tmp_path):
    image = Image.new("RGB", (16, 16), "white")
    path = put(tmp_path, "cat/1.png") / f"cat/2.{suffix.upper()}"
    image.convert("1" if suffix == "pbm" else "RGB").save(path, {"jfif": "JPEG", "pbm": "PPM"}.get(suffix))
    folder = opened(tmp_path)
    assert found(folder, tmp_path) == [("cat/1.png", 0), (f"cat/2.{suffix.upper()}", 0)]
    assert np.asarray(folder[1][0]).min() > 250


@pytest.mark.parametrize("ending", ["heic", "HEIF", "jxl"])
def test_an_image_that_pillow_cannot_read_is_named_rather_than_left_out(ending, tmp_path):
    path = put(tmp_path, "cat/1.png") / f"cat/2.{ending}"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    folder = opened(tmp_path)
    assert folder.name(1) == str(path)
    with pytest.raises(OSError, match=f"cannot identify image file .*2.{ending}"):
        read_rgb(folder.name(1))


def test_what_is_no_image_is_counted(tmp_path):
    root = put(
        tmp_path,
        "cat/1.png",
        "cat/notes.txt",
        "cat/deep/More.TXT",
        "cat/labels.csv",
        "dog/2.png",
        "dog/README",
        "3.png",
    )
    folder = opened(root)
    assert found(folder, root) == [("cat/1.png", 0), ("dog/2.png", 1)]
    assert folder.left_out == {".txt": 2, ".csv": 1, "without an ending": 1, "files outside of the classes": 1}
    expected = "; left out: 2 .txt, 1 .csv, 1 files outside of the classes, 1 without an ending"
    assert told(folder.left_out) == expected and told({}) == ""
    assert told({f".{number}": 1 for number in range(9)}) == "; left out: 1 .0, 1 .1, 1 .2, 1 .3, 1 .4, 4 others"


def test_what_both_splits_leave_out_is_added_up(tmp_path):
    put(tmp_path, "train/cat/1.png", "train/cat/1.txt", "val/cat/2.png", "val/cat/2.txt", "val/cat/2.csv")
    split = open_folder(tmp_path)
    assert (split.left_out, split.classes, split.names) == ({".txt": 2, ".csv": 1}, 1, ["cat"])


def test_hidden_folders_and_those_of_systems_are_no_classes(tmp_path):
    hidden = [".ipynb_checkpoints/1-checkpoint.png", "__MACOSX/cat/2.png", "@eaDir/3.png", ".DS_Store", ".hidden.png"]
    inner = [f"cat/{name}" for name in hidden]
    root = put(tmp_path, "cat/1.png", *hidden, *inner)
    folder = opened(root)
    assert (folder.classes, found(folder, root), folder.left_out) == (["cat"], [("cat/1.png", 0)], {})


# Links


def test_a_loop_of_links_multiplies_nothing(tmp_path):
    root = put(tmp_path / "root", "cat/1.png", "cat/deep/2.png", "dog/3.png")
    (root / "cat/up").symlink_to(root)
    (root / "cat/deep/round").symlink_to(root / "cat")
    (root / "cat/other").symlink_to(root / "dog")
    (root / "dog/self").symlink_to("self")
    folder = opened(root)
    assert found(folder, root) == [("cat/1.png", 0), ("cat/deep/2.png", 0), ("dog/3.png", 1)]
    assert folder.left_out == {LINKS: 3, "without an ending": 1}


def test_links_to_other_places_are_followed_once(tmp_path):
    put(tmp_path / "elsewhere", "x.png", "sub/y.png")
    root = put(tmp_path / "root", "cat/1.png")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat/linked").symlink_to(tmp_path / "elsewhere/sub")
    (root / "cat/again").symlink_to(tmp_path / "elsewhere")
    (root / "cat/file.png").symlink_to(tmp_path / "elsewhere/x.png")
    folder = opened(root)
    names = [("cat/1.png", 0), ("cat/file.png", 0), ("cat/linked/y.png", 0), ("dog/x.png", 1)]
    assert found(folder, root) == names
    assert folder.left_out == {LINKS: 2}


def test_two_classes_that_are_one_folder(tmp_path):
    root = put(tmp_path, "cat/1.png")
    (root / "kitty").symlink_to("cat")
    assert refusal(root) == f"{root / 'kitty'} is the same folder as {root / 'cat'}: it can be one class only"
    (root / "kitty").unlink()
    (root / "all").symlink_to(root)
    assert refusal(root) == f"{root / 'all'} is the same folder as {root}: it can be one class only"


# What is refused


def test_folders_without_images_say_what_they_hold(tmp_path):
    root = put(tmp_path / "root", "cat/1.png", "dog/1.txt", "emu/1.txt")
    assert refusal(root) == f"{root} cannot be used: there is no image in dog, emu; left out: 2 .txt"
    root = put(tmp_path / "flat", "1.png", "2.png")
    said = f"{root} cannot be used: it has no folder of images for each class; left out: 2 files outside of the classes"
    assert refusal(root) == said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_folder_that_may_not_be_read(tmp_path):
    root = put(tmp_path, "cat/deep/1.png", "cat/2.png")
    (root / "cat/deep").chmod(0)
    said = refusal(root)
    (root / "cat/deep").chmod(0o700)
    assert said == f"cannot read {root / 'cat/deep'}: Permission denied"


def test_a_folder_that_is_gone(tmp_path):
    with pytest.raises(UserError, match=rf"^cannot read {tmp_path}/gone: No such file or directory$"):
        find_images(tmp_path / "gone")
