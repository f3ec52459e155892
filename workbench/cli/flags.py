"""The flags that mean the same in every program, each explained in one place.

--results, --data, --activation (or --activations) and --workers work everywhere; a program may know one by other
names too, which its specification has.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from golu import available_activations
from golu.activations import compared_activations
from workbench.cli.arguments import Parser, non_negative_int, one_of, positive_int, seed
from workbench.cli.errors import UserError
from workbench.output.environment import cores

Aliases = Sequence[str]
REQUIRED: dict[str, Any] = {"required": True, "default": argparse.SUPPRESS}  # and so no default to be shown


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
    """Add --activation, the one that a model has throughout."""
    known = available_activations()
    parser.add_argument(
        "--activation", *aliases, dest="activation", type=one_of("activation", known), default="GoLU", metavar="NAME",
        help=f"the activation throughout the model: one of {', '.join(known)}",
    )  # fmt: skip


def add_activations_flag(
    parser: Parser, known: Sequence[str] | None = None, default: Sequence[str] | None = None, purpose: str = ""
) -> None:
    """Add --activations, several of the known names.

    Args:
        known: all names if None.
        default: those that are compared unless others are named, if None.
        purpose: what they are for, if that does not go without saying.
    """
    names = list(known or available_activations())
    default = compared_activations() if default is None else default
    shown = " ".join(default) or "none"
    parser.add_argument(
        "--activations", type=one_of("activation", names), nargs="+", default=list(default), metavar="NAME",
        help=f"{purpose and purpose + ': '}any of {', '.join(names)} (default: {shown})",
    )  # fmt: skip


def add_baseline_flag(parser: Parser) -> None:
    """Add --baseline, the activation that others are compared with."""
    parser.add_argument(
        "--baseline", type=one_of("activation", available_activations()), metavar="NAME",
        help="the activation that others are compared with (default: ReLU if it is there, else the first)",
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


def add_seed_flag(parser: Parser, what: str = "seed of everything that is random") -> None:
    """Add --seed."""
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help=what)


def add_seeds_flag(parser: Parser, default: int) -> None:
    """Add --seeds, how many."""
    parser.add_argument(
        "--seeds", type=positive_int, default=default, metavar="N", help="number of seeds, counted from 0"
    )


def add_device_flag(parser: Parser, default: str | None = None) -> None:
    """Add --device."""
    shown = default or "cuda where there is one"
    parser.add_argument(
        "--device", type=one_of("device", ("cpu", "cuda")), default=default, metavar="NAME",
        help=f"cpu or cuda (default: {shown})",
    )  # fmt: skip


def add_workers_flag(parser: Parser) -> None:
    """Add --workers, the processes that read data."""
    parser.add_argument(
        "--workers", "--num-workers", dest="workers", type=non_negative_int, default=min(4, cores()), metavar="N",
        help="processes that read files ahead, for each process that trains; 0: none; data in memory need none",
    )  # fmt: skip


def add_limit_flags(parser: Parser, unit: str = "images") -> None:
    """Add --limit-train and --limit-val."""
    how = ", classes in proportion" if unit == "images" else ", from the beginning"
    for split, what in (("train", "training"), ("val", "validation")):
        parser.add_argument(
            f"--limit-{split}",
            type=positive_int,
            metavar="N",
            help=f"number of {what} {unit} to take{how} (default: all)",
        )


def add_machine_flags(parser: Parser) -> None:
    """Add what decides how a run is trained, and changes no number beyond rounding."""
    add_device_flag(parser)
    add_workers_flag(parser)
    parser.add_argument("--compile", action="store_true", help="run the model through torch.compile")
    parser.add_argument(
        "--checkpoint-steps", type=positive_int, default=1000, metavar="N",
        help="steps between two checkpoints, besides the one after each evaluation",
    )  # fmt: skip


def require_distinct(flag: str, values: Sequence[object]) -> None:
    """Refuse a list that names something more than once.

    Raises:
        UserError: it does.
    """
    twice = [str(each) for each in dict.fromkeys(values) if values.count(each) > 1]
    if twice:
        raise UserError(f"{flag} names {', '.join(twice)} more than once")
