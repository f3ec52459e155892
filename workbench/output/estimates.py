"""Estimate means, differences and medians of a few values, with their 95% intervals."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Estimate(NamedTuple):
    """Hold a mean over n values; standard error and 95% interval are None for n = 1."""

    mean: float
    standard_error: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def margin(self) -> float | None:
        """Return half of the interval's width."""
        return None if self.high is None else self.high - self.mean


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean, standard error sd / sqrt(n) with ddof=1, and 95% interval of Student's t with n - 1 degrees.

    Raises:
        ValueError: there are no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("an estimate needs at least one value")
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(mean, None, None, None, n)
    from scipy.stats import t

    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    standard_error = math.sqrt(variance / n)
    margin = float(t.ppf(0.975, n - 1)) * standard_error
    return Estimate(mean, standard_error, mean - margin, mean + margin, n)


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and its 95% interval for any distribution: the values at ranks n/2 -+ 0.98 sqrt(n)."""
    ordered = sorted(values)
    middle, margin = (len(ordered) - 1) / 2, 0.98 * math.sqrt(len(ordered))
    low, high = max(math.floor(middle - margin), 0), min(math.ceil(middle + margin), len(ordered) - 1)
    return statistics.median(ordered), ordered[low], ordered[high]


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> Estimate:
    """Estimate the mean of values[i] - baseline[i], where both come from the same seed i.

    Raises:
        ValueError: the lengths differ, or are 0.
    """
    return estimate([value - base for value, base in zip(values, baseline, strict=True)])
