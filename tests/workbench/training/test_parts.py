"""The parts of a training: who sees which samples, seeds, rates, optimisers."""

import copy
import math

import pytest
import torch
from torch import nn

from golu import get_activation_function
from workbench.cli.errors import UserError
from workbench.training.optimizers import OPTIMIZERS, make_optimizer
from workbench.training.sampling import Sampling
from workbench.training.schedules import tabulate, tabulate_timm
from workbench.training.seeding import derived_seed, generator_for, seed_everything


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


def test_seeds():
    seeds = {derived_seed(seed, "step", step, rank) for seed in range(4) for step in range(50) for rank in range(4)}
    assert len(seeds) == 800
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(0, "step", 1) != derived_seed(0, "order", 1)
    drawn = [torch.rand(2, generator=generator_for(3, "a")) for _ in range(2)]
    for _ in range(2):
        seed_everything(3)
        drawn.append(torch.rand(2))
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[2], drawn[3])


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


@pytest.mark.parametrize("flags", [{}, {"norm_weight_decay": 0.3}, {"vector_weight_decay": 0.2}])
def test_what_activations_learn_is_never_decayed(flags):
    learned = [get_activation_function(each) for each in ("PReLU", "TrainableGoLU", "AGLU")]
    net = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), *learned)
    optimizer = make_optimizer("adamw", net, lr=0.1, weight_decay=0.5, **flags)
    decays = {each: group["weight_decay"] for group in optimizer.param_groups for each in group["params"]}
    assert len(decays) == len([*net.parameters()])
    assert {decays[own] for each in learned for own in each.parameters()} == {0.0}
    norm = flags.get("norm_weight_decay", flags.get("vector_weight_decay", 0.5))
    assert (decays[net[0].weight], decays[net[1].weight]) == (0.5, norm)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_leave_vectors_undecayed_if_asked(name):
    """What activations learn is among them."""
    learned = [get_activation_function(each) for each in ("PReLU", "xIELU", "AGLU", "TrainableGoLU")]
    net = nn.Sequential(nn.Linear(6, 16), *learned, nn.Linear(16, 3))
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
