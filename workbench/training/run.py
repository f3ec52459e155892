"""Train one run from its task to its results, for a program or a comparison."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from workbench.cli.errors import Stopped, UserError
from workbench.cli.progress import span
from workbench.cli.settings import defaults
from workbench.output.environment import cores, describe
from workbench.output.tables import plain_table
from workbench.training import checkpoint, metrics
from workbench.training.curves import draw_run
from workbench.training.extension import Extension, reopened
from workbench.training.forewarnings import busy_cores, crowded, free_bytes, needed_bytes, too_large
from workbench.training.launch import decided_by_main, launched, require_same_everywhere
from workbench.training.loop import Loop, Reached
from workbench.training.memory import peak_memory_mb
from workbench.training.runs import FORMAT, Results, StoredRun, Trace, position
from workbench.training.task import Batch, Source, Spec, Task, opened

if TYPE_CHECKING:
    from accelerate import Accelerator

Configuration = Mapping[str, Any]


def train_run(
    spec: Spec,
    run: StoredRun,
    notes: Mapping[str, Any] | None = None,
    check: Callable[[StoredRun], None] | None = None,
    after_step: Callable[[], object] | None = None,
    checkpoints: bool = True,
    extension: Extension | None = None,
) -> Results:
    """Train a run to the end, and store and return what it reached; resume it if it was stopped.

    A run that has ended already is not trained again.

    Args:
        notes: stored with the results, but not compared.
        check: refuses a run, by what is stored of it.
        after_step: called after each step; then nothing is printed, and neither plot nor events are written.
        checkpoints: whether they are stored, so that a stopped run resumes and its weights can be used.
        extension: the run that this one goes on with; one whose learning rate is constant goes on by itself.

    Raises:
        UserError: the task refuses its settings or data, or another run is stored in its place.
        Stopped: Ctrl-C.
    """
    try:
        with launched(spec.machine.device) as accelerator:
            with accelerator.main_process_first():  # which may have to download
                task = opened(spec, accelerator.device)
            stored = configuration_of(task, run)
            require_same_everywhere(accelerator, "data", stored["data"])
            with _claimed(run, stored, task, accelerator, check, extension) as (results, state):
                if results is None:
                    store = stored if checkpoints else None
                    last = state["trace"][-1]["lr"] if state and extension and extension.rate == "last" else None
                    loop = Loop(task, run, accelerator, store, state, record=after_step is None, rate=last)
                    return _trained(loop, stored, notes or {}, after_step)
                if after_step is None and accelerator.is_main_process:
                    print("this run has ended already; delete its files to train again")
                return results
    except KeyboardInterrupt:
        if checkpoints and run.checkpoint_path.exists():
            raise Stopped(f"stopped: the same command resumes from {run.checkpoint_path}") from None
        raise Stopped("stopped before anything was stored: the same command starts again") from None


def evaluate_run(spec: Spec, run: StoredRun) -> dict[str, float]:
    """Evaluate the newest checkpoint of a run, or the trained model that it would start from, and store nothing.

    Returns:
        the value of every metric; NaN where there is none.

    Raises:
        UserError: there is neither, or the checkpoint is another run's.
    """
    with launched(spec.machine.device) as accelerator:
        with accelerator.main_process_first():
            task = opened(spec, accelerator.device)
        stored = configuration_of(task, run)
        state = decided_by_main(accelerator, lambda: run.resume(stored, defaults_of(task)))
        if state is None and not task.starts_trained:
            raise UserError(f"there is nothing to test: no checkpoint {run.checkpoint_path}")
        return Loop(task, run, accelerator, state=state).evaluate()


def _trained(
    loop: Loop, stored: Configuration, notes: Mapping[str, Any], after_step: Callable[[], object] | None
) -> Results:
    """Train to the end, and store trace, plot and results."""
    main, said = loop.accelerator.is_main_process, after_step is None
    environment = environment_of(loop.accelerator)  # the commit as it is now, hours before the end
    before = None
    if said and main:
        print(_announcement(loop, stored), flush=True)
        before = partial(_forewarn, loop) if loop.accelerator.device.type == "cpu" else None
    results = _results(loop, loop.train(after_step, before), notes, stored, environment)
    if main:
        loop.run.store_trace(loop.reached.trace)
        if said:
            draw_run(loop.run, loop.reached.trace, loop.metrics)
        loop.run.store_results(results)
    return results


def configuration_of(task: Task, run: StoredRun | None = None) -> dict[str, Any]:
    """Return all that the numbers of an opened task depend on, its data included; with a run, its key and start too.

    Raises:
        UserError: what the run starts from is missing or unfit.
    """
    choice = task.source.choice()  # comes first, then the data: where they differ, much of the rest does too
    common = {**choice, "data": task.fingerprint(), **task.configuration()}
    return common if run is None else run.identity | common | task.starting_point(run)


def defaults_of(task: Task) -> dict[str, Any]:
    """Return the default of each setting, which a run has that was stored before there was the setting."""
    return {"bad_images": "refuse", **Source(task.dataset).choice(), **defaults(task.settings)}


def environment_of(accelerator: Accelerator) -> dict[str, Any]:
    """Describe where the results of a run come from."""
    return describe(accelerator.device.type) | {"processes": accelerator.num_processes}


def evaluation(described: Sequence[metrics.Metric], values: Mapping[str, float]) -> str:
    """Return a table of metrics and their values, for people."""
    found = [(each, each.value(values)) for each in described]
    rows = [[each.title, "none" if value is None else f"{value:.4g}", each.unit] for each, value in found]
    return plain_table([["metric", "value", "unit"], *rows])


def summary(results: Results) -> str:
    """Summarise how a run ended, in a few lines for people."""
    if results["final"] is None:
        return f"diverged at {results['axis']} {results['diverged_at']}: the training loss was no finite number"
    final = _values(results, results["final"])
    train, inference = (span(60 * results[f"{name}_minutes"]) for name in ("train", "inference"))
    times = f"{train} of training, {inference} of evaluation"
    if results["best"] is None:
        return f"final: {final}\n{times}"
    axis, at = position(results["best"])
    return f"final: {final}\nbest, {axis} {at}: {_values(results, results['best'])}\n{times}"


def _values(results: Results, entry: Mapping[str, Any]) -> str:
    found = [(each.key, each.value(entry)) for each in metrics.read(results["metrics"])]
    return ", ".join(f"{key} {'none' if value is None else format(value, '.4g')}" for key, value in found)


@contextlib.contextmanager
def _claimed(
    run: StoredRun,
    stored: Configuration,
    task: Task,
    accelerator: Accelerator,
    check: Callable[[StoredRun], None] | None,
    extension: Extension | None,
) -> Iterator[tuple[Results | None, checkpoint.State | None]]:
    """Hold the run's lock within the block; every process gets the main one's results or checkpoint."""
    defaults = defaults_of(task)
    with contextlib.ExitStack() as held:

        def claim() -> tuple[Results | None, checkpoint.State | None]:
            state = reopened(run, task, stored, defaults)
            results = run.finished(stored, defaults) if state is None else None
            if results is not None:
                return results, None
            held.enter_context(run.locked())
            if check is not None:
                check(run)
            state = state or run.resume(stored, defaults)
            if state is None and extension is not None:
                state = extension.start(run, stored, defaults)
            return None, state

        yield decided_by_main(accelerator, claim)


def _announcement(loop: Loop, stored: Configuration) -> str:
    """Say what is trained on what, a line each; only the settings take several."""
    run, task, count = loop.run, loop.task, loop.accelerator.num_processes
    parameters, threads = sum(each.numel() for each in loop.model.parameters()), torch.get_num_threads()
    steps = f"{task.epochs} epochs of {loop.steps_per_epoch} steps" if task.axis == "epoch" else f"{loop.steps} steps"
    settings = (f"{name}={value}" for name, value in stored.items() if name not in (*run.identity, "data"))
    lines = {
        "data": f"{run.dataset}: {task.size} ({stored['data']})",
        "model": f"{run.model} ({parameters:,} parameters), {run.activation}, seed {run.seed}",
        "weights": task.beginning,
        "training": f"{steps} with {loop.samples_per_step} {task.unit} each",
        "settings": textwrap.fill(
            " ".join(settings), 110, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False
        ),
        "machine": f"{loop.accelerator.device.type}, {count} process{'es' * (count > 1)}, {threads} CPU "
        f"thread{'s' * (threads > 1)}",
    }
    return "\n".join(f"{name:10}{text}" for name, text in lines.items() if text)


def _forewarn(loop: Loop, batch: Batch) -> None:
    """Say on stderr what will make a training on this CPU slow, or end it."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    busy = busy_cores() if processes == 1 else 0.0  # the run's own processes are busy
    needed = needed_bytes(loop.task, loop.model, loop.optimizer, batch)
    for line in (
        *crowded(torch.get_num_threads() * processes, cores() * processes, busy),
        *too_large(needed, free_bytes() / processes),
    ):
        print(f"warning: {line}", file=sys.stderr, flush=True)


def _amounts(task: Task, trace: Trace) -> dict[str, Any]:
    """Return what there was to learn from; a run that was resumed meets every file that it cannot read again."""
    unreadable = [name for name in (trace[-1] if trace else {}) if name.startswith("unreadable_")]
    return task.amounts() | {name: max(entry.get(name, 0) for entry in trace) for name in unreadable}


def _results(
    loop: Loop, reached: Reached, notes: Mapping[str, Any], stored: Configuration, environment: dict[str, Any]
) -> Results:
    trace, judge = reached.trace, loop.metrics[0]
    diverged = reached.diverged_at is not None
    return {
        "format": FORMAT,
        **loop.run.identity,
        **notes,
        "program": loop.task.program,
        "parameters": sum(each.numel() for each in loop.model.parameters()),
        "amounts": _amounts(loop.task, trace),
        "axis": loop.task.axis,
        "metrics": metrics.stored(loop.metrics),
        "diverged_at": reached.diverged_at,
        "final": None if diverged else trace[-1],
        "best": None if diverged else judge.best(trace),
        "train_minutes": reached.train_seconds / 60,
        "inference_minutes": reached.inference_seconds / 60,
        f"{loop.task.unit}_per_second": reached.step * loop.samples_per_step / reached.train_seconds,
        "peak_memory_mb": peak_memory_mb(loop.accelerator.device),
        "configuration": dict(stored),
        "environment": environment,
    }
