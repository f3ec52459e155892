"""Training and validation curves of any runs

    python -m visualizations.loss_plots.loss_curves
    python -m visualizations.loss_plots.loss_curves --runs results/cifar10/resnet20 results/cifar10/wideresnet_28_2/GoLU

Loss on training data, loss on validation data, and the metric that goes with it, by epoch or step, of the runs in any
set of folders: lines are means over the seeds of a folder, bands one standard error to either side. A folder is one
of an activation, as every training program writes it, or one that holds several of these. Without --runs, small
models on digits. Seeds that are not as far as the others end their line where they are.

Source: ours, in the form of the paper's curves (arXiv 2502.03654).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from golu.activations import compared_activations
from visualizations.shared.panels import panels_of
from visualizations.shared.program import FigureProgram, Options, Row, column, names_in, where
from visualizations.shared.seeds import draw_band
from visualizations.shared.trained import add_model_flags, by_activation, trained
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError, run
from workbench.training.curves import values_of
from workbench.training.metrics import AVERAGED
from workbench.training.runs import StoredRun, position

LINES = ("-", "--", ":", "-.")  # of the models, where there are several
SCALE = 10.0  # the ratio of losses from which on a logarithmic axis shows more


@dataclass(frozen=True)
class Group:
    """The runs of one folder, one a seed."""

    dataset: str
    model: str
    activation: str
    runs: list[StoredRun]


def add_flags(parser: Parser) -> None:
    runs = "folders of runs, each <results>/<dataset>/<model>/<activation> or above (default: small models on digits)"
    parser.add_argument("--runs", type=Path, nargs="+", metavar="DIR", help=runs)
    add_model_flags(parser)


def groups(options: Options) -> list[Group]:
    """The runs of each activation and model, in the order of the folders.

    Raises:
        UserError: a folder is missing, or has no runs of these activations.
    """
    if options.runs is None:
        options.activations = options.activations or compared_activations()
        runs = by_activation(trained(options))
        return [Group(options.dataset, options.model, name, own) for name, own in runs.items()]
    found = [group for folder in options.runs for group in _groups_in(folder)]
    found = [group for group in found if not options.activations or group.activation in options.activations]
    if not found:
        raise UserError(f"there are no runs of {', '.join(options.activations)} in {' '.join(map(str, options.runs))}")
    return found


def _groups_in(folder: Path) -> list[Group]:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: --runs takes folders that a training program has written")
    folders = dict.fromkeys(path.parent for path in sorted(folder.rglob("opt_trace_*.json")))
    if not folders:
        raise UserError(f"there are no runs in {folder}: no file opt_trace_<seed>.json")
    found = []
    for each in folders:
        activation, model, dataset, results = each.name, each.parent.name, each.parents[1].name, each.parents[2]
        keys = sorted(_seed_and_variant(path) for path in each.glob("opt_trace_*.json"))
        for variant in dict.fromkeys(variant for _, variant in keys):
            runs = [StoredRun(results, dataset, model, activation, seed, v) for seed, v in keys if v == variant]
            found.append(Group(dataset, f"{model} {variant}".strip(), activation, runs))
    return found


def _seed_and_variant(path: Path) -> tuple[int, str]:
    seed, _, variant = path.stem.removeprefix("opt_trace_").partition("_")
    if not seed.isdecimal():
        raise UserError(f"{path} is no trace of a run: its name has no seed")
    return int(seed), variant


def numbers(options: Options) -> list[Row]:
    """A row for each evaluation of each run: its losses, and the metric that judges."""
    rows = []
    found = groups(options)
    for group, variant in zip(found, variants(found), strict=True):
        for each in group.runs:
            metrics, trace = each.read_metrics(), each.trace()
            plain = [metric for metric in metrics if not metric.key.startswith(AVERAGED)]
            loss = next((metric for metric in plain if metric.role == "loss"), plain[0])
            shown = (values_of(trace, name) for name in ("train_loss", loss.key, plain[0].key))
            for entry, training, validation, value in zip(trace, *shown, strict=True):
                axis, at = position(entry)
                rows.append(
                    {
                        "activation": group.activation, "runs": variant, "seed": each.seed, "axis": axis, "at": at,
                        "train_loss": training, "val_loss": validation, "metric": plain[0].label, "value": value
                    }
                )  # fmt: skip
    return rows


def variants(found: list[Group]) -> list[str]:
    """For each group what tells it from others of its activation: model, data set and folder, if they differ at all."""
    parts = [(group.model, group.dataset, str(group.runs[0].results)) for group in found]
    differing = [place for place, values in enumerate(zip(*parts, strict=True)) if len(set(values)) > 1]
    return [", ".join(each[place] for place in differing) for each in parts]


def draw(rows: list[Row], _: Options) -> Figure:
    figure, panels = panels_of(3.4, 1, 3)
    metrics, axes_of, all_runs = names_in(rows, "metric"), names_in(rows, "axis"), names_in(rows, "runs")
    titles = {"train_loss": "Training loss", "val_loss": "Validation loss", "value": f"Validation {', '.join(metrics)}"}
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        for runs, line in zip(all_runs, LINES * len(all_runs), strict=False):
            for activation in names_in(rows, runs=runs):
                at, curves = aligned(rows, name, activation=activation, runs=runs)
                style = {"label": f"{activation}, {runs}", "linestyle": line} if runs else {}
                draw_band(axes, at, curves, activation, **style)
        axes.set(title=title, xlabel=" or ".join(axes_of))
        values = column(rows, name)
        values = values[np.isfinite(values)]
        if len(values) and values.min() > 0 and values.max() > SCALE * values.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        elif len(values) and name == "value":  # the first evaluations, far from the rest, would press that together
            low, high = np.percentile(values, 20), values.max()
            axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    panels[1].legend(fontsize=7.5)
    return figure


def aligned(rows: list[Row], name: str, **of: str) -> tuple[list[int], list[list[float]]]:
    """Where all seeds of a group have been, and the curve of each up to there."""
    own = where(rows, **of)
    curves = [column(own, name, seed=seed).tolist() for seed in names_in(own, "seed")]
    length = min(map(len, curves))
    return column(own, "at", seed=own[0]["seed"]).tolist()[:length], [curve[:length] for curve in curves]


FIGURE = FigureProgram(
    "loss_plots.loss_curves", __doc__, numbers, draw,
    default=(), activations_are="those of the runs to draw; without the flag all", add_flags=add_flags,
)  # fmt: skip

if __name__ == "__main__":
    run(FIGURE.main)
