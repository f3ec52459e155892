"""workbench/training: the loop against plain ones, and runs that are stopped and go on."""

import copy
import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from workbench.cli.errors import UserError
from workbench.training import checkpoint
from workbench.training.launch import launched
from workbench.training.loop import Experiment, train
from workbench.training.optimizers import OPTIMIZERS, make_optimizer
from workbench.training.program import run_experiment
from workbench.training.run_folder import RunFolder
from workbench.training.sampling import Sampling
from workbench.training.schedules import tabulate, tabulate_timm
from workbench.training.seeding import derived_seed, seed_everything

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 1).long()


def model(dropout=0.0):
    seed_everything(3)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 3))


def experiment(net=None, accumulation=1, **changes):
    """Three epochs of five steps with eight samples."""
    net = net or model()
    sampling = Sampling(40, 8, seed=7, accumulation=accumulation)

    def batches(epoch, first):
        for shares in sampling.steps(epoch, first):
            yield [(X[samples], Y[samples]) for samples, _ in shares]

    settings = {
        "model": net,
        "optimizer": torch.optim.SGD(net.parameters(), 0.1, momentum=0.9),
        "rates": [0.1, 0.05, 0.01],
        "epochs": 3,
        "steps_per_epoch": 5,
        "samples_per_step": 8,
        "seed": 7,
        "batches": batches,
        "loss": lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        "evaluate": lambda model: {"val_loss": F.cross_entropy(model(X), Y).item()},
        "judge": "val_loss",
        "higher_is_better": False,
        "checkpoint_every": 2,
    }
    return Experiment(**settings | changes)


def trained(*arguments, **keywords):
    with launched("cpu") as accelerator:
        return train(*arguments, accelerator, **keywords)


def numbers(outcome):
    times = ("seconds", "images_per_second")
    return [{name: value for name, value in entry.items() if name not in times} for entry in outcome["epochs"]]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


# Against plain loops


def test_equals_a_plain_loop_bit_for_bit():
    net, reference = model(), model()
    outcome = trained(experiment(net))
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
    assert same(net, reference)
    found = [[entry["train_loss"], entry["val_loss"]] for entry in outcome["epochs"]]
    assert torch.allclose(torch.tensor(found), torch.tensor(expected))
    assert [entry["lr"] for entry in outcome["epochs"]] == [0.1, 0.05, 0.01]
    assert outcome["final"] == outcome["epochs"][-1]
    assert outcome["best"] == min(outcome["epochs"], key=lambda entry: entry["val_loss"])


def test_accumulated_batches_are_one():
    whole, parts = model(), model()
    trained(experiment(whole))
    trained(experiment(parts, accumulation=4))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_clipping():
    net, reference = model(), model()
    trained(experiment(net, clip_norm=0.01, epochs=1, rates=[0.5]))
    optimizer = torch.optim.SGD(reference.parameters(), 0.5, momentum=0.9)
    for samples in Sampling(40, 8, seed=7).order(0).split(8):
        optimizer.zero_grad()
        F.cross_entropy(reference(X[samples]), Y[samples]).backward()
        norm = math.sqrt(sum(float(each.grad.square().sum()) for each in reference.parameters()))
        assert norm > 0.01
        for each in reference.parameters():
            each.grad *= 0.01 / norm
        optimizer.step()
    for a, b in zip(net.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_moving_average_of_weights():
    """The first update copies; each later one takes 1 - decay of the weights."""
    from timm.utils import ModelEmaV3

    net = model()
    weights = []
    loss = experiment().loss

    def recorded(model, batch):
        weights.append(net[0].weight.detach().clone())  # before the step
        return loss(model, batch)

    ema = ModelEmaV3(net, decay=0.75)
    outcome = trained(experiment(net, loss=recorded, ema=ema, ema_every=2))
    weights = [*weights[1:], net[0].weight.detach()]  # after each step
    expected = weights[0]
    for each in weights[2::2]:
        expected = 0.75 * expected + 0.25 * each
    assert torch.allclose(ema.module[0].weight, expected, atol=1e-6)
    with torch.no_grad():
        assert outcome["final"]["ema_val_loss"] == pytest.approx(F.cross_entropy(ema.module(X), Y).item())


def test_a_rate_a_step():
    rates = [0.1 / (step + 1) for step in range(15)]
    seen = []
    made = experiment(rates=rates)
    step = made.optimizer.step
    made.optimizer.step = lambda *a, **k: (seen.append(made.optimizer.param_groups[0]["lr"]), step(*a, **k))[1]
    trained(made)
    assert seen == rates


def test_layer_decay_scales_the_rate():
    made = experiment()
    made.optimizer.param_groups[0]["lr_scale"] = 0.5
    trained(made)
    assert made.optimizer.param_groups[0]["lr"] == 0.005


def test_bfloat16_is_used_where_it_is_asked_for():
    dtypes = []
    net = model()
    net[1].register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    trained(experiment(net, autocast=torch.bfloat16))
    assert set(dtypes) == {torch.bfloat16}


def test_divergence_ends_the_run():
    outcome = trained(experiment(rates=[0.1, math.inf, 0.1]))
    assert outcome["diverged_at"] == 2
    assert outcome["final"] is None and outcome["best"] is None
    assert len(outcome["epochs"]) == 1


# Stopped and going on


class Killed(Exception):
    pass


def folder(tmp_path):
    made = RunFolder(tmp_path, "data", "net", "GoLU", 7)
    made.prepare()
    return made


def killed_after(steps, made, place, configuration=None):
    """As far as a run gets that is killed so many steps after it starts."""
    loss, left = made.loss, steps

    def counted(model, batch):
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return loss(model, batch)

    made.loss = counted
    with pytest.raises(Killed):
        trained(made, folder=place, configuration=configuration or {"a": 1})


@pytest.mark.parametrize("kills", [[1], [3], [4, 4], [5], [7, 1, 6], [14]])
def test_a_killed_run_ends_as_if_never_stopped(tmp_path, kills):
    from timm.utils import ModelEmaV3

    def made():
        net = model(dropout=0.3)
        return experiment(net, ema=ModelEmaV3(net, decay=0.9))

    expected = made()
    outcome = trained(expected, folder=folder(tmp_path / "whole"), configuration={"a": 1})
    place = folder(tmp_path / "killed")
    for steps in kills:
        killed_after(steps, made(), place)
    last = made()
    again = trained(last, folder=place, configuration={"a": 1})
    assert numbers(again) == numbers(outcome)
    assert same(last.model, expected.model)
    assert same(last.ema.module, expected.ema.module)
    stored = [json.loads(each.trace_path.read_text()) for each in (place, folder(tmp_path / "whole"))]
    assert numbers({"epochs": stored[0]}) == numbers({"epochs": stored[1]}) == numbers(outcome)


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("checkpoint_every", [1, 5, 1000])
def test_killed_while_it_evaluates(tmp_path, epoch, checkpoint_every):
    expected = trained(experiment())
    made, left = experiment(checkpoint_every=checkpoint_every), epoch
    evaluate = made.evaluate

    def killed(model):
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        return evaluate(model)

    made.evaluate = killed
    with pytest.raises(Killed):
        trained(made, folder=folder(tmp_path), configuration={"a": 1})
    assert numbers(trained(experiment(), folder=folder(tmp_path), configuration={"a": 1})) == numbers(expected)


def test_a_truncated_checkpoint_is_named_and_the_previous_one_used(tmp_path, capsys):
    expected = trained(experiment())
    place = folder(tmp_path)
    killed_after(9, experiment(), place)
    whole = place.checkpoint_path.read_bytes()
    place.checkpoint_path.write_bytes(whole[: len(whole) // 2])
    previous = torch.load(checkpoint.previous(place.checkpoint_path), weights_only=True)["step"]
    outcome = trained(experiment(), folder=place, configuration={"a": 1})
    said = capsys.readouterr()
    assert f"the checkpoint {place.checkpoint_path} is broken" in said.err
    assert "going on from checkpoint_7.previous.pth" in said.err
    assert f"going on from step {previous} of 15" in said.out
    assert numbers(outcome) == numbers(expected)
    assert place.checkpoint_path.with_name("checkpoint_7.pth.broken").read_bytes() == whole[: len(whole) // 2]


def test_an_altered_byte_is_found(tmp_path):
    path = tmp_path / "checkpoint_0.pth"
    checkpoint.save(path, {"model": {"weight": torch.zeros(1000)}})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is broken .damaged"):
        checkpoint.read(path)


def test_only_broken_checkpoints(tmp_path):
    path = tmp_path / "checkpoint_0.pth"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="there is no other"):
        checkpoint.load(path)
    assert checkpoint.load(path) is None


def test_no_code_runs_when_a_checkpoint_is_read(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="is broken"):
        checkpoint.read(tmp_path / "evil.pth")


def test_killed_between_the_two_renames(tmp_path):
    path = tmp_path / "checkpoint_0.pth"
    checkpoint.save(path, {"model": {}, "step": 1})
    path.replace(checkpoint.previous(path))
    assert checkpoint.load(path)["step"] == 1


def test_another_configuration_is_refused(tmp_path):
    place = folder(tmp_path)
    killed_after(9, experiment(), place, {"lr": 0.1})
    before = place.checkpoint_path.read_bytes()
    with pytest.raises(UserError, match=r"lr=0.1, not lr=0.2"):
        trained(experiment(), folder=place, configuration={"lr": 0.2})
    assert place.checkpoint_path.read_bytes() == before


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    place = folder(tmp_path)
    killed_after(3, experiment(), place)
    with pytest.raises(UserError, match=r"checkpoint_7.pth is of another model: size mismatch for 0"):
        trained(experiment(nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 3))), folder=place, configuration={"a": 1})


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    place = folder(tmp_path)
    killed_after(3, experiment(), place)
    before = place.checkpoint_path.read_bytes()

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(UserError, match="No space left on device"):
        trained(experiment(), folder=place, configuration={"a": 1})
    monkeypatch.undo()
    assert place.checkpoint_path.read_bytes() == before
    assert not [each for each in place.folder.iterdir() if "tmp" in each.name or "next" in each.name]


# A whole program's run


def test_results_of_a_run(tmp_path, capsys):
    place = RunFolder(tmp_path, "data", "net", "GoLU", 7)
    results = run_experiment(place, {"lr": 0.1}, lambda accelerator: experiment(), "cpu")
    said = capsys.readouterr().out
    assert "data, net (163 parameters), GoLU, seed 7" in said and "lr=0.1" in said
    stored = json.loads((tmp_path / "data/net/GoLU/results_7.json").read_text())
    assert stored == results
    assert stored["parameters"] == 6 * 16 + 16 + 16 * 3 + 3
    assert stored["configuration"] == {"dataset": "data", "model": "net", "activation": "GoLU", "seed": 7, "lr": 0.1}
    assert stored["final"]["epoch"] == 3
    assert stored["environment"]["torch"] == torch.__version__ and stored["environment"]["processes"] == 1
    assert stored["images_per_second"] == pytest.approx(3 * 40 / (60 * stored["train_minutes"]))
    names = sorted(each.name for each in place.folder.iterdir())
    assert names == ["checkpoint_7.pth", "opt_trace_7.json", "plot_7.png", "results_7.json", "tensorboard_7"]
    state = torch.load(place.checkpoint_path, weights_only=True)
    assert state["step"] == 15 and set(state["model"]) == set(model().state_dict())

    def fail(accelerator):
        raise AssertionError("trained again")

    assert run_experiment(place, {"lr": 0.1}, fail, "cpu") == stored
    assert "has ended already" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"lr=0.1, not lr=0.3"):
        run_experiment(place, {"lr": 0.3}, fail, "cpu")


def test_events_say_what_the_trace_says(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    place = folder(tmp_path)
    killed_after(8, experiment(), place)
    outcome = trained(experiment(), folder=place, configuration={"a": 1})
    events = EventAccumulator(str(place.events_path)).Reload()
    read = [(event.step, event.value) for event in events.Scalars("val_loss")]
    assert read == [(entry["epoch"], pytest.approx(entry["val_loss"])) for entry in outcome["epochs"]]


# The parts


def test_sampling_deals_out_each_sample_once():
    sampling = Sampling(count=43, batch_size=8, seed=0)
    taken = [samples for shares in sampling.steps(0) for samples, _ in shares]
    assert [len(each) for each in taken] == [8] * 5
    assert len(torch.cat(taken).unique()) == 40
    assert not torch.equal(sampling.order(0), sampling.order(1))
    assert torch.equal(sampling.order(1), Sampling(43, 8, 0).order(1))
    assert not torch.equal(sampling.order(0), Sampling(43, 8, 1).order(0))


@pytest.mark.parametrize(("processes", "accumulation"), [(2, 1), (1, 4), (2, 2)])
def test_a_step_has_the_same_samples_however_it_is_shared(processes, accumulation):
    whole = [shares[0][0] for shares in Sampling(43, 8, 0).steps(2, first=1)]
    parts = [Sampling(43, 8, 0, process, processes, accumulation).steps(2, first=1) for process in range(processes)]
    for expected, *shares in zip(whole, *parts, strict=True):
        batches = [samples for share in shares for samples, _ in share]
        assert {len(each) for each in batches} == {8 // processes // accumulation}
        assert torch.cat(batches).sort().values.tolist() == expected.sort().values.tolist()


def test_repeats_go_to_different_processes():
    parts = [Sampling(48, 6, 0, process, processes=2, repeats=2) for process in range(2)]
    for shares in zip(*(part.steps(0) for part in parts), strict=True):
        (first, first_positions), (second, second_positions) = (share[0] for share in shares)
        assert torch.equal(first, second) and len(first.unique()) == 3
        assert not set(first_positions.tolist()) & set(second_positions.tolist())


def test_shares_of_an_odd_validation_set():
    shares = [Sampling(8, 8, 0, process, processes=4).share(17) for process in range(4)]
    assert torch.cat(shares).sort().values.tolist() == list(range(17))


@pytest.mark.parametrize(
    ("changes", "said"), [({"batch_size": 9}, "multiple of 4"), ({"batch_size": 80}, "than the 48")]
)
def test_batches_that_cannot_be(changes, said):
    with pytest.raises(UserError, match=said):
        Sampling(**{"count": 48, "batch_size": 8, "seed": 0, "processes": 2, "accumulation": 2} | changes)


def test_derived_seeds_differ():
    seeds = {derived_seed(seed, "step", step, rank) for seed in range(4) for step in range(50) for rank in range(4)}
    assert len(seeds) == 800
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(0, "step", 1) == derived_seed(0, "step", 1) != derived_seed(0, "order", 1)


def test_tables_of_rates():
    from torch.optim.lr_scheduler import CosineAnnealingLR

    cosine = tabulate(0.4, 10, lambda optimizer: CosineAnnealingLR(optimizer, 10))
    assert cosine == pytest.approx([0.2 * (1 + math.cos(math.pi * step / 10)) for step in range(10)])
    steps = tabulate_timm(
        0.048, sched="step", num_epochs=20, decay_epochs=2.4, decay_rate=0.97, warmup_epochs=5, warmup_lr=1e-6
    )
    assert steps[:5] == pytest.approx([1e-6 + (0.048 - 1e-6) * epoch / 5 for epoch in range(5)])
    assert steps[5:] == pytest.approx([0.048 * 0.97 ** (epoch // 2.4) for epoch in range(5, 20)])
    by_step = tabulate_timm(
        1e-3, 7, sched="cosine", num_epochs=10, warmup_epochs=2, warmup_lr=0.0, step_on_epochs=False
    )
    assert len(by_step) == 70
    assert by_step[7] == pytest.approx(1e-3 / 2) and by_step[35] == pytest.approx(1e-3 / 2)
    with pytest.raises(UserError, match="cannot be made"):
        tabulate_timm(0.1, sched="other", num_epochs=3)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_leave_vectors_undecayed_if_asked(name):
    net = model()
    before = copy.deepcopy(net)
    optimizer = make_optimizer(name, net, lr=0.1, weight_decay=0.5, momentum=0.0, vector_weight_decay=0.0)
    for each in net.parameters():
        each.grad = torch.zeros_like(each)
    optimizer.step()
    factor = 1 - 0.1 * 0.5 if name in ("sgd", "sgd_nesterov", "adamw") else None
    for a, b in zip(net.parameters(), before.parameters(), strict=True):
        if a.ndim == 1:
            assert torch.equal(a, b)
        elif factor:
            assert torch.allclose(a, factor * b)
