"""How soon a model that was trained with ReLU, and is swapped to GoLU and trained on, is as good as it was.

python -m benchmarks.fine_tuning               a small convolutional network on digits, five seeds; a minute on a CPU
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import report
from tasks.compare.recipes import COMPARED
from tasks.small_poc.recipes import RECIPES
from tasks.small_poc.task import SmallImages
from workbench.cli.arguments import positive_float, positive_int
from workbench.cli.errors import run
from workbench.training.launch import Machine, launched
from workbench.training.loop import Loop
from workbench.training.run import train_run
from workbench.training.runs import StoredRun
from workbench.training.task import Source, Spec, opened


def measured(seed: int, epochs: int, images: int, factor: float, folder: Path) -> dict:
    """Train with ReLU; from its weights and from random ones train with GoLU, as long."""
    settings = replace(RECIPES["cnn"], **{**COMPARED["digits"].changes, "epochs": epochs})
    source, machine = Source("digits", limit_train=images), Machine("cpu")
    spec = Spec(SmallImages, settings, source, machine)
    first, anew = (StoredRun(folder, "digits", "cnn", name, seed) for name in ("ReLU", "GoLU"))
    on = StoredRun(folder, "digits", "cnn", "GoLU", seed, "trained_on")
    trained = train_run(spec, first, after_step=_nothing)
    scratch = train_run(spec, anew, after_step=_nothing)
    slower = replace(settings, lr=factor * settings.lr)
    swapped = replace(spec, settings=slower, source=replace(source, init_from=first.checkpoint_path))
    with launched("cpu") as accelerator:
        at_once = Loop(opened(swapped, accelerator.device), on, accelerator).evaluate()["val_accuracy"]
    train_run(swapped, on, after_step=_nothing)
    before = trained["final"]["val_accuracy"]
    return {
        "ReLU": before,
        "GoLU": scratch["final"]["val_accuracy"],
        "swapped": at_once,
        "trained_on": [entry["val_accuracy"] for entry in on.trace()],
        "as_good_after": next((each["epoch"] for each in on.trace() if each["val_accuracy"] >= before), None),
    }


def _nothing() -> None:
    """Take the place of progress."""


def table(rows: Sequence[dict]) -> str:
    lines = []
    for seed, row in enumerate(rows):
        after = "never" if row["as_good_after"] is None else f"{row['as_good_after']} of {len(row['trained_on'])}"
        accuracies = (row["ReLU"], row["GoLU"], row["swapped"], row["trained_on"][0], row["trained_on"][-1])
        lines.append([str(seed), *(f"{each:.1f}" for each in accuracies), after])
    means = [statistics.fmean(row[name] for row in rows) for name in ("ReLU", "GoLU", "swapped")]
    means += [statistics.fmean(row["trained_on"][place] for row in rows) for place in (0, -1)]
    lines.append(["mean", *(f"{each:.1f}" for each in means), ""])
    columns = ["seed", "ReLU", "GoLU from random weights", "swapped, not trained", "after an epoch", "at the end"]
    return report.table([*columns, "as good as ReLU after"], lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = report.parser("fine_tuning", __doc__, device=False)
    parser.add_argument("--seeds", type=positive_int, default=5, metavar="N", help="number of seeds")
    parser.add_argument("--epochs", type=positive_int, default=20, metavar="N", help="epochs of each training")
    parser.add_argument("--images", type=positive_int, default=400, metavar="N", help="training images")
    parser.add_argument(
        "--factor", type=positive_float, default=0.1, metavar="X",
        help="learning rate after the swap, as a part of that before",
    )  # fmt: skip
    options: argparse.Namespace = report.parse(parser, arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measured(seed, options.epochs, options.images, options.factor, Path(folder))
            for seed in range(options.seeds)
        ]
    print(table(rows))
    how = (
        f"A small convolutional network on {options.images} digits, accuracy in %: {options.epochs} epochs with ReLU; "
        "with GoLU from random weights; and with GoLU from ReLU's last weights, before any step, after an epoch and at "
        f"the end, at {options.factor:g} of the learning rate, on the same schedule."
    )
    report.write("fine_tuning", options, "Trained on with another activation", how, {"Accuracy": table(rows)}, rows)


if __name__ == "__main__":
    run(main)
