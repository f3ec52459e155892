"""Test differences between groups over the same seeds, and sum up over several tasks.

**The claim rule** is `compare_pairs`: t-tests with the error of the additive model value = group + seed, corrected by
Holm; where groups differ in spread, paired t-tests corrected by Holm. It was chosen by simulation: normal errors such
that a paired difference has a standard deviation of 1 (about that of one activation's runs over seeds, where both share
half of their variance), all differences to the first of five groups, 2,000 to 8,000 repetitions.

    rule                                no difference:      one of five groups differs by
                                        any claimed         1, ten seeds   2, five   3, three
    paired t, Holm                      4.5%                55%            61%       29%
    pooled error, Holm                  4.1%                70%            93%       95%
    this one, with its test of spreads  4.8%                67%            86%       76%
    pooled error, step-down Dunnett     4.7%                73%            96%       97%
    pooled error, closed F tests        2.1%                77%            97%       98%
    paired t, not corrected             15.4%               81%

80% of differences of 1 are found at ten seeds with two groups (81%), where the rule is the paired t-test, and with five
from thirteen seeds on; even a test that knew the error and corrected nothing would find 89%. If seeds had nothing in
common and 1 were the standard deviation of a run, a difference would have 1.4: 52% with two groups, 36% with five.

Dunnett's test leaves no room below 5%, and closed F tests lose (61% to 71%) where other groups lie between. The pooled
error alone is wrong where spreads differ: with one group of 2, 5 or 30 times the others' spread up to 10%, 16% and 19%
claim a difference that is none. With the test of spreads it is up to 6% at ten seeds, 7% at five and 9% at three, where
it sees little. That test errs to the side of paired t-tests: in a fifth to a third of the cases without need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Pair = tuple[str, str]
BySeed = Mapping[str, Mapping[int, float]]  # of each group, its values by seed

LEVEL = 0.05  # of a family of tests
SPREAD_LEVEL = 0.05  # below it spreads are taken to differ


class Tests(NamedTuple):
    """Hold two-sided p-values of differences, first minus second; None: there are not two common seeds, or no spread.

    Args:
        pooled: whether the error is that of all groups; False: that of the pair alone.
        adjusted: the same by Holm, for the family of all pairs that have one.
    """

    pooled: bool
    p_values: dict[Pair, float | None]
    adjusted: dict[Pair, float | None]

    def claims(self, pair: Pair) -> bool:
        """Return whether the difference is claimed."""
        p = self.adjusted[pair]
        return p is not None and p <= LEVEL


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, by Holm's step-down procedure."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def compare_pairs(values: BySeed, pairs: Sequence[Pair]) -> Tests:
    """Test the differences of pairs of groups, as one family.

    Args:
        values: seeds may be missing; a seed that only one group has tells nothing.
        pairs: names of `values`; no pair twice.
    """
    pooled = spread_p_value(values) >= SPREAD_LEVEL
    if pooled:
        p_values = _pooled(values, pairs)
    else:
        p_values = {(one, other): _paired(values[one], values[other]) for one, other in pairs}
    tested = [pair for pair in pairs if p_values[pair] is not None]
    corrected = dict(zip(tested, holm([p_values[pair] or 0.0 for pair in tested]), strict=True))
    return Tests(pooled, p_values, {pair: corrected.get(pair) for pair in pairs})


def common_seeds(values: Mapping[int, float], others: Mapping[int, float]) -> list[int]:
    """List the seeds that both have, in order."""
    return sorted(values.keys() & others.keys())


def spread_p_value(values: BySeed) -> float:
    """Return Bartlett's p-value of the hypothesis that all groups have the same spread about their means.

    What a seed has in common is taken away first, as its median: its mean would spread one group's noise over all.
    Medians are not normal, so that p-values are somewhat too small.

    Args:
        values: groups with fewer than two values say nothing; with fewer than three groups the answer is 1.
    """
    import numpy as np
    from scipy.special import chdtrc

    several = [of for of in values.values() if len(of) > 1]
    if len(several) < 3:
        return 1.0
    means = [math.fsum(of.values()) / len(of) for of in several]
    centred = [{seed: value - mean for seed, value in of.items()} for of, mean in zip(several, means, strict=True)]
    seeds = {seed for of in centred for seed in of}
    middle = {seed: float(np.median([of[seed] for of in centred if seed in of])) for seed in seeds}
    groups = [np.array([value - middle[seed] for seed, value in of.items()]) for of in centred]
    degrees = np.array([len(group) - 1 for group in groups])
    variances = np.array([float(group.var(ddof=1)) for group in groups])
    if not variances.all():
        return 0.0 if variances.any() else 1.0
    total = degrees.sum()
    statistic = total * math.log((degrees * variances).sum() / total) - (degrees * np.log(variances)).sum()
    correction = 1 + ((1 / degrees).sum() - 1 / total) / (3 * (len(groups) - 1))
    return float(chdtrc(len(groups) - 1, statistic / correction))


def _paired(values: Mapping[int, float], others: Mapping[int, float]) -> float | None:
    import numpy as np

    differences = np.array([values[seed] - others[seed] for seed in common_seeds(values, others)])
    if len(differences) < 2:
        return None
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return _two_sided(float(differences.mean()), error, len(differences) - 1, _size(values, others))


def _pooled(values: BySeed, pairs: Sequence[Pair]) -> dict[Pair, float | None]:
    """Test with the residuals of value = group + seed, by least squares."""
    import numpy as np

    names = [name for name in values if values[name]]
    seeds = sorted({seed for name in names for seed in values[name]})
    cells = [(i, len(names) + seeds.index(seed)) for i, name in enumerate(names) for seed in values[name]]
    design = np.zeros((len(cells), len(names) + len(seeds)))
    np.put_along_axis(design, np.array(cells).reshape(-1, 2), 1.0, axis=1)
    normal = design.T @ design
    inverse = np.linalg.pinv(normal, hermitian=True)
    observed = np.array([value for name in names for value in values[name].values()])
    effects = inverse @ (design.T @ observed)
    residuals = observed - design @ effects
    degrees = len(cells) - round(float((inverse * normal).sum()))  # the trace is the rank of the design
    p_values: dict[Pair, float | None] = dict.fromkeys(pairs)
    for one, other in pairs:
        if degrees > 0 and len(common_seeds(values[one], values[other])) > 1:
            i, j = names.index(one), names.index(other)
            factor = inverse[i, i] + inverse[j, j] - 2 * inverse[i, j]
            error = math.sqrt(factor * float(residuals @ residuals) / degrees)
            size = _size(values[one], values[other])
            p_values[one, other] = _two_sided(float(effects[i] - effects[j]), error, degrees, size)
    return p_values


def _size(values: Mapping[int, float], others: Mapping[int, float]) -> float:
    return max(abs(each) for each in (*values.values(), *others.values()))


def _two_sided(difference: float, error: float, degrees: int, size: float) -> float | None:
    """Return the p-value; without spread beyond rounding, 1 for no difference and None for one."""
    from scipy.special import stdtr

    rounding = 1e-12 * size
    if error <= rounding:
        return 1.0 if abs(difference) <= rounding else None
    return float(2 * stdtr(degrees, -abs(difference) / error))


class Interval(NamedTuple):
    """Hold a number and its 95% interval."""

    value: float
    low: float
    high: float


def interquartile_mean(by_task: Sequence[Sequence[float]], samples: int = 2000) -> Interval:
    """Return the mean of the middle half of all tasks' runs, with a percentile interval of a stratified bootstrap.

    Args:
        by_task: the scores of the runs, for each task; each task's are drawn anew among themselves.
        samples: of the bootstrap; the same are drawn every time.
    """
    import numpy as np
    from scipy.stats import trim_mean

    generator = np.random.default_rng(0)
    drawn = [generator.choice(np.asarray(task, float), (samples, len(task))) for task in by_task]
    means = trim_mean(np.concatenate(drawn, axis=1), 0.25, axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    value = trim_mean(np.concatenate([np.asarray(task, float) for task in by_task]), 0.25)
    return Interval(float(value), float(low), float(high))


class SignedRank(NamedTuple):
    """Hold the probabilities that, on another task, differences are below, within and above practical equivalence."""

    below: float
    within: float
    above: float


def bayesian_signed_rank(differences: Sequence[float], rope: float, samples: int = 20_000) -> SignedRank:
    """Return the Bayesian signed-rank test of Benavoli et al. (2017, JMLR 18).

    The tasks have weights of a Dirichlet distribution, with a prior of half a task without a difference. A draw is won
    by the region that holds most of the weight of all means of two differences.

    Args:
        differences: one a task.
        rope: half the width of the region of practical equivalence around 0, at least 0.
        samples: of the posterior; the same are drawn every time.
    """
    import numpy as np

    z = np.concatenate([[0.0], np.asarray(differences, float)])
    weights = np.random.default_rng(0).dirichlet([0.5] + [1.0] * len(differences), samples)
    means = (z[:, None] + z[None, :]) / 2
    regions = [means < -rope, (means >= -rope) & (means <= rope), means > rope]
    mass = np.stack([np.einsum("si,ij,sj->s", weights, region, weights, optimize=True) for region in regions], axis=1)
    won = np.bincount(mass.argmax(axis=1), minlength=3) / samples
    return SignedRank(*(float(each) for each in won))


class Ranks(NamedTuple):
    """Hold mean ranks over tasks, 1 being best.

    Args:
        friedman_p: p-value of the hypothesis that all rank alike.
        p_values: Nemenyi's, of each pair of groups.
        critical_difference: of two mean ranks, at 5%.
    """

    mean: list[float]
    friedman_p: float
    p_values: list[list[float]]
    critical_difference: float


def friedman_nemenyi(scores: Sequence[Sequence[float]]) -> Ranks:
    """Rank groups on every task and compare their mean ranks, as Demsar (2006, JMLR 7) proposes.

    Args:
        scores: for each task the score of each of three groups or more; higher is better.
    """
    import numpy as np
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    table = np.asarray(scores, float)
    tasks, groups = table.shape
    mean = rankdata(-table, axis=1).mean(axis=0)
    unit = math.sqrt(groups * (groups + 1) / (12 * tasks))  # of studentised ranges
    distances = np.abs(mean[:, None] - mean[None, :]) / unit
    p_values = np.ones((groups, groups))
    upper = np.triu_indices(groups, 1)
    p_values[upper] = studentized_range.sf(distances[upper], groups, np.inf)
    critical = float(studentized_range.ppf(0.95, groups, np.inf)) * unit
    friedman = 1.0 if (distances == 0).all() else float(friedmanchisquare(*table.T).pvalue)
    return Ranks(mean.tolist(), friedman, np.minimum(p_values, p_values.T).tolist(), critical)
