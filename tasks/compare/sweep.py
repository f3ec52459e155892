"""Plan the runs of comparisons, at one learning rate, at several, or at each activation's own best one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.compare.options import Case, rate_setting, with_rate
from workbench.output.estimates import estimate
from workbench.training import metrics
from workbench.training.plan import Planned
from workbench.training.runs import SEARCH, SEARCH_SEED, Results, StoredRun
from workbench.training.task import Spec, Task


@dataclass(frozen=True)
class Compared:
    """Hold one comparison: activations and seeds that differ in nothing else but, if it was searched for, the rate.

    Args:
        rates: of each activation; None: the recipe's.
        place: its folder under the model's, "" for that itself.
        notes: what a reader has to know of the rates, a line each.
    """

    case: Case
    rates: Mapping[str, float | None]
    place: str = ""
    notes: Sequence[str] = ()
    tuning: Mapping[str, Any] | None = None

    def plan(self, task: Task) -> list[Planned]:
        """Plan all activations of a seed before the next seed."""
        options = self.case.options
        return [
            _planned(self.case, task, activation, seed, self.rates[activation], "lr" if self.place else "")
            for seed in range(options.seeds)
            for activation in options.activations
        ]

    @property
    def changed(self) -> dict[str, Any]:
        """Return the learning rates, as settings that differ from those of the case."""
        rates = {name: rate for name, rate in self.rates.items() if rate is not None}
        if not rates:
            return {}
        same = next(iter(rates.values())) if len(set(rates.values())) == 1 else rates
        return {rate_setting(self.case.spec): same}

    def output(self, task: Task) -> Path:
        """Return the folder of its tables."""
        folder: Path = self.case.options.results / task.dataset / task.model_name
        return folder / self.place if self.place else folder


def _planned(case: Case, task: Task, activation: str, seed: int, rate: float | None, prefix: str) -> Planned:
    spec: Spec = case.spec if rate is None else with_rate(case.spec, rate)
    variant = f"{prefix}_{rate:g}" if prefix and rate is not None else ""
    run = StoredRun(case.options.results, task.dataset, task.model_name, activation, seed, variant)
    return Planned(run, spec)


def fixed(case: Case) -> list[Compared]:
    """List the comparisons of a case whose rates are given: one, or one at each rate."""
    activations = case.options.activations
    if len(case.rates.values) < 2:
        return [Compared(case, dict.fromkeys(activations))]
    return [
        Compared(case, dict.fromkeys(activations, rate), f"lr_{rate:g}", [f"learning rate: {rate:g} for all"])
        for rate in case.rates.values
    ]


def search(case: Case, task: Task) -> list[Planned]:
    """Plan the runs among which the rates are chosen: the same number for each activation."""
    return [
        _planned(case, task, activation, SEARCH_SEED + number, rate, SEARCH)
        for number in range(case.options.tuning_seeds)
        for rate in case.rates.values
        for activation in case.options.activations
    ]


def tuned(case: Case, task: Task, found: Mapping[StoredRun, Results]) -> Compared:
    """Return the comparison at the rate that is best for each activation, by the mean over the seeds of the search.

    A rate at which a run failed or diverged comes after all without such a run.
    """
    seeds = [SEARCH_SEED + number for number in range(case.options.tuning_seeds)]

    def score(activation: str, rate: float) -> float | None:
        return _score([found.get(_planned(case, task, activation, seed, rate, SEARCH).run) for seed in seeds])

    scores = {name: {rate: score(name, rate) for rate in case.rates.values} for name in case.options.activations}
    sign = 1 if task.metrics[0].higher_is_better else -1
    chosen = {
        name: max(of, key=lambda rate, of=of: -math.inf if of[rate] is None else sign * of[rate])  # type: ignore
        for name, of in scores.items()
    }
    by_text = {name: {f"{rate:g}": value for rate, value in of.items()} for name, of in scores.items()}
    tuning = {"rates": list(case.rates.values), "seeds": seeds, "chosen": chosen, "scores": by_text}
    return Compared(case, chosen, "tuned", _notes(task, seeds, scores, chosen), tuning)


def _notes(
    task: Task, seeds: list[int], scores: Mapping[str, Mapping[float, float | None]], chosen: Mapping[str, float]
) -> list[str]:
    """Say how the rates were chosen, and which choices are doubtful."""
    rates = list(next(iter(scores.values())))
    got = ", ".join(f"{activation} {rate:g}" for activation, rate in chosen.items())
    notes = [
        f"learning rate: each activation's best of {', '.join(f'{rate:g}' for rate in rates)} by the mean "
        f"{task.metrics[0].title} of {len(seeds)} seed{'s' * (len(seeds) > 1)} that count for no result "
        f"({len(seeds) * len(rates)} runs each): {got}"
    ]
    edge = [activation for activation, rate in chosen.items() if rate in (min(rates), max(rates))]
    if edge:
        notes.append(f"at the edge of what was searched, so that a better one may lie beyond: {', '.join(edge)}")
    nowhere = [activation for activation, of in scores.items() if all(value is None for value in of.values())]
    if nowhere:
        notes.append(f"without a rate at which no run failed, and so with the first one: {', '.join(nowhere)}")
    return notes


def _score(runs: Sequence[Results | None]) -> float | None:
    """Return the mean of the judge; None if a run failed, diverged or has no number."""
    values = []
    for results in runs:
        if results is None or results["final"] is None:
            return None
        value = metrics.read(results["metrics"])[0].value(results["final"])
        if value is None:
            return None
        values.append(value)
    return estimate(values).mean
