"""A figure as a program: its flags, and where its picture and the numbers behind it go."""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from golu.activations import distinct_activations, gated_activations
from workbench.cli.arguments import Parser
from workbench.cli.flags import add_activations_flag, require_distinct
from workbench.output.storage import prepare_folder, write_text
from workbench.output.style import figure_style, save_figure
from workbench.output.tables import to_csv

Row = dict[str, Any]
Options = argparse.Namespace
Curve = Callable[[str, np.ndarray], np.ndarray]  # of an activation's name and x

DPI = (20, 1200)
DIGITS = 7  # significant ones, in a CSV
BESIDE_GOLU = {  # what --activations is to a figure of GoLU
    "known": [name for name in gated_activations() if name != "GoLU"], "default": (),
    "activations_are": "drawn beside GoLU",
}  # fmt: skip
NOISE = 1e-14  # what is smaller is 0 but for rounding, which another machine may do otherwise


@dataclass(frozen=True)
class FigureProgram:
    """One figure, drawn by one command from numbers that stand beside it as CSV.

    Args:
        module: its file below visualizations, as "golu_plots.gates"; the last part names what it writes.
        description: the file's docstring: a title in one line, the command, what it shows, formulas, sources.
        numbers: makes the rows of the CSV, from the options.
        draw: makes the picture of the rows.
        known: the activations that --activations takes; None: all.
        default: those drawn if it is not given; None: those that are compared most.
        activations_are: what they are for, if that does not go without saying.
        add_flags: adds the figure's own flags, if it has any.
        summarise: a few lines for the terminal, if the numbers say something in themselves.
        more: writes what the figure has beside these files; returns their paths.
    """

    module: str
    description: str
    numbers: Callable[[Options], list[Row]]
    draw: Callable[[list[Row], Options], Figure]
    known: Sequence[str] | None = None
    default: Sequence[str] | None = None
    activations_are: str = ""
    add_flags: Callable[[Parser], None] | None = None
    summarise: Callable[[list[Row]], str] | None = None
    more: Callable[[list[Row], Options], list[Path]] | None = None

    @property
    def name(self) -> str:
        return self.module.rpartition(".")[2]

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Draw the figure that the command line describes, and name the files."""
        options = self.parse_arguments(arguments)
        prepare_folder(options.output)  # before minutes of work
        for path in self.write(options):
            print(path)

    def parse_arguments(self, arguments: Sequence[str] | None = None) -> Options:
        parser = Parser(f"python -m visualizations.{self.module}", self.description)
        files = f"{self.name}.png, .svg and .csv"
        parser.add_argument("--output", type=Path, default=Path("assets"), metavar="DIR", help=f"folder of {files}")
        add_activations_flag(parser, self.known or distinct_activations(), self.default, self.activations_are)
        parser.add_argument(
            "--dpi", type=_dpi, metavar="N", default=200,
            help=f"dots an inch in the .png, {DPI[0]} to {DPI[1]}",
        )  # fmt: skip
        if self.add_flags is not None:
            self.add_flags(parser)
        options = parser.parse_args(arguments)
        require_distinct("--activations", options.activations)
        return options

    def write(self, options: Options) -> list[Path]:
        """The picture as .png and .svg and its numbers as .csv, in the folder options.output."""
        rows = self.numbers(options)
        if self.summarise is not None:
            print(self.summarise(rows))
        path = options.output / self.name
        with figure_style():
            paths = save_figure(self.draw(rows, options), path, options.dpi)
            more = self.more(rows, options) if self.more is not None else []
        write_text(path.with_suffix(".csv"), to_csv([rounded(row) for row in rows]))
        return [*paths, *more, path.with_suffix(".csv")]


def rounded(row: Row) -> Row:
    """The row with numbers as text of so many digits, so that a file is short, and the same wherever it is made."""
    return {name: _digits(value) if isinstance(value, float) else value for name, value in row.items()}


def _digits(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.{DIGITS}g}" if abs(value) > NOISE else "0"


def rows_of(common: Row, **columns: np.ndarray) -> list[Row]:
    """A row a point: what all of them have in common, and each column's value there, as a plain number."""
    points = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [common | dict(zip(columns, point, strict=True)) for point in points]


def points(activation: str, point: str, x: Sequence[float] | np.ndarray, **columns: Curve) -> list[Row]:
    """A row for each x, which is a point of this kind, with the values of some functions of the activation there."""
    x = np.asarray(x, float)
    found = {name: of(activation, x) for name, of in columns.items()}
    return rows_of({"activation": activation, "point": point}, x=x, **found)


def where(rows: list[Row], **values: Any) -> list[Row]:
    """The rows that have these values."""
    return [row for row in rows if all(row[name] == value for name, value in values.items())]


def column(rows: list[Row], name: str, **values: Any) -> np.ndarray:
    """What is called `name` in the rows that have these values."""
    return np.array([row[name] for row in where(rows, **values)])


def columns(rows: list[Row], *names: str, **values: Any) -> list[np.ndarray]:
    """As `column`, of each name."""
    return [column(rows, name, **values) for name in names]


def names_in(rows: list[Row], name: str = "activation", **values: Any) -> list[Any]:
    """The different values called `name`, in their order, in the rows that have these values."""
    return list(dict.fromkeys(row[name] for row in where(rows, **values)))


def _dpi(text: str) -> int:
    low, high = DPI
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, not {text!r}")
    return int(text)
