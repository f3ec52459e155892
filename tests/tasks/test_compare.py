"""python -m tasks.compare."""

import csv
import json
import math
import random
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tasks.compare import __main__ as program
from tasks.compare import report
from tasks.compare.cost import measure_costs
from tasks.compare.figure import draw
from tasks.compare.images import ACCURACY, ImageProblem
from tasks.compare.models import MODELS
from tasks.compare.recipe import RECIPES, TEXTS
from tasks.compare.text import PERPLEXITY, TOKEN_ACCURACY, TextProblem, open_text
from tasks.compare.training import train
from tasks.gpt.config import RECIPES as GPT_RECIPES
from tasks.gpt.prepare_text import prepare_text
from tasks.gpt.tokens import open_tokens
from tasks.gpt.windows import Windows
from workbench.training.launch import launched
from workbench.training.memory import kept_for_backward
from workbench.vision.datasets import load_images
from workbench.vision.in_memory import InMemory

SMALL = ("--epochs", 2, "--batch-size", 32, "--limit-train", 64, "--limit-val", 100, "--model", "mlp", "--seeds", 2)
TWO = ("--activations", "ReLU", "GoLU")
RECIPE = replace(RECIPES["digits"], epochs=2, model="mlp", limit_train=64, limit_val=100)
PARAMETER_FREE = ["ReLU", "GELU", "Swish", "Mish", "GoLU", "Tanh"]

MICRO = replace(
    GPT_RECIPES["tiny"], n_layer=2, n_head=2, n_embd=16, block_size=8, batch_size=6, warmup_iters=3, eval_iters=20
)
TEXT = replace(RECIPES["pydoc_topics"], dataset="mine", model="micro", epochs=2, batch_size=4, lr=1e-2, threads=1)
SMALL_TEXT = ("--epochs", 1, "--batch-size", 4, "--limit-train", 200, "--limit-val", 50, "--model", "micro", *TWO)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", None, limit_train=64, limit_val=100)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A file with the names of activations in random order."""
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text(" ".join(random.Random(0).choices(PARAMETER_FREE, k=600)))
    return path


@pytest.fixture(scope="module")
def tokens(words):
    prepare_text(words.parent / "mine", [words], "characters", val_fraction=0.2)
    return open_tokens(words.parent / "mine")


@pytest.fixture
def micro(monkeypatch):
    """A GPT recipe of this name for the time of a test."""
    monkeypatch.setitem(GPT_RECIPES, "micro", MICRO)


@pytest.fixture
def text(micro, tokens):
    """Makes the problem of the recipe TEXT with changes."""
    return lambda **changes: TextProblem(replace(TEXT, **changes), tokens)


@pytest.fixture
def accelerator():
    with launched("cpu") as accelerator:
        yield accelerator


def numbers(run):
    """All of a run but its times."""
    times = ("seconds", "images_per_second", "tokens_per_second")
    return [{name: value for name, value in epoch.items() if name not in times} for epoch in run["epochs"]]


# A run


@pytest.mark.parametrize("model", MODELS)
def test_initial_weights_are_the_same_for_every_activation(model, images):
    problem = ImageProblem(replace(RECIPE, model=model), images)
    states = [problem.initial_model(each, seed=1).state_dict() for each in PARAMETER_FREE]
    other = problem.initial_model("ReLU", seed=2).state_dict()
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[name], states[0][name]) for name in state)
    assert any(not torch.equal(other[name], states[0][name]) for name in other)


def test_an_activation_with_parameters_leaves_the_other_weights_alone(images):
    problem = ImageProblem(RECIPE, images)
    relu, prelu = (
        [each for each in problem.initial_model(name, 1).parameters() if each.numel() > 1] for name in ("ReLU", "PReLU")
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

        monkeypatch.setattr("tasks.compare.images.InMemory", Recorded)
        train(ImageProblem(RECIPE, images), "cpu", activation, seed=0)
    assert len(seen["ReLU"]) == len(seen["GoLU"]) == 2 * 2
    for (x, y), (other_x, other_y) in zip(seen["ReLU"], seen["GoLU"], strict=True):
        assert torch.equal(x, other_x) and torch.equal(y, other_y)
    assert not torch.equal(seen["ReLU"][0][0], seen["ReLU"][2][0])


def test_a_run_learns_and_is_the_same_each_time(images):
    problem = ImageProblem(replace(RECIPE, epochs=6), images)
    first, second = (train(problem, "cpu", "GoLU", seed=0) for _ in range(2))
    assert numbers(first) == numbers(second)
    assert first["final"]["val_accuracy"] > 50
    assert first["best"]["val_accuracy"] == max(each["val_accuracy"] for each in first["epochs"])
    assert numbers(first) != numbers(train(problem, "cpu", "GoLU", seed=1))


@pytest.mark.parametrize("augment", [False, True])
def test_the_cnn_learns(augment, images):
    problem = ImageProblem(replace(RECIPE, model="cnn", epochs=6, batch_size=16, augment=augment), images)
    losses = [epoch["train_loss"] for epoch in train(problem, "cpu", "GoLU", seed=0)["epochs"]]
    assert losses[-1] < losses[0] - 0.05


# A run on text


@pytest.mark.parametrize("model", ["micro", "tiny"])
def test_initial_weights_of_a_gpt_are_the_same_for_every_activation(model, text, accelerator):
    problem = text(model=model)
    states = [problem.initial_model(each, seed=1).state_dict() for each in PARAMETER_FREE]
    states.append(problem.experiment("GoLU", 1, accelerator).model.state_dict())
    other = problem.initial_model("ReLU", seed=2).state_dict()
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[name], states[0][name]) for name in state)
    assert any(not torch.equal(other[name], states[0][name]) for name in other)


def test_every_activation_sees_the_same_sequences(text, monkeypatch):
    """Whatever random numbers are drawn between two steps."""
    seen = {}
    for activation, seed in (("ReLU", 0), ("GoLU", 0), ("GoLU", 1)):
        steps = seen[activation, seed] = []

        class Recorded(Windows):
            def training(self, *arguments, steps=steps):
                for batches in super().training(*arguments):
                    steps.extend(torch.stack(each) for each in batches)
                    yield batches

        monkeypatch.setattr("tasks.gpt.experiment.Windows", Recorded)
        train(text(limit_train=100), "cpu", activation, seed, after_step=lambda: torch.rand(len(seen)))
    relu, golu, other = map(torch.stack, seen.values())
    assert golu.shape == (2 * 3, 2, 4, 8)  # epochs x steps, tokens and targets, sequences, context
    assert torch.equal(relu, golu)
    assert not torch.equal(other, golu)
    assert len({each.numpy().tobytes() for each in golu}) == 6
    assert torch.equal(golu[:, 0, :, 1:], golu[:, 1, :, :-1])


def test_a_run_on_text_learns_and_is_the_same_each_time(text):
    problem = text(epochs=4, limit_train=1000)
    first, second = (train(problem, "cpu", "GoLU", seed=0) for _ in range(2))
    assert numbers(first) == numbers(second)
    assert numbers(first) != numbers(train(problem, "cpu", "GoLU", seed=1))
    assert numbers(first) != numbers(train(problem, "cpu", "ReLU", seed=0))
    assert [each["epoch"] for each in first["epochs"]] == [1, 2, 3, 4]
    assert first["final"]["val_loss"] < 0.6 < 1.2 < first["epochs"][0]["train_loss"] < math.log(17)
    assert first["final"]["val_token_accuracy"] > 70
    for epoch in first["epochs"]:
        assert epoch["val_perplexity"] == pytest.approx(math.exp(epoch["val_loss"]), rel=1e-12)


def test_the_best_epoch_has_the_lowest_loss(micro, tokens):
    """The longer it trains on a text of one character, the less it expects another one."""
    problem = TextProblem(replace(TEXT, epochs=4), replace(tokens, train=np.zeros(200, np.uint16)))
    run = train(problem, "cpu", "GoLU", seed=0)
    losses = [each["val_loss"] for each in run["epochs"]]
    assert losses == sorted(losses) and losses[0] < losses[-1] - 0.1
    assert run["best"] == run["epochs"][0]
    assert run["final"] == run["epochs"][-1]


def test_a_run_on_text_that_diverges_ends(text):
    run = train(text(lr=1e30, limit_train=200), "cpu", "GoLU", seed=0)
    assert (run["diverged_at"], run["final"], run["best"], run["epochs"]) == (1, None, None, [])


@pytest.mark.parametrize(("batch_size", "at_once"), [(4, 4), (6, 6), (12, 6), (10, 5)])
def test_a_step_has_the_sequences_of_the_recipe(batch_size, at_once, text, accelerator):
    problem = text(batch_size=batch_size, epochs=3, limit_train=1000)
    experiment = problem.experiment("GoLU", 0, accelerator)
    per_epoch = 1000 // (batch_size * 8)
    steps = list(experiment.batches(0, 0))
    assert len(steps) == experiment.steps_per_epoch == per_epoch
    assert (experiment.epochs, experiment.axis) == (3, "epoch")
    assert experiment.total_steps == problem.steps == 3 * per_epoch
    assert experiment.samples_per_step == batch_size * 8
    for batches in steps:
        assert [each.shape for batch in batches for each in batch] == [(at_once, 8)] * (2 * batch_size // at_once)
    x, y = problem.a_batch()
    assert x.shape == y.shape == (at_once, 8)
    assert torch.equal(x[:, 1:], y[:, :-1])


def test_learning_rate_and_weight_decay_reach_the_training_of_text(text, accelerator):
    problem = text(lr=0.04, weight_decay=0.3, epochs=2, limit_train=8 * 4 * 5)
    experiment = problem.experiment("GoLU", 0, accelerator)
    cosine = [0.004 + 0.036 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert experiment.rates == pytest.approx([0.04 / 3, 0.08 / 3, *cosine])  # a fifth of ten steps warms up
    run = train(problem, "cpu", "GoLU", seed=0)
    assert [each["lr"] for each in run["epochs"]] == [experiment.rates[4], experiment.rates[9]]
    for optimizer in (experiment.optimizer, problem.make_optimizer(problem.initial_model("GoLU", 0))):
        decays = {(group["weight_decay"], p.ndim > 1) for group in optimizer.param_groups for p in group["params"]}
        assert decays == {(0.3, True), (0.0, False)}
        assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.99)}
    assert (experiment.clip_norm, experiment.autocast, experiment.judge) == (1.0, None, "val_loss")


def test_limits_cut_the_text(micro, tokens, accelerator):
    """Each token is its own place in the text."""
    places = np.arange(1000, dtype=np.uint16)
    numbered = replace(tokens, train=places, val=places, vocabulary_size=1000)
    problem = TextProblem(replace(TEXT, epochs=1, limit_train=300, limit_val=100), numbered)
    assert problem.size == "300 training and 100 validation tokens"
    assert (problem.configuration["train_tokens"], problem.configuration["val_tokens"]) == (300, 100)
    experiment = problem.experiment("GoLU", 0, accelerator)
    targets = torch.cat([batch[1] for step in experiment.batches(0, 0) for batch in step])
    assert 250 < targets.max() < 300
    evaluated = []

    def uniform(tokens):
        evaluated.append(tokens)
        return torch.zeros(*tokens.shape, 1000)

    assert experiment.evaluate(uniform)["val_perplexity"] == pytest.approx(1000)
    evaluated = torch.cat(evaluated)
    assert evaluated.shape == (12, 8)  # as many as do not overlap
    assert (evaluated.min(), evaluated.max()) == (0, 98)


@pytest.mark.parametrize("recipe", TEXTS.values(), ids=TEXTS)
def test_the_recipes_of_texts_are_their_gpt_recipes(recipe):
    gpt = GPT_RECIPES[recipe.model]
    expected = (gpt.learning_rate, gpt.weight_decay, gpt.step_sequences)
    assert (recipe.lr, recipe.weight_decay, recipe.batch_size) == expected


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
    costs = measure_costs(ImageProblem(RECIPE, images), ["GoLU", "ReLU"], "ReLU", seconds=0.0)
    assert list(costs) == ["GoLU", "ReLU"]
    assert costs["ReLU"]["relative_train_time"] == costs["ReLU"]["relative_inference_time"] == 1
    assert costs["GoLU"]["relative_train_time"] > 0
    # two hidden layers of 256 whose LayerNorm output ReLU need not keep
    assert costs["GoLU"]["memory_bytes"] - costs["ReLU"]["memory_bytes"] == 2 * 32 * 256 * 4


@pytest.mark.parametrize(("batch_size", "at_once"), [(4, 4), (12, 6)])
def test_costs_on_text_are_those_of_a_batch_that_goes_through_the_model_at_once(batch_size, at_once, text):
    costs = measure_costs(text(batch_size=batch_size), ["GoLU", "GELU", "ReLU"], "ReLU", seconds=0.0)
    assert list(costs) == ["GoLU", "GELU", "ReLU"]
    assert costs["ReLU"]["relative_train_time"] == costs["ReLU"]["relative_inference_time"] == 1
    assert costs["GoLU"]["relative_inference_time"] > 0
    # two layers; what fc gives, of 4 x 16 at each of the 8 tokens of a sequence, ReLU need not keep
    extra = 2 * at_once * 8 * 4 * 16 * 4
    for activation in ("GoLU", "GELU"):
        assert costs[activation]["memory_bytes"] - costs["ReLU"]["memory_bytes"] == extra


def test_costs_on_the_embedded_text_in_closed_form(text):
    costs = measure_costs(text(model="tiny", limit_train=300), ["ReLU", "GoLU"], "ReLU", seconds=0.0)
    assert costs["GoLU"]["memory_bytes"] - costs["ReLU"]["memory_bytes"] == 4 * (4 * 64) * (4 * 128) * 4


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
    summaries = report.summarise(RUNS, (ACCURACY,), {"ReLU": COST, "GoLU": COST}, "ReLU")
    rows = report.table_rows(summaries, (ACCURACY,), "ReLU", "cpu")
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
    summaries = report.summarise(runs, (ACCURACY,), {"ReLU": COST, "GoLU": COST, "Mish": COST}, "ReLU")
    rows = report.table_rows(summaries, (ACCURACY,), "ReLU", "cpu")
    assert rows[2][1:3] == ["95.00 ± n/a (1), 1 diverged", "+3.00 [n/a]"]
    assert rows[3][1:3] == ["2 diverged", "n/a"]


def a_text_run(activation, seed, perplexities):
    epochs = [
        {
            "epoch": i + 1,
            "train_loss": 1.0,
            "val_loss": math.log(each),
            "val_perplexity": each,
            "val_token_accuracy": 100 / each,
            "seconds": 0.1,
        }
        for i, each in enumerate(perplexities)
    ]
    result = {"activation": activation, "seed": seed, "diverged_at": None, "seconds": 1.0, "epochs": epochs}
    return result | {"final": epochs[-1], "best": min(epochs, key=lambda each: each["val_loss"])}


TEXT_RUNS = [
    a_text_run("ReLU", 0, [12, 10]),
    a_text_run("ReLU", 1, [20, 12.5]),
    a_text_run("GoLU", 0, [7, 8]),
    a_text_run("GoLU", 1, [16, 12.5]),
]


def test_the_table_of_a_text_has_the_right_numbers():
    metrics = (PERPLEXITY, TOKEN_ACCURACY)
    assert TextProblem.metrics == metrics
    summaries = report.summarise(TEXT_RUNS, metrics, {"ReLU": COST, "GoLU": COST}, "ReLU")
    header, relu, golu = report.table_rows(summaries, metrics, "ReLU", "cpu")
    assert header[:4] == ["activation", "perplexity", "difference to ReLU", "token accuracy (%)"]
    assert header[4:] == ["train time", "inference time", "kept for backward"]
    assert relu == ["ReLU", "11.25 ± 1.25 (2)", "baseline", "9.00 ± 1.00 (2)", "1.00x", "1.25x", "1.50 MB"]
    # differences -2 and 0: -1 with a standard error of 1
    assert golu[:4] == ["GoLU", "10.25 ± 2.25 (2)", "-1.00 [-13.71, +11.71]", "10.25 ± 2.25 (2)"]
    assert summaries[1]["best_val_perplexity"]["mean"] == (7 + 12.5) / 2
    assert summaries[1]["best_val_token_accuracy"]["mean"] == pytest.approx((100 / 7 + 8) / 2)
    assert summaries[1]["val_loss"]["mean"] == pytest.approx((math.log(8) + math.log(12.5)) / 2)
    judge, accuracy, difference = report.legend(metrics, "ReLU", "cpu", 7)[:3]
    assert judge.startswith("perplexity (less is better): ") and accuracy.startswith("token accuracy: ")
    assert difference.startswith("difference to ReLU: of the perplexity, paired")
    assert report.outcome(TEXT_RUNS[2], PERPLEXITY) == "perplexity 8.00 in 1.0 s"


@pytest.mark.parametrize("runs", [RUNS, [a_run("ReLU", 0, []), a_run("GoLU", 0, [80])], [a_run("ReLU", 0, [])]])
def test_the_figure_is_drawn_whatever_there_is(runs, tmp_path):
    for path in draw(tmp_path / "figure", RECIPE, ACCURACY, ["ReLU", "GoLU"], runs):
        assert path.stat().st_size > 5000


def test_the_figure_shows_the_right_numbers():
    from matplotlib.figure import Figure

    from tasks.compare.figure import _final, _learning_curves

    curves, final = Figure().subplots(1, 2)
    converged = {"ReLU": RUNS[:2], "GoLU": RUNS[2:]}
    _learning_curves(curves, converged)
    assert [list(line.get_ydata()) for line in curves.get_lines()] == [[2.0, 1.0]] * 2
    _final(final, ACCURACY, converged)
    (_, _, (bar,)) = final.containers[1]
    assert [tuple(point) for point in bar.get_segments()[0]] == [(1, 91), (1, 95)]
    assert [text.get_text() for text in final.texts] == ["91.00", "93.00"]


def test_the_figure_of_a_text_shows_the_perplexity():
    from matplotlib.figure import Figure

    from tasks.compare.figure import _final

    axes = Figure().subplots()
    _final(axes, PERPLEXITY, {"ReLU": TEXT_RUNS[:2], "GoLU": TEXT_RUNS[2:]})
    assert axes.get_ylabel() == "validation perplexity"
    assert [text.get_text() for text in axes.texts] == ["11.25", "10.25"]
    assert [tuple(point) for point in axes.containers[1][2][0].get_segments()[0]] == [(1, 8), (1, 12.5)]


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
    run = train(ImageProblem(RECIPE, images), "cpu", "ReLU", 0)
    stored.write_text(json.dumps({"configuration": asdict(RECIPE)} | run))
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


def test_end_to_end_on_the_embedded_text(compare, tmp_path):
    output = tmp_path / "results"
    sizes = ("--epochs", 1, "--limit-train", 3000, "--limit-val", 500, "--batch-size", 4, "--seeds", 2)
    code, out, err = compare("--dataset", "pydoc_topics", *sizes, *TWO, "--data-dir", tmp_path, "--output", output)
    assert (code, err) == (0, "")
    tokens = open_tokens(tmp_path / "pydoc_topics")
    assert len(tokens.train) > 100_000 and len(tokens.val) > 10_000
    recipe = replace(RECIPES["pydoc_topics"], epochs=1, batch_size=4, limit_train=3000, limit_val=500, threads=1)
    expected = asdict(recipe) | tokens.identity | {"train_tokens": 3000, "val_tokens": 500}
    assert expected["vocabulary"].startswith("bpe-") and expected["vocabulary_size"] == 1024
    results = json.loads((output / "results.json").read_text())
    assert expected.items() <= results["configuration"].items()
    assert {"n_layer": 4, "warmup_iters": 2, "beta2": 0.99}.items() <= results["configuration"].items()
    stored = [json.loads(path.read_text()) for path in sorted((output / "runs").iterdir())]
    assert [(run["activation"], run["seed"]) for run in stored] == [(a, s) for a in ("GoLU", "ReLU") for s in (0, 1)]
    assert all(run["configuration"] == results["configuration"] for run in stored)
    assert stored[2:] + stored[:2] == results["runs"]
    finals = [run["final"]["val_perplexity"] for run in results["runs"]]
    assert all(100 < each < 1024 for each in finals)
    golu = results["summary"][1]
    assert golu["val_perplexity"]["mean"] == pytest.approx((finals[2] + finals[3]) / 2)
    assert golu["difference"]["mean"] == pytest.approx((finals[2] + finals[3] - finals[0] - finals[1]) / 2)
    assert f"{golu['val_perplexity']['mean']:.2f} ± " in out
    rows = list(csv.DictReader((output / "runs.csv").open()))
    assert [float(row["final_val_perplexity"]) for row in rows] == finals
    assert not [name for name in rows[0] if "per_second" in name]
    summary = list(csv.DictReader((output / "summary.csv").open()))
    assert float(summary[1]["val_token_accuracy"]) == golu["val_token_accuracy"]["mean"]
    table = (output / "table.md").read_text()
    assert table.startswith("| activation | perplexity | difference to ReLU | token accuracy (%) | ")
    assert table.count("\n| ") == 3 and "less is better" in table
    assert (output / "comparison.png").stat().st_size > 5000
    assert "validation perplexity" in (output / "comparison.svg").read_text()
    assert "3000 training and 500 validation tokens" in out
    assert "GoLU, seed 1: perplexity " in out


def test_a_prepared_text_is_named_by_its_folder(compare, micro, tokens, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tokens.folder.parent
    code, out, err = compare("--dataset", "mine", *SMALL_TEXT, "--seeds", 1, "--data-dir", data)
    assert (code, err) == (0, "")
    results = json.loads((tmp_path / "results" / "compare" / "mine" / "results.json").read_text())
    sizes = {"epochs": 1, "batch_size": 4, "limit_train": 200, "limit_val": 50, "model": "micro", "threads": 1}
    recipe = asdict(RECIPES["pydoc_topics"]) | sizes | {"dataset": "mine"}
    expected = recipe | tokens.identity | {"train_tokens": 200, "val_tokens": 50}
    assert expected.items() <= results["configuration"].items()
    assert "± n/a (1)" in out and "perplexity" in out
    assert len(results["runs"][0]["epochs"]) == 1


def test_a_text_that_is_there_is_not_prepared_again(micro, words, tmp_path):
    prepare_text(tmp_path / "pydoc_topics", [words], "characters")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "pydoc_topics").iterdir()}
    problem = open_text(replace(TEXT, dataset="pydoc_topics"), tmp_path)
    assert problem.configuration["vocabulary"].startswith("characters-")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "pydoc_topics").iterdir()} == before


def test_texts_in_other_vocabularies_do_not_mix(compare, micro, words, tokens, tmp_path):
    folder = tmp_path / "mine"
    prepare_text(folder, [words], "bpe", 256, val_fraction=0.2)
    other = open_tokens(folder).identity
    assert other["train_tokens"] == tokens.identity["train_tokens"]
    flags = ("--dataset", "mine", *SMALL_TEXT, "--seeds", 1, "--output", tmp_path / "results")
    assert compare(*flags, "--data-dir", tmp_path)[0] == 0
    before = (tmp_path / "results" / "results.json").read_bytes()
    code, out, err = compare(*flags, "--data-dir", tokens.folder.parent)
    assert (code, out) == (2, "")
    assert f"vocabulary={other['vocabulary']}, not vocabulary={tokens.identity['vocabulary']}" in err
    assert "another --output" in err and err.startswith("error: ") and err.count("\n") == 1
    assert (tmp_path / "results" / "results.json").read_bytes() == before


def test_texts_of_other_content_do_not_mix(compare, micro, words, tokens, tmp_path):
    again = tmp_path / "words.txt"
    again.write_text(words.read_text()[::-1])
    prepare_text(tmp_path / "mine", [again], "characters", val_fraction=0.2)
    output = tmp_path / "results"
    (output / "runs").mkdir(parents=True)
    sizes = {"epochs": 1, "limit_train": 200, "limit_val": 50, "lr": RECIPES["pydoc_topics"].lr}
    problem = TextProblem(replace(TEXT, **sizes), tokens)
    run = {"configuration": problem.configuration} | train(problem, "cpu", "ReLU", 0)
    (output / "runs" / "ReLU_seed0.json").write_text(json.dumps(run))
    flags = ("--dataset", "mine", *SMALL_TEXT, "--output", output)
    code, _, err = compare(*flags, "--data-dir", tmp_path)
    assert code == 2
    assert f"with train_crc32={tokens.identity['train_crc32']}, not train_crc32=" in err and err.count("\n") == 1


TEXT_BAD = [
    (["--dataset", "pydoc_topic"], "did you mean pydoc_topics?"),
    (["--dataset", "nowhere"], "nor is it a text that tasks.gpt.prepare_text has written to"),
    (["--dataset", "digits", "--model", "tiny"], "--model tiny is not for digits: take one of mlp, cnn"),
    (
        ["--dataset", "pydoc_topics", "--model", "resnet20"],
        "is not for pydoc_topics: take one of baby_gpt, gpt2s, tiny",
    ),
    (["--dataset", "mine", "--model", "cnn"], "is not for mine: take one of baby_gpt, gpt2s, tiny"),
    (["--dataset", "tiny_stories"], "python -m tasks.gpt.prepare_tiny_stories makes it"),
    (["--dataset", "open_web_text"], "python -m tasks.gpt.prepare_owt makes it"),
    (["--dataset", "mine", "--limit-train", "31"], "a step takes 4 x 8 tokens, more than the 31 of the training text"),
    (["--dataset", "mine", "--batch-size", "26"], "a step takes 26 x 8 tokens, more than the 200"),
]


@pytest.mark.parametrize(("arguments", "said"), TEXT_BAD)
def test_a_mistake_on_text_is_one_line(arguments, said, compare, micro, tokens, tmp_path):
    output = tmp_path / "results"
    code, out, err = compare(*SMALL_TEXT, "--data-dir", tokens.folder.parent, "--output", output, *arguments)
    assert (code, out) == (2, "")
    assert said in err and err.startswith("error: ") and err.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_text_that_is_too_short_for_a_context_is_one_line(split, compare, micro, tokens, tmp_path):
    flags = ("--dataset", "mine", *SMALL_TEXT, "--batch-size", 1, f"--limit-{split}", 8)
    code, out, err = compare(*flags, "--data-dir", tokens.folder.parent, "--output", tmp_path / "results")
    assert (code, out) == (2, "") and not (tmp_path / "results").exists()
    assert f"--limit-{split} 8 is out of range: it takes 9 (a context and the token after it) to " in err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


def test_a_missing_split_is_named(compare, micro, tokens, tmp_path):
    shutil.copytree(tokens.folder, tmp_path / "mine")
    (tmp_path / "mine" / "val.bin").unlink()
    code, out, err = compare(*SMALL_TEXT, "--dataset", "mine", "--data-dir", tmp_path, "--output", tmp_path / "results")
    assert (code, out) == (2, "")
    assert err == f"error: {tmp_path / 'mine' / 'val.bin'} is missing: python -m tasks.gpt.prepare_text makes it\n"
    assert not (tmp_path / "results").exists()


BAD = [
    (["--dataset", "digit"], "did you mean digits?"),
    (["--model", "resnet"], "choose from mlp, cnn"),
    (["--model", "tinny"], "did you mean tiny?"),
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
    assert not imported & {"accelerate", "tokenizers", "tiktoken", "datasets", "pydoc_data.topics"}


def test_help_explains_every_flag(compare):
    code, out, _ = compare("--help")
    assert code == 0
    flags = [line for line in out.splitlines() if line.startswith("  --")]
    assert len(flags) == 15
    assert out.count("(default") == 15
    assert "python -m tasks.compare " in out
    words = " ".join(out.split())
    assert "mlp_4; for text one of baby_gpt, gpt2s, tiny (default: digits cnn, " in words
    assert "pydoc_topics 16, tiny_stories 640, open_web_text 480)" in words
    assert "validation images or tokens (default: all)" in words


@pytest.mark.parametrize("limit", [32, 33, 40])
def test_a_text_of_one_step_is_enough_for_the_costs(limit, text):
    x, y = text(batch_size=4, limit_train=limit).a_batch()
    assert x.shape == y.shape == (4, 8)
    assert torch.equal(x[:, 1:], y[:, :-1])


def test_a_perplexity_beyond_measure_is_told_in_powers_of_ten(text):
    assert [report.number(each) for each in (34.0, 2.7e43)] == ["34.00", "2.7e+43"]
    assert [report.number(each, "+") for each in (0.5, -2e6)] == ["+0.50", "-2e+06"]


def test_as_many_sequences_are_evaluated_whatever_divides_the_batch(micro, tokens, accelerator):
    losses = []
    for batch_size in (1, 3, 5):
        problem = TextProblem(replace(TEXT, batch_size=batch_size, limit_train=200, epochs=1), tokens)
        model = problem.initial_model("GoLU", 0)
        losses.append(problem.experiment("GoLU", 0, accelerator).evaluate(model)["val_loss"])
    assert losses == [pytest.approx(losses[0])] * 3


def test_a_data_set_is_a_name_not_a_path(compare, tokens, tmp_path):
    for name in (tokens.folder, "../mine"):
        code, _, err = compare("--dataset", name, "--data-dir", tokens.folder, "--output", tmp_path / "results")
        assert code == 2 and "is no name" in err and err.count("\n") == 1


def test_an_interrupted_preparation_is_gone_on_with(tmp_path, monkeypatch):
    from tasks.gpt import prepare

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "write_meta", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            open_text(RECIPES["pydoc_topics"], tmp_path)
    assert not (tmp_path / "pydoc_topics" / "meta.json").exists()
    assert open_text(RECIPES["pydoc_topics"], tmp_path).configuration["vocabulary_size"] == 1024
