"""python -m tasks.instance_segmentation.predict shows objects with masks; `--help` explains every flag."""

from pathlib import Path

from tasks.instance_segmentation.train import PROGRAM as TRAINING
from tasks.object_detection.predict import find
from workbench.cli.errors import run
from workbench.vision.coco.prediction import PredictionProgram

DESCRIPTION = """\
Draw the objects that a detector finds in images, with their masks, and write them in COCO's format.

  python -m tasks.instance_segmentation.predict photo.jpg \\
      --checkpoint results/scenes/maskrcnn_resnet10_fpn/GoLU/checkpoint_0.pth"""

PROGRAM = PredictionProgram(
    module="tasks.instance_segmentation.predict",
    training=TRAINING,
    description=DESCRIPTION,
    checkpoint=Path("results/scenes/maskrcnn_resnet10_fpn/GoLU/checkpoint_0.pth"),
    find=find,
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
