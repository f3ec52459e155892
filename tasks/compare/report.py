"""Turn runs into tables: a summary of each activation, and its forms for terminal, page and spreadsheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.output.estimates import Estimate, estimate, paired_difference
from workbench.output.storage import write_json, write_text
from workbench.output.tables import decimals, markdown_table, number, plain_table, to_csv
from workbench.training import metrics
from workbench.training.metrics import Metric
from workbench.training.runs import Results, StoredRun, Trace
from workbench.training.task import Task

Summary = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """Hold a run that has ended, and what it reached."""

    run: StoredRun
    results: Results

    def final(self, metric: Metric) -> float | None:
        """Return a number after the last evaluation; None if the run diverged, or the number is not finite."""
        return None if self.results["final"] is None else metric.value(self.results["final"])


@dataclass(frozen=True)
class Comparison:
    """Hold runs of several activations and seeds that differ in nothing else, and what each activation costs.

    Args:
        metrics: what the numbers of the runs mean; the first one judges.
        device: "cpu" or "cuda".
        costs: of each activation, in the order of the tables.
        notes: what else a reader has to know, a line each.
    """

    dataset: str
    model: str
    metrics: Sequence[Metric]
    baseline: str
    device: str
    runs: Sequence[Ended]
    costs: Mapping[str, dict[str, Any]]
    notes: Sequence[str] = ()

    @property
    def scores(self) -> list[Metric]:
        """List what tables show: the judge first, then the other scores."""
        return [self.metrics[0], *(each for each in self.metrics[1:] if each.role == "score")]

    def of(self, activation: str) -> list[Ended]:
        """List an activation's runs."""
        return [each for each in self.runs if each.run.activation == activation]

    def converged(self, activation: str) -> dict[int, Ended]:
        """Return an activation's runs that ended with a number, by seed."""
        return {e.run.seed: e for e in self.of(activation) if e.final(self.metrics[0]) is not None}

    def traces(self, activation: str) -> list[Trace]:
        """Read every evaluation of the runs that ended with a number."""
        return [each.run.trace() for each in self.converged(activation).values()]

    def over_seeds(self, activation: str, when: str, key: str) -> Estimate | None:
        """Estimate the mean of a number over the seeds that have it; None if none has."""
        values = [each.results[when][key] for each in self.converged(activation).values() if each.results[when]]
        numbers = [value for value in values if value is not None]
        return estimate(numbers) if numbers else None

    def difference(self, activation: str) -> Estimate | None:
        """Estimate the difference to the baseline, paired over the seeds that both have."""
        judge = self.metrics[0]
        ours, theirs = ({s: e.final(judge) for s, e in self.converged(a).items()} for a in (activation, self.baseline))
        common = [seed for seed in ours if seed in theirs]
        if activation == self.baseline or not common:
            return None
        return paired_difference([ours[i] or 0.0 for i in common], [theirs[i] or 0.0 for i in common])

    def summaries(self) -> list[Summary]:
        """Summarise each activation; runs that diverged are counted, and are in no mean."""
        losses = [each.key for each in self.metrics if each.role == "loss"]
        return [
            {
                "activation": name,
                "diverged": len(self.of(name)) - len(self.converged(name)),
                **{metric.key: _dict(self.over_seeds(name, "final", metric.key)) for metric in self.scores},
                "difference": _dict(self.difference(name)),
                **{f"best_{each.key}": _dict(self.over_seeds(name, "best", each.key)) for each in self.scores},
                **{key: _dict(self.over_seeds(name, "final", key)) for key in (*losses, "train_loss")},
                **cost,
            }
            for name, cost in self.costs.items()
        ]


def _dict(value: Estimate | None) -> dict[str, Any] | None:
    return None if value is None else value._asdict()


def write(output: Path, comparison: Comparison, settings: str, origins: str, origin: dict[str, Any]) -> str:
    """Write results.json, runs.csv, summary.csv and table.md; return the table as text for a terminal.

    Args:
        settings: what was trained, on a line.
        origins: where the runs' origins differ, if they do.
        origin: configuration and environment, for JSON.
    """
    summaries = comparison.summaries()
    rows = table_rows(comparison)
    notes = [
        *comparison.notes,
        *legend(comparison),
        *([f"the runs are not of one origin: {origins}"] if origins else []),
    ]
    stored = {**origin, "baseline": comparison.baseline, "metrics": metrics.stored(comparison.metrics)}
    write_json(output / "results.json", {**stored, "summary": summaries})
    write_text(output / "runs.csv", to_csv([_run_row(each) for each in comparison.runs]))
    write_text(output / "summary.csv", to_csv([_flat(each) for each in summaries]))
    bullets = [f"- {each}" for each in [*notes, f"settings: {settings}"]]
    write_text(output / "table.md", "\n".join([markdown_table(rows), "", *bullets, ""]))
    return "\n".join(["", plain_table(rows), "", *notes, ""])


def settings(task: Task, changed: Mapping[str, Any] | None = None) -> str:
    """Say what is trained, on a line.

    Args:
        changed: settings that differ from the task's.
    """
    values = {"dataset": task.dataset, "model": task.model_name} | task.configuration() | dict(changed or {})
    return " ".join(f"{name}={_word(value)}" for name, value in values.items())


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{each:g}" for name, each in value.items())
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def outcome(run: StoredRun, results: Results) -> str:
    """Say how a run ended, on a line."""
    if results["final"] is None:
        return f"{run.title}: diverged in {results['axis']} {results['diverged_at']}"
    metric = metrics.read(results["metrics"])[0]
    value = metric.value(results["final"])
    reached = "none" if value is None else number(value, decimals([value]))
    return f"{run.title}: {metric.label} {reached} in {_seconds(results):.1f} s"


def _seconds(results: Results) -> float:
    return 60 * float(results["train_minutes"] + results["inference_minutes"])


def table_rows(comparison: Comparison) -> list[list[str]]:
    """Lay out the table as text, its header first."""
    memory = "peak memory" if comparison.device == "cuda" else "kept for backward"
    judge, *others = comparison.scores
    means = {each.key: _means(comparison, each.key) for each in comparison.scores}
    digits = {key: decimals([mean.mean for mean in of.values() if mean]) for key, of in means.items()}
    titles = [judge.label, f"difference to {comparison.baseline}", *(metric.label for metric in others)]
    return [["activation", *titles, "train time", "inference time", memory]] + [
        [
            name,
            _mean(means[judge.key][name], digits[judge.key], len(comparison.of(name))),
            "baseline" if name == comparison.baseline else _difference(comparison.difference(name), digits[judge.key]),
            *(_mean(means[metric.key][name], digits[metric.key]) for metric in others),
            _relative(cost, "relative_train_time", name == comparison.baseline),
            _relative(cost, "relative_inference_time", name == comparison.baseline),
            f"{cost['memory_bytes'] / 1e6:.2f} MB",
        ]
        for name, cost in comparison.costs.items()
    ]


def _means(comparison: Comparison, key: str) -> dict[str, Estimate | None]:
    return {name: comparison.over_seeds(name, "final", key) for name in comparison.costs}


def _mean(value: Estimate | None, digits: int, runs: int | None = None) -> str:
    ended = 0 if value is None else value.n
    parts = [f"{runs - ended} diverged"] if runs is not None and runs > ended else []
    if value is not None:
        margin = "n/a" if value.margin is None else number(value.margin, digits)
        parts.insert(0, f"{number(value.mean, digits)} ± {margin} ({value.n})")
    return ", ".join(parts) or "n/a"


def _difference(value: Estimate | None, digits: int) -> str:
    if value is None:
        return "n/a"
    interval = ", ".join("n/a" if each is None else number(each, digits, "+") for each in (value.low, value.high))
    return f"{number(value.mean, digits, '+')} [{'n/a' if value.low is None else interval}]"


def _relative(cost: Mapping[str, Any], name: str, baseline: bool) -> str:
    interval = f" [{cost[f'{name}_low']:.2f}, {cost[f'{name}_high']:.2f}]"
    return f"{cost[name]:.2f}x" + ("" if baseline else interval)


def legend(comparison: Comparison) -> list[str]:
    """Explain the columns, a line each."""
    memory = {
        "cpu": "kept for backward: what autograd holds after the forward pass of one batch, parameters not counted",
        "cuda": "peak memory: of one training step on one batch, the data set not counted",
    }
    judge, *others = comparison.scores
    unit = "in percentage points" if judge.unit == "%" else f"of the {judge.title}"
    rounds = next(iter(comparison.costs.values()))["rounds"]
    return [
        f"{judge.title}: {judge.meaning}; after the last {comparison.runs[0].results['axis']}, mean ± half of the 95% "
        "t-interval (number of seeds)",
        *(f"{each.title}: {each.meaning}" for each in others),
        f"difference to {comparison.baseline}: {unit}, paired over seeds [95% t-interval]",
        f"times: of one batch relative to {comparison.baseline}, median of {rounds} rounds in which all take turns "
        "[95% interval]",
        memory[comparison.device],
    ]


def _run_row(ended: Ended) -> dict[str, Any]:
    results = ended.results
    row = {"activation": ended.run.activation, "seed": ended.run.seed, "seconds": _seconds(results)}
    row["diverged_at"] = results["diverged_at"]
    for when in ("final", "best"):
        row |= {f"{when}_{name}": value for name, value in (results[when] or {}).items() if "second" not in name}
    return row


def _flat(summary: Summary) -> dict[str, Any]:
    """Give each part of an estimate its own column."""
    row: dict[str, Any] = {}
    for name, value in summary.items():
        if isinstance(value, dict):
            row |= {name if part == "mean" else f"{name}_{part}": each for part, each in value.items()}
        else:
            row[name] = value
    return row
