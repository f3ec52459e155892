"""python -m tasks.object_detection.predict shows what a detector finds in images; `--help` explains every flag."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tasks.object_detection.task import objects_of
from tasks.object_detection.train import PROGRAM as TRAINING
from workbench.cli.errors import run
from workbench.vision.coco.drawing import draw_objects
from workbench.vision.coco.prediction import Found, PredictionProgram
from workbench.vision.coco.results import results_of

DESCRIPTION = """\
Draw what a detector finds in images, and write it in COCO's format. The checkpoint has all that it takes.

  python -m tasks.object_detection.predict photo.jpg \\
      --checkpoint results/scenes/fasterrcnn_resnet10_fpn/GoLU/checkpoint_0.pth"""


def find(model: nn.Module, image: Tensor, names: Mapping[int, str], _: Mapping[str, Any], least: float) -> Found:
    """Find the objects with a score of at least `least`."""
    (output,) = model([image / 255])
    output = {name: each[output["scores"] >= least] for name, each in output.items()}
    entries = results_of(output, 0)
    for entry in entries:
        del entry["image_id"]
        entry["area"] = entry["bbox"][2] * entry["bbox"][3]
    return draw_objects(image.cpu(), objects_of(output, least), names), entries


PROGRAM = PredictionProgram(
    module="tasks.object_detection.predict",
    training=TRAINING,
    description=DESCRIPTION,
    checkpoint=Path("results/scenes/fasterrcnn_resnet10_fpn/GoLU/checkpoint_0.pth"),
    find=find,
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
