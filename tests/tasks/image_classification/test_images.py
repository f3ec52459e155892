"""A training on a folder of images: what is said and stored of how many there are, and of those that are left out."""

import json
import shlex
from types import SimpleNamespace

import pytest
import torch

from tasks.image_classification.task import TorchvisionClassification
from tasks.image_classification.train import PROGRAM
from tests.tasks.training_programs import Pictures
from workbench.training.task import opened
from workbench.vision import file_task

FLAGS = shlex.split(
    "--dataset folder --model squeezenet1_1 --train-crop-size 32 --epochs 3 --batch-size 6 --device cpu --workers 0 "
    "--bad-images skip"
)


@pytest.fixture
def pictures(tmp_path):
    """18 training and 7 validation images; two and one more are broken, and there are other files."""
    opened.cache_clear()
    folder = tmp_path / "pictures"
    Pictures.write(folder)
    for broken in ("train/class0/a.png", "train/class1/b.heic", "val/class1/c.jpg", "train/class0/notes.txt"):
        (folder / broken).write_text("no image")
    (folder / "train/.ipynb_checkpoints").mkdir()
    return folder


@pytest.fixture
def train(pictures, program, tmp_path):
    """Trains; returns what was printed, and what the results say of amounts."""

    def train(*more):
        code, out, err = program(PROGRAM, *FLAGS, "--data", pictures, "--results", tmp_path / "results", *more)
        (path,) = tmp_path.glob("results/*/*/*/results_0.json") if code == 0 else [None]
        return out, err, path and json.loads(path.read_text())["amounts"]

    return train


AMOUNTS = {"training_images": 20, "validation_images": 8, "classes": 2, "other_files": {".txt": 1}}


def test_amounts_are_printed_and_stored(train):
    out, err, amounts = train()
    assert ": 20 training and 8 validation images in 2 classes; left out: 1 .txt (" in out
    assert amounts == AMOUNTS | {"unreadable_train": 2, "unreadable_val": 1}
    assert err.count("\n") == err.count("warning: ") == 3
    lines = [line for line in out.splitlines() if "epoch" in line and "train_loss" in line]
    assert len(lines) == 3 and all("unreadable_val 1" in line for line in lines)


def test_a_run_that_was_resumed_counts_what_it_met_before(train, monkeypatch):
    """Its last step alone reads few of the images again."""
    true, batches = TorchvisionClassification.loss, iter(range(8))

    def loss(task, model, batch):
        if next(batches, None) is None:
            raise KeyboardInterrupt
        return true(task, model, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TorchvisionClassification, "loss", loss)
        assert "stopped" in train("--checkpoint-steps", "1")[1]
    _, _, amounts = train()
    assert amounts == AMOUNTS | {"unreadable_train": 2, "unreadable_val": 1}


def test_without_skipping_nothing_is_unreadable(train, pictures):
    for path in pictures.glob("*/*/[abc].*"):
        path.unlink()
    out, err, amounts = train("--bad-images", "refuse")
    assert err == "" and "unreadable" not in out
    assert amounts == {"training_images": 18, "validation_images": 7, "classes": 2, "other_files": {".txt": 1}}


def test_what_two_processes_met_counts_once(pictures, monkeypatch):
    task = PROGRAM.spec(PROGRAM.parse([*FLAGS, "--data", str(pictures)])).task()
    task.open(torch.device("cpu"))
    task.model("GoLU")
    list(task.validation(task.sampling(0)))
    monkeypatch.setattr(
        file_task, "gathered_by_main", lambda _, names: [*names, *names, "another" if names else "first"]
    )
    assert task.unreadable(SimpleNamespace()) == {"unreadable_train": 1, "unreadable_val": 2}
    monkeypatch.setattr(file_task, "gathered_by_main", lambda *_: None)  # in any but the main process
    assert task.unreadable(SimpleNamespace()) == {"unreadable_train": 0, "unreadable_val": 0}


def test_a_data_set_in_memory_says_how_many_images_it_has(program, tmp_path):
    from tasks.small_poc import main as small_poc

    flags = "--dataset digits --model mlp_1 --epochs 1 --batch-size 20 --limit-train 100 --limit-val 50 --device cpu"
    code, out, _ = program(small_poc, *flags.split(), "--results", tmp_path)
    assert code == 0 and ": 100 training and 50 validation images in 10 classes (" in out
    (path,) = tmp_path.glob("*/*/*/results_0.json")
    amounts = json.loads(path.read_text())["amounts"]
    assert amounts == {"training_images": 100, "validation_images": 50, "classes": 10}
