"""Trained models: the user's, and those that are trained the first time."""

import shutil

import pytest
import torch

from visualizations.plot_model_param_dists import spread_by_layer
from visualizations.shared import trained
from workbench.training.run_folder import RunFolder


def test_what_is_missing_is_trained_once_and_kept(program, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(trained, "EPOCHS", 1)
    flags = ("--model", "mlp_1", "--activations", "GoLU", "--seeds", 1, "--output", tmp_path)
    code, out, err = program(spread_by_layer.FIGURE, *flags)
    assert (code, err) == (0, "") and "training 1 models of mlp_1 on digits" in out
    run = RunFolder(tmp_path / "kept", "digits", "mlp_1", "GoLU", 0)
    assert len(trained.trace_of(run)) == 1
    written = run.checkpoint_path.stat().st_mtime_ns
    code, out, err = program(spread_by_layer.FIGURE, *flags)
    assert (code, err) == (0, "") and "training" not in out
    assert run.checkpoint_path.stat().st_mtime_ns == written


def test_a_training_that_fails_says_why(program, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(trained, "BATCH_SIZE", 10**6)
    flags = ("--model", "mlp_1", "--activations", "GoLU", "--seeds", 1, "--output", tmp_path)
    code, _, err = program(spread_by_layer.FIGURE, *flags)
    assert code == 2 and err.count("\n") == 1
    assert err.startswith("error: GoLU with seed 0 could not be trained: a batch of 1000000 is more than")


def changed(runs, tmp_path, change):
    """A copy of the runs in which one checkpoint was changed."""
    folder = tmp_path / "copy"
    shutil.copytree(runs, folder)
    path = RunFolder(folder, "digits", "mlp_1", "GoLU", 0).checkpoint_path
    change(path)
    return folder


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
def test_a_checkpoint_that_is_not_what_it_should_be(program, runs, tmp_path, change, message):
    folder = changed(runs, tmp_path, change)
    flags = ("--results-path", folder, "--model", "mlp_1", "--activations", "GoLU", "--seeds", 1, "--output", tmp_path)
    code, _, err = program(spread_by_layer.FIGURE, *flags)
    assert code == 2 and message in err and err.count("\n") == 1
    assert not (tmp_path / "spread_by_layer.png").exists()


def test_a_missing_results_folder_names_the_command(program, tmp_path):
    code, _, err = program(spread_by_layer.FIGURE, "--results-path", tmp_path / "none", "--output", tmp_path)
    assert code == 2 and err.count("\n") == 1
    assert "python -m tasks.small_poc.main --model resnet20 --dataset digits --activation ReLU --seed 0" in err


def test_what_takes_long_is_not_trained_unasked(program, tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "KEPT", tmp_path / "kept")
    code, _, err = program(spread_by_layer.FIGURE, "--dataset", "cifar10", "--output", tmp_path)
    assert code == 2 and err.count("\n") == 1 and "give --results-path" in err and "--dataset cifar10" in err
    assert not (tmp_path / "kept").exists()
