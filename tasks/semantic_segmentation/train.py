"""python -m tasks.semantic_segmentation.train trains segmentation models; `--help` explains every flag."""

from tasks.semantic_segmentation.recipes import RECIPES
from tasks.semantic_segmentation.task import Segmentation
from workbench.cli.errors import run
from workbench.training.program import TrainingProgram
from workbench.vision.coco.pictures import DATA_HELP, DATASETS_HELP

DESCRIPTION = """\
Train a segmentation model of torchvision on COCO, or a small one on scenes. Stopped and started again, it resumes.

  torchrun --standalone --nproc_per_node=4 -m tasks.semantic_segmentation.train --dataset coco --data data/coco \\
      --model deeplabv3_resnet50 --activation GoLU --seed 0 --workers 8 \\
      --backbone-checkpoint-path results/imagenet_1k/resnet50
  python -m tasks.semantic_segmentation.train --activation GoLU      # two minutes on a laptop, no download"""

PROGRAM = TrainingProgram(
    module="tasks.semantic_segmentation.train",
    description=DESCRIPTION,
    task_class=Segmentation,
    recipes=RECIPES,
    recipe_flags=["--model"],
    datasets=DATASETS_HELP,
    data_help=DATA_HELP,
    choice="a fixed choice",
    dataset="scenes",
    pictures=True,
    aliases={"results": ["--output-dir"], "data": ["--data-path"], "weight_decay": ["--wd"]},
    tested=True,
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
