"""Trained models: the user's, and those that are trained the first time."""

import shutil

import pytest
import torch

from visualizations.plot_model_param_dists import spread_by_layer
from visualizations.shared import trained
from workbench.training.runs import StoredRun


def test_what_is_missing_is_trained_once_and_kept(program, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(trained, "EPOCHS", 1)
    flags = ("--model", "mlp_1", "--activations", "GoLU", "--seeds", 1, "--output", tmp_path)
    code, out, err = program(spread_by_layer.FIGURE, *flags)
    assert (code, err) == (0, "") and "training 1 models of mlp_1 on digits" in out
    run = StoredRun(tmp_path / "kept", "digits", "mlp_1", "GoLU", 0)
    assert len(run.trace()) == 1
    written = run.checkpoint_path.stat().st_mtime_ns
    code, out, err = program(spread_by_layer.FIGURE, *flags)
    assert (code, err) == (0, "") and "training" not in out
    assert run.checkpoint_path.stat().st_mtime_ns == written


def test_a_training_that_fails_says_why(mistake, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(trained, "BATCH_SIZE", 10**6)
    err = mistake(spread_by_layer.FIGURE, "--model", "mlp_1", "--activations", "GoLU", "--seeds", 1)
    assert err.startswith("error: a batch of 1000000 is more than")


def rewritten(alter):
    def change(path):
        state = torch.load(path, weights_only=True)
        alter(state)
        torch.save(state, path)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "there is no checkpoint"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "is broken"),
        (
            rewritten(lambda state: state["configuration"].update(activation="ReLU")),
            "of another activation: ReLU, not GoLU",
        ),
        (rewritten(lambda state: state["configuration"].update(model="mlp_2")), "of another model: mlp_2, not mlp_1"),
        (rewritten(lambda state: state["model"].pop("1.weight")), "of another model than mlp_1 with GoLU"),
        (rewritten(lambda state: state.pop("model")), "is no checkpoint of a training run"),
    ],
)
def test_a_checkpoint_that_is_not_what_it_should_be(mistake, runs, tmp_path, change, message):
    folder = shutil.copytree(runs, tmp_path / "copy")
    change(StoredRun(folder, "digits", "mlp_1", "GoLU", 0).checkpoint_path)
    flags = ("--results", folder, "--model", "mlp_1", "--activations", "GoLU", "--seeds", 1)
    assert message in mistake(spread_by_layer.FIGURE, *flags)


def test_a_missing_results_folder_names_the_command(mistake, tmp_path):
    command = "python -m tasks.small_poc.main --model resnet20 --dataset digits --activation ReLU --seed 0"
    assert f"{command} --results {tmp_path}" in mistake(spread_by_layer.FIGURE, "--results", tmp_path)


def test_what_takes_long_is_not_trained_unasked(mistake, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "KEPT", tmp_path / "kept")
    err = mistake(spread_by_layer.FIGURE, "--dataset", "cifar10")
    assert "give --results" in err and "--dataset cifar10" in err
    assert not (tmp_path / "kept").exists()
