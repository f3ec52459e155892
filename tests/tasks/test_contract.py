"""Every training program keeps the same promises; a new one is a row of training_programs.py."""

import copy
import importlib
import json
import multiprocessing
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tasks import evaluate, export, predict
from tasks.table import TASKS, checkpoint_of
from tests.conftest import ENVIRONMENT, PLAIN, TORCHRUN, in_processes
from tests.tasks.training_programs import DISTINCT, ROWS
from workbench.cli.settings import defaults
from workbench.training import metrics
from workbench.training.task import opened
from workbench.training.trained import trained
from workbench.vision.datasets import load_images

EVERY = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.task)
READING = ["image_classification", "object_detection", "semantic_segmentation", "diffusion"]  # each in its own way
FILES = ["best_3.pth", "checkpoint_3.pth", "opt_trace_3.json", "plot_3.png", "results_3.json", "tensorboard_3"]


@pytest.fixture(autouse=True)
def nothing_in_memory():
    """As in a process of its own: what an earlier test opened is opened again."""
    opened.cache_clear()
    load_images.cache_clear()


@pytest.fixture
def data(row, tmp_path):
    folder = tmp_path / "some_data"
    row.data.write(folder)
    return folder


@pytest.fixture
def run(row, data, program, tmp_path):
    """Trains the row's run in tmp_path/results, or with other flags; returns (exit code, stdout, stderr)."""
    return lambda *more, results=tmp_path / "results": program(row.program, *row.arguments(data, results, *more))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of results of each row's run, trained once, and the folder of its data."""
    kept = {}

    def of(row):
        if row.task not in kept:
            folder = tmp_path_factory.mktemp(row.task)
            row.data.write(folder / "some_data")
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            row.program.main(row.arguments(folder / "some_data", folder / "results"))
            torch.set_num_threads(threads)
            kept[row.task] = folder
        return kept[row.task]

    return of


@pytest.fixture
def ended(row, finished, tmp_path, program):
    """A copy of a finished run; calls the program on it again."""
    shutil.copytree(finished(row) / "results", tmp_path / "results")
    shutil.copytree(finished(row) / "some_data", tmp_path / "some_data")
    return lambda *more: program(row.program, *row.arguments(tmp_path / "some_data", tmp_path / "results", *more))


def the(name, folder):
    (found,) = folder.rglob(name)
    return found


def the_judge(folder):
    """The key of the metric that judges."""
    return json.loads(the("results_3.json", folder).read_text())["metrics"][0]["key"]


def trace(folder):
    """All of each evaluation but its times."""
    entries = json.loads(the("opt_trace_3.json", folder).read_text())
    return [{name: value for name, value in entry.items() if "second" not in name} for entry in entries]


def weights(folder):
    state = torch.load(the("checkpoint_3.pth", folder), weights_only=True)
    averaged = {f"ema {name}": each for name, each in (state["ema"] or {}).items()}
    return state["model"] | averaged


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock_3"}


def assert_refused(called, said, code=2):
    """One line, and the exit code."""
    found, _, err = called
    assert (found, err.count("\n")) == (code, 1), err
    assert said in err and (code != 2 or err.startswith("error: ")), err


class Killed(BaseException):
    """Ends a run at once, as SIGKILL does: nothing is stored any more."""


@pytest.fixture
def interrupted(row, run, monkeypatch):
    """Trains until some batch, and raises there; returns what `run` does."""

    def until(batch, error, *more):
        cls, left = row.program.task_class, batch

        def loss(task, model, batch):
            nonlocal left
            left -= 1
            if left < 0:
                raise error
            return original(task, model, batch)

        original = cls.loss
        with monkeypatch.context() as patch:
            patch.setattr(cls, "loss", loss)
            return run(*more)

    return until


@pytest.fixture
def killed(interrupted):
    """Trains until some batch, and is gone."""

    def until(batch, *more):
        with pytest.raises(Killed):
            interrupted(batch, Killed, *more)

    return until


def test_every_task_is_a_row():
    assert {row.task for row in ROWS} == set(TASKS)


# What a run leaves


@EVERY
def test_what_a_run_stores(row, finished):
    folder = finished(row) / "results"
    run = the("results_3.json", folder)
    assert sorted(each.name for each in run.parent.iterdir()) == sorted([*FILES, *row.files])
    assert run.with_name("plot_3.png").read_bytes().startswith(b"\x89PNG")
    results, entries = json.loads(run.read_text()), json.loads(the("opt_trace_3.json", folder).read_text())
    dataset, model, activation = run.parent.parts[-3:]
    key = {"dataset": dataset, "model": model, "activation": activation, "seed": 3}
    assert {name: results[name] for name in key} == key and activation == "GoLU"
    assert {name: results["configuration"][name] for name in key} == key
    assert results["format"] == 2 and results["diverged_at"] is None
    assert results["environment"]["torch"] == torch.__version__ and results["environment"]["processes"] == 1
    assert re.fullmatch(r"\d+\+\d+ (images|tokens) [0-9a-f-]+", results["configuration"]["data"])
    assert results["final"] == entries[-1] and len(entries) == 3
    assert [entry[results["axis"]] for entry in entries] == ([1, 2, 3] if results["axis"] == "epoch" else [5, 10, 13])
    meanings = metrics.read(results["metrics"])
    assert results["best"] == meanings[0].best(entries)
    for entry in entries:  # what there is nothing of in the data has no value, as the precision for small objects
        assert all(isinstance(entry[each.key], float) for each in meanings if each.role != "detail")
    state = torch.load(run.with_name("checkpoint_3.pth"), weights_only=True)
    assert (
        results["parameters"] >= sum(each.numel() for each in state["model"].values() if each.is_floating_point()) / 2
    )
    assert state["metrics"] == results["metrics"]


@EVERY
def test_events_say_what_the_trace_says(row, finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = finished(row) / "results"
    events = EventAccumulator(str(the("tensorboard_3", folder))).Reload()
    for name in ("train_loss", the_judge(folder)):
        read = [(event.step, event.value) for event in events.Scalars(name)]
        axis = json.loads(the("results_3.json", folder).read_text())["axis"]
        assert read == [(entry[axis], pytest.approx(entry[name])) for entry in trace(folder)]


@EVERY
def test_a_run_that_has_ended_is_not_trained_again(row, ended, tmp_path):
    before = contents(tmp_path / "results")
    code, out, err = ended()
    assert (code, err) == (0, "")
    assert "has ended already" in out and "final: " in out
    assert contents(tmp_path / "results") == before


# A trained model in use


def scores(program, tmp_path, path, *flags):
    """What tasks.evaluate finds."""
    code, _, err = program(evaluate, path, "--json", tmp_path / "scores.json", "--device", "cpu", *flags)
    assert (code, err) == (0, ""), err
    return json.loads((tmp_path / "scores.json").read_text())


def told(entry, found, prefix=""):
    """Whether these are the numbers of an evaluation in the trace."""
    return {name: entry[prefix + name] for name in found} == found


@EVERY
def test_a_checkpoint_evaluates_to_the_numbers_of_the_run(row, finished, program, tmp_path):
    folder = finished(row) / "results"
    results = json.loads(the("results_3.json", folder).read_text())
    averaged = the_judge(folder).startswith(metrics.AVERAGED)
    prefix = metrics.AVERAGED if averaged else ""
    found = scores(program, tmp_path, the("checkpoint_3.pth", folder))
    assert told(results["final"], found, prefix) and found
    best = scores(program, tmp_path, the("best_3.pth", folder))
    assert told(results["best"], best, prefix)
    if averaged:
        assert told(results["final"], scores(program, tmp_path, the("checkpoint_3.pth", folder), "--no-average"))


@pytest.mark.parametrize("row", [row for row in ROWS if row.data.training], ids=lambda row: row.task)
def test_a_checkpoint_evaluates_without_training_data(row, finished, program, tmp_path):
    folder = finished(row)
    shutil.copytree(folder / "some_data", tmp_path / "val_only")
    for name in row.data.training:
        path = tmp_path / "val_only" / name
        (shutil.rmtree if path.is_dir() else Path.unlink)(path)
    checkpoint = the("checkpoint_3.pth", folder / "results")
    found = scores(program, tmp_path, checkpoint, "--data", tmp_path / "val_only")
    assert found == scores(program, tmp_path, checkpoint) and found


@EVERY
def test_an_example_can_be_had_before_any_model(row, finished):
    """As by a comparison whose runs are all stored, which then measures times."""
    checkpoint = checkpoint_of(the("checkpoint_3.pth", finished(row) / "results"), averaged=False)
    source = replace(checkpoint.source, data=finished(row) / "some_data")
    task = opened(checkpoint.spec(source, "cpu"), torch.device("cpu"))
    batch = task.example()
    assert task.loss(task.model("GoLU").train(), batch).isfinite()


@EVERY
def test_a_checkpoint_is_all_that_a_model_takes(row, finished, program, tmp_path):
    """The data may be gone; its weights go into a file by the names that they have."""
    path = the("checkpoint_3.pth", finished(row) / "results")
    task, model = trained(checkpoint_of(path, averaged=False), torch.device("cpu"))
    state = torch.load(path, weights_only=True)
    assert all(torch.equal(each, state["model"][name]) for name, each in model.state_dict().items())
    assert not model.training and task.extras == state["extras"] if hasattr(task, "names") else True
    code, _, err = program(export, path, "--format", "safetensors", "--output", tmp_path / "m", "--no-average")
    assert (code, err) == (0, "")
    stored = load_file(tmp_path / "m")
    assert stored.keys() == state["model"].keys()
    assert all(torch.equal(each, stored[name]) for name, each in state["model"].items())


TIMM = ("train_vit", "timm_training_script", "tiny_vit")
GRAPHS = [row for row in ROWS if "detection" not in row.task and "instance" not in row.task]
SLOW_GRAPHS = (*TIMM, "image_classification", "diffusion", "semantic_segmentation")


def inputs_of(graph, size):
    """Random inputs, as many as `size` says, of the kinds that the graph takes."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(size, *each.shape[1:], generator=generator)
        if each.is_floating_point()
        else torch.randint(10, (size, *each.shape[1:]), generator=generator)
        for each in graph.inputs.values()
    ]


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.task, marks=[pytest.mark.slow] if row.task in SLOW_GRAPHS else []) for row in GRAPHS],
)
def test_an_exported_model_gives_what_the_checkpoint_does(row, finished, program, tmp_path):
    """A hundred inputs, at another number of them than it was traced with."""
    onnxruntime = pytest.importorskip("onnxruntime")
    path = the("checkpoint_3.pth", finished(row) / "results")
    task, model = trained(checkpoint_of(path), torch.device("cpu"))
    graph = task.graph(model)
    inputs = inputs_of(graph, min(100, *graph.largest.values()) if graph.largest else 100)
    with torch.inference_mode():
        expected = graph.module(*inputs)
    for name in ("torch", "onnx"):
        assert program(export, path, "--format", name, "--output", tmp_path / name)[0] == 0
    loaded = torch.export.load(tmp_path / "torch").module()
    torch.testing.assert_close(loaded(*inputs), expected, rtol=1e-5, atol=1e-5)
    session = onnxruntime.InferenceSession(tmp_path / "onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, dict(zip(graph.inputs, (each.numpy() for each in inputs), strict=True)))
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-5)


@EVERY
def test_a_model_predicts_by_the_program_of_its_task(row, finished, program, tmp_path, monkeypatch):
    """Images for those that see, a text or samples of the others."""
    path, seen = the("checkpoint_3.pth", finished(row) / "results"), []
    if row.program.predictor:
        module = importlib.import_module(row.program.predictor)
        monkeypatch.setattr(module, "main", seen.append)
        assert program(predict, path, "more")[0] == 0
        assert seen == [["--checkpoint", str(path), "more"]]
        return
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "own.png")
    code, out, err = program(predict, path, tmp_path / "own.png", "--output", tmp_path / "found")
    assert (code, err) == (0, "")
    task, model = trained(checkpoint_of(path), torch.device("cpu"))
    with torch.inference_mode():
        shares = model(task.prepare(Image.fromarray(picture))[None]).softmax(1)[0]
    likely = json.loads((tmp_path / "found/predictions.json").read_text())[str(tmp_path / "own.png")]
    assert [each["class"] for each in likely] == [task.names[each] for each in shares.argsort(descending=True)[:5]]
    assert [each["probability"] for each in likely] == pytest.approx(shares.sort(descending=True).values[:5].tolist())
    assert f"own.png: {likely[0]['class']} {100 * likely[0]['probability']:.1f} %" in out
    assert (tmp_path / "found/own.png").read_bytes().startswith(b"\x89PNG")


@EVERY
def test_a_run_starts_from_a_checkpoint(row, ended, finished, tmp_path):
    """Of another activation; and its first weights are stored as a part of what the run is."""
    path = the("best_3.pth", finished(row) / "results")
    shutil.rmtree(tmp_path / "results")
    short = "--epochs 1" if row.task != "gpt" else "--max-iters 5"
    still = f"{row.rate} 1e-30" + (" --warmup-epochs 0 --min-lr 0" if row.task in TIMM else "")
    code, out, err = ended(still, short, "--activation ReLU", f"--init-from {path}", "--keep last")
    assert (code, err) == (0, ""), err
    assert f"starts from {path}" in out and "were trained for GoLU, and have to learn ReLU" in out
    state, before = (torch.load(each, weights_only=True) for each in (the("checkpoint_3.pth", tmp_path), path))
    learnt = {name for name, each in before["model"].items() if "running_" not in name and "num_batches" not in name}
    start = before["ema"] or before["model"]
    assert all(torch.allclose(state["model"][name], start[name], atol=1e-6) for name in learnt)
    assert re.fullmatch("[0-9a-f]{8}", state["configuration"]["init_from"])
    assert not list(tmp_path.rglob("best_3.pth"))
    assert_refused(ended(still, short, "--activation ReLU"), "not init_from=None")


@EVERY
@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "there is no file"), (b"text", "cannot be read"), ({"weight": torch.zeros(3)}, "does not fit this model")],
)
def test_weights_that_cannot_be_started_from(row, content, said, run, tmp_path):
    path = tmp_path / "other.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    assert_refused(run(f"--init-from {path}"), said)
    assert not list(tmp_path.rglob("checkpoint_3.pth"))


@pytest.mark.parametrize("row", ROWS[:1], ids=lambda row: row.task)
@pytest.mark.parametrize(
    ("module", "change", "said"),
    [
        (evaluate, {"program": "tasks.gone"}, "is of tasks.gone, which is no program"),
        (evaluate, {"extras": {"names": ["one"]}}, "whose names are ['one']; those of fashion_mnist are ['T-shirt"),
        (predict, {"extras": {}}, "is no checkpoint of tasks.small_poc.main"),
        (predict, {"model": {"weight": torch.zeros(3)}}, "is no checkpoint of tasks.small_poc.main"),
        (export, {"source": None, "program": None}, "is of None"),
        (export, {"configuration": {"activation": "Gone"}}, "unknown activation 'Gone'"),
    ],
)
def test_a_checkpoint_that_cannot_be_used(row, module, change, said, finished, program, tmp_path):
    path = tmp_path / "checkpoint.pth"
    state = torch.load(the("checkpoint_3.pth", finished(row) / "results"), weights_only=True)
    state["configuration"] |= change.get("configuration", {})
    torch.save(state | change | {"configuration": state["configuration"]}, path)
    Image.new("RGB", (8, 8)).save(tmp_path / "own.png")
    more = [tmp_path / "own.png"] if module is predict else []
    assert_refused(program(module, path, *more), said)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint.pth", "own.png"]


# Stopped and resumed


@EVERY
@pytest.mark.parametrize("kills", [[2], [3, 3], [5]])
def test_a_killed_run_ends_as_if_never_stopped(row, kills, run, killed, finished, tmp_path, capsys):
    for batches in kills:
        killed(batches)
    assert not list(tmp_path.rglob("results_3.json"))
    capsys.readouterr()
    code, _, err = run()
    assert (code, err) == (0, "")
    assert trace(tmp_path / "results") == trace(finished(row) / "results")
    ours, theirs = weights(tmp_path / "results"), weights(finished(row) / "results")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@EVERY
def test_ctrl_c_says_how_to_go_on(row, run, interrupted, tmp_path):
    assert_refused(interrupted(0, KeyboardInterrupt), "stopped before anything was stored", code=130)
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").iterdir())
    assert_refused(interrupted(5, KeyboardInterrupt), "checkpoint_3.pth", code=130)
    assert list(tmp_path.rglob("checkpoint_3.pth"))


@EVERY
def test_what_killed_programs_were_writing_is_removed(row, run, tmp_path):
    import platform

    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    run("--epochs 1" if row.task != "gpt" else "--max-iters 5")
    folder = the("results_3.json", tmp_path).parent
    the("results_3.json", tmp_path).unlink()
    left = folder / f".checkpoint_3.next.pth.{platform.node()}-{process.pid}.tmp"
    left.write_text("half")
    (folder / "checkpoint_3.next.pth").write_text("half")
    assert run("--epochs 1" if row.task != "gpt" else "--max-iters 5")[0] == 0
    assert not left.exists() and not (folder / "checkpoint_3.next.pth").exists()


# A run is its configuration and its data


@EVERY
@pytest.mark.parametrize("part", ["results", "checkpoint"])
@pytest.mark.parametrize("other", ["lr", "limit", "data"])
def test_another_run_in_its_place_is_refused(row, part, other, ended, tmp_path):
    """By its results, or as if it had been stopped, by its checkpoint."""
    if part == "checkpoint":
        the("results_3.json", tmp_path).unlink()
    if other == "data":
        row.data.alter(tmp_path / "some_data")
    more = {"lr": [row.rate, "0.0123"], "limit": ["--limit-val", str(row.data.limit)], "data": []}
    before = contents(tmp_path / "results")
    said = {"lr": "0.0123", "limit": "limit_val=None, not limit_val=", "data": "its data have changed since"}
    assert_refused(ended(*more[other]), said[other])
    assert contents(tmp_path / "results") == before


@EVERY
def test_a_setting_of_a_later_version_had_its_default_before(row, ended, tmp_path):
    path = the("results_3.json", tmp_path)
    results = json.loads(path.read_text())
    kept = copy.deepcopy(results)
    settings = row.program.spec(row.program.parse(row.arguments(tmp_path, tmp_path))).settings
    default = next(name for name, value in defaults(settings).items() if value and kept["configuration"][name] == value)
    del results["configuration"][default]
    path.write_text(json.dumps(results))
    assert ended()[0] == 0
    assert results["configuration"].pop("epochs" if row.task != "gpt" else "max_iters") == (
        3 if row.task != "gpt" else 13
    )
    path.write_text(json.dumps(results))
    assert_refused(ended(), "not epochs=3" if row.task != "gpt" else "not max_iters=13")
    path.write_text(json.dumps(kept | {"configuration": kept["configuration"] | {"gone": 1}}))
    assert_refused(ended(), "with gone=1, not gone=None")


# What is damaged or foreign


@EVERY
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "{}", "is no result of a run (it has no 'metrics'): delete it"),
        (lambda text: text[: len(text) // 2], "is no result of a run"),
        (lambda text: text.replace('"format": 2,', ""), "is of an earlier version"),
        (lambda text: text.replace('"diverged_at": null', '"diverged_at": NaN'), "it holds NaN"),
        (lambda text: text.replace('"seed": 3', '"seed": 4', 1), "it is another run's"),
        (lambda text: text.replace('"final"', '"finale"', 1), "it is incomplete"),
        (lambda text: "[]", "is no result of a run"),
    ],
)  # fmt: skip
def test_results_that_are_none_are_named(row, change, said, ended, tmp_path):
    path = the("results_3.json", tmp_path)
    path.write_text(change(path.read_text()))
    before = contents(tmp_path / "results")
    assert_refused(ended(), said)
    assert contents(tmp_path / "results") == before


@EVERY
def test_a_truncated_checkpoint_is_put_aside(row, ended, finished, tmp_path):
    the("results_3.json", tmp_path).unlink()
    checkpoint = the("checkpoint_3.pth", tmp_path)
    half = checkpoint.read_bytes()[: checkpoint.stat().st_size // 2]
    checkpoint.write_bytes(half)
    assert_refused(ended(), f"the checkpoint {checkpoint} is broken")
    assert checkpoint.with_name("checkpoint_3.pth.broken").read_bytes() == half and not checkpoint.exists()
    assert ended()[0] == 0  # as the line says, the same command now starts from the beginning
    assert trace(tmp_path / "results") == trace(finished(row) / "results")


@EVERY
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: {"model": state["model"]}, "is of an earlier version or another program"),
        (lambda state: {name: each for name, each in state.items() if name != "losses"}, "of another model or program"),
        (lambda state: state | {"model": {"weight": torch.zeros(3)}}, "of another model or program"),
        (lambda state: state["model"], "is no checkpoint of a training run"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(row, change, said, ended, tmp_path):
    the("results_3.json", tmp_path).unlink()
    path = the("checkpoint_3.pth", tmp_path)
    torch.save(change(torch.load(path, weights_only=True)), path)
    assert_refused(ended(), said)


@EVERY
def test_a_run_that_another_process_trains_is_refused(row, run, tmp_path):
    run("--epochs 1" if row.task != "gpt" else "--max-iters 5")
    the("results_3.json", tmp_path).unlink()
    lock = the("checkpoint_3.pth", tmp_path).with_name(".lock_3")
    program = (
        "import sys, pathlib\nfrom workbench.output.lock import held\n"
        "with held(pathlib.Path(sys.argv[1]), 'x'):\n    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        before = contents(tmp_path / "results")
        assert_refused(run("--epochs 1"), f"the run of seed 3 is being trained by process {holder.pid} on ")
        assert contents(tmp_path / "results") == before
    finally:
        holder.kill()  # a lock of a killed process is no obstacle
        holder.communicate()
    assert run("--epochs 1" if row.task != "gpt" else "--max-iters 5")[0] == 0


# Mistakes, and what goes wrong


@EVERY
def test_a_run_that_diverges_is_stored_and_fails(row, run, tmp_path):
    rate = f"{row.rate} 1e30" + (" --model resnet20" if row.task == "small_poc" else "")
    extra = " --grad-clip 0" if row.task == "gpt" else ""
    code, _, err = run(rate + extra)
    assert code == 1 and err.count("\n") == 1 and "the training loss was no finite number" in err
    results = json.loads(the("results_3.json", tmp_path).read_text())
    assert results["final"] is None and results["best"] is None
    entries = json.loads(the("opt_trace_3.json", tmp_path).read_text())
    assert entries[-1]["train_loss"] is None and entries[-1][the_judge(tmp_path)] is None
    assert entries[-1][results["axis"]] == results["diverged_at"]
    assert run(rate + extra)[0] == 1


WRONG = [
    ("--activation Golu", "unknown activation 'Golu': did you mean GoLU?"),
    ("{rate} nan", "argument {rate}"),
    ("{rate} 0", "must be a number above 0, not '0'"),
    ("--seed -1", "argument --seed: must be a whole number from 0 to 4294967295, not '-1'"),
    ("--seed 18446744073709551616", "argument --seed"),
    ("--limit-train 1", "{few}"),
    ("--limit-train 99999999", "--limit-train 99999999 is out of range"),
    ("--limit-val 99999999", "--limit-val 99999999 is out of range"),
    ("--limit-val 0", "argument --limit-val: must be a whole number of at least 1"),
    ("--batch-size -2", "argument --batch-size"),
    ("--workers -1", "argument --workers"),
    ("--device tpu", "unknown device 'tpu'"),
    ("--checkpoint-steps 0", "argument --checkpoint-steps"),
    ("--data /nowhere", "/nowhere"),
    ("--unknown 1", "unrecognized arguments: --unknown 1"),
]


@EVERY
@pytest.mark.parametrize(("wrong", "said"), WRONG)
def test_a_wrong_value_is_one_line(row, wrong, said, run, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network, and nothing in /nowhere")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", offline)
    monkeypatch.setattr("workbench.vision.datasets.DEBIAN_FASHION_MNIST", tmp_path / "not_installed")
    assert_refused(run(wrong.format(rate=row.rate)), said.format(rate=row.rate, few=row.few))
    assert not list(tmp_path.glob("results/**/*"))


@pytest.mark.parametrize(
    ("row", "wrong", "said"), [(row, *each) for row in ROWS for each in row.wrong], ids=lambda each: str(each)[:40]
)
def test_a_wrong_value_for_one_task_is_one_line(row, wrong, said, run, tmp_path):
    assert_refused(run(wrong), said)
    assert not list(tmp_path.glob("results/**/*"))


@EVERY
def test_a_folder_that_cannot_be_used(row, run, tmp_path):
    (tmp_path / "file").write_text("precious")
    assert_refused(run(results=tmp_path / "file"), "it is a file")
    assert (tmp_path / "file").read_text() == "precious"


@EVERY
def test_a_full_disk_leaves_what_was_stored(row, run, killed, tmp_path, monkeypatch):
    killed(5)
    before = contents(tmp_path / "results")
    write = Path.write_bytes

    def full(path, content):
        if ".probe" in path.name:
            return write(path, content)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert_refused(run(), "No space left on device")
    monkeypatch.undo()
    after = contents(tmp_path / "results")
    assert {path: each for path, each in after.items() if "tensorboard" not in str(path)} == {
        path: each for path, each in before.items() if "tensorboard" not in str(path)
    }


# Several processes


@pytest.mark.parametrize("row", DISTINCT, ids=lambda row: row.task)
def test_two_processes_give_the_numbers_of_one(row, data, program, tmp_path):
    one = program(row.program, *row.arguments(data, tmp_path / "one", row.plain))
    assert one[0] == 0, one[2]
    command = row.arguments(data, tmp_path / "two", row.plain, row.halved)
    done = in_processes(TORCHRUN, row.program.module, *command)
    assert done.returncode == 0, done.stderr
    assert ", 2 processes, " in done.stdout
    a, b = trace(tmp_path / "one"), trace(tmp_path / "two")
    assert len(a) == len(b)
    batch_norms = any("running_mean" in name for name in weights(tmp_path / "one"))
    for ours, theirs in zip(a, b, strict=True):
        names = ["lr"] if batch_norms or row.padded else ours  # each process has its own batch statistics
        assert {name: ours[name] for name in names} == pytest.approx({name: theirs[name] for name in names}, rel=1e-4)
        if "val_accuracy" in theirs:  # each image counts once
            images = row.data.counts["val"] if hasattr(row.data, "counts") else 30
            hits = theirs["val_accuracy"] * images / 100
            assert hits == pytest.approx(round(hits), abs=1e-4)


@pytest.mark.parametrize("row", [row for row in ROWS if row.task in READING], ids=lambda row: row.task)
def test_workers_need_not_be_forked(row, run, finished, tmp_path):
    """Elsewhere than on Linux, and in the processes of --jobs, what reads the pictures is sent to them."""
    method = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        code, _, err = run("--workers 1")
    finally:
        multiprocessing.set_start_method(method, force=True)
    assert (code, err) == (0, "")
    assert trace(tmp_path / "results") == trace(finished(row))


DISKS = """
import os, sys
sys.argv[sys.argv.index("--results") + 1] += os.environ["RANK"]
from tasks.table import program_of
from workbench.cli.errors import run
run(program_of(sys.argv.pop(1)).main)
"""


@pytest.mark.parametrize("row", [row for row in ROWS if row.task in ("small_poc", "gpt")], ids=lambda row: row.task)
def test_the_main_processs_checkpoint_is_everybodys(row, run, killed, data, tmp_path):
    """Two nodes with disks of their own, of which one has an older checkpoint, or none."""
    run(row.plain, results=tmp_path / "whole")
    killed(5, row.plain)
    shutil.copytree(tmp_path / "results", tmp_path / "disks0")
    script = tmp_path / "disks.py"
    script.write_text(DISKS)
    command = row.arguments(data, tmp_path / "disks", row.plain)
    launch = [*TORCHRUN[:-1], str(script)]
    done = subprocess.run(
        [*launch, row.task, *command], capture_output=True, text=True, timeout=300, check=False,
        env=ENVIRONMENT | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "resuming from step" in done.stdout
    for ours, theirs in zip(trace(tmp_path / "disks0"), trace(tmp_path / "whole"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert not list(tmp_path.glob("disks1/**/results_*"))


# Commands


@EVERY
def test_documented_commands_are_understood(row):
    """Those of --help."""
    text = row.program.description.replace("\\\n", " ")
    commands = re.findall(r"-m (tasks\.[\w.]+)([^\n#]*)", text)
    own = [arguments for module, arguments in commands if module == row.program.module]
    assert len(own) >= 2
    for arguments in own:
        options = row.program.parse(shlex.split(arguments))
        task = row.program.spec(options).task()
        assert (task.epochs > 0) if row.task != "gpt" else task.batch_size > 0


@EVERY
def test_help_explains_every_flag(row, capsys):
    with pytest.raises(SystemExit) as left:
        row.program.main(["--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    for flag in ("--results", "--data", "--activation", "--workers", "--seed", "--device", row.rate):
        assert f"\n  {flag}" in out, flag


@pytest.mark.parametrize("module", ["tasks.small_poc.main"])
def test_as_a_command(module, tmp_path):
    done = in_processes(PLAIN, module, "--results", tmp_path, "--dataset", "digits", "--model", "mlp_1", "--epochs", 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert "stored in" in done.stdout
    wrong = in_processes(PLAIN, module, "--epochs", 0)
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: ")
