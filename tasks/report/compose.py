"""Put a report together from runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.report import across, figures, layout, published
from tasks.report.comparison import Comparison, Table, csv_rows, judge
from tasks.report.rates import Group, comparisons, grouped
from tasks.report.reading import Found
from tasks.report.sections import Report, Section
from workbench.cli.errors import UserError
from workbench.output.environment import origins

LONG = 6  # tables of a section that a terminal shows


def compose(found: Found, baseline: str | None, all_published: bool, rope: float) -> Report:
    """Compare what was found.

    Args:
        baseline: None: ReLU, or where there is none the first activation.
        all_published: whether all rows of the paper are shown; False: those of the same architectures and data sets.

    Raises:
        UserError: no run has the baseline, or there is none but those of a search.
    """
    groups = grouped(found.runs)
    by_group = [(group, comparisons(group)) for group in groups]
    compared = [each for _, of in by_group for each in of]
    if not compared:
        raise UserError("all runs are those of a search for learning rates, which count for no result")
    if baseline is not None and all(baseline not in each.runs for each in compared):
        there = {name: None for each in compared for name in each.runs}
        raise UserError(f"--baseline {baseline}: there is no run of it, only of {', '.join(there)}")
    tables = [judge(each, metric, baseline) for each in compared for metric in each.metrics]
    keys = None if all_published else [(each.dataset, each.model) for each in compared]
    paper = published.rows(keys)
    sections = [_results(tables, paper, by_group), _differences(tables, baseline)]
    if rates := _rates(by_group):
        sections.append(rates)
    if summary := across.summarise(compared, baseline, rope):
        sections.append(Section("Over all tasks", grids=layout.over_tasks(summary)))
        sections[-1].text = [f"tasks: {'; '.join(summary.tasks)}; the metric that judges each"]
        sections[-1].pictures = figures.over_tasks(summary)
    sections.append(_runs(found, compared, groups))
    rows = [row for table in tables for row in csv_rows(table)] + [row for each in paper for row in _paper_rows(each)]
    return Report("Activations compared", sections, rows)


def _results(
    tables: Sequence[Table], paper: Sequence[published.Row], by_group: Sequence[tuple[Group, Sequence[Comparison]]]
) -> Section:
    section = Section("Results", grids=[layout.results(tables, paper)])
    for _, of in by_group:
        for comparison in of:
            section.text += [f"{comparison.name} on {comparison.dataset}: {note}" for note in comparison.notes]
            section.warnings += _gaps(comparison)
    for group, of in by_group:
        if not of:
            section.warnings.append(f"{group.name}: only runs of a search for learning rates, and so no result")
    for (dataset, model), count in Counter((group.dataset, group.model) for group, _ in by_group).items():
        if count > 1:
            section.warnings.append(
                f"{model} on {dataset}: runs with {count} different settings, each compared among themselves only"
            )
    if paper:
        section.text.append(f"[paper]: {published.source()}")
    return section


def _gaps(comparison: Comparison) -> list[str]:
    """Say which seeds activations lack, and which runs failed."""
    said = []
    missing = {name: [seed for seed in comparison.seeds if seed not in of] for name, of in comparison.runs.items()}
    failed = {
        name: [seed for seed, run in of.items() if run.value(comparison.metrics[0]) is None]
        for name, of in comparison.runs.items()
    }
    for what, by_name in (("missing, and left out of paired figures", missing), ("failed, and in no mean", failed)):
        words = [f"{name} {_seeds(seeds)}" for name, seeds in by_name.items() if seeds]
        if words:
            said.append(f"{comparison.name} on {comparison.dataset}: seeds {what}: {'; '.join(words)}")
    return said


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _differences(tables: Sequence[Table], baseline: str | None) -> Section:
    section = Section("Differences to the baseline")
    for table in tables:
        if table.baseline is None:
            section.warnings.append(
                f"{table.comparison.name} on {table.comparison.dataset}: no run of the baseline {baseline}"
            )
        elif len(table.judged) > 1:
            section.grids.append(layout.differences(table))
    section.warnings = list(dict.fromkeys(section.warnings))
    section.long = len(section.grids) > LONG
    judges = [each for each in tables if each.metric == each.comparison.metrics[0] and each.comparison.main]
    section.pictures = figures.differences([each for each in judges if each.baseline is not None])
    return section


def _rates(by_group: Sequence[tuple[Group, Sequence[Comparison]]]) -> Section | None:
    """Show the judge at each learning rate; None if no group has several."""
    section, drawn = Section("Learning rates"), []
    for group, of in by_group:
        chosen: Mapping[str, float | None] = of[0].rates if of else {}
        grids = [layout.learning_rates(group, search, chosen) for search in (True, False)]
        section.grids += [grid for grid in grids if grid is not None]
        if any(grids):
            drawn.append((group, chosen))
    section.pictures = figures.learning_rates(drawn)
    section.long = len(section.grids) > LONG
    return section if section.grids else None


def _runs(found: Found, compared: Sequence[Comparison], groups: Sequence[Group]) -> Section:
    """Say what was read, what was left out, and where the runs come from."""
    section = Section("Runs")
    search = sum(run.is_search for run in found.runs)
    counted = {id(run) for each in compared for run in each.all_runs}
    rest = len(found.runs) - len(counted) - search
    section.text.append(
        f"{len(found.runs)} runs were read: {len(counted)} count, {search} served to choose learning rates"
        + (f", {rest} count for nothing in the tables (at rates that were not chosen, or named below)" if rest else "")
    )
    if found.twice:
        section.text.append(f"{found.twice} files are copies of others, and were counted once")
    left_out = found.left_out + [each for group in groups for each in group.left_out]
    section.warnings += [f"left out: {each}" for each in left_out]
    for comparison in compared:
        if comparison.main and (differing := origins([run.environment for run in comparison.all_runs])):
            name = f"{comparison.name} on {comparison.dataset}"
            section.warnings.append(f"{name}: the runs are not of one origin: {differing}")
    return section


def _paper_rows(row: published.Row) -> list[dict[str, Any]]:
    return [
        {
            "source": published.source(), "dataset": row.dataset, "model": row.model, "setting": row.architecture,
            "metric": row.metric, "activation": name, "mean": mean, "standard_error": error,
            "best": name == row.best,
        }
        for name, (mean, error) in row.values.items()
    ]  # fmt: skip
