"""Compare activations on one data set with one model: means, ties with the best, differences to the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from golu.activations import available_activations, compared_activations
from workbench.output.estimates import Estimate, estimate, paired_difference
from workbench.output.statistics import common_seeds, compare_pairs
from workbench.training.metrics import Metric
from workbench.training.reading import Run


@dataclass(frozen=True)
class Comparison:
    """Hold runs that differ in activation and seed, and in the learning rate if each activation has its own.

    Args:
        label: what tells it from others of the same data set and model, as "LR=0.01"; "" for nothing.
        runs: of each activation, by seed.
        rates: of each activation; None: its runs name none.
        main: whether it is the answer of its runs; False: it is shown beside it.
        notes: what a reader has to know of it, a line each.
    """

    dataset: str
    model: str
    label: str
    runs: Mapping[str, Mapping[int, Run]]
    rates: Mapping[str, float | None]
    main: bool = True
    notes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Return the model, with what tells the comparison from others."""
        return f"{self.model} ({self.label})" if self.label else self.model

    @property
    def all_runs(self) -> list[Run]:
        return [run for of in self.runs.values() for run in of.values()]

    @property
    def metrics(self) -> list[Metric]:
        """List what tables show: the judge first, then the other scores."""
        judge, *others = self.all_runs[0].metrics
        return [judge, *(each for each in others if each.role == "score")]

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for of in self.runs.values() for seed in of})

    def values(self, metric: Metric) -> dict[str, dict[int, float]]:
        """Return each activation's numbers by seed; a run that failed has none."""
        return {
            name: {seed: value for seed, run in of.items() if (value := run.value(metric)) is not None}
            for name, of in self.runs.items()
        }


@dataclass(frozen=True)
class Judged:
    """Hold what one metric says of one activation.

    Args:
        mean: over its seeds; None: no run ended with a number.
        failed: seeds whose run diverged or gave no finite number.
        missing: seeds that other activations have and this one has no run of.
        best: whether its mean is the best of those without a failed run.
        tie: whether its difference to the best is not claimed.
        difference: to the baseline, paired over the seeds that both have; None for the baseline, or without such seeds.
        p: of that difference, two-sided; None: it cannot be tested.
        adjusted: the same by Holm.
        better: whether the difference is claimed to be for the better (True) or the worse (False); None: it is not.
    """

    activation: str
    rate: float | None
    mean: Estimate | None
    failed: Sequence[int]
    missing: Sequence[int]
    best: bool
    tie: bool
    difference: Estimate | None
    p: float | None
    adjusted: float | None
    better: bool | None


@dataclass(frozen=True)
class Table:
    """Hold a metric of a comparison.

    Args:
        baseline: the activation that others are compared with; None: the comparison has no run of it.
        pooled: whether the error of differences to it is that of all activations together.
    """

    comparison: Comparison
    metric: Metric
    baseline: str | None
    pooled: bool
    judged: Sequence[Judged]


def in_order(activations: Iterable[str]) -> list[str]:
    """Sort activations: those that are compared by default, the other known ones, then the others by name."""
    usual = [*compared_activations(), *available_activations()]
    return sorted(set(activations), key=lambda name: (usual.index(name) if name in usual else len(usual), name))


def judge(comparison: Comparison, metric: Metric, baseline: str | None) -> Table:
    """Compare the activations by one metric.

    Args:
        baseline: None: ReLU if it is there, else the first.
    """
    names = list(comparison.runs)
    if baseline is None:
        baseline = "ReLU" if "ReLU" in names else names[0]
    values, best = comparison.values(metric), _best(comparison, metric)
    all_pairs = [(one, other) for i, one in enumerate(names) for other in names[:i]]
    to_all = compare_pairs(values, all_pairs)
    apart = {pair for pair in all_pairs if to_all.claims(pair)}
    others = [name for name in names if name != baseline] if baseline in names else []
    tests = compare_pairs(values, [(name, baseline) for name in others])
    judged = []
    for name in names:
        of, numbers = comparison.runs[name], list(values[name].values())
        difference = _difference(values[name], values[baseline]) if name in others else None
        claimed = name in others and tests.claims((name, baseline))
        judged.append(
            Judged(
                name,
                comparison.rates[name],
                estimate(numbers) if numbers else None,
                failed=[seed for seed in of if seed not in values[name]],
                missing=[seed for seed in comparison.seeds if seed not in of],
                best=name == best,
                tie=bool(numbers) and name != best and not apart & {(name, best), (best, name)},
                difference=difference,
                p=tests.p_values.get((name, baseline)),
                adjusted=tests.adjusted.get((name, baseline)),
                better=(difference.mean > 0) == metric.higher_is_better if claimed and difference else None,
            )
        )
    return Table(comparison, metric, baseline if baseline in names else None, tests.pooled, judged)


def _difference(values: Mapping[int, float], others: Mapping[int, float]) -> Estimate | None:
    seeds = common_seeds(values, others)
    return paired_difference([values[i] for i in seeds], [others[i] for i in seeds]) if seeds else None


def _best(comparison: Comparison, metric: Metric) -> str | None:
    """Return the activation with the best mean, first among those without a failed run."""
    values, sign = comparison.values(metric), 1 if metric.higher_is_better else -1
    ended = [name for name in values if values[name]]
    whole = [name for name in ended if len(values[name]) == len(comparison.runs[name])]
    means = {name: sign * estimate(list(values[name].values())).mean for name in whole or ended}
    return max(means, key=lambda name: means[name], default=None)


def csv_rows(table: Table) -> list[dict[str, Any]]:
    """Return a row for each activation."""
    comparison, metric = table.comparison, table.metric
    return [
        {
            "source": "ours", "dataset": comparison.dataset, "model": comparison.model, "setting": comparison.label,
            "metric": metric.title, "unit": metric.unit, "activation": each.activation, "learning_rate": each.rate,
            "mean": each.mean and each.mean.mean, "standard_error": each.mean and each.mean.standard_error,
            "n": each.mean.n if each.mean else 0, "failed": len(each.failed), "missing": len(each.missing),
            "best": each.best, "tie": each.tie, "baseline": table.baseline,
            "difference": each.difference and each.difference.mean, "low": each.difference and each.difference.low,
            "high": each.difference and each.difference.high, "pairs": each.difference.n if each.difference else 0,
            "p": each.p, "p_holm": each.adjusted,
            "claim": {True: "better", False: "worse", None: ""}[each.better],
        }
        for each in table.judged
    ]  # fmt: skip
