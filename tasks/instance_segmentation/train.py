"""python -m tasks.instance_segmentation.train trains torchvision's Mask R-CNN; `--help` explains every flag."""

from tasks.instance_segmentation.recipes import RECIPES, finish
from tasks.instance_segmentation.task import InstanceSegmentation
from workbench.cli.errors import run
from workbench.training.program import TrainingProgram
from workbench.vision.coco.pictures import DATA_HELP, DATASETS_HELP

DESCRIPTION = """\
Train a detector with masks of torchvision on COCO, or a small one on scenes. Stopped and started again, it resumes.

  torchrun --standalone --nproc_per_node=4 -m tasks.instance_segmentation.train --dataset coco --data data/coco \\
      --model maskrcnn_resnet50_fpn --activation GoLU --seed 0 --workers 8 \\
      --backbone-checkpoint-path results/imagenet_1k/resnet50
  python -m tasks.instance_segmentation.train --activation GoLU           # two minutes on a laptop, no download"""

PROGRAM = TrainingProgram(
    module="tasks.instance_segmentation.train",
    description=DESCRIPTION,
    task_class=InstanceSegmentation,
    recipes=RECIPES,
    recipe_flags=["--model"],
    datasets=DATASETS_HELP,
    data_help=DATA_HELP,
    choice="a fixed choice",
    dataset="scenes",
    pictures=True,
    aliases={"results": ["--output-dir"], "data": ["--data-path"], "weight_decay": ["--wd"]},
    finish=finish,
    tested=True,
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
