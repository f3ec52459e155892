"""python -m tasks.semantic_segmentation.predict shows the class of each pixel; `--help` explains every flag."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from tasks.semantic_segmentation.train import PROGRAM as TRAINING
from workbench.cli.errors import run
from workbench.vision.coco.drawing import draw_classes
from workbench.vision.coco.prediction import Found, PredictionProgram
from workbench.vision.coco.results import region
from workbench.vision.coco.transforms import segmentation_join

DESCRIPTION = """\
Draw the class of each pixel of images, and write the region of each class in COCO's format.

  python -m tasks.semantic_segmentation.predict photo.jpg \\
      --checkpoint results/scenes/lraspp_resnet10/GoLU/checkpoint_0.pth"""


def find(model: nn.Module, image: Tensor, names: Mapping[int, str], settings: Mapping[str, Any], _: float) -> Found:
    """Give each pixel of the image, as large as it is, its most probable class."""
    pixels, _ = segmentation_join(settings["base_size"])(image, image[0])
    logits = model(pixels[None])["out"]
    classes = F.interpolate(logits, image.shape[1:], mode="bilinear", align_corners=False).argmax(1)[0].cpu()
    entries = [{"category_id": each, **region(classes == each)} for each in names if (classes == each).any()]
    return draw_classes(image.cpu(), classes, names), entries


PROGRAM = PredictionProgram(
    module="tasks.semantic_segmentation.predict",
    training=TRAINING,
    description=DESCRIPTION,
    checkpoint=Path("results/scenes/lraspp_resnet10/GoLU/checkpoint_0.pth"),
    find=find,
    scored=False,
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
