"""Parse command lines: hyphens and underscores both work, no flag is abbreviated, every default is shown."""

import argparse
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from golu.activations import unknown_name
from workbench.cli.errors import UserError


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keep the line breaks of the description and append each default, unless the help text states it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.help and "(default" in action.help:
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Parse arguments; every error is a UserError, and so one line.

    Args:
        prog: the command, such as `python -m tasks.compare`.
        description: one sentence on the purpose, then an example.
    """

    def __init__(self, prog: str, description: str, add_help: bool = True) -> None:
        super().__init__(
            prog=prog, description=description, formatter_class=_Help, allow_abbrev=False, add_help=add_help
        )

    def change(self, flag: str, default: Any = None, purpose: str | None = None) -> None:
        """Give a flag that was added before another default or help text."""
        action = self._option_string_actions[flag]
        action.default = action.default if default is None else default
        action.help = purpose or (action.help or "").replace("(default: all)", f"(default: {default})")

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        words = [_hyphens(each) for each in (sys.argv[1:] if args is None else args)]
        return super().parse_known_args([each for word in words for each in self._switched(word)], namespace)

    def _switched(self, word: str) -> list[str]:
        """Understand --flag=True and --flag=False of a flag that is turned on by its name."""
        flag, equals, value = word.partition("=")
        action = self._option_string_actions.get(flag)
        if not equals or action is None or action.nargs != 0:
            return [word]
        if value.lower() not in ("true", "false"):
            self.error(f"argument {flag}: is turned on by its name, or by =True and =False, not by {value!r}")
        if value.lower() == "true":
            return [flag]
        off = "--no-" + flag.removeprefix("--")
        return [off] if off in action.option_strings else []

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help explains every flag)")


def _hyphens(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    return flag.replace("_", "-") + equals + value


def one_of(kind: str, known: Iterable[str]) -> Callable[[str], str]:
    """Make the type of a flag that takes one of the known names; an error names the closest."""
    names = list(known)

    def parse(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(unknown_name(kind, text, names))
        return text

    return parse


def positive_int(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def non_negative_int(text: str) -> int:
    """Parse a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, not {text!r}")
    return int(text)


def positive_float(text: str) -> float:
    """Parse a finite number above 0, such as a learning rate."""
    value = _finite(text)
    if value is None or value <= 0:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def non_negative_float(text: str) -> float:
    """Parse a finite number of at least 0, such as a weight decay."""
    value = _finite(text)
    if value is None or value < 0:
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, not {text!r}")
    return value


def fraction(text: str) -> float:
    """Parse a number above 0 and at most 1, such as a part of a whole."""
    value = _finite(text)
    if value is None or not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number above 0, at most 1, not {text!r}")
    return value


def seed(text: str) -> int:
    """Parse a seed, a whole number from 0 to 2^32 - 1, which every generator takes."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {2**32 - 1}, not {text!r}")
    return int(text)


def unit_float(text: str) -> float:
    """Parse a number from 0 to 1, such as a probability."""
    value = _finite(text)
    if value is None or not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
    return value


def truth(text: str) -> bool:
    """Parse True or False, in any case."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be True or False, not {text!r}")
    return text.lower() == "true"


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
