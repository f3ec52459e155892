"""python -m tasks.predict uses a trained model of any task on your own files; `--help` explains every flag."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from tasks.table import checkpoint_of, program_of_checkpoint
from workbench.cli import flags
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError, run
from workbench.output.storage import prepare_folder, write_json
from workbench.output.style import figure_style, save_figure
from workbench.training.launch import chosen_device
from workbench.training.trained import Checkpoint, trained
from workbench.vision.classification import TOP, Classification
from workbench.vision.rgb import read_picture

if TYPE_CHECKING:
    from PIL.Image import Image

DESCRIPTION = """\
Use a trained model of any task. The checkpoint says which task it is of; the flags are that task's.

  python -m tasks.predict results/digits/resnet20/GoLU/checkpoint_0.pth photo.png          # the likeliest classes
  python -m tasks.predict results/scenes/fasterrcnn_resnet10_fpn/GoLU/checkpoint_0.pth photo.png --score-threshold 0.3
  python -m tasks.predict results/pydoc_topics/tiny/GoLU/checkpoint_0.pth --start "The statement"
  python -m tasks.predict results/digits/tiny_unet/GoLU/checkpoint_0.pth --number 16

CHECKPOINT --help shows the flags of its task. Those of a classifier:"""

HELP = {"-h", "--help"}

Likely = list[tuple[str, float]]  # classes and their probabilities, the likeliest first


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict as the command line says.

    Raises:
        UserError: the checkpoint or an image cannot be used; then nothing has been written.
    """
    words = list(sys.argv[1:] if arguments is None else map(str, arguments))
    general = not words or words[0].startswith("-") or (HELP & set(words) and not Path(words[0]).exists())
    if not general and (predictor := program_of_checkpoint(Path(words[0])).predictor):
        importlib.import_module(predictor).main(["--checkpoint", *words])
        return
    parser = Parser("python -m tasks.predict", DESCRIPTION)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint of a training")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
    parser.add_argument(
        "--output", type=Path, default=Path("predictions"), metavar="DIR",
        help="folder to write to: a picture for each image, and predictions.json (default: predictions)",
    )  # fmt: skip
    flags.add_average_flag(parser)
    flags.add_device_flags(parser)
    options = parser.parse_args(words)
    flags.require_distinct("the command line", [each.stem for each in options.images])
    checkpoint = checkpoint_of(options.checkpoint, options.average)
    classify(checkpoint, options.images, options.output, torch.device(chosen_device(options.device)))


def classify(checkpoint: Checkpoint, paths: Sequence[Path], output: Path, device: torch.device) -> None:
    """Print the likeliest classes of images, draw them, and write them to predictions.json.

    Raises:
        UserError: the checkpoint is of no classifier, or an image cannot be read.
    """
    pictures = [read_picture(each) for each in paths]
    task, model = trained(checkpoint, device)
    if not isinstance(task, Classification):
        raise UserError(f"{checkpoint.path} is of {task.program}, which has no program that predicts")
    prepare_folder(output)
    found = {}
    for path, picture in zip(paths, pictures, strict=True):
        likely = likeliest(task, model, picture)
        found[str(path)] = [{"class": name, "probability": share} for name, share in likely]
        print(f"{path}: {', '.join(f'{name} {100 * share:.1f} %' for name, share in likely)}")
        draw(picture, likely, output / path.stem)
    write_json(output / "predictions.json", found)
    print(f"{output} has the pictures and predictions.json")


@torch.inference_mode()
def likeliest(task: Classification, model: nn.Module, picture: Image) -> Likely:
    """Return the classes that the model finds likeliest in a picture, at most five."""
    device = next(model.parameters()).device
    shares = model(task.prepare(picture)[None].to(device)).float().softmax(1)[0].cpu()
    top = shares.topk(min(TOP, task.classes))
    return [
        (task.names[number], share) for share, number in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    ]


def draw(picture: Image, likely: Likely, path: Path) -> None:
    """Draw a picture beside its likeliest classes, as .png and .svg."""
    from matplotlib.figure import Figure

    with figure_style():
        figure = Figure(figsize=(6.4, 2.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
        left.imshow(picture)
        left.set_axis_off()
        names, shares = zip(*reversed(likely), strict=True)
        bars = right.barh(names, [100 * share for share in shares], color="#0072B2")
        right.bar_label(bars, fmt="%.1f", padding=3)
        right.set_xlim(0, 115)
        right.set_xlabel("probability (%)")
        right.grid(axis="y", visible=False)
        save_figure(figure, path)


if __name__ == "__main__":
    run(main)
