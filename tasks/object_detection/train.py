"""python -m tasks.object_detection.train trains torchvision's detectors; `--help` explains every flag."""

from tasks.object_detection.recipes import RECIPES, finish
from tasks.object_detection.task import Detection
from workbench.cli.errors import run
from workbench.vision.coco.program import coco_program

DESCRIPTION = """\
Train a detector of torchvision on COCO, or a small one on scenes. Stopped and started again, it resumes.

  torchrun --standalone --nproc_per_node=4 -m tasks.object_detection.train --dataset coco --data data/coco \\
      --model fasterrcnn_resnet50_fpn --activation GoLU --seed 0 --workers 8 \\
      --backbone-checkpoint-path results/imagenet_1k/resnet50
  python -m tasks.object_detection.train --activation GoLU           # three minutes on two cores, no download"""

PROGRAM = coco_program("tasks.object_detection.train", DESCRIPTION, Detection, RECIPES, finish)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
