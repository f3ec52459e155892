"""python -m tasks.small_poc.run_small_ablation: which trainings there are, each one, and what is stored of them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean

import pytest
import torch
import torch.nn.functional as F

from tasks.small_poc import lr_heatmaps, merge_and_plot_contours, run_small_ablation
from tasks.small_poc.ablation import Grid, Point, load_merged, load_runs
from tests.tasks.small_poc.conftest import (
    AXES,
    DIGITS,
    RUNS,
    SIZES,
    SMALL,
    TWO,
    assert_refused,
    change,
    change_trace,
    diverge,
    folder_in,
    numbers,
    read,
    results_in,
    table,
    trace_beside,
    trained,
)
from workbench.training.launch import Machine
from workbench.training.sampling import Sampling
from workbench.training.seeding import seed_everything
from workbench.training.task import Source

ROOT = Path(__file__).parents[3]
DRAWN = "--dataset", "digits"


def contents(path, pattern):
    return {each: each.read_bytes() for each in path.rglob(pattern)}


# Which trainings there are


def test_what_sweeps_share_is_trained_once():
    flags = ["--dataset", "digits", *TWO]
    grid = run_small_ablation.grid_of(run_small_ablation.parse_arguments(flags))
    trainings = grid.trainings()
    assert len(trainings) == len(set(trainings)) == 2 * 3 * 4 * (1 + 3 + 3)  # base, three more rates and batch sizes
    assert (grid.base_epochs, {point.epochs for point in trainings}) == (8, {8})
    assert sum((point.lr, point.batch_size) == (0.01, 128) for point in trainings) == 24
    assert trainings == sorted(trainings, key=lambda point: (point.seed, point.activation == "GoLU"))


def test_base_values_need_not_be_swept():
    grid = Grid(("ReLU",), (0,), (1,), (0.1,), (2,), (64,), lr=0.5, batch_size=16)
    assert grid.trainings() == [Point("ReLU", 0, 1, *each, 2) for each in ((0.1, 16), (0.5, 16), (0.5, 64))]


# One training


@pytest.mark.parametrize(("activation", "seed"), [("GoLU", 0), ("ReLU", 1)])
def test_a_training_by_hand(activation, seed, tmp_path):
    """Two epochs of SGD with momentum, written out: only the seed decides on weights and batches."""
    point = Point(activation, seed, blocks=2, lr=0.1, batch_size=32, epochs=2)
    task = point.planned(tmp_path, DIGITS, Machine("cpu")).spec.task()
    task.open(torch.device("cpu"))
    seed_everything(seed)
    model, images = task.model(activation), task.images
    parameters = list(model.parameters())
    velocities = [torch.zeros_like(each) for each in parameters]
    for epoch, found in enumerate(trained(point, tmp_path)):
        order, losses = Sampling(100, 32, seed).order(epoch), []
        for step in range(3):  # the last four images fill no batch
            batch = order[32 * step : 32 * step + 32]
            loss = -model(images.train_x[batch]).log_softmax(1)[range(32), images.train_y[batch]].mean()
            losses.append(loss.item())
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, velocity, gradient in zip(parameters, velocities, gradients, strict=True):
                    velocity.mul_(0.9).add_(gradient)
                    parameter.sub_(0.1 * velocity)
        with torch.no_grad():
            logits = model(images.val_x)
        assert found == {
            "epoch": epoch + 1,
            "train_loss": pytest.approx(fmean(losses), rel=1e-4),
            "val_loss": pytest.approx(F.cross_entropy(logits, images.val_y).item(), rel=1e-4),
            "val_accuracy": 2 * (logits.argmax(1) == images.val_y).sum().item(),
        }
    assert epoch == 1


# The program


def test_end_to_end(whole, tmp_path):
    found = results_in(whole)
    assert len(found) == RUNS
    for path in found:
        results = read(path)
        assert results["configuration"].items() >= {
            "dataset": "digits", "limit_train": 100, "limit_val": 50, "opt": "sgd", "momentum": 0.9, "schedule":
            "milestones", "milestones": [], "weight_decay": 0.0, "augment": False, "epochs": 3, "model":
            results["model"],
        }.items()  # fmt: skip
        assert results["environment"]["torch"] == torch.__version__
        assert len(read(trace_beside(path))) == 3
    runs = [path.name for path in folder_in(whole).glob("mlp_*/*/*")]
    assert len(runs) == 2 * RUNS and all(name.startswith(("results_", "opt_trace_")) for name in runs)  # nothing else
    assert folder_in(whole) / "mlp_2" / "GoLU" / "results_1_lr0.01_batch32_epochs3.json" in found
    rows = table(folder_in(whole) / "runs.csv")
    assert len(rows) == RUNS * 3
    by_run = {(r["activation"], r["seed"], r["blocks"], r["lr"], r["batch_size"], r["epoch"]): r for r in rows}
    for expected in trained(Point("GoLU", 1, 2, 0.01, 32, 2), tmp_path):  # a longer one begins as a shorter one
        row = by_run["GoLU", "1", "2", "0.01", "32", str(expected["epoch"])]
        assert {name: float(row[name]) for name in expected} == expected
    assert not list(whole.rglob("*.tmp"))


def test_the_table_names_the_best_cells(program, copy):
    """All stored already; the numbers of one cell are made the best there are, but for one whose run diverged."""
    for seed in (0, 1):
        change_trace(*results_in(copy, f"{seed}_lr0.1_batch32", 1, "GoLU"), val_accuracy=98.0 + seed)
    diverge(*results_in(copy, "0_lr0.1_batch32", 2, "GoLU"))
    change_trace(*results_in(copy, "1_lr0.1_batch32", 2, "GoLU"), val_accuracy=100.0)
    before = contents(copy, "mlp_*/*/*")
    code, out, err = program(run_small_ablation, *SMALL, "--results", copy)
    assert (code, err) == (0, "")
    (row,) = [line for line in out.splitlines() if line.startswith("GoLU ")]
    assert "98.50 ± 0.50 at 1, 0.1" in row
    assert contents(copy, "mlp_*/*/*") == before  # nothing is trained


def test_ctrl_c_ends_the_processes_and_what_they_stored_is_right(tmp_path, write_mnist):
    """A signal to the whole group, as a terminal sends it, when the first of many runs has ended."""
    write_mnist(tmp_path / "MNIST/raw")
    flags = ("--dataset", "mnist", *AXES, *TWO, "--epochs", 1, 60, "--jobs", 2)
    command = [sys.executable, "-m", "tasks.small_poc.run_small_ablation", *map(str, flags)]
    started = subprocess.Popen(
        [*command, "--data-dir", tmp_path, "--results", tmp_path],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not results_in(tmp_path, dataset="mnist") and started.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(started.pid, signal.SIGINT)
        out, err = started.communicate(timeout=30)  # returns when no process holds the pipes any more
    finally:
        started.kill()
    finished = load_runs(tmp_path, "mnist")
    assert started.returncode == 130, out
    said = re.fullmatch(rf"stopped: (\d+) finished runs are in {tmp_path}/small_ablation, the same .*\n", err)
    assert said and int(said[1]) <= len(finished)  # a process may have stored one that it had no time to tell of
    assert 0 < len(finished) < 36
    for point, ended in finished.items():
        assert numbers(ended.trace) == trained(point, tmp_path / "again", Source("mnist", tmp_path))


def test_activations_and_values_may_be_added(program, copy):
    before = contents(copy, "mlp_*/*/*")
    flags = (*SIZES, *AXES, "--activations", "Tanh", "GoLU", "--epochs", 1, 3, "--seeds", 1, "--jobs", 1)
    code, out, _ = program(run_small_ablation, *flags, "--learning-rates", 0.1, 0.001, "--results", copy)
    assert code == 0
    assert "6 of 16 runs are stored already, 10 to go" in out
    assert len(results_in(copy)) == RUNS + 10
    assert contents(copy, "mlp_*/*/*").items() >= before.items()
    grid, runs = load_merged([copy], "digits")  # all that is there is drawn, and what it lacks is known
    assert (grid.activations, grid.seeds) == (("Tanh", "GoLU", "ReLU"), (0, 1))
    assert grid.learning_rates == (0.001, 0.01, 0.1)
    missing = [point for point in grid.trainings() if point not in runs]
    assert len(missing) == 8 + 4 + 2  # Tanh's second seed, ReLU at 0.001, GoLU's second seed there


def test_more_epochs_are_trained_beside_what_is_stored(program, copy):
    before = contents(copy, "mlp_*/*/*")
    flags = (*SMALL, "--activations", "GoLU", "--seeds", 1, "--epochs", 1, 4, "--results", copy)
    code, out, _ = program(run_small_ablation, *flags)
    assert code == 0 and "stored already" not in out
    longer = [path for path in results_in(copy) if path not in before]
    assert len(longer) == 6
    for path in longer:
        shorter = path.with_name(path.name.replace("epochs4", "epochs3"))
        found = [numbers(read(trace_beside(each))) for each in (path, shorter)]
        assert len(found[0]) == 4 and found[0][:3] == found[1]
    assert contents(copy, "mlp_*/*/*").items() >= before.items()
    grid, _ = load_merged([copy], "digits")  # what the last command asked for is drawn
    assert (grid.activations, grid.seeds, grid.epochs) == (("GoLU",), (0,), (1, 4))
    assert "6 runs" in program(lr_heatmaps, *DRAWN, "--results", copy)[1]


def test_other_settings_do_not_mix(program, copy):
    before = contents(copy, "*.*")
    called = program(run_small_ablation, *SMALL, "--limit_train", 200, "--results", copy)
    assert_refused(called, "limit_train=100, not limit_train=200", "another --results")
    assert contents(copy, "*.*") == before


BROKEN = [  # a file's text, or what is changed in it
    *((content, "delete it") for content in ("", "{", "[]", "null", "{}", {"seed": 7}, {"configuration": []})),
    ('{"configuration": 1}', "move it away"),
    *((content, "trace of a run") for content in ("1", "[]", '[{"epoch": 1}]', "[{")),
]


@pytest.mark.parametrize("module", [run_small_ablation, merge_and_plot_contours, lr_heatmaps])
@pytest.mark.parametrize(("content", "said"), BROKEN)
def test_a_broken_run_is_named(content, said, module, program, copy):
    (path,) = results_in(copy, "0_lr0.1_batch32", 1, "GoLU")  # it is in every program's figures
    path = trace_beside(path) if said == "trace of a run" else path
    path.write_text(content) if isinstance(content, str) else change(path, **content)
    flags = SMALL if module is run_small_ablation else DRAWN
    assert_refused(program(module, *flags, "--results", copy), str(path), said)


def test_a_file_that_is_not_what_its_name_says_is_named(program, copy):
    (path,) = results_in(copy, "0_lr0.01_batch16", 1, "GoLU")
    settings = read(path)["configuration"]
    for wrong in ({}, settings | {"lr": 0.5}):
        change(path, configuration=wrong)
        assert_refused(program(lr_heatmaps, *DRAWN, "--results", copy), path.name, "delete it")
    change(path, configuration=settings)
    for name in ("0_lr0.1_batch16", "old_lr0.01_batch16"):
        path = path.rename(path.with_name(f"results_{name}_epochs3.json"))
        assert_refused(program(lr_heatmaps, *DRAWN, "--results", copy), path.name, "delete it")


def test_runs_that_diverge_are_reported(program, tmp_path):
    flags = (*SMALL, "--learning-rates", "1e30", "--lr", "1e30", "--results", tmp_path)
    for trained_now in (True, False):  # they are not trained again
        code, out, err = program(run_small_ablation, *flags)
        assert (code, err, "diverged in epoch 1" in out) == (0, "", trained_now)
        assert [line.split()[1:] for line in out.splitlines() if line.startswith("GoLU ")] == [["diverged"] * 3]
    assert {(row["epoch"], row["val_loss"]) for row in table(folder_in(tmp_path) / "runs.csv")} == {("1", "")}


BAD = [
    ("--dataset digit", "did you mean digits?"),
    ("--activations ReLU Golu", "did you mean GoLU?"),
    ("--activations ReLU GoLU ReLU", "--activations names ReLU more than once"),
    ("--learning-rates 0.1 1e-1", "--learning-rates names 0.1 more than once"),
    ("--learning-rates nan", "must be a number above 0, not 'nan'"),
    ("--lr 0", "must be a number above 0"),
    ("--blocks 5", "must be a whole number from 1 to 4, not '5'"),
    ("--epochs 0", "at least 1"),
    ("--epochs", "expected at least one argument"),
    ("--seeds -1", "at least 1"),
    ("--jobs 0", "argument --jobs: must be a whole number of at least 1"),
    ("--batch-sizes 16 101", "a batch of 101 is more than the 100 training samples"),
    ("--batch-size 200", "a batch of 200 is more than the 100 training samples"),
    ("--limit-train 9", "--limit-train 9 is out of range"),
    ("--device tpu", "unknown device"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_a_mistake_is_one_line(arguments, said, program, tmp_path):
    called = program(run_small_ablation, *SMALL, "--results", tmp_path / "results", *arguments.split())
    assert_refused(called, "error: ", said)
    assert "to go" not in called[1] and not (tmp_path / "results").exists()


def test_a_folder_that_cannot_be_written(program, copy, tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    drawn = (*DRAWN, "--results", copy, "--output")
    assert_refused(program(run_small_ablation, *SMALL, "--results", file), str(file))
    assert_refused(program(merge_and_plot_contours, *drawn, file), str(file))
    assert_refused(program(lr_heatmaps, *drawn, file / "below"), str(file))
    assert file.read_text() == "precious"


# As commands


def test_as_a_command():
    """Its own process: a mistake shows no traceback, and nothing heavy is imported for it."""
    command = [sys.executable, "-X", "importtime", "-m", "tasks.small_poc.lr_heatmaps", *DRAWN, "--baseline", "none"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = ended.stderr.splitlines()
    (said,) = [line for line in lines if not line.startswith("import time:")]
    assert ended.returncode == 2 and said.startswith("error: argument --baseline: unknown activation 'none'")
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "torch" in imported and not imported & {"torchvision", "sklearn", "matplotlib", "scipy"}


@pytest.mark.parametrize(
    ("module", "flags"), [(run_small_ablation, 17), (merge_and_plot_contours, 4), (lr_heatmaps, 4)]
)
def test_help_explains_every_flag(module, flags, program):
    code, out, _ = program(module, "--help")
    assert code == 0
    assert len([line for line in out.splitlines() if line.startswith("  --")]) == flags
    assert out.count("(default") == flags - 1  # --dataset has none
    assert f"python -m {module.__name__} --dataset digits" in out
