"""Say what a comparison would train, in which order, and what time and disk it takes, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import torch

from tasks.compare.options import Case, Rates
from tasks.compare.sweep import fixed, search
from workbench.cli.progress import duration
from workbench.output.tables import plain_table
from workbench.training.plan import Planned, check, device_of, steps_of
from workbench.training.stepper import Stepper
from workbench.training.task import Task, opened

STEPS, SECONDS = 10, 3.0  # a measurement ends with the first of them


@dataclass(frozen=True)
class Block:
    """Hold runs of one data set and model that a plan trains one after another, and what one of them takes."""

    name: str
    task: Task
    plan: Sequence[Planned]
    to_go: int
    seconds: float
    disk: int


def forecast(cases: Sequence[Case]) -> str:
    """Return the plan as a table, in the order in which it would be trained, with its sums.

    Raises:
        UserError: a run cannot be trained, or another one is stored in its place.
    """
    options = cases[0].options
    blocks = [block for case in cases for block in _blocks(case)]
    seconds = sum(each.to_go * each.seconds for each in blocks) / options.jobs
    disk = sum(each.to_go * each.disk for each in blocks)
    rows = [["runs", "data set", "model", "steps a run", "stored", "to go", "time a run", "disk a run"]]
    rows += [
        [
            each.name, each.task.dataset, each.task.model_name, str(steps_of(each.plan[0])),
            str(len(each.plan) - each.to_go), str(each.to_go), duration(each.seconds), f"{each.disk / 1e6:.1f} MB",
        ]
        for each in blocks
    ]  # fmt: skip
    jobs = f" with {options.jobs} jobs, if each runs as fast as one alone" if options.jobs > 1 else ""
    lines = [
        "",
        plain_table(rows),
        "",
        f"in all {sum(each.to_go for each in blocks)} runs to go: {duration(seconds)}{jobs}, {disk / 1e6:.1f} MB",
        f"time: of training steps alone, {options.activations[0]}, measured on up to {STEPS} steps of each model on "
        "this machine; evaluation and reading of data come on top",
        "disk: one checkpoint of each run",
        f"order: all activations of a seed, then the next seed; activations: {', '.join(options.activations)}",
    ]
    if options.throughput:
        samples = sum(each.to_go * steps_of(each.plan[0]) * each.task.batch_size for each in blocks)
        hours = samples / options.throughput / 3600
        lines.append(f"at {options.throughput:g} samples a second: {samples:,} samples in {hours:.1f} hours")
    return "\n".join(lines)


def _blocks(case: Case) -> list[Block]:
    task = opened(case.spec, device_of(case.spec))
    step, disk = _measured(task, case.options.baseline)
    if not case.rates.search:
        named = [(each.place.replace("_", " ") or "compared", each.plan(task)) for each in fixed(case)]
        return [
            Block(name, task, plan, len(plan) - len(check(plan)), step * steps_of(plan[0]), disk)
            for name, plan in named
        ]
    tuning = search(case, task)
    results = fixed(Case(case.options, case.spec, Rates()))[0].plan(task)
    seconds = step * steps_of(results[0])
    return [
        Block("search", task, tuning, len(tuning) - len(check(tuning)), seconds, disk),
        Block("results", task, results, len(results), seconds, disk),
    ]


def _measured(task: Task, activation: str) -> tuple[float, int]:
    """Return the seconds of a training step, and the bytes of its checkpoint."""
    stepper = Stepper(task, activation, task.example())
    step = partial(stepper.training, task.accumulation)
    stepper.seconds(step)  # the first one is slower
    times: list[float] = []
    while len(times) < STEPS and sum(times) < SECONDS:
        times.append(stepper.seconds(step))
    averaged = 1 if task.average(stepper.model, task.sampling(0).steps_per_epoch) is None else 2
    own = sum(tensor.nbytes for tensor in stepper.model.state_dict().values())
    disk = averaged * own + sum(tensor.nbytes for tensor in _tensors(stepper.optimizer.state_dict()))
    return fmean(times), disk


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    """Yield the tensors inside of nested dictionaries and lists."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
