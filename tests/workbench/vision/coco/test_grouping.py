"""workbench/vision/coco/grouping.py: steps of images of similar shape."""

import bisect
from collections import Counter

import numpy as np
import pytest
import torch

from workbench.training.sampling import Sampling
from workbench.vision.coco.grouping import GroupedSampling, aspect_ratio_groups

RATIOS = [0.01, 0.4999, 0.5, 0.5001, 0.75, 0.999999, 1.0, 1.000001, 4 / 3, 1.5, 1.9999, 2.0, 2.0001, 50.0]
SIZES = ((640, 480), (480, 640), (500, 500), (640, 427), (427, 640), (1000, 300))


@pytest.mark.parametrize("factor", [1, 2, 3, 5, 10])
def test_groups_are_those_of_torchvisions_reference(factor):
    ratios = RATIOS + [width / height for width in range(90, 700, 13) for height in range(90, 700, 17)]
    bins = (2 ** np.linspace(-1, 1, 2 * factor + 1)).tolist()
    expected = [bisect.bisect_right(bins, each) for each in ratios]
    assert aspect_ratio_groups(ratios, factor) == tuple(expected)
    assert set(expected) == set(range(2 * factor + 2))


def test_no_factor_makes_one_group():
    assert aspect_ratio_groups(RATIOS, 0) == (0,) * len(RATIOS)
    assert aspect_ratio_groups([], 0) == aspect_ratio_groups([], 3) == ()


def grouped(groups, batch_size=4, seed=1, **more):
    return GroupedSampling(len(groups), batch_size, seed, groups=tuple(groups), **more)


def some_groups(count=203):
    rng = np.random.default_rng(0)
    return aspect_ratio_groups([width / height for width, height in rng.permutation(SIZES * count)[:count]], 3)


def taken(sampling, epoch):
    """The samples of each step, over all accumulated batches."""
    return [torch.cat([samples for samples, _ in step]).tolist() for step in sampling.steps(epoch)]


def flat(steps):
    return [each for step in steps for each in step]


def test_each_sample_comes_once_and_steps_are_of_one_group():
    groups = some_groups()
    sampling = grouped(groups)
    for epoch in range(4):
        order = sampling.order(epoch)
        assert order.dtype == torch.int64 and sorted(order.tolist()) == list(range(203))
        steps = taken(sampling, epoch)
        assert len(steps) == 50
        mixed = [number for number, step in enumerate(steps) if len({groups[each] for each in step}) > 1]
        # each group leaves at most 3
        assert all(number >= 50 - 3 * len(set(groups)) / 4 - 1 for number in mixed)
        assert all(len(step) == 4 for step in steps)


@pytest.mark.parametrize("groups", [some_groups(), [0] * 40 + [5]], ids=["some", "one of another shape"])
def test_an_epoch_has_the_samples_that_it_would_have_without_groups(groups):
    seen = Counter()
    for epoch in range(30):
        plain = Sampling(len(groups), 4, 1)
        steps = taken(grouped(groups), epoch)
        assert sorted(flat(steps)) == sorted(flat(taken(plain, epoch)))
        seen.update(flat(steps))
    assert len(seen) == len(groups)  # however rare its shape is


def test_groups_are_in_the_order_of_the_shuffled_samples():
    """By hand: each goes to its group's step, and a step is taken when it is full."""
    groups, expected, waiting = some_groups(), [], {}
    for sample in Sampling(203, 4, 1).order(2).tolist()[:200]:
        step = waiting.setdefault(groups[sample], [])
        step.append(sample)
        if len(step) == 4:
            expected.append(waiting.pop(groups[sample]))
    steps = taken(grouped(groups), 2)
    assert steps[: len(expected)] == expected and len(expected) >= 45
    rest = [sample for _, left in sorted(waiting.items()) for sample in left]
    assert flat(steps[len(expected) :]) == rest


@pytest.mark.parametrize(("processes", "accumulation"), [(2, 1), (4, 1), (2, 2), (1, 4)])
def test_processes_share_the_steps_of_one(processes, accumulation):
    groups = some_groups()
    whole = list(grouped(groups, 8).steps(3))
    parts = [
        list(grouped(groups, 8, process=each, processes=processes, accumulation=accumulation).steps(3))
        for each in range(processes)
    ]
    for number, ((samples, positions),) in enumerate(whole):
        batches = [batch for part in parts for batch in part[number]]
        assert len(batches) == processes * accumulation and {len(found) for found, _ in batches} == {8 // len(batches)}
        found = {place: each for batch in batches for each, place in zip(*map(torch.Tensor.tolist, batch), strict=True)}
        assert found == dict(zip(positions.tolist(), samples.tolist(), strict=True))


def test_other_epochs_and_seeds_have_other_orders():
    groups = some_groups()
    orders = [grouped(groups, seed=seed).order(epoch).tolist() for seed in (1, 2) for epoch in (0, 1)]
    assert all(first != second for number, first in enumerate(orders) for second in orders[:number])
    assert grouped(groups).order(1).tolist() == orders[1]


def test_one_group_is_plain_sampling():
    ratios = [width / height for width, height in SIZES] * 7
    ours, plain = grouped(aspect_ratio_groups(ratios, 0)), Sampling(42, 4, 1)
    for epoch in range(3):
        assert torch.equal(ours.order(epoch), plain.order(epoch))


def test_a_run_resumes_in_the_middle_of_an_epoch():
    sampling = grouped(some_groups())
    whole = taken(sampling, 1)
    assert [torch.cat([samples for samples, _ in step]).tolist() for step in sampling.steps(1, 20)] == whole[20:]
