"""Trained models for the figures: those of the user, or small ones that are trained the first time and kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.small_poc.models import MODELS, build_model
from visualizations.shared.program import Options
from workbench.cli.arguments import Parser, one_of, positive_int, seed
from workbench.cli.errors import Stopped, UserError
from workbench.cli.progress import Progress
from workbench.training import checkpoint
from workbench.training.launch import cores
from workbench.training.run_folder import RunFolder
from workbench.vision.datasets import DATASETS, Images, load_images

if TYPE_CHECKING:
    from torch import nn

KEPT = Path("results/visualizations")
ROOT = Path(__file__).parents[2]
QUICK = "digits"
# ResNet-20 on digits in twenty seconds on one core: all training images are learnt, validation at about 98 %
EPOCHS, BATCH_SIZE = 15, 32


def add_model_flags(parser: Parser, seeds: int | None = 3) -> None:
    """Which trained models a figure is of: with several seeds, or, where `seeds` is None, with one."""
    parser.add_argument(
        "--results-path", type=Path, metavar="DIR",
        help="where trained models are, as tasks.small_poc.main stores them "
        f"(default: {KEPT}, where models on {QUICK} that are missing are trained and kept)",
    )  # fmt: skip
    parser.add_argument(
        "--model", type=one_of("model", MODELS), default="resnet20", metavar="NAME", help=f"one of {', '.join(MODELS)}"
    )
    parser.add_argument(
        "--dataset", type=one_of("dataset", DATASETS), default="digits", metavar="NAME",
        help=f"what they were trained on: one of {', '.join(DATASETS)}",
    )  # fmt: skip
    parser.add_argument("--data-dir", type=Path, default=Path("data"), metavar="DIR", help="where data sets are")
    if seeds is None:
        parser.add_argument("--seed", type=seed, default=0, metavar="N", help="the models' seed")
    else:
        purpose = "how many seeds, counted from 0"
        parser.add_argument("--seeds", type=positive_int, default=seeds, metavar="N", help=purpose)


def trained(options: Options) -> list[RunFolder]:
    """The run of each activation and seed; in the default folder those that are missing are trained first.

    Raises:
        UserError: one is missing in the user's folder, or its training failed.
    """
    results = options.results_path or KEPT
    seeds = range(options.seeds) if "seeds" in options else [options.seed]
    runs = [
        RunFolder(results, options.dataset, options.model, activation, each)
        for activation in options.activations
        for each in seeds
    ]
    if options.results_path is None:
        if options.dataset != QUICK:
            raise UserError(
                f"only models on {QUICK} are trained here, others take long: give --results-path with trained ones; "
                f"{' '.join(_command(runs[0]))} trains one"
            )
        _train([run for run in runs if not run.results_path.exists()], options.data_dir)
    for run in runs:
        if not run.checkpoint_path.exists():
            raise UserError(f"there is no checkpoint {run.checkpoint_path}: {' '.join(_command(run))} trains one")
    return runs


def _command(run: RunFolder) -> list[str]:
    names = {"--model": run.model, "--dataset": run.dataset, "--activation": run.activation, "--seed": run.seed}
    flags = [str(part) for pair in names.items() for part in pair]
    return ["python", "-m", "tasks.small_poc.main", *flags, "--results-path", str(run.results)]


def _train(runs: list[RunFolder], data_dir: Path) -> None:
    """Each in a process of its own with one thread, as many at once as there are cores; killed, they go on."""
    if not runs:
        return
    jobs = min(cores(), len(runs))
    print(f"training {len(runs)} models of {runs[0].model} on {runs[0].dataset}, kept in {runs[0].results}", flush=True)
    with ThreadPoolExecutor(jobs) as pool, Progress(len(runs) * EPOCHS, "epoch") as progress:
        futures = [pool.submit(_train_one, run, data_dir, progress) for run in runs]
        try:
            while not all(future.done() for future in futures):
                time.sleep(0.2)
                progress.reach(sum(map(_epochs, runs)))
                for future in futures:
                    if future.done():
                        future.result()
        except BaseException as error:
            pool.shutdown(cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):  # which the trainings got too
                raise Stopped("stopped: the same command goes on from what was trained") from None
            raise
    for future in futures:
        future.result()


def _train_one(run: RunFolder, data_dir: Path, progress: Progress) -> None:
    command = [*_command(run), "--data-dir", str(data_dir.resolve())]
    command[command.index("--results-path") + 1] = str(run.results.resolve())
    command += ["--epochs", str(EPOCHS), "--batch-size", str(BATCH_SIZE), "--device", "cpu"]
    ended = subprocess.run(
        [sys.executable, *command[1:]], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    if ended.returncode != 0:
        reason = (ended.stderr.strip().splitlines() or ["no reason given"])[-1].removeprefix("error: ")
        raise UserError(f"{run.activation} with seed {run.seed} could not be trained: {reason}")
    progress.report(f"{run.activation}, seed {run.seed}")


def _epochs(run: RunFolder) -> int:
    return len(trace_of(run)) if run.trace_path.exists() else 0


def trace_of(run: RunFolder) -> list[dict[str, Any]]:
    """Every evaluation of the run.

    Raises:
        UserError: it is missing, or no trace.
    """
    try:
        trace = json.loads(run.trace_path.read_text())
        if not (isinstance(trace, list) and trace and all("val_loss" in entry for entry in trace)):
            raise ValueError("it holds no evaluations")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"cannot read the trace of a run from {run.trace_path}: {error}") from error
    return trace


def images_of(run: RunFolder, data_dir: Path) -> Images:
    """The images that the run was trained and validated on, as its configuration says."""
    configuration = checkpoint.read(run.checkpoint_path).get("configuration", {})
    return load_images(run.dataset, data_dir, configuration.get("limit_train"), configuration.get("limit_val"))


def model_of(run: RunFolder, images: Images) -> nn.Module:
    """The trained model, in evaluation mode.

    Raises:
        UserError: there is no checkpoint, it is broken, or of another model.
    """
    state = checkpoint.read(run.checkpoint_path)
    stored = state.get("configuration") or {}
    for name in ("dataset", "model", "activation"):
        wanted = getattr(run, name)
        if stored.get(name, wanted) != wanted:
            raise UserError(f"{run.checkpoint_path} is of another {name}: {stored[name]}, not {wanted}")
    model = build_model(run.model, tuple(images.train_x.shape[1:]), images.classes, run.activation)
    try:
        model.load_state_dict(state["model"])
    except (RuntimeError, AttributeError, TypeError) as error:
        raise UserError(f"{run.checkpoint_path} is of another model than {run.model} with {run.activation}") from error
    return model.eval()


def by_activation(runs: Sequence[RunFolder]) -> dict[str, list[RunFolder]]:
    """The runs of each activation, one a seed."""
    return {name: [run for run in runs if run.activation == name] for name in dict.fromkeys(r.activation for r in runs)}
