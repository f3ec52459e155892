"""workbench/training/faults.py: what the user can mend is one line; the rest is what torch raised."""

import os
import signal

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from workbench.cli.errors import UserError
from workbench.training.faults import batches_of, explained
from workbench.training.launch import launched

KILLED = (
    r"^a process that reads data was killed, perhaps for want of memory \([^\n]+\): "
    r"the same command with fewer --workers resumes$"
)


class Fatal(Dataset):
    """Does something when its last sample is read."""

    def __init__(self, last):
        self.last = last

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return self.last() if index == 4 else index


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise FileNotFoundError("no such thing")


def count_down():
    raise ZeroDivisionError


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_one_line(workers):
    """And no error that comes from a signal, wherever the program is then."""
    before, read = signal.getsignal(signal.SIGCHLD), []
    with pytest.raises(UserError, match=KILLED):
        read.extend(batches_of(DataLoader(Fatal(kill), num_workers=workers)))
    assert signal.getsignal(signal.SIGCHLD) == before
    assert [int(each) for each in read] == list(range(len(read))) and len(read) < 5


def test_a_loader_gives_its_batches():
    for workers in (0, 1):
        read = list(batches_of(DataLoader(Fatal(lambda: 4), batch_size=2, num_workers=workers)))
        assert [each.tolist() for each in read] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("last", "error"), [(fail, FileNotFoundError), (count_down, ZeroDivisionError)])
def test_what_reading_itself_raises_passes(last, error, workers):
    with pytest.raises(error):
        list(batches_of(DataLoader(Fatal(last), num_workers=workers)))


def test_a_killed_worker_that_torch_tells_of_by_a_signal_is_one_line():
    with pytest.raises(UserError, match=KILLED), launched("cpu"):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")


ADVICE = r"it takes a C\+\+ compiler, as g\+\+, and on a GPU Triton; without --compile the same command trains too$"


def test_a_compilation_that_fails_is_one_line():
    def fails(*_):
        raise OSError("no compiler")

    compiled = torch.compile(lambda x: x + 1, backend=fails)
    with pytest.raises(UserError, match=rf"^torch.compile failed \([^\n]*\): {ADVICE}"), explained():
        compiled(torch.ones(4))


@pytest.mark.slow
def test_a_compiler_that_is_missing_is_named():
    with torch._inductor.config.patch({"cpp.cxx": (None, "/nowhere/g++"), "force_disable_caches": True}):
        compiled = torch.compile(lambda x: (x * 1.375).sin() + 2.625)
        said = rf"^torch.compile failed \(InvalidCxxCompiler: [^\n]*/nowhere/g\+\+'\)\): {ADVICE}"
        with pytest.raises(UserError, match=said), explained():
            compiled(torch.ones(64))


@pytest.mark.parametrize("make", [lambda: torch.empty(2**50), lambda: bytearray(2**60)], ids=["tensor", "array"])
def test_memory_that_does_not_suffice_is_one_line(make):
    said = r"^memory does not suffice \([^\n]+\): a smaller batch or smaller images need less"
    with pytest.raises(UserError, match=said), explained():
        make()


@pytest.mark.parametrize(
    "error", [RuntimeError("a DataLoader worker"), RuntimeError(), ValueError("DataLoader worker")]
)
def test_anything_else_passes_as_it_is(error):
    with pytest.raises(type(error)) as raised, explained():
        raise error
    assert raised.value is error
