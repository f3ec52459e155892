"""Make a command that shows what a trained model finds in images, and writes it in COCO's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.cli import flags
from workbench.cli.arguments import Parser, unit_float
from workbench.cli.errors import UserError
from workbench.output.pictures import save_picture
from workbench.output.storage import prepare_folder, write_json
from workbench.training.launch import chosen_device
from workbench.training.program import TrainingProgram
from workbench.training.trained import own_checkpoint, trained
from workbench.vision.rgb import read_picture

Found = tuple[Tensor, list[dict[str, Any]]]  # a picture, uint8 (3, H, W), and entries as in COCO's annotations


@dataclass(frozen=True)
class PredictionProgram:
    """Describe a program that predicts, as `python -m <module>` runs it.

    Args:
        module: as "tasks.object_detection.predict".
        training: the program that trains its models.
        description: what --help says.
        checkpoint: the default of --checkpoint.
        find: gives what a model finds in an image, uint8 (3, H, W), with a score of at least so much.
        scored: whether what is found has scores.
    """

    module: str
    training: TrainingProgram
    description: str
    checkpoint: Path
    find: Callable[[nn.Module, Tensor, Mapping[int, str], Mapping[str, Any], float], Found]
    scored: bool = True

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Predict as the command line says.

        Raises:
            UserError: the checkpoint or an image cannot be used; then nothing has been written.
        """
        parser = Parser(f"python -m {self.module}", self.description)
        parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
        parser.add_argument(
            "--checkpoint", type=Path, default=self.checkpoint, metavar="FILE", help="checkpoint of a training"
        )
        parser.add_argument(
            "--output", type=Path, default=Path("predictions"), metavar="DIR",
            help="folder to write to: a .png for each image, and predictions.json in COCO's format",
        )  # fmt: skip
        if self.scored:
            least = "score from which an object is drawn and written"
            parser.add_argument("--score-threshold", type=unit_float, default=0.5, metavar="X", help=least)
        flags.add_device_flags(parser)
        options = parser.parse_args(arguments)
        device = chosen_device(options.device)
        flags.require_distinct("the command line", [each.stem for each in options.images])
        pictures = [options.output / f"{each.stem}.png" for each in options.images]
        for path in {each.resolve() for each in pictures} & {each.resolve() for each in options.images}:
            raise UserError(f"the image {path} would be overwritten: choose another --output")
        images = [read_image(each) for each in options.images]
        checkpoint = own_checkpoint(options.checkpoint, self.training)
        task, model = trained(checkpoint, torch.device(device))
        names, configuration = task.extras["categories"], checkpoint.configuration
        prepare_folder(options.output)
        found = []
        files = zip(options.images, images, pictures, strict=True)
        for number, (path, image, drawn) in enumerate(files, start=1):
            with torch.inference_mode():
                picture, entries = self.find(
                    model, image.to(device), names, configuration, getattr(options, "score_threshold", 0.0)
                )
            save_picture(drawn, picture)
            found += [{"image_id": number, **entry} for entry in entries]
            counts = Counter(names.get(entry["category_id"], str(entry["category_id"])) for entry in entries)
            print(f"{path}: {', '.join(f'{name} x{count}' for name, count in counts.items()) or 'nothing found'}")
        write_json(options.output / "predictions.json", _dataset(options.images, images, found, names))
        print(f"{options.output} has the pictures and predictions.json")


def read_image(path: Path) -> Tensor:
    """Read an image file upright, as uint8 (3, H, W).

    Raises:
        UserError: it is missing, or no image.
    """
    return torch.from_numpy(np.array(read_picture(path))).permute(2, 0, 1).contiguous()


def _dataset(
    paths: Sequence[Path], images: Sequence[Tensor], found: Sequence[Mapping[str, Any]], names: Mapping[int, str]
) -> dict[str, Any]:
    """Return what was found as a data set in COCO's format, with a score for each annotation."""
    return {
        "images": [
            {"id": number, "file_name": str(path), "width": image.shape[2], "height": image.shape[1]}
            for number, (path, image) in enumerate(zip(paths, images, strict=True), start=1)
        ],
        "annotations": [{"id": number, "iscrowd": 0, **entry} for number, entry in enumerate(found, start=1)],
        "categories": [{"id": number, "name": name} for number, name in names.items()],
    }
