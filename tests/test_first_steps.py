"""The page of the first steps: its commands, one after the other, and what they say."""

import importlib
import json
import shlex
import shutil

import pytest

from benchmarks import fine_tuning, report
from tests.test_readme import ROOT, blocks

PAGE = ROOT / "docs/first_steps.md"


@pytest.fixture
def walk(tmp_path, monkeypatch, program):
    """Run the commands of a block of the page in an empty folder; return what they print."""
    shutil.copytree(ROOT / "assets", tmp_path / "assets")
    monkeypatch.chdir(tmp_path)

    def commands(number):
        printed = []
        for line in blocks(PAGE, "bash")[number].replace("\\\n", " ").splitlines():
            _, _, module, *arguments = shlex.split(line)
            code, out, err = program(importlib.import_module(module), *arguments)
            assert (code, err) == (0, ""), line
            printed.append(out)
        return printed

    return commands


def test_from_training_to_the_model_in_use(walk, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    trained, evaluated, predicted, exported = walk(0)
    results = json.loads((tmp_path / "results/digits/cnn/GoLU/results_0.json").read_text())
    assert results["best"]["val_accuracy"] > 95 and "stored in" in trained
    assert f"accuracy         {results['best']['val_accuracy']:.4g}" in evaluated
    assert "own_digit.png: 3 " in predicted
    assert exported.startswith("digits.onnx has the model")
    (use,) = blocks(PAGE, "python")
    exec(use, {})
    assert capsys.readouterr().out == "(1, 10)\n"


def test_a_model_that_is_trained_on_starts_where_the_other_ended(walk, tmp_path):
    _, out = walk(1)
    assert "starts from results/digits/cnn/ReLU/best_0.pth" in out and "have to learn GoLU" in out
    first = json.loads((tmp_path / "results/tuned_on/digits/cnn/GoLU/opt_trace_0.json").read_text())[0]
    other = json.loads((tmp_path / "results/digits/cnn/ReLU/opt_trace_0.json").read_text())[0]
    assert first["val_accuracy"] > 94 > other["val_accuracy"]  # after an epoch each


def test_the_table_is_the_measured_one():
    assert fine_tuning.table(report.read("fine_tuning", "cpu")["numbers"]) in PAGE.read_text()
