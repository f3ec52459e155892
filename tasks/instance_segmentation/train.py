"""python -m tasks.instance_segmentation.train trains torchvision's Mask R-CNN; `--help` explains every flag."""

from tasks.instance_segmentation.recipes import RECIPES, finish
from tasks.instance_segmentation.task import InstanceSegmentation
from workbench.cli.errors import run
from workbench.vision.coco.program import coco_program

DESCRIPTION = """\
Train a detector with masks of torchvision on COCO, or a small one on scenes. Stopped and started again, it resumes.

  torchrun --standalone --nproc_per_node=4 -m tasks.instance_segmentation.train --dataset coco --data data/coco \\
      --model maskrcnn_resnet50_fpn --activation GoLU --seed 0 --workers 8 \\
      --backbone-checkpoint-path results/imagenet_1k/resnet50
  python -m tasks.instance_segmentation.train --activation GoLU           # three minutes on two cores, no download"""

PROGRAM = coco_program("tasks.instance_segmentation.train", DESCRIPTION, InstanceSegmentation, RECIPES, finish)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
