"""workbench/output/estimates.py against scipy."""

import math

import pytest
import torch
from scipy import stats

from workbench.output.estimates import estimate, median_interval, paired_difference

VALUES = [97.2, 96.1, 98.3, 97.7]


def test_estimate_agrees_with_scipy():
    mean, error = sum(VALUES) / 4, stats.sem(VALUES)
    assert estimate(VALUES) == pytest.approx((mean, error, *stats.t.interval(0.95, 3, mean, error), 4))


def test_one_value_has_no_error_and_none_no_estimate():
    assert estimate([5.0]) == (5.0, None, None, None, 1)
    with pytest.raises(ValueError):
        estimate([])


def test_paired_difference_agrees_with_the_paired_t_test():
    baseline = [96.9, 96.3, 97.5, 97.0]
    result = paired_difference(VALUES, baseline)
    assert (result.low, result.high) == pytest.approx(stats.ttest_rel(VALUES, baseline).confidence_interval(0.95))
    with pytest.raises(ValueError):
        paired_difference([1.0], [1.0, 2.0])


def test_the_interval_of_the_median_holds_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    samples = torch.empty(2000, 25).exponential_(generator=generator)  # skewed, with its median at log 2
    inside = [low <= math.log(2) <= high for _, low, high in map(median_interval, samples.tolist())]
    assert 0.94 < sum(inside) / len(inside) < 0.99
    assert median_interval([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
