"""Sum up over several tasks: interquartile means, the Bayesian signed-rank test, and ranks from ten tasks on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.report.comparison import Comparison, in_order
from workbench.output.estimates import estimate
from workbench.output.statistics import (
    Interval,
    Ranks,
    SignedRank,
    bayesian_signed_rank,
    friedman_nemenyi,
    interquartile_mean,
)

LEAST_TASKS, TASKS_FOR_RANKS = 2, 10
TASKS_FOR_SIGNED_RANK = 5  # two tasks that agree would make it certain
ROPE = 0.2  # of a run's standard deviation, which Cohen calls a small effect


@dataclass(frozen=True)
class Summary:
    """Hold what several tasks say of each activation.

    Args:
        tasks: as "resnet20 on fashion_mnist".
        baseline: the activation at 0.
        means: interquartile mean of each activation's normalised scores.
        equivalence: of the others' mean differences to the baseline, the Bayesian signed-rank test; empty if there are
            too few tasks.
        rope: half the width of its region of practical equivalence.
        ranks: None: there are too few tasks, or activations.
        left_out: activations that lack a task and tasks that cannot be normalised, with the reason.
    """

    tasks: Sequence[str]
    baseline: str
    means: Mapping[str, Interval]
    equivalence: Mapping[str, SignedRank]
    rope: float
    ranks: Ranks | None
    left_out: Sequence[str]

    @property
    def activations(self) -> list[str]:
        return list(self.means)


def summarise(comparisons: Sequence[Comparison], baseline: str | None, rope: float = ROPE) -> Summary | None:
    """Sum up the judges of several comparisons; None if fewer than two can be.

    A run's score is its distance to the baseline's mean, in standard deviations of a run over seeds (those of all
    activations together), positive for the better.

    Args:
        baseline: None: ReLU if all tasks have it, else the first activation that all have.
    """
    tasks = [(each, each.values(each.metrics[0])) for each in comparisons if each.main]
    if len(tasks) < LEAST_TASKS:
        return None
    everywhere = in_order(set.intersection(*({name for name in of if of[name]} for _, of in tasks)))
    chosen = baseline or ("ReLU" if "ReLU" in everywhere else next(iter(everywhere), None))
    if chosen not in everywhere or len(everywhere) < 2:
        return None
    some = in_order({name for _, of in tasks for name in of} - set(everywhere))
    left_out = [f"{name}: it has no result on every task" for name in some]
    scores: dict[str, dict[str, list[float]]] = {}
    for comparison, values in tasks:
        task = f"{comparison.name} on {comparison.dataset}"
        normalised = _normalised(comparison, {name: values[name] for name in everywhere}, chosen)
        if normalised is None:
            left_out.append(f"{task}: its runs have no spread over seeds to measure with")
        else:
            scores[task] = normalised
    if len(scores) < LEAST_TASKS:
        return None
    means = {name: interquartile_mean([of[name] for of in scores.values()]) for name in everywhere}
    mean = {name: [estimate(of[name]).mean for of in scores.values()] for name in everywhere}
    others = [name for name in everywhere if name != chosen and len(scores) >= TASKS_FOR_SIGNED_RANK]
    equivalence = {name: bayesian_signed_rank(mean[name], rope) for name in others}
    ranks = None
    if len(scores) >= TASKS_FOR_RANKS and len(everywhere) > 2:
        ranks = friedman_nemenyi([[mean[name][task] for name in everywhere] for task in range(len(scores))])
    return Summary(list(scores), chosen, means, equivalence, rope, ranks, left_out)


def _normalised(
    comparison: Comparison, values: Mapping[str, Mapping[int, float]], baseline: str
) -> dict[str, list[float]] | None:
    """Return every run's score; None if there is no spread."""
    centre = estimate(list(values[baseline].values())).mean
    squares, degrees = 0.0, 0
    for of in values.values():
        mean = estimate(list(of.values())).mean
        squares += math.fsum((value - mean) ** 2 for value in of.values())
        degrees += len(of) - 1
    spread = math.sqrt(squares / degrees) if degrees else 0.0
    if spread <= 1e-12 * max(abs(centre), 1e-300):
        return None
    sign = 1 if comparison.metrics[0].higher_is_better else -1
    return {name: [sign * (value - centre) / spread for value in of.values()] for name, of in values.items()}
