"""python -m tasks.image_classification.timm_training_script trains EfficientNet-B0, or any model of timm."""

from pathlib import Path

from tasks.image_classification.timm_settings import Settings
from tasks.image_classification.timm_task import TimmClassification
from workbench.cli.errors import run
from workbench.training.program import TrainingProgram
from workbench.vision.files import DATA_HELP, DATASETS_HELP

DESCRIPTION = """\
Train EfficientNet-B0, or any model of timm, on ImageNet-1K or other images. Stopped and started again, it resumes.

  torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.timm_training_script \\
      --data data/imagenet_1k --activation GoLU --seed 0 --workers 8
  python -m tasks.image_classification.timm_training_script --dataset digits --img-size 32 --batch-size 16 --epochs 2 \\
      --no-amp --limit-train 320 --limit-val 100                   # a minute on a laptop, no download"""

EFFICIENTNET_B0 = Settings(
    model="efficientnet_b0",
    epochs=450,
    batch_size=384,
    opt="rmsproptf",
    opt_eps=0.001,
    weight_decay=1e-5,
    lr=0.048,
    sched="step",
    warmup_lr=1e-6,
    decay_epochs=2.4,
    decay_rate=0.97,
    drop=0.2,
    drop_path=0.2,
    aa="rand-m9-mstd0.5",
    reprob=0.2,
    model_ema=True,
    model_ema_decay=0.9999,
    amp=True,
)


PROGRAM = TrainingProgram(
    module="tasks.image_classification.timm_training_script",
    description=DESCRIPTION,
    task_class=TimmClassification,
    recipes={"efficientnet_b0": EFFICIENTNET_B0},
    datasets=DATASETS_HELP,
    data_help=DATA_HELP,
    dataset="torch/imagenet",
    data=Path("data/imagenet_1k"),
    pictures=True,
    aliases={"results": ["--output"], "data": ["--data-dir"], "drop_path": ["--drop-connect"]},
    published="vit_tiny_patch16_224.augreg_in21k_ft_in1k",
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
