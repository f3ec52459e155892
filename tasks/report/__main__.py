"""python -m tasks.report reports on stored runs; `--help` explains every flag."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tasks.report.across import ROPE
from tasks.report.compose import compose
from tasks.report.forms import latex, markdown, terminal
from tasks.report.page import page
from tasks.report.reading import read
from workbench.cli.arguments import Parser, non_negative_float
from workbench.cli.errors import run
from workbench.output.storage import prepare_folder, write_text
from workbench.output.tables import to_csv

DESCRIPTION = """\
Report on stored runs of any task: a table of results with a column for each activation, paired differences to a
baseline, learning rates, and what several tasks say together; in the terminal and as report.md, .csv, .tex and .html.

  python -m tasks.report results                       # all runs below a folder
  python -m tasks.report results/compare results/gpt --baseline GELU --output results/paper

Every activation is judged at its own learning rate, if runs of a search are found (tasks.compare --lr tune)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Report as the command line says.

    Raises:
        UserError: there are no results, two runs of one key differ, or the report cannot be written.
    """
    options = _parse(arguments)
    report = compose(read(options.results), options.baseline, options.published, options.rope)
    prepare_folder(options.output)
    write_text(options.output / "report.csv", to_csv(list(report.rows)))
    write_text(options.output / "report.md", markdown(report))
    write_text(options.output / "report.tex", latex(report))
    write_text(options.output / "report.html", page(report))
    print(terminal(report))
    print(f"{options.output} has report.html, report.md, report.csv and report.tex")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("python -m tasks.report", DESCRIPTION)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help="folders of stored runs, at any depth")
    parser.add_argument(
        "--output", type=Path, default=Path("results/report"), metavar="DIR", help="folder of the report's files"
    )
    parser.add_argument(
        "--baseline", metavar="NAME",
        help="activation that the others are compared with (default: ReLU where it is, else the first)",
    )  # fmt: skip
    parser.add_argument(
        "--published", action="store_true",
        help="show all of the paper's results, not only those of the same architectures and data sets",
    )  # fmt: skip
    parser.add_argument(
        "--rope", type=non_negative_float, default=ROPE, metavar="X",
        help="differences over tasks that count as equivalent, in standard deviations of a run over seeds",
    )  # fmt: skip
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run(main)
