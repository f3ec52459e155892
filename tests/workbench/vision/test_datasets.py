"""workbench/vision/datasets.py: each real format, made small, through the path that reads the real files."""

from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from workbench.cli.errors import UserError
from workbench.vision import datasets as images
from workbench.vision.datasets import load_images, stratified_order


@pytest.fixture(autouse=True)
def no_debian_package(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "DEBIAN_FASHION_MNIST", tmp_path / "not-installed")


@pytest.mark.parametrize(
    ("name", "folder", "ending"), [("mnist", "MNIST", ""), ("fashion_mnist", "FashionMNIST", ".gz")]
)
def test_idx_files(name, folder, ending, tmp_path, write_mnist):
    written = write_mnist(tmp_path / folder / "raw", ending)
    loaded = load_images(name, tmp_path)
    pixels = torch.from_numpy(written["train"][0])
    if name == "mnist":
        assert torch.equal(pixels, MNIST(tmp_path).data)
    std, mean = torch.std_mean(pixels.float())
    assert torch.allclose(loaded.train_x[:, 0], (pixels - mean) / std, atol=1e-5)
    assert (loaded.val_x.shape, loaded.classes) == ((30, 1, 28, 28), 10)
    assert torch.equal(loaded.val_y, torch.from_numpy(written["t10k"][1]).long())


def test_fashion_mnist_of_the_debian_package(tmp_path, monkeypatch, write_mnist):
    write_mnist(tmp_path / "debian", ".gz")
    monkeypatch.setattr(images, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    assert load_images("fashion_mnist", tmp_path / "empty").train_x.shape == (60, 1, 28, 28)


def test_cifar10_batches(tmp_path, write_cifar10):
    written = write_cifar10(tmp_path)
    loaded = load_images("cifar10", tmp_path)
    std, mean = torch.std_mean(written["train"][0].float(), dim=(0, 2, 3), keepdim=True)
    for x, y, split in ((loaded.train_x, loaded.train_y, "train"), (loaded.val_x, loaded.val_y, "val")):
        assert torch.allclose(x, (written[split][0].float() - mean) / std, atol=1e-5)
        assert torch.equal(y, written[split][1])
    assert (len(loaded.train_y), len(loaded.val_y), loaded.classes) == (50, 11, 10)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_missing_data_say_what_to_put_where(name, tmp_path, monkeypatch, capsys):
    def offline(*_, **__):
        raise URLError("no network")

    for module in ("mnist", "cifar"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", offline)
    with pytest.raises(UserError, match="no network.*http.*in(to)? .*" + tmp_path.name) as error:
        load_images(name, tmp_path)
    assert "\n" not in str(error.value)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("damage", [lambda whole: whole[:-5], lambda whole: whole[:3], lambda whole: b"<html>"])
def test_a_damaged_file_is_named(damage, tmp_path, write_mnist):
    write_mnist(tmp_path / "MNIST/raw")
    path = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="train-images-idx3-ubyte"):
        load_images("mnist", tmp_path)


def test_idx_files_of_a_negative_size(tmp_path, write_mnist):
    """numpy would take -1 for whatever is left."""
    write_mnist(tmp_path / "MNIST/raw")
    path = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:4] + b"\xff" * 4 + path.read_bytes()[8:])
    with pytest.raises(UserError, match=r"cannot read .*train-images-idx3-ubyte \(not an idx file of bytes"):
        load_images("mnist", tmp_path)


X, Y, VAL_X, VAL_Y = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# how one of the four files is another's, which file it is, and what is said
UNFIT = {
    "fewer labels": (lambda y: y[:50], Y, f"{X} has 60 images, but {Y} 50 labels"),
    "more labels": (lambda y: np.tile(y, 2), Y, f"{X} has 60 images, but {Y} 120 labels"),
    "fewer images": (lambda x: x[:20], VAL_X, f"{VAL_X} has 20 images, but {VAL_Y} 30 labels"),
    "flat images": (lambda x: x.reshape(60, -1), X, f"{X} holds no images, but an array of 2 dimensions"),
    "a column of labels": (lambda y: y[:, None], VAL_Y, f"{VAL_Y} holds no labels, but an array of 2 dimensions"),
    "larger images": (
        lambda x: np.tile(x, (1, 2, 1)),
        VAL_X,
        f"{X} has images of 28 x 28 pixels, but {VAL_X} of 56 x 28 pixels",
    ),
    "a label far off": (lambda y: np.where(y == 9, 255, y), Y, f"{Y} has the label 255, but the classes are 0 to 9"),
    "counted from 1": (lambda y: y + 1, VAL_Y, f"{VAL_Y} has the label 10, but the classes are 0 to 9"),
}


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("name", UNFIT)
def test_idx_files_that_do_not_fit_each_other(name, ending, tmp_path, write_mnist):
    change, file, said = UNFIT[name]
    folder = tmp_path / "MNIST/raw"
    write_mnist(folder, ending, {file: change})
    for stem in (X, Y, VAL_X, VAL_Y):
        said = said.replace(stem, stem + ending)
    advice = "replace the one that is not the data set's, or delete all four to have them downloaded again"
    with pytest.raises(UserError) as refused:
        load_images("mnist", tmp_path)
    assert str(refused.value) == f"{folder}/{said}: {advice}"


def test_a_class_without_a_training_image_is_one(tmp_path, write_mnist):
    """Else its validation images would have a label beyond the model's classes."""
    write_mnist(tmp_path / "MNIST/raw", changes={Y: lambda y: y % 9})
    assert load_images("mnist", tmp_path).classes == 10


def test_digits_are_split_once_and_for_all():
    loaded, again = load_images("digits", None), load_images("digits", None)
    assert (len(loaded.train_y), len(loaded.val_y)) == (797, 1000)
    assert torch.equal(loaded.val_x, again.val_x)
    assert loaded.train_x.mean().abs() < 1e-5
    assert loaded.val_y.bincount().min() >= 96


def test_limits_are_stratified():
    loaded = load_images("digits", None, limit_train=100, limit_val=50)
    assert loaded.train_y.bincount(minlength=10).tolist() == [10] * 10
    assert len(loaded.val_y) == 50


def test_every_beginning_of_a_stratified_order_has_the_classes_in_proportion():
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    order = stratified_order(labels)
    assert sorted(order.tolist()) == list(range(100))
    for length in range(10, 101, 10):
        counts = labels[order[:length]].bincount(minlength=3) / length
        assert torch.allclose(counts, torch.tensor([0.6, 0.3, 0.1]), atol=0.05)
