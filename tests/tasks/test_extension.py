"""A run that has ended goes on with more epochs: by itself at a constant learning rate, else as the user says."""

import json

import pytest
import torch

from tasks.gpt import train as gpt
from tasks.small_poc import main as small_poc
from workbench.training import checkpoint

COMMON = ("--dataset", "digits", "--limit-train", 100, "--limit-val", 50, "--batch-size", 20)
MLP, CNN = (*COMMON, "--model", "mlp_1"), (*COMMON, "--model", "cnn")  # at a constant learning rate, and not


@pytest.fixture
def train(program, tmp_path):
    return lambda *flags, results="results": program(small_poc, *flags, "--results", tmp_path / results)


def stored(folder, name="results_0.json"):
    return json.loads((folder / name).read_text())


def test_at_a_constant_rate_it_is_the_longer_run(train, tmp_path):
    for results, lengths in (("in_two", (2, 4)), ("at_once", (4,))):
        for epochs in lengths:
            code, out, err = train(*MLP, "--epochs", epochs, results=results)
            assert (code, err) == (0, "")
    assert "best, epoch" in out and not list(tmp_path.rglob("*extended*"))
    folders = [tmp_path / each / "digits" / "mlp_1" / "GoLU" for each in ("in_two", "at_once")]
    weights = [checkpoint.read(each / "checkpoint_0.pth")["model"] for each in folders]
    assert all(torch.equal(weights[0][name], each) for name, each in weights[1].items())
    final = [{name: value for name, value in stored(each)["final"].items() if "second" not in name} for each in folders]
    assert final[0] == final[1] and final[0]["epoch"] == 4
    assert stored(folders[0])["configuration"] == stored(folders[1])["configuration"]


def test_one_that_was_stopped_while_it_went_on_resumes(train, tmp_path, monkeypatch):
    train(*MLP, "--epochs", 2)
    with monkeypatch.context() as stopping:
        stopping.setattr("workbench.training.loop.Loop.evaluate", lambda loop: (_ for _ in ()).throw(KeyboardInterrupt))
        code, _, err = train(*MLP, "--epochs", 4, "--checkpoint-steps", 2)
    assert code == 130 and "resumes from" in err
    code, out, err = train(*MLP, "--epochs", 4, "--checkpoint-steps", 2)
    assert (code, err) == (0, "") and "resuming from step 14 of 20" in out
    assert train(*MLP, "--epochs", 4)[1].startswith("this run has ended already")


@pytest.mark.parametrize("rate", ["last", "longer"])
def test_the_learning_rate_is_asked(train, tmp_path, rate):
    folder = tmp_path / "results" / "digits" / "cnn" / "GoLU"
    train(*CNN, "--epochs", 2)
    before = (folder / "results_0.json").read_bytes()
    code, _, err = train(*CNN, "--epochs", 3)
    assert code == 2 and "--extend last" in err and "--extend longer" in err and err.count("\n") == 1
    code, _, err = train(*CNN, "--epochs", 3, "--extend", rate)
    assert (code, err) == (0, "")
    assert (folder / "results_0.json").read_bytes() == before
    trace = stored(folder, f"opt_trace_0_extended_to_3_{rate}.json")
    base = stored(folder, "opt_trace_0.json")
    assert trace[:2] == base and len(trace) == 3
    train(*CNN, "--epochs", 3, results="fresh")
    longer = stored(tmp_path / "fresh" / "digits" / "cnn" / "GoLU", "opt_trace_0.json")[2]["lr"]
    assert trace[2]["lr"] == {"last": base[1]["lr"], "longer": longer}[rate] and base[1]["lr"] != longer
    assert (folder / f"best_0_extended_to_3_{rate}.pth").exists()
    assert "has ended already" in train(*CNN, "--epochs", 3, "--extend", rate)[1]


def test_the_best_weights_so_far_stay_the_best(train, tmp_path, monkeypatch):
    folder = tmp_path / "results" / "digits" / "cnn" / "GoLU"
    train(*CNN, "--epochs", 2)
    worse = {"val_accuracy": 0.0, "val_loss": 9.0, "val_top5_accuracy": 0.0}
    monkeypatch.setattr("workbench.training.loop.Loop.evaluate", lambda loop: worse)
    assert train(*CNN, "--epochs", 3, "--extend", "last")[0] == 0
    assert (folder / "best_0_extended_to_3_last.pth").read_bytes() == (folder / "best_0.pth").read_bytes()


def test_what_cannot_be_extended(train):
    none = train(*CNN, "--epochs", 3, "--extend", "last")
    train(*CNN, "--epochs", 2)
    shorter = train(*CNN, "--epochs", 2, "--extend", "last")
    another = train(*CNN, "--epochs", 3, "--extend", "last", "--lr", 0.5)
    for (code, _, err), said in (
        (none, "holds no run of seed 0 that has ended"),
        (shorter, "--extend takes more --epochs than the run in"),
        (another, "with lr=0.002, not lr=0.5"),
    ):
        assert code == 2 and said in err and err.count("\n") == 1


def test_steps_from_within_an_interval(program, tmp_path):
    """The mean of the losses is that of the steps since the last evaluation."""
    flags = ("--n-layer", 1, "--n-head", 1, "--n-embd", 8, "--block-size", 8, "--batch-size", 2, "--eval-iters", 1)
    flags = (*flags, "--eval-interval", 4, "--results", tmp_path, "--limit-val", 100)
    assert program(gpt, *flags, "--max-iters", 6)[0] == 0
    code, _, err = program(gpt, *flags, "--max-iters", 12, "--extend", "longer")
    assert (code, err) == (0, "")
    (path,) = tmp_path.rglob("opt_trace_*extended_to_12_longer.json")
    trace = json.loads(path.read_text())
    assert [each["step"] for each in trace] == [4, 6, 8, 12]
    losses = [each["train_loss"] for each in trace]
    assert max(losses) < 1.2 * min(losses)  # half of it for the third, if four steps were counted for its two
