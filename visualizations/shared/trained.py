"""Trained models for the figures: those of the user, or small ones that are trained the first time and kept."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from tasks.small_poc.models import MODELS, build_model
from tasks.small_poc.recipes import RECIPES, shortened
from tasks.small_poc.task import SmallImages
from visualizations.shared.program import Options
from workbench.cli import flags
from workbench.cli.arguments import Parser, one_of
from workbench.cli.errors import UserError
from workbench.output.environment import cores
from workbench.training import checkpoint
from workbench.training.launch import Machine
from workbench.training.plan import Planned, complete
from workbench.training.runs import Results, StoredRun
from workbench.training.task import Source, Spec
from workbench.vision.datasets import DATASETS, Images, load_images

KEPT = Path("results/visualizations")
QUICK = "digits"
# ResNet-20 on digits in twenty seconds on one core: all training images are learnt, validation at about 98 %
EPOCHS, BATCH_SIZE = 15, 32


def add_model_flags(parser: Parser, seeds: int | None = 3) -> None:
    """Add the flags that say which trained models a figure is of.

    Args:
        seeds: how many by default; None: one, which --seed names.
    """
    parser.add_argument(
        "--results", "--results-path", dest="results", type=Path, metavar="DIR",
        help="folder of trained models, as tasks.small_poc.main stores them "
        f"(default: {KEPT}, where models on {QUICK} that are missing are trained and kept)",
    )  # fmt: skip
    parser.add_argument(
        "--model", type=one_of("model", MODELS), default="resnet20", metavar="NAME", help=f"one of {', '.join(MODELS)}"
    )
    parser.add_argument(
        "--dataset", type=one_of("dataset", DATASETS), default="digits", metavar="NAME",
        help=f"what they were trained on: one of {', '.join(DATASETS)}",
    )  # fmt: skip
    flags.add_data_flag(parser, "folder of data sets", ["--data-dir"])
    if seeds is None:
        flags.add_seed_flag(parser, "the models' seed")
    else:
        flags.add_seeds_flag(parser, seeds)


def trained(options: Options) -> list[StoredRun]:
    """The run of each activation and seed; in the default folder those that are missing are trained first.

    Raises:
        UserError: one is missing in the user's folder, or cannot be trained.
    """
    results = options.results or KEPT
    seeds = range(options.seeds) if "seeds" in options else [options.seed]
    runs = [
        StoredRun(results, options.dataset, options.model, activation, each)
        for activation in options.activations
        for each in seeds
    ]
    if options.results is None:
        if options.dataset != QUICK:
            raise UserError(
                f"only models on {QUICK} are trained here, others take long: give --results with trained ones; "
                f"{_command(runs[0])} trains one"
            )
        _train(runs, options.data)
    for run in runs:
        if not run.checkpoint_path.exists():
            raise UserError(f"there is no checkpoint {run.checkpoint_path}: {_command(run)} trains one")
    return runs


def _command(run: StoredRun) -> str:
    names = {"--model": run.model, "--dataset": run.dataset, "--activation": run.activation, "--seed": run.seed}
    words = " ".join(f"{name} {value}" for name, value in names.items())
    return f"python -m tasks.small_poc.main {words} --results {run.results}"


def _train(runs: list[StoredRun], data: Path) -> None:
    """Train what is missing, each model in a process of its own with one thread."""
    missing = [run for run in runs if not run.results_path.exists()]
    if missing:
        print(f"training {len(missing)} models of {runs[0].model} on {QUICK}, kept in {runs[0].results}", flush=True)
    recipe = RECIPES[runs[0].model]
    settings = shortened(replace(recipe, epochs=EPOCHS, batch_size=BATCH_SIZE, augment=False), recipe)
    spec = Spec(SmallImages, settings, Source(QUICK, data), Machine("cpu"), "tasks.small_poc.main")
    complete([Planned(run, spec) for run in runs], _outcome, cores())


def _outcome(run: StoredRun, results: Results) -> str:
    return f"{run.activation}, seed {run.seed}" + (" diverged" if results["final"] is None else "")


def images_of(run: StoredRun, data: Path) -> Images:
    """The images that the run was trained and validated on, as its configuration says."""
    configuration = checkpoint.read(run.checkpoint_path).get("configuration", {})
    return load_images(run.dataset, data, configuration.get("limit_train"), configuration.get("limit_val"))


def model_of(run: StoredRun, images: Images) -> nn.Module:
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


def by_activation(runs: Sequence[StoredRun]) -> dict[str, list[StoredRun]]:
    """The runs of each activation, one a seed."""
    return {name: [run for run in runs if run.activation == name] for name in dict.fromkeys(r.activation for r in runs)}
