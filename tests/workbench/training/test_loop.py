"""workbench/training/loop.py: against plain loops, and stopped at every moment."""

import copy
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.workbench.training.made_up import Plain, X, Y
from workbench.training import checkpoint
from workbench.training.launch import Machine, launched
from workbench.training.loop import Loop
from workbench.training.runs import StoredRun
from workbench.training.sampling import Sampling

RUN = StoredRun(Path(), "data", "net", "Tanh", 7)


def trained(task, run=RUN, state=None, store=None, **keywords):
    with launched("cpu") as accelerator:
        task.open(accelerator.device)
        loop = Loop(task, run, accelerator, store, state, **keywords)
        loop.train(after_step=lambda: None)
    return loop


def numbers(loop):
    return [{name: v for name, v in entry.items() if "second" not in name} for entry in loop.reached.trace]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


# Against plain loops


def test_equals_a_plain_loop_bit_for_bit():
    loop, reference = trained(Plain()), Plain().model("Tanh")
    optimizer = torch.optim.SGD(reference.parameters(), 0.1, momentum=0.9)
    sampling = Sampling(40, 8, seed=7)
    expected = []
    for epoch, rate in enumerate((0.1, 0.05, 0.01)):
        optimizer.param_groups[0]["lr"] = rate
        losses = []
        for samples in sampling.order(epoch).split(8):
            loss = F.cross_entropy(reference(X[samples]), Y[samples])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            expected.append((sum(losses) / 5, F.cross_entropy(reference(X), Y).item()))
    assert same(loop.model, reference)
    found = [[entry["train_loss"], entry["val_loss"]] for entry in loop.reached.trace]
    assert torch.allclose(torch.tensor(found), torch.tensor(expected))
    assert [entry["lr"] for entry in loop.reached.trace] == [0.1, 0.05, 0.01]


def test_accumulated_batches_are_one():
    whole, parts = trained(Plain()), trained(Plain(accumulation=4))
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_clipping():
    loop, reference = trained(Plain(clip_norm=0.01, epochs=1, table=[0.5])), Plain().model("Tanh")
    optimizer = torch.optim.SGD(reference.parameters(), 0.5, momentum=0.9)
    for samples in Sampling(40, 8, seed=7).order(0).split(8):
        optimizer.zero_grad()
        F.cross_entropy(reference(X[samples]), Y[samples]).backward()
        norm = math.sqrt(sum(float(each.grad.square().sum()) for each in reference.parameters()))
        assert norm > 0.01
        for each in reference.parameters():
            each.grad *= 0.01 / norm
        optimizer.step()
    for a, b in zip(loop.model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_moving_average_of_weights():
    """The first update copies; each later one takes 1 - decay of the weights."""
    weights = []

    class Recorded(Plain):
        def loss(self, model, batch):
            weights.append(model[0].weight.detach().clone())  # before the step
            return super().loss(model, batch)

    loop = trained(Recorded(decay=0.75, ema_every=2))
    after = [*weights[1:], loop.model[0].weight.detach()]
    expected = after[0]
    for each in after[2::2]:
        expected = 0.75 * expected + 0.25 * each
    assert torch.allclose(loop.ema.module[0].weight, expected, atol=1e-6)
    with torch.no_grad():
        found = F.cross_entropy(loop.ema.module(X), Y).item()
    assert loop.reached.trace[-1]["ema_val_loss"] == pytest.approx(found)
    assert [each.key for each in loop.metrics] == ["ema_val_loss", "val_loss"]


def test_a_rate_a_step():
    rates, seen = [0.1 / (step + 1) for step in range(15)], []

    class Recorded(Plain):
        def optimizer(self, model):
            made = super().optimizer(model)
            made.register_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
            return made

    trained(Recorded(table=rates))
    assert seen == rates


def test_layer_decay_scales_the_rate():
    class Decayed(Plain):
        def optimizer(self, model):
            made = super().optimizer(model)
            made.param_groups[0]["lr_scale"] = 0.5
            return made

    assert trained(Decayed()).optimizer.param_groups[0]["lr"] == 0.005


def test_bfloat16_is_used_where_it_is_asked_for():
    dtypes = []

    class Hooked(Plain):
        def model(self, activation):
            net = super().model(activation)
            net[1].register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
            return net

    trained(Hooked(autocast=torch.bfloat16))
    assert set(dtypes) == {torch.bfloat16}


def test_noise_is_of_the_step_and_of_the_seed():
    def masks(seed):
        seen = []

        class Hooked(Plain):
            def model(self, activation):
                net = super().model(activation)
                net[2].register_forward_hook(lambda m, _, output: seen.append(output == 0) if m.training else None)
                return net

        trained(Hooked(dropout=0.5), StoredRun(Path(), "data", "net", "Tanh", seed))
        return torch.stack(seen)

    first, again, other = masks(7), masks(7), masks(8)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(first) == 15 == len({each.numpy().tobytes() for each in first})


def test_divergence_ends_the_run_where_it_is_seen_and_is_stored(tmp_path):
    """Every ten steps all processes agree; of the thirty steps of an epoch it sees ten."""
    run = StoredRun(tmp_path, "data", "net", "Tanh", 7)
    run.folder.mkdir(parents=True)
    steps = []

    class Counted(Plain):
        def loss(self, model, batch):
            steps.append(1)
            return super().loss(model, batch)

    loop = trained(Counted(table=[0.1, math.inf], epochs=2, repeated=6), run, store={})
    assert (loop.reached.diverged_at, len(steps)) == (2, 30 + 10)
    first, second = run.trace()
    assert first["train_loss"] > 0 and first["val_loss"] > 0
    assert (second["epoch"], second["train_loss"], second["val_loss"]) == (2, None, None)


def test_a_metric_that_is_not_finite_is_none_and_no_divergence():
    class Odd(Plain):
        def evaluate(self, model, sampling, accelerator):
            return {"val_loss": math.nan}

    loop = trained(Odd())
    assert loop.reached.diverged_at is None
    assert [entry["val_loss"] for entry in loop.reached.trace] == [None] * 3


# Stopped and resumed


class Killed(Exception):
    pass


def killed_after(batches, run, method="loss", **settings):
    """As far as a run gets that is killed in so many calls of a method."""
    left = batches

    def counted(self, *arguments):
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return getattr(Plain, method)(self, *arguments)

    task = type("Killed", (Plain,), {method: counted})(**settings)
    with pytest.raises(Killed):
        trained(task, run, checkpoint.load(run.checkpoint_path), store={})


@pytest.fixture
def run(tmp_path):
    made = StoredRun(tmp_path, "data", "net", "Tanh", 7)
    made.folder.mkdir(parents=True)
    return made


@pytest.mark.parametrize("kills", [[1], [3], [4, 4], [5], [7, 1, 6], [14]])
def test_a_killed_run_ends_as_if_never_stopped(kills, run):
    noisy = {"dropout": 0.3, "decay": 0.9}
    expected = trained(Plain(**noisy))
    for batches in kills:
        killed_after(batches, run, **noisy)
    last = trained(Plain(**noisy), run, checkpoint.load(run.checkpoint_path), store={})
    assert numbers(last) == numbers(expected)
    assert same(last.model, expected.model) and same(last.ema.module, expected.ema.module)
    assert [{k: v for k, v in each.items() if "second" not in k} for each in run.trace()] == numbers(expected)


@pytest.mark.parametrize("evaluations", [0, 1, 2])
@pytest.mark.parametrize("checkpoint_steps", [1, 5, 1000])
def test_killed_while_it_evaluates(evaluations, checkpoint_steps, run):
    killed_after(evaluations, run, "evaluate", checkpoint_steps=checkpoint_steps)
    resumed = trained(Plain(), run, checkpoint.load(run.checkpoint_path), store={})
    assert numbers(resumed) == numbers(trained(Plain()))


def test_the_previous_checkpoint_serves_where_the_last_is_damaged(run, capsys):
    killed_after(9, run)
    whole = run.checkpoint_path.read_bytes()
    run.checkpoint_path.write_bytes(whole[: len(whole) // 2])
    previous = torch.load(checkpoint.previous(run.checkpoint_path), weights_only=True)["step"]
    loop = trained(Plain(), run, checkpoint.load(run.checkpoint_path), store={})
    said = capsys.readouterr()
    assert f"the checkpoint {run.checkpoint_path} is broken" in said.err
    assert "resuming from checkpoint_7.previous.pth" in said.err
    assert f"resuming from step {previous} of 15" in said.out
    assert numbers(loop) == numbers(trained(Plain()))


def test_a_run_goes_on_with_other_processes(run):
    """What two processes had summed up counts as what one would have."""
    killed_after(7, run)
    state = checkpoint.load(run.checkpoint_path)
    (one,) = state["losses"]
    loop = trained(Plain(), run, state | {"losses": [one * 0.75, one * 1.25]}, store={})
    for ours, theirs in zip(numbers(loop), numbers(trained(Plain())), strict=True):
        assert ours == pytest.approx(theirs)


# What is kept


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("last", {}),
        ("all", {f"weights_7/epoch_{epoch}.pth": epoch for epoch in (1, 2, 3)}),
        ("best", {"best_7.pth": 2}),  # of losses that fall, and rise again
    ],
)
def test_weights_are_kept_as_said(keep, kept, tmp_path):
    run = StoredRun(tmp_path, "data", "net", "Tanh", 7)
    task, found = Plain(table=(0.1, 0.05, 0.01), machine=Machine("cpu", keep=keep)), []

    def evaluate(model, sampling, accelerator):
        found.append(copy.deepcopy(model.state_dict()))
        return {"val_loss": (3.0, 1.0, 2.0)[len(found) - 1]}

    task.evaluate = evaluate
    run.folder.mkdir(parents=True)
    trained(task, run, store={"settings": "some"})
    files = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*.pth")} - {"checkpoint_7.pth"}
    assert files - {"checkpoint_7.previous.pth"} == set(kept)
    for name, epoch in kept.items():
        weights = checkpoint.read(run.folder / name)["model"]
        assert all(torch.equal(weights[each], value) for each, value in found[epoch - 1].items())
