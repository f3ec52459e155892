"""Parse the command line of a comparison: its own flags, and those of each task that it compares on."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from tasks.compare.recipes import COMPARED, Compared, comparison_of
from tasks.table import TASKS, program_of
from workbench.cli import flags
from workbench.cli.arguments import Parser, non_negative_int, one_of, positive_float, positive_int
from workbench.cli.errors import UserError
from workbench.training.cluster import Cluster
from workbench.training.program import TrainingProgram
from workbench.training.runs import RATE_SETTINGS
from workbench.training.task import Spec

DESCRIPTION = """\
Train the same model from the same weights on the same batches with each activation, over several seeds, and print
what each one reaches and costs.

  python -m tasks.compare                          # scikit-learn's digits, about a minute on a laptop
  python -m tasks.compare --dataset pydoc_topics   # a small GPT on Python's help texts, a minute a run
  python -m tasks.compare --dataset fashion_mnist --activations ReLU GELU GoLU --seeds 3 --limit-train 5000
  python -m tasks.compare --lr tune --jobs 2       # each activation at its own best learning rate
  python -m tasks.compare --datasets digits fashion_mnist --models mlp cnn --plan
  python -m tasks.compare --task image_classification --dataset digits --model resnet18 --train-crop-size 32 \\
      --batch-size 32 --epochs 2 --limit-val 200 --seeds 2      # any other task, with its own recipe and flags

Without --task the data set says what is trained. Stopped and started again, it resumes; more seeds, activations or
learning rates add to those stored. The flags below are those of the task; name it before --help to see another's."""


@dataclass(frozen=True)
class Rates:
    """Say which learning rates are trained; nothing: the recipe's.

    Args:
        values: side by side, or to search among.
        search: whether each activation gets the best of them, found on seeds of their own.
    """

    values: tuple[float, ...] = ()
    search: bool = False


@dataclass(frozen=True)
class Case:
    """Hold what is compared on one data set with one model."""

    options: argparse.Namespace
    spec: Spec
    rates: Rates


@dataclass(frozen=True)
class _Chosen:
    """Hold the program whose task is compared, and what its recipe changes for it."""

    program: TrainingProgram
    compared: Compared | None


def cases_of(arguments: Sequence[str] | None) -> list[Case]:
    """Parse the command line once for each data set and model that it names.

    Raises:
        UserError: a flag is unknown, or has a value that it cannot have.
    """
    words = list(sys.argv[1:] if arguments is None else map(str, arguments))
    early = Parser("python -m tasks.compare", DESCRIPTION, add_help=False)
    early.add_argument("--datasets", nargs="+")
    early.add_argument("--models", nargs="+")
    early.add_argument("--dataset")
    early.add_argument("--model")
    named, _ = early.parse_known_args(words)
    for one, several in (("dataset", "datasets"), ("model", "models")):
        if getattr(named, one) and getattr(named, several):
            raise UserError(f"--{one} and --{several} say the same: give one of them")
        flags.require_distinct(f"--{several}", getattr(named, several) or [])
    return [
        _case([*words, *(["--dataset", dataset] if dataset else []), *(["--model", model] if model else [])])
        for dataset in named.datasets or [None]
        for model in named.models or [None]
    ]


def _case(words: list[str]) -> Case:
    chosen = _choose(words)
    options = _parse(chosen, words)
    rates = _rates(options.rates)
    changes = chosen.compared.changes if chosen.compared else None
    spec = chosen.program.spec(options, changes)
    name = rate_setting(spec)
    if len(rates.values) == 1 and not rates.search:
        spec = with_rate(spec, rates.values[0])
    elif rates.search and not rates.values:
        usual = getattr(spec.settings, name)
        if usual is None:
            raise UserError(
                "--lr tune: this recipe has no learning rate of its own; say which, as --lr tune 0.1 0.2 0.4"
            )
        rates = Rates(tuple(float(f"{usual * factor:.3g}") for factor in (0.1, 0.3, 1, 3, 10)), search=True)
    return Case(options, spec, rates)


def _choose(words: Sequence[str]) -> _Chosen:
    """Choose the task that the command line names, or that its data set has."""
    early = Parser("python -m tasks.compare", DESCRIPTION, add_help=False)
    early.add_argument("--task", type=one_of("task", TASKS))
    early.add_argument("--dataset", default="digits")
    flags.add_data_flag(early, "", ["--data-dir"])
    options, _ = early.parse_known_args(words)
    if options.task:
        return _Chosen(program_of(options.task), None)
    compared = comparison_of(options.dataset, options.data)
    return _Chosen(program_of(compared.task), compared)


def _parse(chosen: _Chosen, words: Sequence[str]) -> argparse.Namespace:
    """Parse the flags of the comparison and those of the task; settings that are not given are None."""
    parser = Parser("python -m tasks.compare", DESCRIPTION)
    compared = chosen.compared
    _add_own_flags(parser)
    chosen.program.add_task_flags(parser, compared.changes if compared else None, hidden=RATE_SETTINGS)
    parser.change("--keep", default="last")  # a checkpoint for each of many runs is enough
    if compared:
        known = f"data set: one of {', '.join(COMPARED)}, or a prepared text in --data; others with --task"
        parser.change("--dataset", default="digits", purpose=f"{known} (default: digits)")
        parser.set_defaults(recipe=compared.recipe)
        if compared.limit_train:
            parser.change("--limit-train", default=compared.limit_train)
        if compared.threads:
            shown = f"CPU threads that each process computes with (default: {compared.threads})"
            parser.change("--threads", compared.threads, shown)
    options = parser.parse_args(words)
    flags.require_distinct("--activations", options.activations)
    options.baseline = flags.baseline_of(options.baseline, options.activations)
    return options


def _add_own_flags(parser: Parser) -> None:
    tasks = f"task to train, with its own recipe: one of {', '.join(TASKS)} (default: the data set's)"
    parser.add_argument("--task", type=one_of("task", TASKS), metavar="NAME", help=tasks)
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help="several data sets, one comparison each")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="several models, one comparison each")
    flags.add_activations_flag(parser)
    flags.add_baseline_flag(parser)
    flags.add_seeds_flag(parser, 5)
    parser.add_argument(
        "--lr", "--learning-rate", dest="rates", nargs="+", default=[], metavar="X",
        help="learning rate for all (default: the recipe's); several: a comparison at each; tune: the best one for "
        "each activation, searched among 0.1, 0.3, 1, 3 and 10 times the recipe's, or among those named after it",
    )  # fmt: skip
    parser.add_argument(
        "--tuning-seeds", type=positive_int, default=2, metavar="N",
        help="seeds of the search by --lr tune, from 1000 on; their runs count for no result",
    )  # fmt: skip
    parser.add_argument(
        "--plan", action="store_true",
        help="train nothing: list what would be trained, with the time (measured on a few steps) and disk it takes",
    )  # fmt: skip
    parser.add_argument(
        "--throughput", type=positive_float, metavar="X",
        help="with --plan: samples a second that another machine trains, to estimate its hours",
    )  # fmt: skip
    flags.add_results_flag(
        parser, "stored runs, in DIR/<dataset>/<model>, beside the table", ["--output"], Path("results/compare")
    )
    jobs = "number of runs trained at once, each in a process with one thread; 1: in this process"
    parser.add_argument("--jobs", type=positive_int, default=1, metavar="N", help=jobs)
    _add_cluster_flags(parser)
    parser.add_argument(
        "--same-environment", action="store_true",
        help="refuse stored runs of different versions, commits or machines, instead of naming the difference",
    )  # fmt: skip


def _add_cluster_flags(parser: Parser) -> None:
    parser.add_argument(
        "--cluster", type=one_of("cluster", ["slurm", "local"]), metavar="NAME",
        help="train each run in a job of its own, which requeues and resumes when it is preempted: slurm; or local, in "
        "processes of this machine, all at once, to try it out (needs the package submitit)",
    )  # fmt: skip
    parser.add_argument("--partition", metavar="NAME", help="with --cluster slurm: partition (default: the cluster's)")
    parser.add_argument(
        "--gpus", type=non_negative_int, default=0, metavar="N", help="with --cluster: GPUs that a job asks for"
    )
    parser.add_argument(
        "--hours", type=positive_float, default=24.0, metavar="X",
        help="with --cluster: hours that a job asks for; one that takes longer is requeued",
    )  # fmt: skip


def cluster_of(options: argparse.Namespace) -> Cluster | None:
    """Return the cluster that trains the runs, if one does."""
    if options.cluster is None:
        return None
    return Cluster(options.cluster, options.results / "jobs", options.partition, options.gpus, options.hours)


def _rates(words: Sequence[str]) -> Rates:
    search = "tune" in words
    try:
        values = tuple(positive_float(each) for each in words if each != "tune")
    except argparse.ArgumentTypeError as error:
        raise UserError(f"argument --lr: {error}, or tune (--help explains every flag)") from None
    if words.count("tune") > 1 or (search and words[0] != "tune"):
        raise UserError("argument --lr: tune comes first, and once: --lr tune 0.001 0.01 0.1")
    if search and len(values) == 1:
        raise UserError("argument --lr: a search needs several learning rates")
    flags.require_distinct("--lr", list(values))
    return Rates(values, search)


def rate_setting(spec: Spec) -> str:
    """Return what the task calls its learning rate."""
    names = {each.name for each in fields(spec.settings)}
    return next(name for name in RATE_SETTINGS if name in names)


def with_rate(spec: Spec, rate: float) -> Spec:
    """Return the spec with another learning rate."""
    return replace(spec, settings=replace(spec.settings, **{rate_setting(spec): rate}))
