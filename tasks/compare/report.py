"""From runs to tables: a summary of each activation, and its forms for terminal, README and spreadsheet."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tasks.compare.problem import Metric
from tasks.compare.recipe import Recipe
from tasks.compare.runs import Run
from workbench.output.estimates import estimate, paired_difference
from workbench.output.storage import write_json, write_text
from workbench.output.tables import markdown_table, plain_table, to_csv

Summary = dict[str, Any]


def write(
    output: Path,
    recipe: Recipe,
    metrics: Sequence[Metric],
    baseline: str,
    origin: dict[str, Any],
    summaries: list[Summary],
    runs: list[Run],
) -> str:
    """Write results.json, runs.csv, summary.csv and table.md; return the table as text for a terminal."""
    rows = table_rows(summaries, metrics, baseline, recipe.device)
    notes = legend(metrics, baseline, recipe.device, summaries[0]["rounds"])
    write_json(output / "results.json", {**origin, "baseline": baseline, "summary": summaries, "runs": runs})
    write_text(output / "runs.csv", to_csv([_run_row(each) for each in runs]))
    write_text(output / "summary.csv", to_csv([_flat(each) for each in summaries]))
    bullets = [f"- {each}" for each in [*notes, f"settings: {settings(recipe)}"]]
    write_text(output / "table.md", "\n".join([markdown_table(rows), "", *bullets, ""]))
    return "\n".join(["", plain_table(rows), "", *notes, ""])


def settings(recipe: Recipe) -> str:
    """The whole recipe on a line."""
    return " ".join(f"{name}={value}" for name, value in asdict(recipe).items())


def outcome(run: Run, metric: Metric) -> str:
    """How a run ended, in a few words."""
    if run["final"] is None:
        return f"diverged in epoch {run['diverged_at']}"
    return f"{metric.title} {number(run['final'][metric.key])} in {run['seconds']:.1f} s"


def summarise(
    runs: list[Run], metrics: Sequence[Metric], costs: dict[str, dict[str, Any]], baseline: str
) -> list[Summary]:
    """One summary for each activation, in the order of `costs`. Diverged runs are counted, and are in no mean."""
    judge = metrics[0].key
    converged: dict[str, dict[int, Run]] = {each: {} for each in costs}
    for run in runs:
        if run["final"] is not None:
            converged[run["activation"]][run["seed"]] = run

    def over_seeds(activation: str, epoch: str, name: str) -> dict[str, Any] | None:
        values = [run[epoch][name] for run in converged[activation].values()]
        return estimate(values)._asdict() if values else None

    def difference(activation: str) -> dict[str, Any] | None:
        common = [seed for seed in converged[activation] if seed in converged[baseline]]
        ours, theirs = ([converged[each][i]["final"][judge] for i in common] for each in (activation, baseline))
        return paired_difference(ours, theirs)._asdict() if common else None

    return [
        {
            "activation": each,
            "diverged": sum(run["activation"] == each and run["final"] is None for run in runs),
            **{metric.key: over_seeds(each, "final", metric.key) for metric in metrics},
            "difference": None if each == baseline else difference(each),
            **{f"best_{metric.key}": over_seeds(each, "best", metric.key) for metric in metrics},
            "val_loss": over_seeds(each, "final", "val_loss"),
            "train_loss": over_seeds(each, "final", "train_loss"),
            **cost,
        }
        for each, cost in costs.items()
    ]


def table_rows(summaries: list[Summary], metrics: Sequence[Metric], baseline: str, device: str) -> list[list[str]]:
    """The table as text, its header first."""
    memory = "peak memory" if device == "cuda" else "kept for backward"
    judge, *others = metrics
    titles = [judge.title, f"difference to {baseline}", *(metric.title for metric in others)]
    return [["activation", *titles, "train time", "inference time", memory]] + [
        [
            each["activation"],
            _mean(each[judge.key], each["diverged"]),
            "baseline" if each["activation"] == baseline else _difference(each["difference"]),
            *(_mean(each[metric.key], 0) for metric in others),
            _relative(each, "relative_train_time", baseline),
            _relative(each, "relative_inference_time", baseline),
            f"{each['memory_bytes'] / 1e6:.2f} MB",
        ]
        for each in summaries
    ]


def _mean(value: dict[str, Any] | None, diverged: int) -> str:
    parts = [f"{diverged} diverged"] if diverged else []
    if value is not None:
        error = "n/a" if value["standard_error"] is None else number(value["standard_error"])
        parts.insert(0, f"{number(value['mean'])} ± {error} ({value['n']})")
    return ", ".join(parts) or "n/a"


def _difference(value: dict[str, Any] | None) -> str:
    if value is None:
        return "n/a"
    interval = "n/a" if value["low"] is None else f"{number(value['low'], '+')}, {number(value['high'], '+')}"
    return f"{number(value['mean'], '+')} [{interval}]"


def number(value: float, sign: str = "") -> str:
    """Two digits after the point; of a model that has learned nothing, powers of ten."""
    return format(value, f"{sign}.2f" if abs(value) < 1e6 else f"{sign}.3g")


def _relative(summary: Summary, name: str, baseline: str) -> str:
    interval = f" [{summary[f'{name}_low']:.2f}, {summary[f'{name}_high']:.2f}]"
    return f"{summary[name]:.2f}x" + ("" if summary["activation"] == baseline else interval)


def legend(metrics: Sequence[Metric], baseline: str, device: str, rounds: int) -> list[str]:
    """What the columns mean, a line each."""
    memory = {
        "cpu": "kept for backward: what autograd holds after the forward pass of one batch, parameters not counted",
        "cuda": "peak memory: of one training step on one batch, the data set not counted",
    }
    return [
        f"{metrics[0].meaning} after the last epoch, mean ± standard error (number of seeds)",
        *(each.meaning for each in metrics[1:]),
        f"difference to {baseline}: {metrics[0].unit}, paired over seeds [95% t-interval]",
        f"times: of one batch relative to {baseline}, median of {rounds} rounds in which all take turns [95% interval]",
        memory[device],
    ]


def _run_row(run: Run) -> dict[str, Any]:
    row = {name: run[name] for name in ("activation", "seed", "seconds", "diverged_at")}
    for when in ("final", "best"):
        row |= {f"{when}_{name}": value for name, value in (run[when] or {}).items() if "second" not in name}
    return row


def _flat(summary: Summary) -> dict[str, Any]:
    """An estimate takes a column for each of its parts."""
    row: dict[str, Any] = {}
    for name, value in summary.items():
        if isinstance(value, dict):
            row |= {name if part == "mean" else f"{name}_{part}": number for part, number in value.items()}
        else:
            row[name] = value
    return row
