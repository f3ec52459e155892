"""--wandb of the training programs, with a stand-in for the package of Weights & Biases."""

import json
import random
import re
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from tasks.small_poc import main as module
from tasks.small_poc.task import SmallImages
from workbench.training.events import recorders
from workbench.training.runs import StoredRun

FLAGS = ["--dataset", "digits", "--model", "mlp", "--limit-train", "256", "--device", "cpu", "--epochs", "3"]


class Server:
    """Keeps what is sent, as Weights & Biases does; draws random numbers meanwhile."""

    __spec__ = ModuleSpec("wandb", None)  # other packages ask whether this one is there

    def __init__(self):
        self.started, self.histories, self.finished = [], {}, []
        self.fails_at = None
        self.Image = lambda path: f"picture {path}"

    def init(self, **given):
        self.draw()
        if self.fails_at == "init":
            raise RuntimeError("api_key not configured\nand more")
        self.started.append(given)
        name = given["project"], given["id"]
        if given["resume"] is None:  # it takes the place of what has the same id
            self.histories[name] = {}
        history = self.histories.setdefault(name, {})
        return SimpleNamespace(
            step=max(history, default=-1) + 1,
            log=lambda values, step, commit: self.log(history, values, step, commit),
            finish=lambda: self.finish(name),
        )

    def log(self, history, values, step, commit):
        self.draw()
        if self.fails_at == "log":
            raise ConnectionError("the network is unreachable")
        assert step > max(history, default=-1) and commit, "steps only rise, and a step is sent at once"
        history[step] = values

    def finish(self, name):
        self.finished.append(name)

    def draw(self):
        random.random(), np.random.default_rng(), np.random.rand(), torch.rand(3)

    @property
    def history(self):
        """Of the only run."""
        (history,) = self.histories.values()
        return history


@pytest.fixture(autouse=True)
def server(monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    server = Server()
    monkeypatch.setitem(sys.modules, "wandb", server)
    return server


@pytest.fixture
def train(program, tmp_path):
    return lambda *more, results="results": program(module, *FLAGS, "--results", tmp_path / results, *more)


@pytest.fixture
def killed(train, monkeypatch):
    """Trains for so many steps, two an epoch, and is gone."""

    class Killed(BaseException):
        pass

    def call(*more, steps=3):
        left, loss = steps, SmallImages.loss

        def until(task, model, batch):
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return loss(task, model, batch)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(SmallImages, "loss", until)
            train(*more)

    return call


def trace(tmp_path, results="results", name="GoLU"):
    return json.loads((tmp_path / results / f"digits/mlp/{name}/opt_trace_0.json").read_text())


def without_times(entries):
    return [{name: value for name, value in entry.items() if "second" not in name} for entry in entries]


def test_every_evaluation_is_sent_as_the_trace_has_it(train, server, tmp_path):
    code, _, err = train("--wandb", "mine")
    assert (code, err) == (0, "")
    assert server.history == {entry["epoch"]: entry for entry in trace(tmp_path)} and len(server.history) == 3
    (given,) = server.started
    assert given["project"] == "mine" and given["resume"] is None
    assert given["config"]["batch_size"] == 128 and given["config"]["activation"] == "GoLU"
    assert given["dir"] == str(tmp_path / "results/digits/mlp/GoLU/wandb_0")
    assert server.finished == [("mine", given["id"])]


def test_it_is_asked_for(train, server):
    assert train()[0] == 0 and not server.started
    assert train("--wandb", "--activation", "ReLU")[0] == 0
    assert [given["project"] for given in server.started] == ["golu"]


def test_it_changes_no_number_and_is_no_part_of_the_run(train, tmp_path):
    train(results="without")
    train("--wandb", results="with")
    assert without_times(trace(tmp_path, "with")) == without_times(trace(tmp_path, "without"))
    one, other = (tmp_path / results / "digits/mlp/GoLU" for results in ("with", "without"))
    states = [torch.load(each / "checkpoint_0.pth", weights_only=True) for each in (one, other)]
    assert all(torch.equal(weight, states[1]["model"][name]) for name, weight in states[0]["model"].items())
    stored = [json.loads((each / "results_0.json").read_text())["configuration"] for each in (one, other)]
    assert stored[0] == stored[1] and not any("wandb" in name for name in stored[0])


def test_a_run_that_resumes_goes_on_as_the_same_run(killed, train, server, tmp_path):
    killed("--wandb")
    assert list(server.history) == [1] and not server.finished
    assert train("--wandb")[0] == 0
    assert server.history == {entry["epoch"]: entry for entry in trace(tmp_path)} and len(server.history) == 3
    assert [given["resume"] for given in server.started] == [None, "allow"]


def test_what_was_lost_is_sent_again(killed, train, server, tmp_path):
    killed("--wandb", steps=5)
    del server.history[2]
    train("--wandb")
    assert server.history == {entry["epoch"]: entry for entry in trace(tmp_path)} and len(server.history) == 3


def test_it_may_begin_and_end_with_any_start(killed, train, server, tmp_path):
    killed("--wandb")
    assert train()[0] == 0
    assert len(server.started) == 1
    killed("--activation", "ReLU")
    assert train("--activation", "ReLU", "--wandb")[0] == 0
    history = server.histories["golu", server.started[1]["id"]]
    assert history == {entry["epoch"]: entry for entry in trace(tmp_path, name="ReLU")}


def test_offline_a_run_that_resumes_is_written_whole(killed, train, server, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    killed("--wandb")
    server.history.clear()  # each start is a folder of its own
    train("--wandb")
    assert [given["resume"] for given in server.started] == [None, None]
    assert len({given["id"] for given in server.started}) == 1
    assert server.history == {entry["epoch"]: entry for entry in trace(tmp_path)} and len(server.history) == 3


def test_every_run_has_an_id_of_its_own(train, server, tmp_path):
    for more in ([], ["--seed", "1"], ["--activation", "ReLU"], ["--activation", "LeakyReLU"]):
        train("--wandb", "--epochs", "1", *more)
    train("--wandb", "--epochs", "1", "--lr", "0.1", results="another")
    train("--wandb", "--epochs", "1", results="a_copy")
    names = [given["id"] for given in server.started]
    assert len(set(names)) == 5 and names[5] == names[0], "the same run anywhere is the same there"
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) for name in names)
    assert names[0].startswith("digits-mlp-GoLU-0-")


def test_an_id_holds_what_it_may(server, tmp_path):
    run = StoredRun(tmp_path, "torch/CIFAR10 ü", "fasterrcnn_mobilenet_v3_large_320_fpn", "ReLU", 0, "lr0.1#?%:")
    recorders(run, [], "golu", {}, begun=False)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", server.started[0]["id"])


def test_pictures_are_sent_and_numbers_that_are_none_are_not(server, tmp_path):
    from PIL import Image

    run = StoredRun(tmp_path, "scenes", "net", "GoLU", 0)
    entries = [{"step": 5, "val_box_ap": 1.0, "lr": 0.1}, {"step": 10, "val_box_ap": None, "lr": 0.1}]
    picture = run.picture_path(entries[1])
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(picture)
    for each in recorders(run, entries, "golu", {}, begun=False):
        each.close()
    assert server.history == {
        5: {"step": 5, "val_box_ap": 1.0, "lr": 0.1},
        10: {"step": 10, "lr": 0.1, "pictures": f"picture {picture}"},
    }


# What goes wrong


def test_a_missing_package_is_one_line_before_any_work(train, monkeypatch, tmp_path):
    monkeypatch.setattr(SmallImages, "open", lambda task, device: pytest.fail("data are read"))
    # a folder of that name in the working directory imports as an empty module
    for found in (None, ModuleType("wandb")):
        monkeypatch.setitem(sys.modules, "wandb", found)
        assert train("--wandb", "--limit-val", "99") == (
            2,
            "",
            "error: --wandb needs the package wandb: pip install wandb\n",
        )
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_refused_is_one_line_before_training(train, server, tmp_path):
    server.fails_at = "init"
    code, _, err = train("--wandb")
    assert code == 2 and err.count("\n") == 1
    assert "refuses the run (api_key not configured): log in by" in err
    assert not list(tmp_path.rglob("checkpoint*"))


def test_what_cannot_be_sent_is_one_warning(train, server, tmp_path):
    server.fails_at = "log"
    code, _, err = train("--wandb")
    assert (code, err) == (0, "warning: no more events at Weights & Biases: the network is unreachable\n")
    assert len(trace(tmp_path)) == 3 and (tmp_path / "results/digits/mlp/GoLU/results_0.json").exists()
