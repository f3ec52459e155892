"""A small ablation, its files, and trainings of its points one by one."""

import csv
import json
import shutil

import pytest

from tasks.small_poc import run_small_ablation
from tasks.small_poc.run_small_ablation import NUMBERS
from workbench.training.launch import Machine
from workbench.training.run import train_run
from workbench.training.task import Source

SIZES = ("--dataset", "digits", "--limit-train", 100, "--limit-val", 50)
AXES = ("--blocks", 1, 2, "--learning-rates", 0.1, 0.01, "--batch-sizes", 16, 32, "--batch-size", 32)
TWO = ("--activations", "ReLU", "GoLU")
SMALL = (*SIZES, *AXES, *TWO, "--epochs", 1, 3, "--seeds", 2, "--jobs", 1)
RUNS = 24  # two activations, seeds and numbers of blocks, each at the base values, at lr 0.1 and at batch size 16
DIGITS = Source("digits", limit_train=100, limit_val=50)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The results path of an ablation that was never stopped; to be read only."""
    path = tmp_path_factory.mktemp("whole")
    run_small_ablation.main([*map(str, SMALL), "--results", str(path)])
    return path


@pytest.fixture
def copy(whole, tmp_path):
    """The same, to be changed."""
    shutil.copytree(whole, tmp_path / "results")
    return tmp_path / "results"


def folder_in(path, dataset="digits"):
    return path / "small_ablation" / dataset


def results_in(path, pattern="*", blocks="*", activation="*", dataset="digits"):
    """The files of the runs that have ended; a pattern begins with the seed, as "0_lr0.1_batch32"."""
    return sorted(folder_in(path, dataset).glob(f"mlp_{blocks}/{activation}/results_{pattern}_epochs*.json"))


def trace_beside(path):
    return path.with_name(path.name.replace("results", "opt_trace"))


def read(path):
    return json.loads(path.read_text())


def change(path, **values):
    path.write_text(json.dumps(read(path) | values))


def change_trace(path, **values):
    """In every epoch of the run with this results file."""
    path = trace_beside(path)
    path.write_text(json.dumps([entry | values for entry in read(path)]))


def diverge(path):
    """Change the run with this results file into one that diverged at once."""
    change(path, diverged_at=1, final=None, best=None)
    first, *_ = read(trace_beside(path))
    nothing = {"train_loss": None, "val_loss": None, "val_accuracy": None}
    trace_beside(path).write_text(json.dumps([first | nothing]))


def numbers(trace):
    """All of a trace but the times."""
    return [{name: entry[name] for name in NUMBERS} for entry in trace]


def trained(point, root, source=DIGITS):
    """The numbers of a training that is no part of an ablation."""
    planned = point.planned(root, source, Machine("cpu"))
    train_run(planned.spec, planned.run, after_step=lambda: None, checkpoints=False)
    return numbers(planned.run.trace())


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def assert_refused(called, *said):
    """One line, which says so."""
    code, _, err = called
    assert (code, err.count("\n")) == (2, 1), err
    assert all(each in err for each in said), err
