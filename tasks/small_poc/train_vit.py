"""python -m tasks.small_poc.train_vit trains ViT-Ti/16 on CIFAR-10 at 224 x 224, or any timm model on small images."""

from tasks.image_classification.timm_settings import Settings
from tasks.image_classification.timm_task import TimmClassification
from workbench.cli.arguments import Parser
from workbench.cli.errors import run
from workbench.training.program import TrainingProgram
from workbench.vision.files import DATA_HELP, DATASETS_HELP

DESCRIPTION = """\
Train ViT-Ti/16 on CIFAR-10, brought to 224 x 224. Stopped and started again, it resumes.

  python -m tasks.small_poc.train_vit --activation GoLU --seed 0
  python -m tasks.small_poc.train_vit --dataset digits --img-size 32 --epochs 10 --warmup-epochs 1 \\
      --mixup 0 --cutmix 0 --reprob 0 --limit-val 200     # a minute on two cores, no download"""

VIT_TINY = Settings(
    model="vit_tiny_patch16_224",
    epochs=300,
    batch_size=32,
    opt="adamw",
    opt_eps=1e-8,
    opt_betas=(0.9, 0.999),
    weight_decay=0.05,
    layer_decay=1.0,
    clip_grad=5.0,
    lr_base=5e-4,
    warmup_lr=5e-7,
    warmup_epochs=20,
    min_lr=5e-6,
    decay_epochs=30.0,
    drop=0.0,
    drop_path=0.1,
    mixup=0.8,
    cutmix=1.0,
    aa="rand-m9-mstd0.5-inc1",
    reprob=0.25,
)


def _add_flags(parser: Parser) -> None:
    parser.add_argument(
        "--dataset-download", action="store_true", help="no effect (timm's script has it): missing data are downloaded"
    )


PROGRAM = TrainingProgram(
    module="tasks.small_poc.train_vit",
    description=DESCRIPTION,
    task_class=TimmClassification,
    recipes={"vit_tiny": VIT_TINY},
    datasets=DATASETS_HELP,
    data_help=DATA_HELP,
    dataset="torch/CIFAR10",
    pictures=True,
    aliases={"results": ["--results-folder"], "data": ["--data-dir"], "activation": ["--ac"]},
    add_flags=_add_flags,
    published="vit_tiny_patch16_224.augreg_in21k",
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
