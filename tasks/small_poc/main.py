"""python -m tasks.small_poc.main trains the CIFAR ResNets, WRN-28-2 and DenseNet-40; `--help` explains every flag."""

from dataclasses import replace

from tasks.small_poc.recipes import RECIPES, shortened
from tasks.small_poc.settings import AUGMENTED, Settings
from tasks.small_poc.task import SmallImages
from workbench.cli.errors import run
from workbench.training.program import Options, TrainingProgram
from workbench.vision.datasets import DATASETS

DESCRIPTION = """\
Train a small model on small images with one activation and one seed. Stopped and started again, it resumes.

  python -m tasks.small_poc.main --model resnet20 --activation GoLU --seed 0
  python -m tasks.small_poc.main --model resnet20 --dataset digits --epochs 15    # half a minute, no download"""


def _finish(settings: Settings, options: Options) -> Settings:
    augment = settings.augment and options.dataset in AUGMENTED
    return replace(shortened(settings, RECIPES[options.recipe]), augment=augment)


PROGRAM = TrainingProgram(
    module="tasks.small_poc.main",
    description=DESCRIPTION,
    task_class=SmallImages,
    recipes=RECIPES,
    recipe_flags=["--model"],
    datasets=f"data set: one of {', '.join(DATASETS)}",
    dataset="cifar10",
    aliases={"results": ["--results-path"], "data": ["--data-dir"]},
    finish=_finish,
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
