"""How every benchmark ends: a JSON with the environment and a markdown table, under one name, in one folder."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from golu import kernels
from workbench.cli.arguments import Parser, one_of
from workbench.cli.errors import UserError
from workbench.output import environment, storage

RESULTS = Path(__file__).parent / "results"


def parser(name: str, description: str | None, device: bool = True) -> Parser:
    """A command line with the flags that all share: where to write, and unless it goes without saying where to run."""
    built = Parser(f"python -m benchmarks.{name}", description or "")
    built.add_argument("--output", type=Path, default=RESULTS, help="folder for the JSON and the markdown table")
    if device:
        built.add_argument("--device", type=one_of("device", ["cpu", "cuda"]), default="cpu", help="cpu or cuda")
    return built


def parse(parser: Parser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments; the folder is made now, before anything is measured that could not be stored."""
    options = parser.parse_args(arguments)
    storage.prepare_folder(options.output)
    return options


def require_device(device: str) -> None:
    """Refuse a GPU that is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here")


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A markdown table, first column to the left, the others to the right, padded so that it reads as text too."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]

    def line(first: str, *others: str) -> str:
        padded = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        return f"| {' | '.join([first.ljust(widths[0]), *padded])} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(*columns), f"|{rule}|", *(line(*row) for row in rows)])


def write(name: str, options: argparse.Namespace, title: str, how: str, sections: dict[str, str], numbers: Any) -> None:
    """Store as `store` does, and say where."""
    store(name, options, title, how, sections, numbers)
    say_where(name, options)


def store(name: str, options: argparse.Namespace, title: str, how: str, sections: dict[str, str], numbers: Any) -> None:
    """Write `<name>_<device>.json` and `.md`."""
    where, path = _environment(options), _path(name, options)
    machine = f"{where['gpu'] or where['cpu']}, torch {where['torch']}, Python {where['python']}"
    measured = f"Measured on {machine}, kernel: {where['kernel']}, commit {where['commit'] or 'unknown'}."
    parts = [f"# {title}", how, measured, *(f"## {heading}\n\n{text}" for heading, text in sections.items())]
    storage.write_json(path.with_suffix(".json"), {"environment": where, "numbers": _finite(numbers)})
    storage.write_text(path, "\n\n".join(parts) + "\n")


def say_where(name: str, options: argparse.Namespace) -> None:
    """Print where `store` has written."""
    print(f"\nwritten: {_path(name, options)} and .json")


def stored(name: str, options: argparse.Namespace) -> Any:
    """Return the numbers that `store` has written, to be added to.

    Raises:
        UserError: there are none, or they are of another machine, other versions or another number of threads.
    """
    path = _path(name, options).with_suffix(".json")
    if not path.exists():
        raise UserError(f"--add: there is no {path} yet")
    found, here = json.loads(path.read_text()), _environment(options)
    other = [key for key in here if key != "commit" and found["environment"].get(key) != here[key]]
    if other:
        differences = ", ".join(f"{key} {found['environment'].get(key)} and not {here[key]}" for key in other)
        raise UserError(f"--add: {path} was measured with {differences}")
    return found["numbers"]


def _path(name: str, options: argparse.Namespace) -> Path:
    return options.output / f"{name}_{getattr(options, 'device', 'cpu')}.md"


def _environment(options: argparse.Namespace) -> dict[str, Any]:
    device = getattr(options, "device", "cpu")
    return environment.describe(device) | {"kernel": kernels.kernel_for(device).name}


def _finite(value: Any) -> Any:
    """JSON has no infinity: the string "inf" instead."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return "inf" if value == float("inf") else value


def read(name: str, device: str, folder: Path = RESULTS) -> Any:
    """What `write` stored."""
    return json.loads((folder / f"{name}_{device}.json").read_text())
