"""Lay out tables as text: for a terminal, a page, and a spreadsheet."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any


def plain_table(rows: list[list[str]]) -> str:
    """Align columns for a terminal; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    ruled = [rows[0], ["-" * width for width in widths], *rows[1:]]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in ruled]
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(rows: list[list[str]]) -> str:
    """Lay out rows as Markdown; the first row is the header."""
    ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in ruled)


def to_csv(rows: list[dict[str, Any]]) -> str:
    """Write rows as CSV with a header; None, and what a row lacks, stay empty."""
    text = io.StringIO()
    columns = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def decimals(values: Sequence[float]) -> int:
    """Return how many digits after the point numbers of this size need: two, and more if all are below 1."""
    largest = max((abs(each) for each in values), default=1.0)
    return 2 - math.floor(math.log10(largest)) if 0 < largest < 1 else 2


def number(value: float, digits: int, sign: str = "") -> str:
    """Format with so many digits after the point; for a model that has learned nothing, with powers of ten."""
    return format(value, f"{sign}.{digits}f" if abs(value) < 1e6 else f"{sign}.3g")
