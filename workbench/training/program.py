"""A run from its folder to its results: what a training program does once its experiment is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.cli.errors import Stopped
from workbench.output.environment import describe
from workbench.training.curves import draw_run
from workbench.training.launch import launched
from workbench.training.loop import Experiment, train
from workbench.training.memory import peak_memory_mb
from workbench.training.run_folder import RunFolder, place
from workbench.training.seeding import seed_everything

if TYPE_CHECKING:
    from accelerate import Accelerator


def run_experiment(
    folder: RunFolder,
    configuration: dict[str, Any],
    make: Callable[[Accelerator], Experiment],
    device: str | None = None,
    notes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Launch, make the experiment, train it to the end, and store and print what it reached.

    Started again after a kill it goes on; started again when it has ended it prints the stored results.

    Args:
        configuration: all that the numbers depend on, for JSON: printed, stored, and compared with what is stored.
        make: builds the experiment in every process, after the seed is set.
        device: "cpu", "cuda", or None for CUDA where there is one.
        notes: stored with the results, but not compared.
    """
    configuration = folder.identity | configuration
    results = folder.finished(configuration)
    if results is None:
        try:
            with launched(device) as accelerator:
                results = _train(folder, configuration, make, accelerator, notes or {})
                is_main = accelerator.is_main_process
        except KeyboardInterrupt:
            raise Stopped(f"stopped: the same command goes on from {folder.checkpoint_path}") from None
        if not is_main:
            return results
    else:
        print("this run has ended already; delete its files to train again")
    print(_summary(results))
    print(f"stored in {folder.results_path}")
    return results


def _train(
    folder: RunFolder,
    configuration: dict[str, Any],
    make: Callable[[Accelerator], Experiment],
    accelerator: Accelerator,
    notes: dict[str, Any],
) -> dict[str, Any]:
    seed_everything(folder.seed)
    experiment = make(accelerator)
    if accelerator.is_main_process:
        folder.prepare()  # not before: a mistake in the settings leaves no empty folder
    parameters = sum(each.numel() for each in experiment.model.parameters())
    environment = describe(accelerator.device.type) | {"processes": accelerator.num_processes}
    if accelerator.is_main_process:
        print(f"{folder.dataset}, {folder.model} ({parameters:,} parameters), {folder.activation}, seed {folder.seed}")
        print(" ".join(f"{name}={value}" for name, value in configuration.items() if name not in folder.identity))
        by_epoch = f"{experiment.epochs} epochs of {experiment.steps_per_epoch} steps"
        print(
            f"{by_epoch if experiment.axis == 'epoch' else f'{experiment.total_steps} steps'} with "
            f"{experiment.samples_per_step} {experiment.unit} each, on {accelerator.device.type} in "
            f"{accelerator.num_processes} processes",
            flush=True,
        )
    outcome = train(experiment, accelerator, folder, configuration)
    epochs = outcome.pop("epochs")
    trained = min(len(epochs) * experiment.steps_per_epoch, experiment.total_steps) * experiment.samples_per_step
    results = {
        **folder.identity,
        **notes,
        "parameters": parameters,
        "axis": experiment.axis,
        **{name: outcome[name] for name in ("diverged_at", "final", "best")},
        "train_minutes": outcome["train_seconds"] / 60,
        "inference_minutes": outcome["inference_seconds"] / 60,
        f"{experiment.unit}_per_second": trained / outcome["train_seconds"],
        "peak_memory_mb": peak_memory_mb(accelerator.device),
        "configuration": configuration,
        "environment": environment,
    }
    if accelerator.is_main_process:
        draw_run(folder, epochs, experiment.judge)
        folder.store_results(results)
    return results


def _summary(results: dict[str, Any]) -> str:
    if results["final"] is None:
        return f"diverged at {results['axis']} {results['diverged_at']}: the loss was no finite number"
    final, best = (_metrics(results[each]) for each in ("final", "best"))
    times = f"{results['train_minutes']:.2f} min training, {results['inference_minutes']:.2f} min inference"
    axis, best_at = place(results["best"])
    return f"final: {final}\nbest, {axis} {best_at}: {best}\n{times}"


def _metrics(entry: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in entry.items() if name.startswith(("val", "ema")))
