"""Decide which runs are compared: those of the same settings, each activation at the learning rate that is its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.report.comparison import Comparison, in_order
from workbench.output.estimates import Estimate, estimate
from workbench.training.metrics import Metric
from workbench.training.reading import Run
from workbench.training.runs import SEARCH_SEED

SHOWN = 3  # settings in a label

BySeed = dict[int, Run]
ByRate = dict[float | None, BySeed]


@dataclass(frozen=True)
class Group:
    """Hold runs that differ in activation, seed and learning rate alone.

    Args:
        label: the settings that tell it from others of the same data set and model.
        results: of each activation at each rate.
        search: likewise the runs among which rates were chosen.
        left_out: runs that count for nothing, each with the reason.
    """

    dataset: str
    model: str
    label: str
    results: dict[str, ByRate] = field(default_factory=dict)
    search: dict[str, ByRate] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, run: Run) -> None:
        """Add a run; of two with the same settings, activation and seed the first one counts."""
        of = (self.search if run.is_search else self.results).setdefault(run.key.activation, {})
        there = of.setdefault(run.rate, {}).setdefault(run.key.seed, run)
        if there is not run:
            self.left_out.append(f"{run.place} has the settings and seed of {there.place}, which counts")

    @property
    def name(self) -> str:
        """Return model and data set, with what tells the group from others."""
        return f"{self.model}{f' ({self.label})' if self.label else ''} on {self.dataset}"

    @property
    def judge(self) -> Metric:
        """Return the metric that judges."""
        every = self.results or self.search
        return next(run for of in every.values() for by_seed in of.values() for run in by_seed.values()).metrics[0]


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Split runs by data set, model and all settings but the learning rate."""
    by_task: dict[tuple[str, str], list[tuple[dict[str, Any], list[Run]]]] = {}
    ordered = sorted(runs, key=lambda run: (run.key.dataset, run.key.model, run.is_search, run.key.seed))
    for run in ordered:
        groups = by_task.setdefault((run.key.dataset, run.key.model), [])
        own = run.settings
        of = next((found for settings, found in groups if settings == own), None)
        if of is None:
            groups.append((own, of := []))
        of.append(run)
    made = []
    for (dataset, model), groups in by_task.items():
        names = dict.fromkeys(name for settings, _ in groups for name in settings)
        differing = [n for n in names if any(each.get(n) != groups[0][0].get(n) for each, _ in groups)]
        for settings, found in groups:
            group = Group(dataset, model, _label(settings, differing))
            for run in sorted(found, key=lambda run: (not run.key.variant, run.key.seed)):
                group.add(run)
            made.append(group)
    return made


def _label(settings: Mapping[str, Any], differing: Sequence[str]) -> str:
    words = [f"{name}={settings.get(name, 'not stored')}" for name in differing[:SHOWN]]
    return ", ".join([*words, *([f"and {len(differing) - SHOWN} more"] if len(differing) > SHOWN else [])])


def mean_of(runs: Mapping[int, Run], metric: Metric) -> Estimate | None:
    """Estimate the mean over the runs that ended with a number; None if none did."""
    numbers = [value for run in runs.values() if (value := run.value(metric)) is not None]
    return estimate(numbers) if numbers else None


def comparisons(group: Group) -> list[Comparison]:
    """Return the comparisons of a group, its main one first; none if there are only runs of a search."""
    rates = _sorted({rate for of in group.results.values() for rate in of})
    if not group.results:
        return []
    if group.search:
        tuned = _made(group, *_tuned(group))
        return [tuned] if tuned.all_runs else []
    if len(rates) == 1:
        return [_made(group, dict.fromkeys(group.results, rates[0]), "", [])]
    best = {name: _best_rate(of, group.judge, of) for name, of in group.results.items()}
    several = [name for name, of in group.results.items() if len(of) > 1]
    got = _got(best)
    note = (
        f"each activation at its best learning rate of these very runs ({got}): chosen and judged on the same seeds, "
        "which flatters all, and most those with many rates; runs of a search (tasks.compare --lr tune) would not"
        if several
        else f"the learning rates are not the same, and no runs say how they were chosen: {got}"
    )
    counts = {name: len(group.results[name]) for name in in_order(group.results)}
    notes = [note]
    if len(set(counts.values())) > 1:
        notes.append(f"not the same number of rates: {', '.join(f'{name} {n}' for name, n in counts.items())}")
    made = [_made(group, best, "best LR of the same runs" if several else "LR of its own", notes)]
    for rate in rates if several else []:
        at = {name: rate for name, of in group.results.items() if rate in of}
        made.append(_made(group, at, f"LR={_text(rate)}", [], main=False))
    return made


def _made(
    group: Group, rates: Mapping[str, float | None], label: str, notes: Sequence[str], main: bool = True
) -> Comparison:
    runs = {name: group.results.get(name, {}).get(rates[name], {}) for name in in_order(rates)}
    if group.search:
        runs = {name: {s: r for s, r in of.items() if s < SEARCH_SEED} for name, of in runs.items()}
    labels = ", ".join(each for each in (group.label, label) if each)
    return Comparison(group.dataset, group.model, labels, runs, rates, main, notes)


def _tuned(group: Group) -> tuple[dict[str, float | None], str, list[str]]:
    """Choose each activation's rate by its runs of the search; return rates, label and notes."""
    chosen: dict[str, float | None] = {}
    notes, budgets, edges = [], {}, []
    for name in in_order([*group.results, *group.search]):
        of = group.search.get(name)
        if of is None:
            chosen[name] = _best_rate(group.results[name], group.judge, group.results[name])
            many = len(group.results[name]) > 1
            how = "the best of its result runs, which flatters it" if many else "the only one it has"
            notes.append(f"{name} was not searched for: its rate is {how}")
            continue
        chosen[name] = rate = _best_rate(of, group.judge, group.results.get(name, {}))
        budgets[name] = sum(map(len, of.values()))
        if all(_score(by_seed, group.judge, _seeds(of)) is None for by_seed in of.values()):
            notes.append(f"{name} has no rate at which every run of the search ended with a number")
        if len(of) > 1 and rate in (_sorted(of)[0], _sorted(of)[-1]):
            edges.append(name)
    each = ", ".join(f"{name} {count}" for name, count in budgets.items())
    same = len(set(budgets.values())) == 1
    budget = f"{next(iter(budgets.values()))} runs each" if same else f"BUDGETS DIFFER, in runs: {each}"
    sentence = (
        f"each activation at the learning rate with the best mean {group.judge.title} of its search, on seeds that "
        f"count for no result ({budget}): {_got({name: chosen[name] for name in budgets})}"
    )
    if edges:
        notes.append(f"at the edge of what was searched, so that a better rate may lie beyond: {', '.join(edges)}")
    without = [name for name, rate in chosen.items() if not group.results.get(name, {}).get(rate)]
    if without:
        notes.append(f"no result runs at the rate that was chosen: {', '.join(without)}")
    return chosen, "LR tuned", [sentence, *notes]


def _best_rate(of: ByRate, judge: Metric, results: ByRate) -> float | None:
    """Return the rate with the best mean; one that lacks a seed or had a run that failed comes after all others.

    Among equals those that have results come first, then the smallest.
    """
    sign = 1 if judge.higher_is_better else -1

    def rank(rate: float | None) -> tuple[float, bool]:
        score = _score(of[rate], judge, _seeds(of))
        return (-math.inf if score is None else sign * score, rate in results)

    return max(_sorted(of), key=rank)


def _seeds(of: ByRate) -> set[int]:
    return {seed for by_seed in of.values() for seed in by_seed}


def _score(runs: BySeed, judge: Metric, seeds: set[int]) -> float | None:
    values = [runs[seed].value(judge) if seed in runs else None for seed in seeds]
    return None if None in values else estimate([each for each in values if each is not None]).mean


def _sorted(rates: Mapping[float | None, Any] | set[float | None]) -> list[float | None]:
    return sorted(rates, key=lambda rate: (rate is None, rate or 0.0))


def _text(rate: float | None) -> str:
    return "none" if rate is None else f"{rate:g}"


def _got(rates: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {_text(rates[name])}" for name in in_order(rates))
