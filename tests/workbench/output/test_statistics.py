"""workbench/output/statistics.py against scipy, statsmodels, baycomp and scikit-posthocs, and by simulation."""

import numpy as np
import pytest
from scipy import stats

from workbench.output.statistics import (
    bayesian_signed_rank,
    compare_pairs,
    friedman_nemenyi,
    holm,
    interquartile_mean,
    spread_p_value,
)

SIMULATIONS, SEEDS = 1000, 10
NAMES = ["ReLU", "GELU", "Swish", "Mish", "GoLU"]
TO_FIRST = [(name, "ReLU") for name in NAMES[1:]]


def table(array, names=NAMES):
    """Groups by name, their values by seed; NaN: the seed is missing."""
    return {
        name: {seed: float(value) for seed, value in enumerate(row) if np.isfinite(value)}
        for name, row in zip(names, array, strict=True)
    }


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_holm_by_hand():
    # sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 and 0.04, none smaller than the one before it
    assert holm([0.02, 0.01, 0.04, 0.03]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_holm_agrees_with_statsmodels(random):
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    p_values = random.uniform(0, 0.3, 9).tolist()
    assert holm(p_values) == pytest.approx(multitest.multipletests(p_values, method="holm")[1])


def test_two_groups_are_compared_by_the_paired_t_test(random):
    x = random.normal(size=(2, 6))
    tests = compare_pairs(table(x, ["ReLU", "GoLU"]), [("GoLU", "ReLU")])
    assert tests.p_values["GoLU", "ReLU"] == pytest.approx(stats.ttest_rel(x[1], x[0]).pvalue)
    assert tests.adjusted == tests.p_values


def test_the_pooled_error_is_that_of_the_two_way_table(random):
    x = random.normal(size=(5, 7)) + 3 * random.normal(size=(1, 7))
    tests = compare_pairs(table(x), TO_FIRST)
    residuals = x - x.mean(1, keepdims=True) - x.mean(0, keepdims=True) + x.mean()
    error = np.sqrt(2 * (residuals**2).sum() / (4 * 6) / 7)
    expected = 2 * stats.t.sf(abs(x[1:].mean(1) - x[0].mean()) / error, 24)
    assert tests.pooled
    assert [tests.p_values[pair] for pair in TO_FIRST] == pytest.approx(expected)
    assert [tests.adjusted[pair] for pair in TO_FIRST] == pytest.approx(holm(list(expected)))


def test_missing_seeds_agree_with_least_squares_of_statsmodels(random):
    formula = pytest.importorskip("statsmodels.formula.api", reason="statsmodels is not installed")
    import pandas as pd

    x = random.normal(size=(5, 5)) + random.normal(size=(1, 5))
    x[1, 0] = x[4, 3] = x[4, 4] = np.nan
    rows = [(name, seed, value) for name, of in table(x).items() for seed, value in of.items()]
    data = pd.DataFrame(rows, columns=["group", "seed", "value"])
    fit = formula.ols("value ~ C(group, Treatment('ReLU')) + C(seed)", data).fit()
    tests = compare_pairs(table(x), TO_FIRST)
    expected = [fit.pvalues[f"C(group, Treatment('ReLU'))[T.{name}]"] for name in NAMES[1:]]
    assert tests.pooled and [tests.p_values[pair] for pair in TO_FIRST] == pytest.approx(expected)


def test_the_test_of_spreads_is_bartletts_without_the_seeds_medians(random):
    x = random.normal(size=(4, 6)) + random.normal(size=6)
    values = table(x, NAMES[:4])
    values["Mish"].pop(2)
    x[3, 2] = np.nan
    x -= np.nanmean(x, axis=1, keepdims=True)
    x -= np.nanmedian(x, axis=0)
    groups = [*x[:3], np.delete(x[3], 2)]
    assert spread_p_value(values) == pytest.approx(stats.bartlett(*groups).pvalue)
    assert spread_p_value(table(x[:2], NAMES[:2])) == 1


def test_groups_of_different_spread_are_compared_in_pairs(random):
    x = random.normal(size=(5, 10)) * np.array([[1], [1], [20], [1], [1]])
    tests = compare_pairs(table(x), TO_FIRST)
    assert not tests.pooled
    expected = [stats.ttest_rel(row, x[0]).pvalue for row in x[1:]]
    assert [tests.p_values[pair] for pair in TO_FIRST] == pytest.approx(expected)


def test_what_cannot_be_tested_has_no_p_value_and_is_no_part_of_the_family():
    values = {"ReLU": {0: 1.0, 1: 2.0, 2: 4.0}, "GoLU": {0: 2.0, 1: 2.5, 2: 5.5}, "Mish": {0: 3.0}, "Swish": {}}
    tests = compare_pairs(values, [("GoLU", "ReLU"), ("Mish", "ReLU"), ("Swish", "ReLU")])
    assert tests.p_values["Mish", "ReLU"] is None and tests.adjusted["Swish", "ReLU"] is None
    assert tests.adjusted["GoLU", "ReLU"] == tests.p_values["GoLU", "ReLU"]
    assert not tests.claims(("Mish", "ReLU"))
    one_seed = compare_pairs({"ReLU": {0: 1.0}, "GoLU": {0: 2.0}}, [("GoLU", "ReLU")])
    assert one_seed.p_values["GoLU", "ReLU"] is None


def test_without_spread_a_difference_is_not_tested_and_equal_values_do_not_differ():
    values = {"ReLU": {0: 95.1, 1: 95.2}, "GoLU": {0: 95.3, 1: 95.4}, "Mish": {0: 95.1, 1: 95.2}}
    tests = compare_pairs(values, [("GoLU", "ReLU"), ("Mish", "ReLU")])
    assert tests.p_values == {("GoLU", "ReLU"): None, ("Mish", "ReLU"): 1.0}


# The rule's own errors: a run is seed + group + noise, and a paired difference has a standard deviation of 1


def found(shifts, pairs, seeds=SEEDS, spread=1.0, simulations=SIMULATIONS):
    """Which pairs are claimed to differ, in each of the simulations."""
    random = np.random.default_rng(1)
    scale = 0.5**0.5 * np.ones(len(shifts)) * spread
    names = NAMES[: len(shifts)]
    claimed = []
    for _ in range(simulations):
        x = random.normal(size=(len(shifts), seeds)) * scale[:, None] + random.normal(size=seeds)
        tests = compare_pairs(table(x + np.asarray(shifts)[:, None], names), pairs)
        claimed.append([tests.claims(pair) for pair in pairs])
    return np.array(claimed)


def test_without_a_difference_at_most_5_percent_claim_one():
    assert found([0] * 5, TO_FIRST).any(axis=1).mean() <= 0.05
    all_pairs = [(one, other) for i, one in enumerate(NAMES) for other in NAMES[:i]]
    assert found([0] * 5, all_pairs).any(axis=1).mean() <= 0.05


def test_a_difference_of_one_standard_deviation_is_found_in_80_percent():
    """Between two groups. Of five, one that differs is found in two thirds, as the module's text says."""
    assert found([0, 1], [("GELU", "ReLU")]).mean() >= 0.8
    of_five = found([0, 0, 0, 0, 1], TO_FIRST)
    assert of_five[:, 3].mean() >= 0.62 and of_five[:, :3].any(axis=1).mean() <= 0.06
    assert found([0, 0, 0, 0, 1], TO_FIRST, seeds=13)[:, 3].mean() >= 0.8


@pytest.mark.parametrize("spread", [(1, 1, 1, 1, 5), (5, 1, 1, 1, 1), (1, 1, 1, 1, 30)])
def test_a_group_of_another_spread_raises_the_error_rate_little(spread):
    assert found([0] * 5, TO_FIRST, spread=spread, simulations=300).any(axis=1).mean() <= 0.08


# Over several tasks


def test_the_interquartile_mean_is_scipys_trimmed_mean(random):
    by_task = [random.normal(size=8), random.normal(size=8) + 2]
    result = interquartile_mean(by_task)
    assert result.value == pytest.approx(stats.trim_mean(np.concatenate(by_task), 0.25))

    def statistic(*tasks, axis=-1):  # scipy resamples each sample by itself: the strata
        return stats.trim_mean(np.concatenate(tasks, axis=axis), 0.25, axis=axis)

    expected = stats.bootstrap(
        by_task, statistic, method="percentile", n_resamples=5000, random_state=0, vectorized=True
    ).confidence_interval
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high), abs=0.08)


def test_the_signed_rank_test_agrees_with_baycomp():
    baycomp = pytest.importorskip("baycomp", reason="baycomp is not installed")
    differences = np.array([0.5, 0.1, -0.3, 0.9, 0.45, 0.05])  # no mean of two lies on the edge of the region
    result = bayesian_signed_rank(differences, 0.2)
    expected = baycomp.SignedRankTest.probs(np.zeros(6), differences, rope=0.2, nsamples=20_000)
    assert tuple(result) == pytest.approx(expected, abs=0.03)


def test_the_signed_rank_test_at_its_limits():
    assert bayesian_signed_rank([3.0] * 8, 0.1).above > 0.99
    assert bayesian_signed_rank([-3.0] * 8, 0.1).below > 0.99
    assert bayesian_signed_rank([0.05, -0.05] * 4, 0.1).within == 1
    assert sum(bayesian_signed_rank([0.3, -0.2, 0.1], 0.1)) == pytest.approx(1)


def test_ranks_agree_with_scipy_and_demsar(random):
    scores = random.normal(size=(12, 5)) + np.arange(5) * 0.4
    ranks = friedman_nemenyi(scores)
    assert ranks.mean == pytest.approx(stats.rankdata(-scores, axis=1).mean(axis=0))
    assert ranks.friedman_p == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue)
    # Demsar's table: q = 2.728 for five at 5%
    assert ranks.critical_difference == pytest.approx(2.728 * np.sqrt(5 * 6 / (6 * 12)), rel=1e-3)
    posthocs = pytest.importorskip("scikit_posthocs", reason="scikit-posthocs is not installed")
    expected = posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    assert np.array(ranks.p_values) == pytest.approx(expected, abs=1e-4)
