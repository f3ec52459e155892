"""Write a report as text: for a terminal, as Markdown, and as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.report.sections import Cell, Grid, Report
from workbench.output.tables import markdown_table, plain_table

LISTED = 20  # warnings of a section that a terminal shows
LATEX = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
        "≈": r"$^{\approx}$", "²": "$^2$", "<": "$<$", ">": "$>$",
    }
)  # fmt: skip


def terminal(report: Report) -> str:
    """Lay out the report for a terminal: all but the figures and what is long."""
    blocks = []
    for section in report.sections:
        if section.long:
            blocks.append(f"{section.title.upper()}\n{len(section.grids)} tables, which the files have")
            continue
        warnings = [f"! {each}" for each in section.warnings[:LISTED]]
        if len(section.warnings) > LISTED:
            warnings.append(f"! {len(section.warnings) - LISTED} more of these, which the files have")
        blocks.append("\n".join([section.title.upper(), *warnings, *section.text]))
        for grid in section.grids:
            rows = [list(grid.header), *([_starred(cell) for cell in line] for line in grid.lines)]
            blocks.append("\n".join([grid.title, plain_table(rows), *grid.notes]))
    return "\n\n".join(blocks) + "\n"


def _starred(cell: Cell) -> str:
    return cell.text + ("*" if cell.best else "") + (f" {cell.mark}" if cell.mark else "")


def markdown(report: Report) -> str:
    """Write the report as a Markdown page: all but the figures."""
    blocks = [f"# {report.title}"]
    for section in report.sections:
        blocks.append(f"## {section.title}")
        blocks += [_bullets([f"**{each}**" for each in section.warnings] + section.text)]
        for grid in section.grids:
            rows = [[_plain(each) for each in grid.header], *([_bold(cell) for cell in line] for line in grid.lines)]
            blocks += [f"### {grid.title}", markdown_table(rows), _bullets(grid.notes)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {each}" for each in lines)


def _plain(text: str) -> str:
    return text.replace("|", r"\|")


def _bold(cell: Cell) -> str:
    text = _plain(cell.text)
    return (f"**{text}**" if cell.best else text) + (f" {cell.mark}" if cell.mark else "")


def latex(report: Report) -> str:
    r"""Write the tables for a paper, each in a tabular of its own with booktabs' rules.

    They need \usepackage{booktabs}; a table* or \resizebox around them is the document's.
    """
    grids = [grid for section in report.sections for grid in section.grids if grid.latex]
    return "% needs \\usepackage{booktabs}\n\n" + "\n".join(map(_tabular, grids))


def _tabular(grid: Grid) -> str:
    left = 3 if grid.header[0] == "Architecture" else 1
    columns = "l" * left + "c" * (len(grid.header) - left)
    lines = [f"% {grid.title}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _tex_line(grid.header), r"\midrule"]
    for place, line in enumerate(grid.lines):
        if place and place in grid.published and place - 1 not in grid.published:
            lines.append(r"\midrule")
        lines.append(_tex_line([_tex(cell) for cell in line], translated=True))
    notes = [f"% {each}" for each in grid.notes]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes, ""])


def _tex(cell: Cell) -> str:
    text = cell.text.translate(LATEX)
    return (rf"\textbf{{{text}}}" if cell.best else text) + cell.mark.translate(LATEX)


def _tex_line(cells: Sequence[str], translated: bool = False) -> str:
    return " & ".join(each if translated else each.translate(LATEX) for each in cells) + r" \\"
