"""A task with a made-up metric and a made-up batch is trained, resumed, compared and plotted."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from golu import get_activation_function
from tasks import table
from workbench.cli.arguments import positive_float, positive_int
from workbench.cli.settings import setting
from workbench.training.metrics import Metric
from workbench.training.program import TrainingProgram
from workbench.training.task import Task, opened


@dataclass(frozen=True)
class Settings:
    model: str = setting(str, "line", "the model")
    epochs: int = setting(positive_int, 4, "passes over the points")
    lr: float = setting(positive_float, 0.05, "the learning rate")


class Curve(Task):
    """A curve through points: its batch is a dictionary, and it is judged by the largest error, in furlongs."""

    metrics = (Metric("worst", "largest error", "furlong", meaning="the farthest point from the curve"),)
    batch_size, unit, count = 8, "points", 32

    def open(self, device):
        self.epochs = self.settings.epochs
        self.x = torch.linspace(-2, 2, 32)[:, None]

    def fingerprint(self):
        return "32 points"

    def training(self, sampling, epoch, first):
        for shares in sampling.steps(epoch, first):
            yield [{"at": self.x[i], "height": self.x[i].abs()} for i, _ in shares]

    def model(self, activation):
        return nn.Sequential(nn.Linear(1, 8), get_activation_function(activation), nn.Linear(8, 1))

    def optimizer(self, model):
        return torch.optim.Adam(model.parameters())

    def rates(self, steps_per_epoch):
        return [self.settings.lr]

    def loss(self, model, batch):
        return (model(batch["at"]) - batch["height"]).square().mean()

    def evaluate(self, model, sampling, accelerator):
        return {"worst": (model(self.x) - self.x.abs()).abs().max().item()}

    def example(self):
        return {"at": self.x, "height": self.x.abs()}

    def predict(self, model, batch):
        return model(batch["at"])

    def after_evaluation(self, model, run, entry):
        run.path("points").mkdir(exist_ok=True)
        (run.path("points") / f"{entry['epoch']}.txt").write_text(str(model(self.x).tolist()))


PROGRAM = TrainingProgram(__name__, "Fit.", Curve, {"line": Settings()}, datasets="points", dataset="points")


@pytest.fixture(autouse=True)
def in_the_table(monkeypatch):
    monkeypatch.setitem(table.TASKS, "curve", __name__)
    opened.cache_clear()


def test_it_is_trained_and_plotted_and_writes_files(program, tmp_path):
    code, out, err = program(PROGRAM, "--results", tmp_path, "--device", "cpu")
    assert (code, err) == (0, "")
    folder = tmp_path / "points/line/GoLU"
    results = json.loads((folder / "results_0.json").read_text())
    assert results["best"]["worst"] == min(
        entry["worst"] for entry in json.loads((folder / "opt_trace_0.json").read_text())
    )
    assert results["metrics"][0]["unit"] == "furlong" and "points_per_second" in results
    assert (folder / "plot_0.png").stat().st_size > 5000
    assert sorted(each.name for each in (folder / "points_0").iterdir()) == [f"{n}.txt" for n in (1, 2, 3, 4)]
    assert "best, epoch " in out and "worst" in out


def test_it_is_resumed(program, tmp_path, monkeypatch):
    program(PROGRAM, "--results", tmp_path / "whole", "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr(Curve, "after_evaluation", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert program(PROGRAM, "--results", tmp_path / "part", "--device", "cpu", "--checkpoint-steps", 3)[0] == 130
    assert program(PROGRAM, "--results", tmp_path / "part", "--device", "cpu")[0] == 0
    a, b = (
        [entry["worst"] for entry in json.loads((tmp_path / each / "points/line/GoLU/opt_trace_0.json").read_text())]
        for each in ("whole", "part")
    )
    assert a == b


def test_it_is_compared(compare, tmp_path):
    code, out, err = compare("--task", "curve", "--seeds", 2, "--activations", "ReLU", "GoLU", "--results", tmp_path)
    assert (code, err) == (0, "")
    assert "largest error (furlong)" in out and "largest error: the farthest point from the curve" in out
    assert "difference to ReLU: of the largest error" in out
    assert (tmp_path / "points/line/comparison.png").stat().st_size > 5000
    assert "furlong" in (tmp_path / "points/line/comparison.svg").read_text()


def test_it_takes_few_lines():
    source = Path(__file__).read_text()
    task = source[source.index("@dataclass(frozen=True)\nclass Settings") : source.index("    def example")]
    assert len([line for line in task.splitlines() if line.strip()]) < 40
