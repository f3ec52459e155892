"""Hold a report as sections of tables and figures, which every form of it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Line = list["Cell"]
NOTHING = "n/a"  # in a cell without a number


@dataclass(frozen=True)
class Cell:
    """Hold a cell of a table.

    Args:
        sort: the number that its column is sorted by; None: its text.
        best: whether it is emphasised.
        mark: a sign behind the text that a note explains.
        failed: whether a run of it failed.
    """

    text: str
    sort: float | None = None
    best: bool = False
    mark: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Grid:
    """Hold a table.

    Args:
        published: indices of the lines that are the paper's.
        notes: what its columns and signs mean, a line each.
        latex: whether it is one of the tables that the .tex holds.
    """

    title: str
    header: Sequence[str]
    lines: Sequence[Line]
    published: Sequence[int] = ()
    notes: Sequence[str] = ()
    latex: bool = False


@dataclass(frozen=True)
class Picture:
    """Hold a figure as SVG.

    Args:
        meaning: what it shows, in place of the figure for who does not see it.
    """

    title: str
    svg: str
    meaning: str


@dataclass
class Section:
    """Hold a part of the report.

    Args:
        warnings: what a reader must not miss.
        long: whether it is too long for a terminal.
    """

    title: str
    text: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    long: bool = False


@dataclass(frozen=True)
class Report:
    """Hold all of it.

    Args:
        rows: of the .csv.
    """

    title: str
    sections: Sequence[Section]
    rows: Sequence[dict[str, Any]]
