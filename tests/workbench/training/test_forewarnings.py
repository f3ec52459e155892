"""workbench/training/forewarnings.py: what is said before a run that would be slow, or not fit."""

import pytest
import torch

from tasks.table import program_of
from tests.tasks.training_programs import ROWS
from workbench.training import forewarnings
from workbench.training.forewarnings import crowded, needed_bytes, too_large
from workbench.training.memory import kept_for_backward
from workbench.training.task import opened


@pytest.mark.parametrize(
    ("threads", "available", "busy", "said"),
    [
        (2, 2, 0.2, None),
        (2, 2, 1.1, "other programs keep 1.1 of 2 cores busy"),
        (1, 2, 2.0, None),  # they share the cores, and that is all
        (2, 8, 5.0, None),
        (4, 8, 5.0, "other programs keep 5.0 of 8 cores busy"),
        (4, 2, 0.0, "4 threads share 2 cores"),
    ],
)
def test_cores_that_do_not_suffice(threads, available, busy, said):
    lines = list(crowded(threads, available, busy))
    assert len(lines) == (said is not None)
    assert all(each.startswith(said) and "--threads" in each and "\n" not in each for each in lines)


def test_memory_that_does_not_suffice():
    assert list(too_large(None, 1)) == list(too_large(10**9, 10**9)) == []
    (line,) = too_large(3 * 10**9, 2 * 10**9)
    assert line.startswith("a step needs about 3.0 GB and 2.0 GB are free: ")


@pytest.mark.parametrize("name", ["small_poc", "gpt", "diffusion", "semantic_segmentation"])
def test_what_a_step_needs_is_foretold(name, tmp_path, monkeypatch):
    """To the byte what autograd keeps, without changing the model; and weights, gradients and the optimiser's."""
    row = next(each for each in ROWS if each.task == name)
    row.data.write(tmp_path / "some_data")
    program = program_of(name)
    options = program.parse([str(each) for each in row.arguments(tmp_path / "some_data", tmp_path / "results")])
    task = opened(program.spec(options), torch.device("cpu"))
    torch.manual_seed(0)
    model, batch = task.model("GoLU").train(), task.example()
    optimizer = task.optimizer(model)
    assert needed_bytes(task, model, optimizer, batch) is None  # small: not worth the seconds
    monkeypatch.setattr(forewarnings, "free_bytes", lambda: 0)
    before = {key: each.clone() for key, each in model.state_dict().items()}
    foretold = needed_bytes(task, model, optimizer, batch)
    assert all(torch.equal(before[key], each) for key, each in model.state_dict().items())
    own = (*model.parameters(), *model.buffers())
    kept = kept_for_backward(lambda: task.loss(model, batch), own)
    weights = sum(each.nbytes for each in model.parameters())
    assert foretold == kept + weights * {torch.optim.SGD: 3, torch.optim.AdamW: 4}[type(optimizer)]


def test_what_cannot_be_foretold(monkeypatch):
    """A model that looks at values, as a detector does."""
    from tests.workbench.training.made_up import Plain, X, Y

    class Looks(Plain):
        def loss(self, model, batch):
            return super().loss(model, batch) if batch[0].sum() > 0 else None

    monkeypatch.setattr(forewarnings, "free_bytes", lambda: 0)
    task = Looks()
    model = task.model("GoLU")
    assert needed_bytes(task, model, task.optimizer(model), (X, Y)) is None
