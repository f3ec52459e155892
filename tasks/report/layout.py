"""Lay out what was found as tables with words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.report.across import TASKS_FOR_SIGNED_RANK, Summary
from tasks.report.comparison import Judged, Table, in_order
from tasks.report.published import Row
from tasks.report.rates import Group, mean_of
from tasks.report.sections import NOTHING, Cell, Grid, Line
from workbench.output.estimates import Estimate
from workbench.output.tables import decimals, number
from workbench.training.metrics import Metric

TIE = "≈"
RESULT_NOTES = [
    "mean ± standard error over seeds (number of seeds) after the last evaluation",
    "bold (* in a terminal): the best mean among activations without a failed run",
    f"{TIE}: its difference to the best is not claimed, by tests of all pairs of activations corrected by Holm, or "
    "for want of seeds",
    "failed: the run diverged or its number was not finite; it is in no mean. missing: another activation has the seed",
]


def results(tables: Sequence[Table], published: Sequence[Row]) -> Grid:
    """Lay out the specification's table: a column for each activation, and below it the paper's rows."""
    names = in_order(
        [name for table in tables for name in table.comparison.runs]
        + [name for row in published for name in row.values]
    )
    lines: list[Line] = []
    for table in tables:
        digits = _digits(table)
        of = {each.activation: each for each in table.judged}
        cells = [_result(of[name], digits) if name in of else Cell(NOTHING) for name in names]
        comparison = table.comparison
        lines.append([Cell(comparison.name), Cell(comparison.dataset), Cell(_direction(table.metric)), *cells])
    first = len(lines)
    for row in published:
        cells = [
            Cell("±".join(row.values[name]), float(row.values[name][0]), name == row.best)
            if name in row.values
            else Cell(NOTHING)
            for name in names
        ]
        arrow = "↑" if row.higher_is_better else "↓"
        lines.append(
            [Cell(f"{row.architecture} [paper]"), Cell(row.dataset_title), Cell(f"{row.metric} {arrow}"), *cells]
        )
    notes = list(RESULT_NOTES)
    if published:
        notes.append("[paper]: as the paper printed it, with the number of seeds unsaid; no run of ours is in that row")
    header = ["Architecture", "Dataset", "Metric", *names]
    return Grid("Means by activation", header, lines, range(first, len(lines)), notes, latex=True)


def _direction(metric: Metric) -> str:
    return f"{metric.label} {'↑' if metric.higher_is_better else '↓'}"


def _digits(table: Table) -> int:
    return decimals([each.mean.mean for each in table.judged if each.mean])


def _result(judged: Judged, digits: int) -> Cell:
    words = [mean_text(judged.mean, digits)] if judged.mean else []
    words += [f"{len(judged.failed)} failed"] if judged.failed else []
    words += [f"{len(judged.missing)} missing"] if judged.missing else []
    sort = judged.mean.mean if judged.mean else None
    return Cell(", ".join(words), sort, judged.best, TIE if judged.tie else "", bool(judged.failed))


def mean_text(value: Estimate, digits: int) -> str:
    """Write a mean, its standard error if there is one, and the number of seeds."""
    error = "" if value.standard_error is None else f" ± {number(value.standard_error, digits)}"
    return f"{number(value.mean, digits)}{error} ({value.n})"


def differences(table: Table) -> Grid:
    """Lay out the paired differences of a table to its baseline."""
    digits = _digits(table)
    lines: list[Line] = []
    for each in table.judged:
        if each.activation == table.baseline:
            continue
        difference = each.difference
        seeds = Cell(str(difference.n if difference else 0), difference.n if difference else 0)
        if difference is None:
            lines.append([Cell(each.activation), Cell("no seed in common"), Cell(NOTHING), seeds, *[Cell(NOTHING)] * 3])
            continue
        interval = NOTHING
        if difference.low is not None and difference.high is not None:
            interval = f"[{number(difference.low, digits, '+')}, {number(difference.high, digits, '+')}]"
        claim = {True: "better", False: "worse", None: "none shown" if each.p is not None else "too few seeds"}
        lines.append(
            [
                Cell(each.activation),
                Cell(number(difference.mean, digits, "+"), difference.mean),
                Cell(interval),
                seeds,
                _p(each.p),
                _p(each.adjusted),
                Cell(claim[each.better], best=each.better is not None),
            ]
        )
    error = (
        "with the error of all activations and seeds together"
        if table.pooled
        else "from each pair's own seeds alone, since activations may differ in spread"
    )
    notes = [
        f"difference to {table.baseline} in {table.metric.unit or table.metric.title}, paired over the seeds that both "
        "have, with its 95% t-interval",
        f"p: two-sided t-test, {error}; Holm: corrected for the {len(lines)} activations; claimed from 5% down",
    ]
    header = ["Activation", "Difference", "95% interval", "Seeds", "p", "p (Holm)", "Claim"]
    title = f"{table.comparison.name} on {table.comparison.dataset}: {table.metric.title} against {table.baseline}"
    return Grid(title, header, lines, notes=notes, latex=table.comparison.main)


def _p(value: float | None) -> Cell:
    if value is None:
        return Cell(NOTHING)
    return Cell("< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}", value)


def _p_text(value: float) -> str:
    text = _p(value).text
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def learning_rates(group: Group, search: bool, chosen: Mapping[str, float | None]) -> Grid | None:
    """Lay out the judge at each learning rate; None if no activation has several.

    Args:
        search: whether of the runs that served to choose a rate, or of the results.
        chosen: the rate that each activation got.
    """
    by_activation = group.search if search else group.results
    rates = sorted({rate for of in by_activation.values() for rate in of if rate is not None})
    if all(len(of) < 2 for of in by_activation.values()):
        return None
    judge = group.judge
    means = {name: {rate: mean_of(of.get(rate, {}), judge) for rate in rates} for name, of in by_activation.items()}
    digits = decimals([each.mean for of in means.values() for each in of.values() if each])
    lines: list[Line] = []
    for name in in_order(by_activation):
        cells = []
        for rate in rates:
            mean, count = means[name][rate], len(by_activation[name].get(rate, {}))
            failed = count - (mean.n if mean else 0)
            words = [mean_text(mean, digits)] if mean else []
            words += [f"{failed} failed"] if failed else []
            best = chosen.get(name) == rate and count > 0
            cells.append(Cell(", ".join(words) or NOTHING, mean.mean if mean else None, best, failed=failed > 0))
        count = sum(map(len, by_activation[name].values()))
        lines.append([Cell(name), *cells, Cell(str(count), count)])
    what = "search" if search else "results"
    title = f"{group.name}: {judge.title} at each learning rate ({what})"
    notes = [
        f"{_direction(judge)}, mean ± standard error (number of seeds); bold (*): the rate that the activation got"
    ]
    return Grid(title, ["Activation", *(f"{rate:g}" for rate in rates), "Runs"], lines, notes=notes)


def over_tasks(summary: Summary) -> list[Grid]:
    """Lay out what several tasks say together."""
    best = max(summary.means.values(), key=lambda each: each.value)
    lines: list[Line] = []
    for name, mean in summary.means.items():
        of = summary.equivalence.get(name)
        words = [f"{each:.0%}" for each in of] if of else ["baseline", "", ""]
        cells = [Cell(word, each) for word, each in zip(words, of or (-1, -1, -1), strict=True)]
        cells = cells if summary.equivalence else []
        interval = f"[{mean.low:+.2f}, {mean.high:+.2f}]"
        lines.append([Cell(name), Cell(f"{mean.value:+.2f}", mean.value, mean == best), Cell(interval), *cells])
    header = ["Activation", "Interquartile mean", "95% interval"]
    header += ["Worse", "Equivalent", "Better"] if summary.equivalence else []
    notes = [
        f"scores: distance to {summary.baseline}'s mean in standard deviations of a run over seeds, those of all "
        "activations of the task together; positive is better",
        "interquartile mean: of the middle half of the runs of all tasks; its interval is a bootstrap in which each "
        "task's runs are drawn anew, too narrow with three seeds",
        f"worse, equivalent, better: Bayesian signed-rank test of the tasks' mean differences to {summary.baseline}; "
        f"differences up to {summary.rope:g} count as equivalent"
        if summary.equivalence
        else f"the Bayesian signed-rank test is made from {TASKS_FOR_SIGNED_RANK} tasks on",
        *(f"left out: {each}" for each in summary.left_out),
    ]
    grids = [Grid(f"Over {len(summary.tasks)} tasks", header, lines, notes=notes, latex=True)]
    if summary.ranks:
        ranks = summary.ranks
        lines = [
            [Cell(name), Cell(f"{mean:.2f}", mean, mean == min(ranks.mean)), *(_p(p) for p in row)]
            for name, mean, row in zip(summary.activations, ranks.mean, ranks.p_values, strict=True)
        ]
        notes = [
            f"Friedman's test that all rank alike: {_p_text(ranks.friedman_p)}; mean ranks that differ by more "
            f"than {ranks.critical_difference:.2f} differ at 5%, by Nemenyi's test, whose p-values the columns have"
        ]
        grids.append(Grid("Mean ranks", ["Activation", "Mean rank", *summary.activations], lines, notes=notes))
    return grids
