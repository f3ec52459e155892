"""python -m tasks.compare compares activations on a task; `--help` explains every flag."""

import argparse
import time
from collections.abc import Sequence

import torch

from tasks.compare import report
from tasks.compare.cost import measure_costs
from tasks.compare.figure import draw
from tasks.compare.forecast import forecast
from tasks.compare.options import Case, cases_of, cluster_of
from tasks.compare.sweep import Compared, fixed, search, tuned
from workbench.cli.errors import Stopped, UserError, run
from workbench.output.environment import describe, origins
from workbench.output.storage import prepare_folder, write_json
from workbench.training.plan import Failed, Planned, check, complete, device_of
from workbench.training.run import configuration_of
from workbench.training.runs import Results, StoredRun
from workbench.training.task import Task, opened


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare as the command line says."""
    start = time.perf_counter()
    cases = cases_of(arguments)
    options = cases[0].options
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.plan:
        print(forecast(cases))
        return
    tasks = [task_of(case) for case in cases]
    failures: list[str] = []
    searched = [
        each for case, task in zip(cases, tasks, strict=True) if case.rates.search for each in search(case, task)
    ]
    found = trained(searched, options, failures) if searched else {}
    compared = [
        (each, task)
        for case, task in zip(cases, tasks, strict=True)
        for each in ([tuned(case, task, found)] if case.rates.search else fixed(case))
    ]
    plan = [planned for each, task in compared for planned in each.plan(task)]
    ended = check(plan)
    for each, task in compared:
        prepare_folder(each.output(task))
        announce(each, task)
    results = trained(plan, options, failures, ended)
    for each, task in compared:
        write(each, task, results)
    print(f"took {time.perf_counter() - start:.0f} s")
    if failures:
        raise UserError(
            f"{len(failures)} of {len(plan) + len(searched)} runs failed, and are in no number; the same command "
            f"trains them again: {'; '.join(failures)}"
        )


def task_of(case: Case) -> Task:
    return opened(case.spec, device_of(case.spec))


def trained(
    plan: Sequence[Planned],
    options: argparse.Namespace,
    failures: list[str],
    ended: dict[StoredRun, Results] | None = None,
) -> dict[StoredRun, Results]:
    """Train what is missing; runs that fail are added to `failures`, and the others go on.

    Raises:
        UserError: none has ended.
    """
    try:
        return complete(plan, report.outcome, options.jobs, ended=ended, cluster=cluster_of(options))
    except Failed as failed:
        if not failed.results:
            raise
        failures.extend(failed.reasons)
        return failed.results


def announce(compared: Compared, task: Task) -> None:
    options = compared.case.options
    print(f"{', '.join(options.activations)}; seeds 0 to {options.seeds - 1}; baseline {options.baseline}")
    print(f"{report.settings(task, compared.changed)}; {task.size}")
    for note in compared.notes:
        print(note)


def write(compared: Compared, task: Task, results: dict[StoredRun, Results]) -> None:
    """Measure what each activation costs, and write and print the tables of a comparison.

    Raises:
        UserError: its runs are of several origins, and the command line wants one.
        Stopped: Ctrl-C.
    """
    options, output = compared.case.options, compared.output(task)
    runs = [report.Ended(each.run, results[each.run]) for each in compared.plan(task) if each.run in results]
    if not runs:
        return
    differing = origins([each.results["environment"] for each in runs])
    if differing and options.same_environment:
        raise UserError(f"the stored runs are not of one origin: {differing}; delete some, or choose another --results")
    there = {each.run.activation for each in runs}
    activations = [each for each in options.activations if each in there]  # what fails in training fails here too
    baseline = options.baseline if options.baseline in there else activations[0]
    print("measuring time and memory", flush=True)
    device = device_of(compared.case.spec)
    try:
        costs = measure_costs(task, activations, baseline, device)
    except KeyboardInterrupt:
        raise Stopped(f"stopped: all runs are in {options.results}, the same command measures again") from None
    metrics = runs[0].run.read_metrics()
    comparison = report.Comparison(
        task.dataset, task.model_name, metrics, baseline, device.type, runs, costs, compared.notes
    )
    origin = {"configuration": configuration_of(task) | compared.changed, "environment": describe(device.type)}
    if compared.tuning:
        write_json(output / "tuning.json", compared.tuning)
    print(report.write(output, comparison, report.settings(task, compared.changed), differing, origin))
    draw(output / "comparison", comparison)
    print(f"{output} has comparison.png and .svg, table.md, summary.csv, runs.csv and results.json")


if __name__ == "__main__":
    run(main)
