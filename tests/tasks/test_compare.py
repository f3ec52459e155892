"""python -m tasks.compare."""

import csv
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tasks.classification.in_memory import InMemory
from tasks.compare import __main__ as program
from tasks.compare import report
from tasks.compare.cost import measure_costs
from tasks.compare.figure import draw
from tasks.compare.models import MODELS
from tasks.compare.recipe import RECIPES
from tasks.compare.training import initial_model, train
from tasks.engine.images import load_images
from tasks.engine.memory import kept_for_backward

SMALL = ("--epochs", 2, "--batch-size", 32, "--limit-train", 64, "--limit-val", 100, "--model", "mlp", "--seeds", 2)
TWO = ("--activations", "ReLU", "GoLU")
RECIPE = replace(RECIPES["digits"], epochs=2, model="mlp", limit_train=64, limit_val=100)
PARAMETER_FREE = ["ReLU", "GELU", "Swish", "Mish", "GoLU", "Tanh"]


@pytest.fixture(scope="module")
def images():
    return load_images("digits", None, limit_train=64, limit_val=100)


def numbers(run):
    """All of a run but its times."""
    times = ("seconds", "images_per_second")
    return [{name: value for name, value in epoch.items() if name not in times} for epoch in run["epochs"]]


# A run


@pytest.mark.parametrize("model", MODELS)
def test_initial_weights_are_the_same_for_every_activation(model, images):
    recipe = replace(RECIPE, model=model)
    states = [initial_model(recipe, images, each, seed=1).state_dict() for each in PARAMETER_FREE]
    other = initial_model(recipe, images, "ReLU", seed=2).state_dict()
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[name], states[0][name]) for name in state)
    assert any(not torch.equal(other[name], states[0][name]) for name in other)


def test_an_activation_with_parameters_leaves_the_other_weights_alone(images):
    relu, prelu = (
        [each for each in initial_model(RECIPE, images, name, 1).parameters() if each.numel() > 1]
        for name in ("ReLU", "PReLU")
    )
    assert all(torch.equal(a, b) for a, b in zip(relu, prelu, strict=True))


def test_every_activation_sees_the_same_batches(images, monkeypatch):
    seen = {}
    for activation in ("ReLU", "GoLU"):
        steps = seen[activation] = []

        class Recorded(InMemory):
            def training(self, *arguments, steps=steps):
                for batches in super().training(*arguments):
                    steps.extend(batches)
                    yield batches

        monkeypatch.setattr("tasks.compare.training.InMemory", Recorded)
        train(RECIPE, images, activation, seed=0)
    assert len(seen["ReLU"]) == len(seen["GoLU"]) == 2 * 2
    for (x, y), (other_x, other_y) in zip(seen["ReLU"], seen["GoLU"], strict=True):
        assert torch.equal(x, other_x) and torch.equal(y, other_y)
    assert not torch.equal(seen["ReLU"][0][0], seen["ReLU"][2][0])


def test_a_run_learns_and_is_the_same_each_time(images):
    recipe = replace(RECIPE, epochs=6)
    first, second = (train(recipe, images, "GoLU", seed=0) for _ in range(2))
    assert numbers(first) == numbers(second)
    assert first["final"]["val_accuracy"] > 50
    assert first["best"]["val_accuracy"] == max(each["val_accuracy"] for each in first["epochs"])
    assert numbers(first) != numbers(train(recipe, images, "GoLU", seed=1))


@pytest.mark.parametrize("augment", [False, True])
def test_the_cnn_learns(augment, images):
    recipe = replace(RECIPE, model="cnn", epochs=6, batch_size=16, augment=augment)
    losses = [epoch["train_loss"] for epoch in train(recipe, images, "GoLU", seed=0)["epochs"]]
    assert losses[-1] < losses[0] - 0.05


# What it costs


@pytest.mark.parametrize(("activation", "extra"), [(nn.ReLU(), 0), (nn.GELU(), 1), (nn.SiLU(), 1)])
def test_kept_for_backward_in_closed_form(activation, extra):
    """x, the ReLU's output, which is the second layer's input as well, and for others the activation's input too."""
    model = nn.Sequential(nn.Linear(4, 3), activation, nn.Linear(3, 2))
    x = torch.randn(5, 4)
    assert kept_for_backward(lambda: model(x).sum(), model.parameters()) == 4 * (5 * 4 + 5 * 3 + extra * 5 * 3)


def test_golu_keeps_its_input_and_nothing_else():
    from golu import GoLU

    model = nn.Sequential(nn.Linear(4, 3), GoLU(), nn.Linear(3, 2))
    x = torch.randn(5, 4)
    assert kept_for_backward(lambda: model(x).sum(), model.parameters()) == 4 * (5 * 4 + 2 * 5 * 3)


def test_costs_are_relative_to_the_baseline(images):
    costs = measure_costs(RECIPE, images, ["GoLU", "ReLU"], "ReLU", seconds=0.0)
    assert list(costs) == ["GoLU", "ReLU"]
    assert costs["ReLU"]["relative_train_time"] == costs["ReLU"]["relative_inference_time"] == 1
    assert costs["GoLU"]["relative_train_time"] > 0
    # two hidden layers of 256 whose LayerNorm output ReLU need not keep
    assert costs["GoLU"]["memory_bytes"] - costs["ReLU"]["memory_bytes"] == 2 * 32 * 256 * 4


# The report


def a_run(activation, seed, accuracy):
    epochs = [
        {"epoch": i + 1, "train_loss": 1.0, "val_loss": 2.0 / (i + 1), "val_accuracy": each, "seconds": 0.1}
        for i, each in enumerate(accuracy)
    ]
    result = {"activation": activation, "seed": seed, "diverged_at": None, "seconds": 1.0, "epochs": epochs}
    if not epochs:
        return result | {"diverged_at": 1, "final": None, "best": None}
    return result | {"final": epochs[-1], "best": max(epochs, key=lambda each: each["val_accuracy"])}


COST = {
    "rounds": 7,
    **{"relative_train_time": 1.0, "relative_train_time_low": 0.9, "relative_train_time_high": 1.1},
    **{"relative_inference_time": 1.25, "relative_inference_time_low": 1.2, "relative_inference_time_high": 1.3},
    "memory_bytes": 1_500_000,
}
RUNS = [a_run("ReLU", 0, [80, 90]), a_run("ReLU", 1, [80, 92]), a_run("GoLU", 0, [93, 91]), a_run("GoLU", 1, [80, 95])]


def test_the_table_has_the_right_numbers():
    summaries = report.summarise(RUNS, {"ReLU": COST, "GoLU": COST}, "ReLU")
    rows = report.table_rows(summaries, "ReLU", "cpu")
    # differences 1 and 3: 2 with a standard error of 1, so the interval is 2 -+ 12.71
    assert rows[1] == ["ReLU", "91.00 ± 1.00 (2)", "baseline", "1.00x", "1.25x", "1.50 MB"]
    assert rows[2] == [
        "GoLU",
        "93.00 ± 2.00 (2)",
        "+2.00 [-10.71, +14.71]",
        "1.00x [0.90, 1.10]",
        "1.25x [1.20, 1.30]",
        "1.50 MB",
    ]
    assert summaries[1]["best_val_accuracy"]["mean"] == 94
    assert summaries[1]["val_loss"]["mean"] == 1.0


def test_diverged_runs_are_counted_and_left_out_of_means_and_pairs():
    runs = [*RUNS[:2], a_run("GoLU", 0, []), a_run("GoLU", 1, [80, 95]), a_run("Mish", 0, []), a_run("Mish", 1, [])]
    summaries = report.summarise(runs, {"ReLU": COST, "GoLU": COST, "Mish": COST}, "ReLU")
    rows = report.table_rows(summaries, "ReLU", "cpu")
    assert rows[2][1:3] == ["95.00 ± n/a (1), 1 diverged", "+3.00 [n/a]"]
    assert rows[3][1:3] == ["2 diverged", "n/a"]


@pytest.mark.parametrize("runs", [RUNS, [a_run("ReLU", 0, []), a_run("GoLU", 0, [80])], [a_run("ReLU", 0, [])]])
def test_the_figure_is_drawn_whatever_there_is(runs, tmp_path):
    for path in draw(tmp_path / "figure", RECIPE, ["ReLU", "GoLU"], runs):
        assert path.stat().st_size > 5000


def test_the_figure_shows_the_right_numbers():
    from matplotlib.figure import Figure

    from tasks.compare.figure import _final_accuracy, _learning_curves

    curves, final = Figure().subplots(1, 2)
    converged = {"ReLU": RUNS[:2], "GoLU": RUNS[2:]}
    _learning_curves(curves, converged)
    assert [list(line.get_ydata()) for line in curves.get_lines()] == [[2.0, 1.0]] * 2
    _final_accuracy(final, converged)
    (_, _, (bar,)) = final.containers[1]
    assert [tuple(point) for point in bar.get_segments()[0]] == [(1, 91), (1, 95)]
    assert [text.get_text() for text in final.texts] == ["91.00", "93.00"]


# The program


def test_end_to_end(compare, tmp_path):
    output = tmp_path / "new" / "results"
    code, out, err = compare(*SMALL, *TWO, "--output", output)
    assert (code, err) == (0, "")
    results = json.loads((output / "results.json").read_text())
    assert results["configuration"] == asdict(RECIPE)
    assert results["environment"]["torch"] == torch.__version__
    assert [(run["activation"], run["seed"]) for run in results["runs"]] == [
        (a, s) for a in ("ReLU", "GoLU") for s in (0, 1)
    ]
    finals = [run["final"]["val_accuracy"] for run in results["runs"]]
    golu = results["summary"][1]
    assert golu["val_accuracy"]["mean"] == pytest.approx((finals[2] + finals[3]) / 2)
    assert golu["difference"]["mean"] == pytest.approx((finals[2] + finals[3] - finals[0] - finals[1]) / 2)
    assert f"{golu['val_accuracy']['mean']:.2f} ± " in out
    rows = list(csv.DictReader((output / "runs.csv").open()))
    assert [float(row["final_val_accuracy"]) for row in rows] == finals
    summary = list(csv.DictReader((output / "summary.csv").open()))
    assert float(summary[1]["val_accuracy"]) == golu["val_accuracy"]["mean"]
    assert (output / "table.md").read_text().count("\n| ") == 3
    assert (output / "comparison.png").stat().st_size > 5000
    assert (output / "comparison.svg").read_text().startswith("<?xml")
    assert "epochs=2" in out and str(output) in out
    assert not list(output.rglob("*.tmp"))


def runs_in(output):
    return {path.name: numbers(json.loads(path.read_text())) for path in (output / "runs").glob("*.json")}


def test_stopped_and_started_again_ends_with_the_same_numbers(compare, tmp_path, monkeypatch):
    assert compare(*SMALL, *TWO, "--output", tmp_path / "whole")[0] == 0
    calls = []

    def stopped_in_the_third_run(*arguments, after_step):
        calls.append(arguments)

        def step():
            if len(calls) == 3:
                raise KeyboardInterrupt
            after_step()

        return train(*arguments, after_step=step)

    part = tmp_path / "part"
    with monkeypatch.context() as patch:
        patch.setattr(program, "train", stopped_in_the_third_run)
        code, _, err = compare(*SMALL, *TWO, "--output", part)
    assert code == 130
    assert err == f"stopped: 2 finished runs are in {part}, the same command goes on from there\n"
    assert len(runs_in(part)) == 2

    code, out, err = compare(*SMALL, *TWO, "--output", part)
    assert (code, err) == (0, "")
    assert "2 of 4 runs are stored already, 2 to go" in out
    assert runs_in(part) == runs_in(tmp_path / "whole")
    timed = ("rounds", "relative", "step_ms")
    summaries = [json.loads((each / "results.json").read_text())["summary"] for each in (part, tmp_path / "whole")]
    for a, b in zip(*summaries, strict=True):
        assert {name: a[name] for name in a if not any(t in name for t in timed)} == {
            name: b[name] for name in b if not any(t in name for t in timed)
        }


def test_seeds_and_activations_may_be_added(compare, tmp_path):
    short = ("--epochs", 1, *SMALL[2:-2], "--output", tmp_path)
    compare(*short, "--activations", "ReLU", "--seeds", 1)
    before = (tmp_path / "runs" / "ReLU_seed0.json").read_bytes()
    code, out, _ = compare(*short, "--activations", "Tanh", "ReLU", "--seeds", 2, "--baseline", "Tanh")
    assert code == 0
    assert "1 of 4 runs are stored already" in out and "difference to Tanh" in out
    assert (tmp_path / "runs" / "ReLU_seed0.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--epochs", 3), "epochs=2, not epochs=3"),
        (("--lr", 0.1), "lr=0.004, not lr=0.1"),
        (("--limit_val", 50), "limit_val=100, not limit_val=50"),
        (("--model", "cnn"), "model=mlp, not model=cnn"),
        (("--threads", 2), "threads=1, not threads=2"),
    ],
)
def test_other_settings_do_not_mix(change, named, compare, tmp_path, images):
    (tmp_path / "runs").mkdir()
    stored = tmp_path / "runs" / "ReLU_seed0.json"
    stored.write_text(json.dumps({"configuration": asdict(RECIPE)} | train(RECIPE, images, "ReLU", 0)))
    before = stored.read_bytes()
    code, _, err = compare(*SMALL, *TWO, *change, "--output", tmp_path)
    assert code == 2
    assert named in err and "another --output" in err and err.count("\n") == 1
    assert stored.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"configuration": 1}', '"text"', "null"])
def test_a_corrupt_run_is_named(content, compare, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "ReLU_seed0.json").write_text(content)
    code, _, err = compare(*SMALL, *TWO, "--output", tmp_path)
    assert code == 2
    assert "ReLU_seed0.json" in err and "delete it" in err and err.count("\n") == 1


def test_a_run_that_diverges_is_reported(compare, tmp_path):
    code, out, err = compare(*SMALL, *TWO, "--lr", "1e30", "--output", tmp_path)
    assert (code, err) == (0, "")
    assert "diverged in epoch 1" in out and "2 diverged" in out
    assert json.loads((tmp_path / "results.json").read_text())["runs"][0]["final"] is None
    assert "[100%" in out
    assert "0 to go" in compare(*SMALL, *TWO, "--lr", "1e30", "--output", tmp_path)[1]


def test_one_seed_and_one_activation(compare, tmp_path):
    code, out, _ = compare(*SMALL, "--seeds", 1, "--activations", "GoLU", "--output", tmp_path)
    assert code == 0
    assert "± n/a (1)" in out and "difference to GoLU" in out


BAD = [
    (["--dataset", "digit"], "did you mean digits?"),
    (["--model", "resnet"], "choose from mlp, cnn"),
    (["--activations", "ReLU", "Golu"], "did you mean GoLU?"),
    (["--activations", "ReLU", "ReLU"], "more than once"),
    (["--activations"], "expected at least one argument"),
    (["--baseline", "Tanh"], "not among the activations"),
    (["--seeds", "0"], "--seeds"),
    (["--epochs", "0"], "--epochs"),
    (["--epochs", "many"], "--epochs"),
    (["--batch-size", "-3"], "--batch-size"),
    (["--batch-size", "65"], "more than the 64 training images"),
    (["--lr", "0"], "--lr"),
    (["--lr", "nan"], "--lr"),
    (["--weight-decay", "-0.1"], "--weight-decay"),
    (["--limit-train", "9"], "--limit-train 9 is out of range"),
    (["--limit-val", "5000"], "to 1000 (all)"),
    (["--threads", "0"], "--threads"),
    (["--device", "tpu"], "unknown device"),
    (["--epoch", "3"], "unrecognized arguments: --epoch"),
    (["--unknown"], "unrecognized arguments: --unknown"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_a_mistake_is_one_line(arguments, said, compare, tmp_path):
    code, out, err = compare(*SMALL, "--output", tmp_path / "results", *arguments)
    assert (code, out) == (2, "")
    assert said in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda(compare, tmp_path):
    code, _, err = compare("--device", "cuda", "--output", tmp_path)
    assert code == 2
    assert "no CUDA device" in err and err.count("\n") == 1


def test_an_output_that_cannot_be_written(compare, tmp_path):
    (tmp_path / "file").write_text("precious")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        code, _, err = compare(*SMALL, "--output", output)
        assert code == 2
        assert str(output) in err and err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "precious"


def test_idx_files_reach_the_model(compare, tmp_path, write_mnist):
    write_mnist(tmp_path / "MNIST" / "raw")
    flags = ("--dataset", "mnist", "--epochs", 1, "--batch_size", 30, "--seeds", 1, "--activations", "GoLU")
    code, out, err = compare(*flags, "--data-dir", tmp_path, "--output", tmp_path / "results")
    assert (code, err) == (0, "")
    assert "60 training and 30 validation images" in out


def test_as_a_command():
    """Its own process: help is there, a mistake shows no traceback, and nothing heavy is imported for it."""
    root = Path(__file__).parents[2]
    run = [sys.executable, "-X", "importtime", "-m", "tasks.compare", "--lr", "0"]
    ended = subprocess.run(run, cwd=root, capture_output=True, text=True)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert [line for line in lines if not line.startswith("import time:")] == [
        "error: argument --lr: must be a number above 0, not '0' (--help explains every flag)"
    ]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "torch" in imported
    assert not imported & {"torchvision", "sklearn", "matplotlib", "scipy"}


def test_help_explains_every_flag(compare):
    code, out, _ = compare("--help")
    assert code == 0
    flags = [line for line in out.splitlines() if line.startswith("  --")]
    assert len(flags) == 15
    assert out.count("(default") == 15
    assert "python -m tasks.compare " in out
