"""python -m tasks.image_classification.train trains torchvision's classifiers; `--help` explains every flag."""

from pathlib import Path

from tasks.image_classification.settings import Settings
from tasks.image_classification.task import TorchvisionClassification
from workbench.cli.errors import run
from workbench.training.program import TrainingProgram
from workbench.vision.files import DATA_HELP, DATASETS_HELP

DESCRIPTION = """\
Train a classifier of torchvision on ImageNet-1K or other images. Stopped and started again, it resumes.

  torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.train --data data/imagenet_1k \\
      --model resnet50 --activation GoLU --seed 0 --sync-bn --workers 8
  python -m tasks.image_classification.train --dataset digits --model resnet18 --train-crop-size 32 \\
      --batch-size 32 --opt adamw --lr 0.001 --epochs 4 --limit-val 200     # a minute on a laptop, no download"""

PROGRAM = TrainingProgram(
    module="tasks.image_classification.train",
    description=DESCRIPTION,
    task_class=TorchvisionClassification,
    recipes={"resnet": Settings()},
    datasets=DATASETS_HELP,
    data_help=DATA_HELP,
    dataset="folder",
    data=Path("data/imagenet_1k"),
    pictures=True,
    aliases={"results": ["--output-dir"], "data": ["--data-path"], "wd": ["--weight-decay"]},
    published="ResNet50_Weights.IMAGENET1K_V2",
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
