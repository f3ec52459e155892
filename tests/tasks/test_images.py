"""workbench/vision/datasets.py: each real format, made small, through the path that reads the real files."""

import hashlib
import pickle

import numpy as np
import pytest
import torch

from workbench.cli.errors import UserError
from workbench.vision import datasets as images
from workbench.vision.datasets import load_images


@pytest.fixture(autouse=True)
def no_debian_package(monkeypatch, tmp_path):
    monkeypatch.setattr(images, "DEBIAN_FASHION_MNIST", tmp_path / "not-installed")


@pytest.fixture
def offline(monkeypatch):
    """Downloads fail at once, whether or not there is a network."""
    from urllib.error import URLError

    def fail(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fail)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fail)


@pytest.mark.parametrize(
    ("name", "folder", "ending"), [("mnist", "MNIST", ""), ("fashion_mnist", "FashionMNIST", ".gz")]
)
def test_idx_files(name, folder, ending, tmp_path, write_mnist):
    written = write_mnist(tmp_path / folder / "raw", ending)
    loaded = load_images(name, tmp_path)
    pixels = torch.from_numpy(written["train"][0]).float()
    assert torch.allclose(loaded.train_x[:, 0], (pixels - pixels.mean()) / pixels.std(), atol=1e-5)
    assert loaded.val_x.shape == (30, 1, 28, 28)
    assert loaded.val_y.tolist() == written["t10k"][1].tolist()
    assert loaded.val_y.dtype == torch.int64
    assert loaded.classes == 10


def test_the_same_as_torchvision_reads(tmp_path, write_mnist):
    from torchvision.datasets import MNIST

    write_mnist(tmp_path / "MNIST" / "raw")
    pixels = MNIST(tmp_path).data.float()
    assert torch.allclose(
        load_images("mnist", tmp_path).train_x[:, 0], (pixels - pixels.mean()) / pixels.std(), atol=1e-5
    )


def test_fashion_mnist_of_the_debian_package(tmp_path, monkeypatch, write_mnist):
    write_mnist(tmp_path / "debian", ".gz")
    monkeypatch.setattr(images, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    assert load_images("fashion_mnist", tmp_path / "empty").train_x.shape == (60, 1, 28, 28)


def test_cifar10_batches(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    rng = np.random.default_rng(0)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(name):
        return write(name, {"data": rng.integers(0, 256, (20, 3072), np.uint8), "labels": [i % 10 for i in range(20)]})

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{i}") for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    meta, checksum = write("batches.meta", {"label_names": [str(i) for i in range(10)]})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta, "key": "label_names", "md5": checksum})
    loaded = load_images("cifar10", tmp_path)
    assert loaded.train_x.shape == (100, 3, 32, 32)
    assert loaded.val_x.shape == (20, 3, 32, 32)
    assert torch.allclose(loaded.train_x.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(loaded.train_x.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-5)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_missing_data_say_what_to_put_where(name, tmp_path, offline, capsys):
    with pytest.raises(UserError, match="no network.*http.*in(to)? .*" + tmp_path.name) as error:
        load_images(name, tmp_path)
    assert "\n" not in str(error.value)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-5], lambda content: content[:3], lambda content: b"<html>"]
)
def test_a_damaged_file_is_named(damage, tmp_path, write_mnist):
    write_mnist(tmp_path / "MNIST" / "raw")
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="train-images-idx3-ubyte"):
        load_images("mnist", tmp_path)


def test_digits_are_split_once_and_for_all():
    loaded, again = load_images("digits", None), load_images("digits", None)
    assert (len(loaded.train_y), len(loaded.val_y)) == (797, 1000)
    assert torch.equal(loaded.val_x, again.val_x)
    assert loaded.train_x.mean().abs() < 1e-5
    assert loaded.val_y.bincount().min() >= 96


def test_limits_are_stratified_and_checked():
    loaded = load_images("digits", None, limit_train=100, limit_val=50)
    assert loaded.train_y.bincount(minlength=10).tolist() == [10] * 10
    assert len(loaded.val_y) == 50
    for limits in ({"limit_train": 9}, {"limit_val": 1001}):
        with pytest.raises(UserError, match="out of range"):
            load_images("digits", None, **limits)
