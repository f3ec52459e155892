"""python -m tasks.compare, from its command line to its tables."""

import csv
import json
import math
import shutil
import sys
from dataclasses import replace

import pytest
import torch

from tasks.compare.recipes import COMPARED
from tasks.gpt.config import RECIPES as GPT_RECIPES
from tasks.small_poc.task import SmallImages
from tasks.table import TASKS, program_of
from tests.conftest import PLAIN, in_processes
from tests.tasks.training_programs import DISTINCT
from workbench.cli.arguments import Parser
from workbench.training.task import opened

SMALL = ("--epochs", 2, "--batch-size", 32, "--limit-train", 64, "--limit-val", 100, "--model", "mlp", "--seeds", 2)
TWO = ("--activations", "ReLU", "GoLU")
PARAMETER_FREE = ["ReLU", "GELU", "Swish", "Mish", "GoLU", "Tanh"]


def trace(path):
    return [{name: v for name, v in entry.items() if "second" not in name} for entry in json.loads(path.read_text())]


def traces(folder):
    return {str(path.relative_to(folder)): trace(path) for path in folder.rglob("opt_trace_*.json")}


def spec_of(dataset, *arguments):
    """The task of a data set's comparison, with other flags."""
    compared = COMPARED[dataset]
    own = program_of(compared.task)
    parser = Parser("compare", "")
    own.add_task_flags(parser, compared.changes)
    parser.set_defaults(recipe=compared.recipe, limit_train=compared.limit_train)
    options = parser.parse_args(["--dataset", dataset, *map(str, arguments)])
    return own.spec(options, compared.changes)


def test_end_to_end(compare, tmp_path):
    code, out, err = compare(*SMALL, *TWO, "--output", tmp_path / "new" / "results")
    assert (code, err) == (0, "")
    output = tmp_path / "new/results/digits/mlp"
    results = json.loads((output / "results.json").read_text())
    stored = {
        (name, seed): json.loads((output / name / f"results_{seed}.json").read_text())
        for name in ("ReLU", "GoLU")
        for seed in (0, 1)
    }
    expected = {"epochs": 2, "batch_size": 32, "lr": 4e-3, "limit_train": 64, "opt": "adamw", "schedule": "cosine"}
    assert expected.items() <= results["configuration"].items()
    assert all(results["configuration"].items() <= run["configuration"].items() for run in stored.values())
    assert results["metrics"] == stored["ReLU", 0]["metrics"]
    finals = {key: run["final"]["val_accuracy"] for key, run in stored.items()}
    golu = results["summary"][1]
    mean = (finals["GoLU", 0] + finals["GoLU", 1]) / 2
    assert golu["val_accuracy"]["mean"] == pytest.approx(mean)
    assert golu["difference"]["mean"] == pytest.approx(mean - (finals["ReLU", 0] + finals["ReLU", 1]) / 2)
    assert f"{mean:.2f} ± " in out
    rows = list(csv.DictReader((output / "runs.csv").open()))
    assert {(row["activation"], int(row["seed"])): float(row["final_val_accuracy"]) for row in rows} == finals
    summary = list(csv.DictReader((output / "summary.csv").open()))
    assert float(summary[1]["val_accuracy"]) == golu["val_accuracy"]["mean"]
    assert (output / "table.md").read_text().count("\n| ") == 3
    assert (output / "comparison.png").stat().st_size > 5000
    assert (output / "comparison.svg").read_text().startswith("<?xml")
    assert "epochs=2" in out and str(output) in out
    assert not list(output.rglob("*.tmp")) and not list(output.rglob(".lock*"))


@pytest.mark.parametrize("row", DISTINCT, ids=lambda row: row.task)
def test_every_task_is_compared(row, compare, tmp_path):
    opened.cache_clear()
    row.data.write(tmp_path / "data")
    arguments = row.arguments(tmp_path / "data", tmp_path / "results", "--epochs 1" if row.task != "gpt" else "")
    arguments = arguments[: arguments.index("--seed")]  # of one run
    code, out, err = compare("--task", row.task, *arguments, *TWO, "--seeds", 1)
    assert (code, err) == (0, "")
    (table,) = tmp_path.glob("results/*/*/table.md")
    lines = [line for line in table.read_text().splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| ReLU", "| GoLU"]
    assert "difference to ReLU" in out


def test_a_run_of_a_training_program_is_a_run_of_the_comparison(compare, program, tmp_path):
    flags = ("--dataset", "digits", "--model", "mlp_1", "--epochs", 1, "--limit-train", 64, "--device", "cpu")
    flags = (*flags, "--results", tmp_path, "--batch-size", 32)
    assert program(program_of("small_poc"), *flags, "--activation", "GoLU")[0] == 0
    code, out, _ = compare("--task", "small_poc", *flags, *TWO, "--seeds", 1)
    assert code == 0 and "1 of 2 runs are stored already, 1 to go" in out


def test_stopped_and_started_again_ends_with_the_same_numbers(compare, tmp_path, monkeypatch):
    assert compare(*SMALL, *TWO, "--results", tmp_path / "whole")[0] == 0
    batches, loss = [], SmallImages.loss

    def stopped_in_the_third_run(*arguments):
        batches.append(1)
        if len(batches) == 2 * 4 + 3:  # of four batches a run
            raise KeyboardInterrupt
        return loss(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SmallImages, "loss", stopped_in_the_third_run)
        code, _, err = compare(*SMALL, *TWO, "--results", tmp_path / "part")
    assert code == 130
    assert err == f"stopped: 2 finished runs are in {tmp_path / 'part'}, the same command resumes\n"
    code, out, err = compare(*SMALL, *TWO, "--results", tmp_path / "part")
    assert (code, err) == (0, "")
    assert "2 of 4 runs are stored already, 2 to go" in out and "resuming from step 2 of 4" in out
    assert traces(tmp_path / "part") == traces(tmp_path / "whole")


def test_several_jobs_give_the_numbers_of_one(compare, tmp_path):
    """Each in a process of its own with one thread."""
    few = (*SMALL, "--activations", "GoLU", "--threads", 1)
    for jobs in (1, 2):
        assert compare(*few, "--results", tmp_path / str(jobs), "--jobs", jobs)[0] == 0
    assert traces(tmp_path / "1") == traces(tmp_path / "2")


def test_seeds_and_activations_may_be_added(compare, tmp_path):
    short = ("--epochs", 1, *SMALL[2:-2], "--results", tmp_path)
    compare(*short, "--activations", "ReLU", "--seeds", 1)
    stored = tmp_path / "digits/mlp/ReLU/results_0.json"
    before = stored.read_bytes()
    code, out, _ = compare(*short, "--activations", "Tanh", "ReLU", "--seeds", 2, "--baseline", "Tanh")
    assert code == 0
    assert "1 of 4 runs are stored already" in out and "difference to Tanh" in out
    assert stored.read_bytes() == before


def test_runs_of_other_origins_are_named_or_refused(compare, tmp_path):
    flags = (*SMALL, *TWO, "--results", tmp_path)
    assert "not of one origin" not in compare(*flags)[1]
    path = tmp_path / "digits/mlp/GoLU/results_1.json"
    path.write_text(path.read_text().replace(f'"torch": "{torch.__version__}"', '"torch": "2.0.0"'))
    code, out, _ = compare(*flags)
    said = f"torch {torch.__version__} (3 runs), 2.0.0 (1 runs)"
    assert code == 0 and said in out and said in (tmp_path / "digits/mlp/table.md").read_text()
    code, _, err = compare(*flags, "--same-environment")
    assert code == 2 and said in err and err.count("\n") == 1


def test_a_run_that_diverges_is_reported(compare, tmp_path):
    flags = (*SMALL, *TWO, "--lr", "1e30", "--results", tmp_path)
    code, out, err = compare(*flags)
    assert (code, err) == (0, "")
    assert "diverged in epoch 1" in out and "2 diverged" in out and "[100%" in out
    assert "to go" not in compare(*flags)[1]  # nor are they trained again


def test_one_seed_and_one_activation(compare, tmp_path):
    code, out, _ = compare(*SMALL, "--seeds", 1, "--activations", "GoLU", "--results", tmp_path)
    assert code == 0
    assert "± n/a (1)" in out and "difference to GoLU" in out


def test_on_the_embedded_text(compare, tmp_path):
    sizes = ("--epochs", 1, "--limit-train", 3000, "--limit-val", 500, "--batch-size", 4, "--seeds", 2)
    code, out, err = compare("--dataset", "pydoc_topics", *sizes, *TWO, "--data-dir", tmp_path, "--results", tmp_path)
    assert (code, err) == (0, "")
    output = tmp_path / "pydoc_topics/tiny"
    results = json.loads((output / "results.json").read_text())
    assert {"n_layer": 4, "epochs": 1, "beta2": 0.99, "vocabulary_size": 1024}.items() <= results[
        "configuration"
    ].items()
    golu = results["summary"][1]
    assert 100 < golu["val_perplexity"]["mean"] < 1024
    assert f"{golu['val_perplexity']['mean']:.2f} ± " in out
    table = (output / "table.md").read_text()
    assert table.startswith("| activation | perplexity | difference to ReLU | token accuracy (%) | ")
    assert "less is better" in table and "perplexity" in (output / "comparison.svg").read_text()
    assert "3000 training and 500 validation tokens" in out and "GoLU, seed 1: perplexity " in out
    assert [entry["epoch"] for entry in trace(output / "GoLU/opt_trace_0.json")] == [1]


@pytest.mark.parametrize("dataset", ["pydoc_topics", "tiny_stories", "open_web_text"])
def test_the_comparisons_of_texts_are_their_gpt_recipes_in_epochs(dataset):
    settings = spec_of(dataset).settings
    assert replace(settings, epochs=None) == GPT_RECIPES[settings.model] and settings.epochs


@pytest.mark.parametrize(
    ("dataset", "model"), [("digits", m) for m in ("mlp", "cnn", "resnet20")] + [("pydoc_topics", "tiny")]
)
def test_every_activation_starts_from_the_same_weights_and_sees_the_same_batches(dataset, model, tmp_path):
    """Whatever random numbers are drawn between two steps."""
    limit = ("--limit-train", 3000 if dataset == "pydoc_topics" else 64)
    task = opened(spec_of(dataset, "--model", model, *limit, "--data", tmp_path), torch.device("cpu"))
    states, seen = [], []
    for activation in PARAMETER_FREE:
        torch.manual_seed(1)
        states.append(task.model(activation).state_dict())
    for _ in range(2):
        seen.append(
            [each for batches in task.training(task.sampling(seed=0), 0, 0) for batch in batches for each in batch]
        )
        torch.rand(3)
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[name], states[0][name]) for name in state)
    assert len(seen[0]) >= 4 and all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
    other = next(iter(task.training(task.sampling(seed=1), 0, 0)))[0][0]
    assert not torch.equal(seen[0][0], other)


def test_an_activation_with_parameters_leaves_the_other_weights_alone():
    task = opened(spec_of("digits", "--model", "mlp"), torch.device("cpu"))
    weights = []
    for name in ("ReLU", "PReLU"):
        torch.manual_seed(1)
        weights.append([each for each in task.model(name).parameters() if each.numel() > 1])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_runs_learn(compare, tmp_path):
    compare(*SMALL, "--epochs", 6, "--activations", "GoLU", "--seeds", 1, "--results", tmp_path)
    assert trace(tmp_path / "digits/mlp/GoLU/opt_trace_0.json")[-1]["val_accuracy"] > 50
    text = ("--dataset", "pydoc_topics", "--epochs", 2, "--limit-train", 20000, "--limit-val", 2000, "--seeds", 1)
    compare(*text, "--activations", "GoLU", "--data", tmp_path, "--results", tmp_path)
    losses = [entry["val_loss"] for entry in trace(tmp_path / "pydoc_topics/tiny/GoLU/opt_trace_0.json")]
    assert losses[1] < losses[0] < math.log(1024)


BAD = [
    (["--dataset", "digit"], "did you mean digits?"),
    (["--dataset", "nowhere"], "nor is it a text that tasks.gpt.prepare_text has written to"),
    (["--dataset", "../digits"], "is no name"),
    (["--dataset", "tiny_stories"], "unrecognized arguments: --model"),
    (["--task", "small_pok"], "did you mean small_poc?"),
    (["--model", "resnet"], "did you mean resnet"),
    (["--model", "tiny"], "unknown model 'tiny'"),
    (["--activations", "ReLU", "Golu"], "did you mean GoLU?"),
    (["--activations", "ReLU", "ReLU"], "more than once"),
    (["--activations"], "expected at least one argument"),
    (["--baseline", "Tanh"], "not among the activations"),
    (["--seeds", "0"], "--seeds"),
    (["--epochs", "many"], "--epochs"),
    (["--batch-size", "65"], "a batch of 65 is more than the 64 training samples"),
    (["--lr", "nan"], "--lr"),
    (["--weight-decay", "-0.1"], "--weight-decay"),
    (["--limit-train", "9"], "--limit-train 9 is out of range"),
    (["--limit-val", "5000"], "to 1000 (all)"),
    (["--threads", "0"], "--threads"),
    (["--jobs", "0"], "--jobs"),
    (["--device", "tpu"], "unknown device"),
    (["--epoch", "3"], "unrecognized arguments: --epoch"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_a_mistake_is_one_line(arguments, said, compare, tmp_path):
    small = SMALL if "tiny_stories" not in arguments else SMALL[:4]
    said = said if "tiny_stories" not in arguments else "python -m tasks.gpt.prepare_tiny_stories makes it"
    if "tiny_stories" in arguments:
        (tmp_path / "tiny_stories").mkdir()
    code, out, err = compare(*small, "--results", tmp_path / "results", "--data", tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert said in err and err.startswith("error: ") and err.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda(compare, tmp_path):
    code, _, err = compare("--device", "cuda", "--results", tmp_path)
    assert code == 2
    assert "no CUDA device" in err and err.count("\n") == 1


def test_results_that_cannot_be_written(compare, tmp_path):
    (tmp_path / "file").write_text("precious")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        code, _, err = compare(*SMALL, "--results", output)
        assert code == 2
        assert str(tmp_path / "file") in err and err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "precious"


def test_results_of_the_earlier_version_are_refused_by_name(compare, tmp_path):
    compare(*SMALL, *TWO, "--results", tmp_path)
    path = tmp_path / "digits/mlp/GoLU/results_1.json"
    shutil.copy(path, tmp_path / "kept")
    path.write_text(path.read_text().replace('"format": 2,', ""))
    code, _, err = compare(*SMALL, *TWO, "--results", tmp_path)
    assert code == 2 and str(path) in err and "is of an earlier version" in err and err.count("\n") == 1


def test_as_a_command():
    """Its own process: a mistake shows no traceback, and nothing heavy is imported for it."""
    command = [sys.executable, "-X", "importtime", *PLAIN[1:], "tasks.compare", "--lr", "0"]
    ended = in_processes(command)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert [line for line in lines if not line.startswith("import time:")] == [
        "error: argument --lr: must be a number above 0, not '0', or tune (--help explains every flag)"
    ]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "torch" in imported
    assert not imported & {"torchvision", "sklearn", "matplotlib", "scipy", "timm"}
    assert not imported & {"accelerate", "tokenizers", "tiktoken", "datasets", "pydoc_data.topics"}


def test_help_explains_every_flag(compare):
    for task in (None, *TASKS):
        code, out, _ = compare(*(() if task is None else ("--task", task)), "--help")
        assert code == 0
        flags = [line for line in out.splitlines() if line.startswith("  --")]
        assert len(flags) > 20
        for flag in ("--task", "--activations", "--seeds", "--results", "--data", "--workers", "--dataset", "--epochs"):
            assert any(line.startswith(f"  {flag}") for line in flags), (task, flag)
        assert "python -m tasks.compare " in out
