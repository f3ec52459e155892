"""python -m tasks.semantic_segmentation.train trains segmentation models; `--help` explains every flag."""

from tasks.semantic_segmentation.recipes import RECIPES
from tasks.semantic_segmentation.task import Segmentation
from workbench.cli.errors import run
from workbench.vision.coco.program import coco_program

DESCRIPTION = """\
Train a segmentation model of torchvision on COCO, or a small one on scenes. Stopped and started again, it resumes.

  torchrun --standalone --nproc_per_node=4 -m tasks.semantic_segmentation.train --dataset coco --data data/coco \\
      --model deeplabv3_resnet50 --activation GoLU --seed 0 --workers 8 \\
      --backbone-checkpoint-path results/imagenet_1k/resnet50
  python -m tasks.semantic_segmentation.train --activation GoLU      # three minutes on two cores, no download"""

PROGRAM = coco_program("tasks.semantic_segmentation.train", DESCRIPTION, Segmentation, RECIPES)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
