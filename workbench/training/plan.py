"""Train what is missing of many runs: one after the other in this process, or in several processes at once."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from golu.activations import ACTIVATIONS, Activation
from workbench.cli.errors import Stopped, UserError
from workbench.cli.progress import Progress
from workbench.output.storage import prepare_folder, write_text
from workbench.training.cluster import Cluster, in_jobs
from workbench.training.run import configuration_of, defaults_of, train_run
from workbench.training.runs import Results, StoredRun
from workbench.training.task import Spec, opened
from workbench.training.workers import in_processes

LINES = 50  # of progress, at most, where there is no terminal

Describe = Callable[[StoredRun, Results], str]


class Failed(UserError):
    """Report that runs of a plan failed, when the others had ended.

    Args:
        results: of the runs that have ended.
        reasons: a line for each of the others.
    """

    def __init__(self, results: dict[StoredRun, Results], reasons: Sequence[str]) -> None:
        self.results, self.reasons = results, list(reasons)
        super().__init__(
            f"{len(reasons)} of {len(results) + len(reasons)} runs failed; the same command trains them again: "
            + "; ".join(reasons)
        )


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
    cluster: Cluster | None = None,
) -> dict[StoredRun, Results]:
    """Train the runs that are missing, store and report each as it ends, and return the results of the whole plan.

    Args:
        describe: says how a run ended, on a line.
        jobs: processes at once, each with one thread; 1: in this process.
        checkpoints: whether they are stored, so that a stopped run resumes and its weights can be used.
        ended: what `check` found, if it has been called.
        cluster: trains each run in a job of its own, instead of processes of this one.

    Raises:
        UserError: a task refuses its settings or data, or another run is stored in the place of one.
        Failed: runs ended with an error, after the others have ended.
        Stopped: Ctrl-C.
    """
    results = check(plan) if ended is None else dict(ended)
    missing = [each for each in plan if each.run not in results]
    if not missing:
        return {each.run: results[each.run] for each in plan}
    if results:
        print(f"{len(results)} of {len(plan)} runs are stored already, {len(missing)} to go", flush=True)
    failed: dict[StoredRun, str] = {}
    try:
        if jobs == 1 and cluster is None:
            _one_after_the_other(missing, results, failed, describe, checkpoints)
        else:
            at_once = cluster or min(jobs, len(missing))
            _several_at_once(missing, results, failed, describe, checkpoints, at_once)
    except (KeyboardInterrupt, Stopped) as stopped:
        going_on = f"; {stopped}" if cluster and str(stopped) else ""
        raise Stopped(_stopped(plan, results) + going_on) from None
    ended_now = {each.run: results[each.run] for each in plan if each.run in results}
    if failed:
        raise Failed(ended_now, list(failed.values()))
    return ended_now


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
    missing: list[Planned],
    results: dict[StoredRun, Results],
    failed: dict[StoredRun, str],
    describe: Describe,
    checkpoints: bool,
) -> None:
    steps = [steps_of(each) for each in missing]
    every = max(1, len(missing) // LINES)
    with Progress(sum(steps)) as progress:
        for number, each in enumerate(missing, start=1):
            progress.doing(each.run.title)
            found = _tried(each, progress.advance, checkpoints)
            progress.reach(sum(steps[:number]))  # one that diverged, failed, or was resumed, took fewer
            if isinstance(found, str):
                failed[each.run] = found
                progress.report(found)
                continue
            results[each.run] = found
            if number % every == 0 or number == len(missing):
                progress.report(describe(each.run, found))


def _tried(planned: Planned, after_step: Callable[[], object], checkpoints: bool) -> Results | str:
    """Train a run; return what it reached, or on a line why it failed: the others of the plan are to go on."""
    run = planned.run
    fault = run.path("failed", ".txt")
    fault.unlink(missing_ok=True)  # of an earlier attempt
    try:
        return train_run(planned.spec, run, after_step=after_step, checkpoints=checkpoints)
    except Stopped:
        raise
    except UserError as error:
        return f"{run.title}: failed: {error}"
    except Exception as error:
        prepare_folder(run.folder)
        write_text(fault, traceback.format_exc())
        return f"{run.title}: failed: {type(error).__name__}, {(str(error).splitlines() or [''])[0]} ({fault} has more)"


def steps_of(planned: Planned) -> int:
    """Return how many steps a run has."""
    task = opened(planned.spec, device_of(planned.spec))
    if task.steps is not None:
        return task.steps
    return task.epochs * task.sampling(planned.run.seed).steps_per_epoch


def _several_at_once(
    missing: list[Planned],
    results: dict[StoredRun, Results],
    failed: dict[StoredRun, str],
    describe: Describe,
    checkpoints: bool,
    at_once: int | Cluster,
) -> None:
    every, done = max(1, len(missing) // LINES), 0
    with Progress(len(missing), "run") as progress:

        def finished(ended: tuple[Planned, Results | str]) -> None:
            nonlocal done
            planned, found = ended
            done += 1
            progress.advance()
            if isinstance(found, str):
                failed[planned.run] = found
                progress.report(found)
                return
            results[planned.run] = found
            if done % every == 0 or done == len(missing):
                progress.report(describe(planned.run, found))

        def lost(arguments: tuple[Any, ...], reason: str) -> None:
            planned = arguments[0]
            finished((planned, f"{planned.run.title}: failed: {reason}"))

        if isinstance(at_once, Cluster):
            jobs = [(each, checkpoints, ACTIVATIONS[each.run.activation]) for each in missing]
            in_jobs(_train_in_job, jobs, at_once, finished, lost)
        else:
            in_processes(_train_in_worker, [(each, checkpoints) for each in missing], at_once, finished)


def _train_in_worker(planned: Planned, checkpoints: bool) -> tuple[Planned, Results | str]:
    return planned, _tried(planned, lambda: None, checkpoints)


def _train_in_job(planned: Planned, checkpoints: bool, activation: Activation) -> tuple[Planned, Results | str]:
    """Train a run where the script that registered its activation has not run, as it has in a process of this one."""
    ACTIVATIONS.setdefault(activation.name, activation)
    return _train_in_worker(planned, checkpoints)
