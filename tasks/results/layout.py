"""Lay out runs for a terminal and for a spreadsheet."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.results.compared import Pair
from tasks.results.listing import STATES, Listed
from workbench.cli.progress import duration
from workbench.output.tables import decimals, number, plain_table
from workbench.training.metrics import Metric

WIDTH = 120  # of a terminal
GAP = 2  # between columns
RIGHT = {"seed", "value", "A", "B", "difference", "time"}  # columns of numbers
NOTHING = "-"

Cells = dict[str, str]  # of a line, by column
Digits = Mapping[str, int]  # after the point, by the key of a metric


def listed(runs: Sequence[Listed]) -> str:
    """Lay out runs, one a line, and count their states."""
    digits = _digits([(run.metric, run.value) for run in runs])
    several = len({run.key.results for run in runs}) > 1
    lines = [
        {
            **({"folder": run.folder} if several else {}),
            **_key(run),
            "value": _number(run.value, run.metric, digits),
            "time": NOTHING if run.minutes is None else duration(run.minutes * 60),
            "state": f"{run.state} at {run.at}" if run.at else run.state,
        }
        for run in runs
    ]
    counts = Counter(run.state for run in runs)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    return f"{fitted(lines)}\n\n{_count(len(runs), 'run')}: {states}"


def side_by_side(pairs: Sequence[Pair]) -> str:
    """Lay out runs of A and B, one key a line, and count which are better."""
    found = [run for pair in pairs for run in (pair.a, pair.b) if run is not None]
    digits = _digits([(run.metric, run.value) for run in found])
    lines = [
        {
            **_key(pair.either),
            "A": _value_or_state(pair.a, digits),
            "B": _value_or_state(pair.b, digits),
            "difference": _number(pair.difference, pair.either.metric, digits, "+"),
            "B is": pair.verdict or NOTHING,
            "differs in": ", ".join(pair.differing) or NOTHING,
        }
        for pair in pairs
    ]
    verdicts = Counter(pair.verdict for pair in pairs if None not in (pair.a, pair.b))
    words = {
        "better": "B is better in",
        "worse": "B is worse in",
        "same": "they are the same in",
        "": "no difference in",
    }
    counts = ", ".join(f"{text} {verdicts[verdict]}" for verdict, text in words.items() if verdicts[verdict])
    alone = {"A": sum(pair.b is None for pair in pairs), "B": sum(pair.a is None for pair in pairs)}
    said = [_count(sum(verdicts.values()), "run") + " in both" + (f" ({counts})" if counts else "")]
    said += [f"{count} in {which} alone" for which, count in alone.items() if count]
    return f"{fitted(lines)}\n\n{', '.join(said)}"


def rows(runs: Sequence[Listed]) -> list[dict[str, Any]]:
    """Return what a spreadsheet gets of a list."""
    return [
        {
            "folder": run.folder,
            **_key_values(run),
            "value": run.value,
            "minutes": run.minutes,
            "state": run.state,
            "at": run.at,
            "file": str(run.file),
        }
        for run in runs
    ]


def paired_rows(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return what a spreadsheet gets of two folders side by side."""
    return [
        {
            **_key_values(pair.either),
            "a": pair.a and pair.a.value,
            "b": pair.b and pair.b.value,
            "difference": pair.difference,
            "b_is": pair.verdict,
            "a_state": pair.a and pair.a.state,
            "b_state": pair.b and pair.b.state,
            "settings_that_differ": ", ".join(pair.differing),
        }
        for pair in pairs
    ]


def fitted(lines: Sequence[Cells], width: int = WIDTH) -> str:
    """Lay out lines as a table that is no wider than a terminal.

    If it were, what is the same in all lines stands above it; if that is not enough, long cells lose their middle.
    """
    names = list(lines[0])
    same: list[str] = []
    if len(lines) > 1 and _total(_widths(lines, names)) > width:
        same = [name for name in names if len({line[name] for line in lines}) == 1]
        names = [name for name in names if name not in same]
    widths = _widths(lines, names)
    while _total(widths) > width:
        widest = max(names, key=lambda name: widths[name])
        widths[widest] -= 1
    table = [[name.rjust(widths[name]) if name in RIGHT else name for name in names]]
    for line in lines:
        cut = {name: _cut(line[name], widths[name]) for name in names}
        table.append([cut[name].rjust(widths[name]) if name in RIGHT else cut[name] for name in names])
    if not same:
        return plain_table(table)
    above = "the same in all: " + ", ".join(f"{name} {lines[0][name]}" for name in same)
    wrapped = textwrap.fill(above, width, break_long_words=False, break_on_hyphens=False)
    return f"{wrapped}\n\n{plain_table(table)}"


def _widths(lines: Sequence[Cells], names: Sequence[str]) -> dict[str, int]:
    return {name: max(len(name), *(len(line[name]) for line in lines)) for name in names}


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _cut(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def _key(run: Listed) -> Cells:
    cells = {"task": run.task, "dataset": run.key.dataset, "model": run.key.model, "activation": run.key.activation}
    cells |= {"variant": run.key.variant, "seed": str(run.key.seed), "metric": _title(run.metric)}
    return {name: text or NOTHING for name, text in cells.items()}


def _key_values(run: Listed) -> dict[str, Any]:
    metric = run.metric
    return {
        "task": run.task,
        "dataset": run.key.dataset,
        "model": run.key.model,
        "activation": run.key.activation,
        "variant": run.key.variant,
        "seed": run.key.seed,
        "metric": metric and metric.key,
        "unit": metric and metric.unit,
        "higher_is_better": metric and metric.higher_is_better,
    }


def _title(metric: Metric | None) -> str:
    return "" if metric is None else f"{metric.label} {'↑' if metric.higher_is_better else '↓'}"


def _value_or_state(run: Listed | None, digits: Digits) -> str:
    if run is None:
        return "none"
    return _number(run.value, run.metric, digits) if run.state == "ended" else run.state


def _digits(found: Sequence[tuple[Metric | None, float | None]]) -> Digits:
    by_metric: dict[str, list[float]] = {}
    for metric, value in found:
        if metric is not None and value is not None:
            by_metric.setdefault(metric.key, []).append(value)
    return {key: decimals(values) for key, values in by_metric.items()}


def _number(value: float | None, metric: Metric | None, digits: Digits, sign: str = "") -> str:
    return NOTHING if value is None or metric is None else number(value, digits[metric.key], sign)


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
