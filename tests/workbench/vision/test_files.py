"""workbench/vision/files.py: pictures in folders and in memory, read in any processes and workers."""

import os
import random
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from tests.imagenet_miniature import jpeg
from workbench.cli.errors import UserError
from workbench.training.launch import launched
from workbench.training.sampling import Sampling
from workbench.vision.classification import evaluate
from workbench.vision.files import Folder, Pixels, open_folder, open_pixels
from workbench.vision.reading import FromFiles, Labelled


def write_folder(path, train=(4, 4, 4), val=3, size=(40, 48)):
    """train/ with so many images in each class, and val/ with `val` in each."""
    for split, counts in (("train", train), ("val", [val] * len(train))):
        for label, count in enumerate(counts):
            (path / split / f"class_{label}").mkdir(parents=True)
            for name in (f"{split}_{label}_{number}" for number in range(count)):
                (path / split / f"class_{label}" / f"{name}.jpg").write_bytes(jpeg(name, size))
    return path


def test_a_folder_is_read_as_torchvision_reads_it(tmp_path):
    root = write_folder(tmp_path) / "train"
    ours, theirs = Folder(root, "--limit-train", None), torchvision.datasets.ImageFolder(str(root))
    assert ours.classes == theirs.classes == ["class_0", "class_1", "class_2"]
    assert len(ours) == len(theirs) == 12
    for index in range(12):
        assert ours[index] == theirs[index]
        assert ours[index][0].mode == "RGB" and ours.name(index) == theirs.samples[index][0]


def test_a_limit_takes_classes_in_proportion(tmp_path):
    root = write_folder(tmp_path, train=(8, 4, 4)) / "train"
    limited = Folder(root, "--limit-train", 8)
    names = [limited.name(index) for index in range(len(limited))]
    assert Counter(Path(each).parent.name for each in names) == {"class_0": 4, "class_1": 2, "class_2": 2}
    assert len(set(names)) == 8
    assert [limited[index][1] for index in range(8)] == [int(Path(each).parent.name[-1]) for each in names]
    for limit in (2, 17):
        with pytest.raises(UserError, match=f"--limit-train {limit} is out of range: from 3 .* to 16"):
            Folder(root, "--limit-train", limit)


def with_a_class_more(path):
    (path / "val/class_9").mkdir()
    (path / "val/class_9/one.jpg").write_bytes(jpeg("one"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: (path / ".unpacking.json").write_text("{}"), "half unpacked: .*setup_dataset --data .* resumes"),
        (lambda path: (path / "val").rename(path / "test"), "there is no folder .*val"),
        (lambda path: [each.unlink() for each in path.glob("train/class_1/*")], "train cannot be used: .*class_1"),
        (with_a_class_more, "the same classes; only one has class_9"),
    ],
)
def test_a_folder_that_cannot_be_used(damage, said, tmp_path):
    damage(write_folder(tmp_path / "data"))
    with pytest.raises(UserError, match=said):
        open_folder(tmp_path / "data")


def test_pixels_become_rgb_pictures():
    grey = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    colour = torch.randint(256, (1, 3, 8, 8), dtype=torch.uint8)
    for x in (grey, colour):
        picture, label = Pixels(x, torch.tensor([7]))[0]
        assert (picture.mode, label) == ("RGB", 7)
        assert (np.asarray(picture) == x.expand(1, 3, 8, 8)[0].permute(1, 2, 0).numpy()).all()


def test_digits_as_pictures():
    split = open_pixels("digits", Path("unused"), limit_train=20, limit_val=10)
    assert (len(split.train), len(split.val), split.classes, split.channels) == (20, 10, 10, 1)
    assert sorted(split.val[index][1] for index in range(10)) == list(range(10))


class Noisy:
    """Draws from every generator that augmentation draws from, and tells which picture it was given."""

    def __call__(self, picture):
        noise = [torch.rand(()).item(), random.random(), np.random.random()]
        return torch.tensor([float(np.asarray(picture).sum()), *noise], dtype=torch.float64)


def plain(picture):
    return torch.from_numpy(np.asarray(picture).copy()).float().mean(dim=(0, 1)) / 255


def same_batches(found, expected):
    found, expected = list(found), list(expected)
    return len(found) == len(expected) and all(
        torch.equal(x, other_x) and torch.equal(y, other_y)
        for (x, y), (other_x, other_y) in zip(found, expected, strict=True)
    )


class Reading:
    """The pictures of a split, as one process reads them."""

    def __init__(self, split, workers=0, transform=plain, skip=False, **sampling):
        join = Labelled(transform)
        self.data = FromFiles(split.train, split.val, (join, join), torch.device("cpu"), workers, skip)
        self.sampling = Sampling(**{"count": len(split.train), "batch_size": 4, "seed": 1} | sampling)

    def training(self, epoch):
        return [batch for step in self.data.training(self.sampling, epoch, 0) for batch in step]

    def validation(self):
        return list(self.data.validation(self.sampling))


def test_workers_change_no_bit(tmp_path):
    split = open_folder(write_folder(tmp_path))
    none, two = (Reading(split, workers, Noisy(), accumulation=2) for workers in (0, 2))
    seen = []
    for epoch in range(2):
        expected = none.training(epoch)
        assert [len(y) for _, y in expected] == [2] * 6
        assert same_batches(two.training(epoch), expected)
        assert same_batches(two.validation(), none.validation())
        seen.extend(x[:, 1:] for x, _ in expected)
    assert len(torch.cat(seen).unique()) == 2 * 12 * 3  # noise of its own for each picture in each epoch


def test_two_processes_share_the_pictures_of_one_with_their_augmentation(tmp_path):
    split = open_folder(write_folder(tmp_path))
    whole = Reading(split, transform=Noisy()).training(0)
    for process in (0, 1):
        part = Reading(split, transform=Noisy(), process=process, processes=2).training(0)
        assert same_batches(part, [(x[process::2], y[process::2]) for x, y in whole])
    shares = [Reading(split, process=each, processes=2).validation() for each in (0, 1)]
    assert sum(len(y) for share in shares for _, y in share) == len(split.val) == 9
    expected = torch.stack([plain(split.val[index][0]) for index in range(9)])
    for process, share in enumerate(shares):
        assert torch.equal(torch.cat([x for x, _ in share]), expected[process::2])


def cut_short(path):
    path.write_bytes(path.read_bytes()[:400])


def as_text(path):
    path.write_text("no image")


def with_a_huge_size(path):
    """One altered header, which says 65535 x 65535."""
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = b"\xff" * 4
    path.write_bytes(content)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", [cut_short, as_text, with_a_huge_size])
def test_a_broken_image_is_refused_or_left_out_if_asked_and_named_once(damage, workers, tmp_path, capsys):
    whole = open_folder(write_folder(tmp_path))
    broken = [tmp_path / "train/class_1/train_1_2.jpg", tmp_path / "val/class_2/val_2_0.jpg"]
    for path in broken:
        damage(path)
    with pytest.raises(UserError, match=r"train_1_2.jpg is no image that can be read .*--bad-images skip"):
        Reading(whole, workers).training(0)
    data, model = Reading(whole, workers, skip=True), nn.Linear(3, 3)
    for epoch in range(2):
        assert sorted(len(y) for _, y in data.training(epoch)) == [3, 4, 4]
        with launched("cpu") as accelerator, torch.no_grad():
            metrics = evaluate(model, data.validation(), accelerator)
    good = [whole.val[index] for index in range(9) if whole.val.name(index) != str(broken[1])]
    x, y = torch.stack([plain(picture) for picture, _ in good]), torch.tensor([label for _, label in good])
    with torch.no_grad():
        logits = model(x)
    expected = {
        "val_loss": F.cross_entropy(logits, y).item(),
        "val_accuracy": 100 * (logits.argmax(1) == y).float().mean().item(),
    }
    assert metrics == pytest.approx(expected, rel=1e-5)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" is no image")[0] for line in lines] == [f"warning: {path}" for path in broken]


def test_a_worker_that_is_killed_is_one_line(tmp_path, monkeypatch):
    waiting = torch.utils.data.dataloader._MultiProcessingDataLoaderIter._try_get_data
    monkeypatch.setattr(waiting, "__defaults__", (0.1,))  # seconds until it looks after its processes, instead of 5

    def killed(_):
        os.kill(os.getpid(), signal.SIGKILL)

    data = Reading(open_folder(write_folder(tmp_path)), workers=1, transform=killed)
    for read in (lambda: data.training(0), data.validation):
        with pytest.raises(
            UserError, match=r"^a process that reads data was killed, perhaps for want of memory \([^\n]*$"
        ):
            read()


def test_a_batch_or_a_validation_without_any_good_image_is_refused(tmp_path):
    for path in write_folder(tmp_path).glob("*/*/*"):
        as_text(path)
    data = Reading(open_folder(tmp_path), skip=True)
    with pytest.raises(UserError, match="whole batch"):
        data.training(0)
    with launched("cpu") as accelerator, pytest.raises(UserError, match="no validation image"):
        evaluate(nn.Linear(3, 3), data.validation(), accelerator)
