"""python -m tasks.evaluate evaluates a trained model of any task; `--help` explains every flag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tasks.table import checkpoint_of
from workbench.cli import flags
from workbench.cli.arguments import Parser, positive_int
from workbench.cli.errors import run
from workbench.output.storage import prepare_folder, write_json
from workbench.training.launch import is_main_process
from workbench.training.run import evaluation
from workbench.training.trained import evaluated

DESCRIPTION = """\
Evaluate a trained model of any task, on the validation part of the data it was trained on or of others of their kind.

  python -m tasks.evaluate results/digits/resnet20/GoLU/checkpoint_0.pth
  python -m tasks.evaluate results/photos/resnet18/GoLU/checkpoint_0.pth --data other_photos --json scores.json

The checkpoint has all that it takes but the data. On those of the training, the numbers are its last evaluation's."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate as the command line says.

    Raises:
        UserError: the checkpoint or the data cannot be used.
    """
    parser = Parser("python -m tasks.evaluate", DESCRIPTION)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint of a training")
    flags.add_average_flag(parser)
    parser.add_argument("--dataset", metavar="NAME", help="data set (default: that of the training)")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of data, in which a folder of images needs val/ only (default: that of the training)",
    )
    parser.add_argument(
        "--limit-val", type=positive_int, metavar="N", help="use N validation samples (default: as the training did)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="file to write the numbers to, too")
    flags.add_device_flags(parser)
    options = parser.parse_args(arguments)
    checkpoint = checkpoint_of(options.checkpoint, options.average)
    given = {name: getattr(options, name) for name in ("dataset", "data", "limit_val")}
    chosen = {name: value for name, value in given.items() if value is not None}
    source = replace(checkpoint.source, only_val=True, **chosen)
    task, found = evaluated(checkpoint, source, options.device)
    if is_main_process():
        weights = "moving average of the weights" if checkpoint.averaged else "weights of the last step"
        print(f"{task.dataset}: {task.size}; {weights}\n\n{evaluation(task.metrics, found)}")
        if options.json is not None:
            prepare_folder(options.json.parent)
            write_json(options.json, {each.key: each.value(found) for each in task.metrics})


if __name__ == "__main__":
    run(main)
