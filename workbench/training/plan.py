"""Train what is missing of many runs: one after the other in this process, or in several processes at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from workbench.cli.errors import Stopped
from workbench.cli.progress import Progress
from workbench.training.run import configuration_of, defaults_of, train_run
from workbench.training.runs import Results, StoredRun
from workbench.training.task import Spec, opened
from workbench.training.workers import in_processes

LINES = 50  # of progress, at most, where there is no terminal

Describe = Callable[[StoredRun, Results], str]


@dataclass(frozen=True)
class Planned:
    """Hold a run, and the task that it trains."""

    run: StoredRun
    spec: Spec

    def finished(self) -> Results | None:
        """Return its results, if it has ended already.

        Raises:
            UserError: they are damaged, or of another configuration or data.
        """
        if not self.run.results_path.exists():
            return None
        task = opened(self.spec, device_of(self.spec))
        return self.run.finished(configuration_of(task, self.run), defaults_of(task))


def device_of(spec: Spec) -> torch.device:
    """Return the device on which the runs of a plan are trained, in one process each."""
    cuda = spec.machine.device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda", 0) if cuda else torch.device("cpu")


def complete(
    plan: Sequence[Planned],
    describe: Describe,
    jobs: int = 1,
    checkpoints: bool = True,
    ended: dict[StoredRun, Results] | None = None,
) -> dict[StoredRun, Results]:
    """Train the runs that are missing, store and report each as it ends, and return the results of the whole plan.

    Args:
        describe: says how a run ended, on a line.
        jobs: processes at once, each with one thread; 1: in this process.
        checkpoints: whether they are stored, so that a stopped run resumes and its weights can be used.
        ended: what `check` found, if it has been called.

    Raises:
        UserError: a task refuses its settings or data, or another run is stored in the place of one.
        Stopped: Ctrl-C.
    """
    results = check(plan) if ended is None else dict(ended)
    missing = [each for each in plan if each.run not in results]
    if not missing:
        return {each.run: results[each.run] for each in plan}
    if results:
        print(f"{len(results)} of {len(plan)} runs are stored already, {len(missing)} to go", flush=True)
    try:
        if jobs == 1:
            _one_after_the_other(missing, results, describe, checkpoints)
        else:
            _several_at_once(missing, results, describe, checkpoints, min(jobs, len(missing)))
    except (KeyboardInterrupt, Stopped):
        raise Stopped(_stopped(plan, results)) from None
    return {each.run: results[each.run] for each in plan}


def check(plan: Sequence[Planned]) -> dict[StoredRun, Results]:
    """Return the results of the runs that have ended, and check that the others can be trained.

    Raises:
        UserError: one cannot, or another run is stored in its place.
    """
    found = {each.run: each.finished() for each in plan}
    for each in plan:
        if found[each.run] is None:
            steps_of(each)
            opened(each.spec, device_of(each.spec)).starting_point(each.run)
    return {run: results for run, results in found.items() if results is not None}


def _stopped(plan: Sequence[Planned], results: dict[StoredRun, Results]) -> str:
    places = ", ".join(dict.fromkeys(str(each.run.results) for each in plan))
    return f"stopped: {len(results)} finished runs are in {places}, the same command resumes"


def _one_after_the_other(
    missing: list[Planned], results: dict[StoredRun, Results], describe: Describe, checkpoints: bool
) -> None:
    steps = [steps_of(each) for each in missing]
    every = max(1, len(missing) // LINES)
    with Progress(sum(steps)) as progress:
        for number, each in enumerate(missing, start=1):
            progress.doing(f"{each.run.activation}, seed {each.run.seed}")
            found = train_run(each.spec, each.run, after_step=progress.advance, checkpoints=checkpoints)
            results[each.run] = found
            progress.reach(sum(steps[:number]))  # one that diverged, or was resumed, took fewer
            if number % every == 0 or number == len(missing):
                progress.report(describe(each.run, found))


def steps_of(planned: Planned) -> int:
    """Return how many steps a run has."""
    task = opened(planned.spec, device_of(planned.spec))
    if task.steps is not None:
        return task.steps
    return task.epochs * task.sampling(planned.run.seed).steps_per_epoch


def _several_at_once(
    missing: list[Planned], results: dict[StoredRun, Results], describe: Describe, checkpoints: bool, jobs: int
) -> None:
    every, done = max(1, len(missing) // LINES), 0
    with Progress(len(missing), "run") as progress:

        def finished(ended: tuple[Planned, Results]) -> None:
            nonlocal done
            planned, found = ended
            results[planned.run] = found
            done += 1
            progress.advance()
            if done % every == 0 or done == len(missing):
                progress.report(describe(planned.run, found))

        in_processes(_train_in_worker, [(each, checkpoints) for each in missing], jobs, finished)


def _train_in_worker(planned: Planned, checkpoints: bool) -> tuple[Planned, Results]:
    return planned, train_run(planned.spec, planned.run, after_step=lambda: None, checkpoints=checkpoints)
