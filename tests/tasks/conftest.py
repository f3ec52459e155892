import functools
import gzip
import struct
import sys

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """The models here are too small for two, and the machine may be busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def compare(monkeypatch, capsys):
    """python -m tasks.compare in this process, its timing phase cut short; returns (exit code, stdout, stderr)."""
    from tasks.compare import __main__ as program
    from tasks.engine.errors import run

    monkeypatch.setattr(program, "measure_costs", functools.partial(program.measure_costs, seconds=0.0))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tasks.compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run(program.main)
        return ended.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def write_mnist():
    """Writes a small MNIST in idx files of the real format; returns the arrays of each split."""

    def write_idx(path, array):
        content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    def write(folder, ending=""):
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        written = {}
        for split, count in (("train", 60), ("t10k", 30)):
            x, y = rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
            write_idx(folder / f"{split}-images-idx3-ubyte{ending}", x)
            write_idx(folder / f"{split}-labels-idx1-ubyte{ending}", y)
            written[split] = x, y
        return written

    return write
