"""Add the flags that mean the same in every program, each explained in one place.

--results, --data, --activation (or --activations) and --workers work everywhere; a program may give them aliases.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from golu import available_activations
from golu.activations import compared_activations
from workbench.cli.arguments import Parser, non_negative_int, one_of, positive_int, seed
from workbench.cli.errors import UserError
from workbench.output.environment import cores

Aliases = Sequence[str]
KEEP = ("best", "all", "last")
REQUIRED: dict[str, Any] = {"required": True, "default": argparse.SUPPRESS}  # without a default there is none to show


def add_results_flag(parser: Parser, what: str, aliases: Aliases = (), default: Path = Path("results")) -> None:
    """Add --results, the folder of stored runs.

    Args:
        what: what is stored below it, and how.
    """
    parser.add_argument(
        "--results", *aliases, dest="results", type=Path, default=default, metavar="DIR", help=f"folder of {what}"
    )


def add_data_flag(parser: Parser, what: str, aliases: Aliases = (), default: Path = Path("data")) -> None:
    """Add --data, the folder of data sets."""
    parser.add_argument("--data", *aliases, dest="data", type=Path, default=default, metavar="DIR", help=what)


def add_activation_flag(parser: Parser, aliases: Aliases = ()) -> None:
    """Add --activation, which a model has throughout."""
    known = available_activations()
    parser.add_argument(
        "--activation", *aliases, dest="activation", type=one_of("activation", known), default="GoLU", metavar="NAME",
        help=f"activation throughout the model: one of {', '.join(known)}",
    )  # fmt: skip


def add_activations_flag(
    parser: Parser, known: Sequence[str] | None = None, default: Sequence[str] | None = None, purpose: str = ""
) -> None:
    """Add --activations, several of the known names.

    Args:
        known: all names if None.
        default: the activations that programs compare by default, if None.
        purpose: what they are for, at the beginning of the help text.
    """
    names = list(known or available_activations())
    default = compared_activations() if default is None else default
    shown = " ".join(default) or "none"
    parser.add_argument(
        "--activations", type=one_of("activation", names), nargs="+", default=list(default), metavar="NAME",
        help=f"{purpose and purpose + ': '}any of the activations {', '.join(names)} (default: {shown})",
    )  # fmt: skip


def add_baseline_flag(parser: Parser) -> None:
    """Add --baseline, the activation that the others are compared with."""
    parser.add_argument(
        "--baseline", type=one_of("activation", available_activations()), metavar="NAME",
        help="activation that the others are compared with (default: ReLU if it is among them, else the first)",
    )  # fmt: skip


def baseline_of(given: str | None, activations: Sequence[str]) -> str:
    """Choose the baseline.

    Raises:
        UserError: the one that was given is not among the activations.
    """
    if given is None:
        return "ReLU" if "ReLU" in activations else activations[0]
    if given not in activations:
        raise UserError(f"--baseline {given} is not among the activations: {', '.join(activations)}")
    return given


def add_seed_flag(parser: Parser, what: str = "seed of all random numbers") -> None:
    """Add --seed."""
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help=what)


def add_seeds_flag(parser: Parser, default: int) -> None:
    """Add --seeds, the number of seeds."""
    parser.add_argument("--seeds", type=positive_int, default=default, metavar="N", help="number of seeds: 0 to N - 1")


def add_average_flag(parser: Parser) -> None:
    """Add --average, which says which weights of a checkpoint are taken."""
    parser.add_argument(
        "--average", action=argparse.BooleanOptionalAction,
        help="take the moving average of the weights, or the weights themselves (default: the average if there is one)",
    )  # fmt: skip


class _Threads(argparse.Action):
    """Have torch take so many CPU threads, from the moment that the command line is read."""

    def __call__(self, parser: object, namespace: argparse.Namespace, value: Any, flag: str | None = None) -> None:
        torch.set_num_threads(value)
        setattr(namespace, self.dest, value)


def add_device_flags(parser: Parser, default: str | None = None) -> None:
    """Add --device and --threads; the latter is obeyed as soon as it is parsed."""
    shown = default or "cuda where there is one"
    parser.add_argument(
        "--device", type=one_of("device", ("cpu", "cuda")), default=default, metavar="NAME",
        help=f"device to compute on: cpu or cuda (default: {shown})",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=positive_int, action=_Threads, metavar="N",
        help=f"CPU threads that each process computes with (default: {torch.get_num_threads()}, as torch takes here)",
    )  # fmt: skip


def add_workers_flag(parser: Parser) -> None:
    """Add --workers, the processes that read data."""
    parser.add_argument(
        "--workers", "--num-workers", dest="workers", type=non_negative_int, default=min(4, cores()), metavar="N",
        help="number of worker processes that read image files, per training process; 0: it reads them itself",
    )  # fmt: skip


def add_limit_flags(parser: Parser, unit: str = "images", choice: str = "classes in proportion") -> None:
    """Add --limit-train and --limit-val.

    Args:
        choice: which of them are taken.
    """
    for split, what in (("train", "training"), ("val", "validation")):
        parser.add_argument(
            f"--limit-{split}",
            type=positive_int,
            metavar="N",
            help=f"number of {what} {unit} to take, {choice} (default: all)",
        )


def add_machine_flags(parser: Parser) -> None:
    """Add the flags that decide how a run is trained, and change no number beyond rounding."""
    add_device_flags(parser)
    add_workers_flag(parser)
    parser.add_argument("--compile", action="store_true", help="compile the model with torch.compile")
    parser.add_argument(
        "--checkpoint-steps", type=positive_int, default=1000, metavar="N",
        help="number of steps between checkpoints, besides the one after each evaluation",
    )  # fmt: skip
    parser.add_argument(
        "--keep", type=one_of("choice", KEEP), default="best", metavar="NAME",
        help="whose weights are kept beside the newest checkpoint: best (those of the best evaluation, in "
        "best_<seed>.pth), all (of every evaluation, in weights_<seed>/) or last (no others)",
    )  # fmt: skip


def add_wandb_flag(parser: Parser) -> None:
    """Add --wandb, which sends what TensorBoard gets to Weights & Biases too."""
    parser.add_argument(
        "--wandb", nargs="?", const="golu", metavar="PROJECT",
        help="send every evaluation to Weights & Biases too, to PROJECT or else to golu (needs the package wandb); "
        "with WANDB_MODE=offline in the environment it is stored in the run's folder instead (default: not sent)",
    )  # fmt: skip


def require_distinct(flag: str, values: Sequence[object]) -> None:
    """Refuse a list that names something more than once.

    Raises:
        UserError: it does.
    """
    twice = [str(each) for each in dict.fromkeys(values) if values.count(each) > 1]
    if twice:
        raise UserError(f"{flag} names {', '.join(twice)} more than once")
