"""The flags that several programs have, each explained in one place."""

from collections.abc import Sequence
from pathlib import Path

from golu import available_activations
from workbench.cli.arguments import Parser, one_of, positive_int, seed
from workbench.cli.errors import UserError

FIVE = ("ReLU", "GELU", "Swish", "Mish", "GoLU")  # the activations that are compared unless others are named


def add_activations_flag(
    parser: Parser, known: Sequence[str] | None = None, default: Sequence[str] = FIVE, purpose: str = ""
) -> None:
    """--activations, some of the known names (default: of all).

    Args:
        purpose: what they are for, if that does not go without saying.
    """
    names = list(known or available_activations())
    shown = " ".join(default) or "none"
    parser.add_argument(
        "--activations", type=one_of("activation", names), nargs="+", default=list(default), metavar="NAME",
        help=f"{purpose and purpose + ': '}any of {', '.join(names)} (default: {shown})",
    )  # fmt: skip


def require_distinct(flag: str, values: Sequence[object]) -> None:
    """
    Raises:
        UserError: the flag names something more than once.
    """
    twice = [str(each) for each in dict.fromkeys(values) if values.count(each) > 1]
    if twice:
        raise UserError(f"{flag} names {', '.join(twice)} more than once")


def add_run_flags(parser: Parser, results: list[str], activation: list[str]) -> None:
    """What every run needs; the names of the flags for results and activation are the program's."""
    names = ", ".join(available_activations())
    parser.add_argument(
        *activation, dest="activation", type=one_of("activation", available_activations()), default="GoLU",
        metavar="NAME", help=f"the activation throughout the model: one of {names}",
    )  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of everything that is random")
    parser.add_argument(
        *results, dest="results", type=Path, default=Path("results"), metavar="DIR",
        help="where results are stored, in DIR/<dataset>/<model>/<activation>",
    )  # fmt: skip
    parser.add_argument(
        "--device", type=one_of("device", ("cpu", "cuda")), metavar="NAME",
        help="cpu or cuda (default: cuda where there is one)",
    )  # fmt: skip
    parser.add_argument("--compile", action="store_true", help="run the model through torch.compile")
    parser.add_argument(
        "--checkpoint-steps", type=positive_int, default=1000, metavar="N",
        help="store a checkpoint every N steps, besides the one after each evaluation",
    )  # fmt: skip
