"""Which runs are found, in which state, and what cannot be read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tasks.results.listing import find
from tasks.table import TASKS, program_of
from tests.tasks.report.made_up import write_run
from tests.workbench.training.made_up import Plain
from workbench.cli.errors import UserError
from workbench.cli.settings import configuration
from workbench.training import checkpoint
from workbench.training.launch import launched
from workbench.training.loop import Loop
from workbench.training.metrics import Metric
from workbench.training.runs import StoredRun
from workbench.vision.classification import ACCURACY

HOLD = """
import pathlib, sys
from workbench.output.lock import held
with held(pathlib.Path(sys.argv[1]), "it is trained"):
    print("held", flush=True)
    sys.stdin.read()
"""


class Killed(BaseException):
    """Ends a training at once."""


def begun(results, steps=9, activation="Tanh", variant="", **changes):
    """Train a run of 15 steps, 5 an epoch, until some step; checkpoints are every 2 steps and after each epoch."""
    run = StoredRun(results, "data", "net", activation, 7, variant)
    run.folder.mkdir(parents=True, exist_ok=True)

    def after_step():
        nonlocal steps
        steps -= 1
        if steps == 0:
            raise Killed

    with launched("cpu") as accelerator:
        task = Plain(**changes)
        loop = Loop(task, run, accelerator, run.identity | {"epochs": 3}, None)
        with pytest.raises(Killed):
            loop.train(after_step)
    return run


@pytest.fixture
def hold():
    """Holds a lock in another process until the test ends; returns that process."""
    holders = []

    def start(path):
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        holders.append(holder)
        assert holder.stdout.readline() == "held\n"
        return holder

    yield start
    for each in holders:
        each.kill()
        each.communicate()


def the_run(results):
    found = find([results])
    assert not found.left_out
    (run,) = found.runs
    return run


def test_a_run_that_has_ended(tmp_path):
    path = write_run(tmp_path, "ReLU", 3, 91.5, variant="lr_0.1", dataset="fashion_mnist", model="resnet20")
    run = the_run(tmp_path)
    assert run.name == ("fashion_mnist", "resnet20", "ReLU", "lr_0.1", 3)
    assert (run.state, run.at, run.value, run.metric.label) == ("ended", "", 91.5, "accuracy (%)")
    assert run.metric.higher_is_better and run.minutes == pytest.approx(1.1)
    assert run.file == path and run.folder == str(tmp_path)


def test_a_run_that_diverged(tmp_path):
    write_run(tmp_path, "ReLU", 0, None)
    run = the_run(tmp_path)
    assert (run.state, run.at, run.value, run.metric.key) == ("diverged", "epoch 2", None, "val_accuracy")


def test_a_run_that_was_stopped_says_how_far_it_is_and_what_it_reached(tmp_path):
    stored = begun(tmp_path, steps=13)
    first, last = json.loads(stored.trace_path.read_text())
    run = the_run(tmp_path)
    assert run.name == ("data", "net", "Tanh", "", 7)
    assert (run.state, run.at, run.metric.key) == ("stopped", "step 12", "val_loss")
    assert run.value == last["val_loss"] != first["val_loss"] and not run.metric.higher_is_better
    assert run.minutes >= (first["seconds"] + last["seconds"]) / 60


def test_before_the_first_evaluation_there_is_no_value(tmp_path):
    begun(tmp_path, steps=4)
    run = the_run(tmp_path)
    assert (run.state, run.at, run.value, run.metric.key) == ("stopped", "step 2", None, "val_loss")


def test_where_weights_are_averaged_their_metric_judges(tmp_path):
    stored = begun(tmp_path, decay=0.9)
    (entry,) = json.loads(stored.trace_path.read_text())
    run = the_run(tmp_path)
    assert run.metric.key == "ema_val_loss" and run.value == entry["ema_val_loss"] != entry["val_loss"]


def test_a_run_is_running_while_its_lock_is_held(tmp_path, hold):
    stored = begun(tmp_path, variant="lr_0.1")
    holder = hold(stored.path(".lock"))
    assert (the_run(tmp_path).state, the_run(tmp_path).at) == ("running", "step 8")
    holder.kill()
    holder.wait()
    assert stored.path(".lock").exists(), "a killed process leaves the file"
    assert the_run(tmp_path).state == "stopped"


def test_looking_takes_no_lock_away(tmp_path, hold):
    stored = begun(tmp_path)
    hold(stored.path(".lock"))
    find([tmp_path])
    with pytest.raises(UserError, match="is being trained by process"), stored.locked():
        pass


def test_a_run_without_a_checkpoint_is_known_by_its_lock(tmp_path, hold):
    stored = StoredRun(tmp_path, "digits", "mlp", "GoLU", 0, "lr0.01_batch32_epochs8")
    stored.folder.mkdir(parents=True)
    holder = hold(stored.path(".lock"))
    run = the_run(tmp_path)
    assert run.name == ("digits", "mlp", "GoLU", "lr0.01_batch32_epochs8", 0)
    assert (run.state, run.at, run.metric, run.value, run.minutes) == ("running", "", None, None, None)
    holder.kill()
    holder.wait()
    assert the_run(tmp_path).state == "stopped"


def test_a_run_that_failed(tmp_path):
    stored = begun(tmp_path)
    stored.path("failed", ".txt").write_text("Traceback ...")
    assert (the_run(tmp_path).state, the_run(tmp_path).at) == ("failed", "step 8")
    stored.checkpoint_path.unlink()
    checkpoint.previous(stored.checkpoint_path).unlink()
    run = the_run(tmp_path)
    assert (run.state, run.at, run.file) == ("failed", "", stored.path("failed", ".txt"))


def test_a_run_that_ended_after_all_has_ended(tmp_path, hold):
    path = write_run(tmp_path, "ReLU", 0, 90.0)
    (path.parent / "failed_0.txt").write_text("Traceback ...")
    hold(path.parent / ".lock_0")
    assert the_run(tmp_path).state == "ended"


def test_weights_are_not_read(tmp_path):
    stored = begun(tmp_path)
    state = checkpoint.read(stored.checkpoint_path)
    checkpoint.save(stored.checkpoint_path, state | {"ema": {"large": torch.zeros(4_000_000)}})
    counters = Path("/proc/self/io")
    if not counters.exists():
        pytest.skip("only Linux counts what a process reads")

    def read():
        return int(counters.read_text().split()[1])

    before = read()
    assert the_run(tmp_path).at == "step 8"
    assert read() - before < 1_000_000 < 16_000_000 < stored.checkpoint_path.stat().st_size


# Whose files they are


def test_names_that_contain_one_another_are_not_mixed(tmp_path):
    values = {}
    for model in ("resnet50", "wide_resnet50_2"):
        for activation in ("ReLU", "LeakyReLU", "PReLU"):
            for seed, variant in ((1, ""), (10, ""), (1, "lr_0.1"), (1, "tune_lr_0.1"), (10, "lr_0.1")):
                values["digits", model, activation, variant, seed] = value = 50.0 + len(values)
                write_run(tmp_path, activation, seed, value, model=model, variant=variant)
    runs = find([tmp_path]).runs
    assert {run.name: run.value for run in runs} == values and len(runs) == len(values)


def test_each_run_is_listed_once(tmp_path):
    write_run(tmp_path / "a/b", "ReLU", 0, 90.0)
    write_run(tmp_path / "c", "ReLU", 0, 91.0)
    begun(tmp_path / "c")
    runs = find([tmp_path, tmp_path / "a", tmp_path / "c/digits"]).runs
    assert sorted((run.folder, run.value) for run in runs if run.state == "ended") == [
        (str(tmp_path / "a/b"), 90.0), (str(tmp_path / "c"), 91.0),
    ]  # fmt: skip
    assert len(runs) == 3


def test_what_a_run_leaves_beside_is_no_run(tmp_path):
    stored = begun(tmp_path, variant="lr_0.1")
    folder = stored.folder
    for name in ("checkpoint_7_lr_0.1.next.pth", "checkpoint_7_lr_0.1.pth.broken", "best_9.pth", "notes.txt", ".probe"):
        (folder / name).write_bytes(b"")
    (folder / "pictures_8").mkdir()
    assert the_run(tmp_path).name == ("data", "net", "Tanh", "lr_0.1", 7)


def test_a_folder_may_be_named_from_within(tmp_path, monkeypatch):
    write_run(tmp_path / "results", "ReLU", 0, 90.0)
    for place, folder, shown in (
        ("results/digits/mlp/ReLU", ".", str(tmp_path / "results")),
        ("results", ".", "."),
        (".", "results/digits", "results"),
    ):
        monkeypatch.chdir(tmp_path / place)
        (run,) = find([Path(folder)]).runs
        assert (run.name, run.folder) == (("digits", "mlp", "ReLU", "", 0), shown)


# Which task they are of


@pytest.mark.parametrize("task", TASKS)
def test_the_task_of_older_runs_shows_in_their_settings(task, tmp_path):
    program = program_of(task)
    masks = task == "instance_segmentation"  # with detection's settings, and metrics of masks besides
    metrics = program.spec(program.parse([])).task().metrics if masks or task == "object_detection" else [ACCURACY]
    settings = configuration(next(iter(program.recipes.values())))
    for known in ("lr", "model", "dataset", "variant", "metrics", "environment"):
        settings.pop(known, None)
    write_run(tmp_path, "ReLU", 0, 1.0, metrics=metrics, **settings)
    timm = task in ("train_vit", "tiny_vit")  # they have its settings
    assert the_run(tmp_path).task == ("timm_training_script" if timm else task)


@pytest.mark.parametrize("module", [*TASKS.values(), "tasks.regression.train"])
def test_a_run_that_names_its_program_is_of_its_task(module, tmp_path):
    path = write_run(tmp_path, "ReLU", 0, 1.0, block_size=8)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"program": module}))
    assert the_run(tmp_path).task == {module: task for task, module in TASKS.items()}.get(module, module)


def test_a_run_that_says_nothing_has_no_task(tmp_path):
    write_run(tmp_path, "ReLU", 0, 1.0, metrics=[Metric("val_mse", "mean squared error")])
    assert the_run(tmp_path).task == ""


# What cannot be read


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("results_1.json", b'{"format": 2, "data', "is no result of a run"),
        ("results_1.json", b"", "is no result of a run"),
        ("results_1.json", b"\xff\xfe\x00", "is no result of a run"),
        ("results_1.json", b"[1, 2]", "is no result of a run"),
        ("results_1.json", b"[" * 100_000, "is no result of a run"),
        ("results_1.json", b'{"accuracy": 0.9}', "it has no 'metrics'"),
        ("results_1.json", b'{"configuration": {}, "metrics": []}', "is of an earlier version"),
        ("results_all.json", b"{}", "its name is not results_<seed>.json"),
        ("checkpoint_1.pth", b"", "is broken"),
        ("checkpoint_1.pth", b"PK\x03\x04 and no more", "is broken"),
    ],
)
def test_a_damaged_file_is_named_and_the_others_are_listed(name, content, reason, tmp_path):
    path = write_run(tmp_path, "ReLU", 0, 90.0).with_name(name)
    path.write_bytes(content)
    found = find([tmp_path])
    assert [(run.key.seed, run.value) for run in found.runs] == [(0, 90.0)]
    (said,) = found.left_out
    assert str(path) in said and reason in said and "\n" not in said


@pytest.mark.parametrize("what", ["train_minutes", "final"])
def test_what_is_no_number_is_no_result(what, tmp_path):
    write_run(tmp_path, "ReLU", 0, 90.0)
    path = write_run(tmp_path, "ReLU", 1, 90.0)
    path.write_text(json.dumps(json.loads(path.read_text()) | {what: "long"}))
    found = find([tmp_path])
    assert [run.key.seed for run in found.runs] == [0] and "numbers are none" in found.left_out[0]


@pytest.mark.parametrize(
    "content",
    [{}, {"step": 3}, {"configuration": {}, "metrics": []}, {"metrics": [{"key": 1}], "configuration": {}}],
)
def test_the_checkpoint_of_another_program_is_named(content, tmp_path):
    write_run(tmp_path, "ReLU", 0, 90.0)
    path = tmp_path / "digits/mlp/ReLU/checkpoint_5.pth"
    torch.save({"model": {}} | content, path)
    found = find([tmp_path])
    assert [run.key.seed for run in found.runs] == [0]
    assert found.left_out[0].startswith(str(path))


def test_a_checkpoint_in_the_place_of_another_is_named(tmp_path):
    stored = begun(tmp_path)
    stored.checkpoint_path.rename(stored.checkpoint_path.with_name("checkpoint_8.pth"))
    found = find([tmp_path])
    assert [(run.key.seed, run.at) for run in found.runs] == [(7, "step 6")]
    assert "checkpoint_8.pth is another run's" in found.left_out[0]


def test_the_previous_checkpoint_serves_where_the_newest_is_broken(tmp_path):
    stored = begun(tmp_path)
    stored.checkpoint_path.write_bytes(stored.checkpoint_path.read_bytes()[:-300])
    found = find([tmp_path])
    assert [(run.state, run.at) for run in found.runs] == [("stopped", "step 6")]
    assert str(stored.checkpoint_path) in found.left_out[0] and len(found.left_out) == 1


def test_what_holds_no_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match="missing is not there"):
        find([tmp_path / "missing"])
    with pytest.raises(UserError, match="there are no runs in"):
        find([tmp_path])
    with pytest.raises(UserError, match="is no folder"):
        find([write_run(tmp_path, "ReLU", 0, 90.0)])
    damaged = tmp_path / "digits/mlp/ReLU/results_0.json"
    damaged.write_text("{")
    with pytest.raises(UserError, match="there are no runs in") as error:
        find([tmp_path])
    assert str(damaged) in str(error.value)
