"""python -m tasks.results lists stored runs; `--help` explains every flag."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.results import layout
from tasks.results.compared import paired
from tasks.results.listing import STATES, Found, Listed, find
from tasks.results.selection import COLUMNS, FILTERS, chosen, in_order, pairs_in_order
from workbench.cli.arguments import Parser, one_of
from workbench.cli.errors import UserError, run
from workbench.output.storage import write_text
from workbench.output.tables import to_csv

DESCRIPTION = """\
List the stored runs of any task, one a line: what each is of, what its last evaluation gave, the time that it took, and
whether it has ended, is running, was stopped, diverged or failed.

  python -m tasks.results                                       # all runs below results
  python -m tasks.results --model cnn --sort value              # the best first
  python -m tasks.results results/compare --state running stopped failed
  python -m tasks.results --compare results/before results/after --csv both.csv

Nothing is trained, changed or claimed: tasks.report has means, differences and tests."""

WARNINGS = 10  # that are shown, at most


def main(arguments: Sequence[str] | None = None) -> None:
    """List, or compare, as the command line says.

    Raises:
        UserError: there are no runs, none is chosen, or the .csv cannot be written.
    """
    options = _parse(arguments)
    if options.compare:
        found = [_chosen([folder], options) for folder in options.compare]
        pairs = pairs_in_order(paired(*found), options.sort)
        print(f"A: {options.compare[0]}\nB: {options.compare[1]}\n\n{layout.side_by_side(pairs)}")
        rows = layout.paired_rows(pairs)
    else:
        runs = in_order(_chosen(options.folders or [Path("results")], options), options.sort)
        print(layout.listed(runs))
        rows = layout.rows(runs)
    if options.csv:
        write_text(options.csv, to_csv(rows))
        print(f"{options.csv} has the same")


def _chosen(folders: Sequence[Path], options: argparse.Namespace) -> list[Listed]:
    found = find(folders)
    _warn(found)
    return chosen(found.runs, {flag: getattr(options, flag) for flag in FILTERS})


def _warn(found: Found) -> None:
    for each in found.left_out[:WARNINGS]:
        print(f"warning: left out: {each}", file=sys.stderr)
    if len(found.left_out) > WARNINGS:
        print(f"warning: left out: {len(found.left_out) - WARNINGS} more files", file=sys.stderr)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("python -m tasks.results", DESCRIPTION)
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER",
        help="folders of stored runs, at any depth (default: results)",
    )  # fmt: skip
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A", "B"),
        help="two folders whose runs of the same data set, model, activation, variant and seed are shown side by side, "
        "instead of a list (default: none)",
    )  # fmt: skip
    for flag in FILTERS:
        kind = one_of("state", STATES) if flag == "state" else str
        names = f": {', '.join(STATES)}" if flag == "state" else ""
        also = "; - for runs without one" if flag in ("task", "variant") else ""
        parser.add_argument(
            f"--{flag}", nargs="+", type=kind, metavar="NAME" if flag != "seed" else "N",
            help=f"only runs whose {flag} is one of these{names}{also} (default: all)",
        )  # fmt: skip
    parser.add_argument(
        "--sort", nargs="+", type=one_of("column", [*COLUMNS, "difference"]), default=[], metavar="COLUMN",
        help=f"columns to sort by, the first one first: {', '.join(COLUMNS)}, or with --compare difference; the best "
        "values and the longest times come first (default: by folder, dataset, model, activation, variant and seed)",
    )  # fmt: skip
    parser.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="file that gets the same as comma-separated values (default: none)",
    )
    options = parser.parse_args(arguments)
    if options.compare and options.folders:
        raise UserError(f"--compare takes the two folders: {options.folders[0]} is one too many")
    if "difference" in options.sort and not options.compare:
        raise UserError("--sort difference needs --compare: a list has no differences")
    return options


if __name__ == "__main__":
    run(main)
