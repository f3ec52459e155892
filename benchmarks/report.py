"""How every benchmark ends: a JSON with the environment and a markdown table, under one name, in one folder."""

import argparse
import json
from pathlib import Path
from typing import Any

from golu import kernels
from workbench.cli.arguments import Parser
from workbench.output import environment, storage

RESULTS = Path(__file__).parent / "results"


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """A command line with the flag that all share: where to write."""
    built = Parser(f"python -m benchmarks.{name}", description)
    built.add_argument("--output", type=Path, default=RESULTS, help="folder for the JSON and the markdown table")
    return built


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments; the folder is made now, before anything is measured that could not be stored."""
    arguments = parser.parse_args()
    storage.prepare_folder(arguments.output)
    return arguments


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A markdown table, first column to the left, the others to the right, padded so that it reads as text too."""
    cells = [columns, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]

    def line(row: list[str]) -> str:
        padded = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(columns), rule, *map(line, rows)])


def write(name: str, device: str, title: str, how: str, sections: dict[str, str], numbers: Any, output: Path) -> None:
    """Write `<name>_<device>.json` and `.md`, and say where."""
    where = environment.describe(device)
    kernel = kernels.kernel_for(device)
    where["kernel"] = kernel.name
    lines = [f"# {title}", "", how, ""]
    lines.append(
        f"Measured on {where['gpu'] or where['cpu']}, torch {where['torch']}, Python {where['python']}, "
        f"kernel: {kernel.name}, commit {where['commit'] or 'unknown'}."
    )
    for heading, text in sections.items():
        lines += ["", f"## {heading}", "", text]
    storage.write_json(output / f"{name}_{device}.json", {"environment": where, "numbers": _finite(numbers)})
    storage.write_text(output / f"{name}_{device}.md", "\n".join(lines) + "\n")
    print(f"\nwritten: {output / f'{name}_{device}.md'} and .json")


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
