"""python -m tasks.image_classification.timm_training_script: EfficientNet-B0, or any model of timm."""

from pathlib import Path

from tasks.image_classification.timm_training import Settings, run_timm
from workbench.cli.arguments import Parser
from workbench.cli.errors import run
from workbench.cli.settings import add_settings, chosen
from workbench.vision.flags import add_file_flags, add_run_flags, where

DESCRIPTION = """\
Train EfficientNet-B0, or any other model of timm, on ImageNet-1K or other images. Killed and started again, it goes on.

  torchrun --standalone --nproc_per_node=4 -m tasks.image_classification.timm_training_script \\
      --data-dir data/imagenet_1k --activation GoLU --seed 0 --workers 8
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


def main() -> None:
    parser = Parser("python -m tasks.image_classification.timm_training_script", DESCRIPTION)
    add_file_flags(parser, ["--data-dir"], "torch/imagenet", Path("data/imagenet_1k"))
    add_run_flags(parser, ["--output"], ["--activation"])
    add_settings(parser, EFFICIENTNET_B0, also={"drop_path": ["--drop-connect"]})
    options = parser.parse_args()
    run_timm(chosen(options, EFFICIENTNET_B0), where(options))


if __name__ == "__main__":
    run(main)
