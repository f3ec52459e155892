"""python -m tasks.diffusion.train_ddp trains a diffusion model with one activation; `--help` explains every flag."""

from tasks.diffusion.pictures import DATA_HELP, DATASETS_HELP
from tasks.diffusion.recipes import RECIPES
from tasks.diffusion.task import Diffusion
from workbench.cli.errors import run
from workbench.training.program import TrainingProgram

DESCRIPTION = """\
Train a denoising diffusion model (DDPM), diffusers' UNet, with one activation and one seed. Stopped and started again,
it resumes.

  python -m tasks.diffusion.train_ddp --dataset digits --model tiny_unet    # three minutes on two cores, no download
  python -m tasks.diffusion.prepare_celeba --data data                      # once, before the next one
  torchrun --standalone --nproc_per_node=4 -m tasks.diffusion.train_ddp --num_workers 8 --save_dir results \\
      --data_dir data --seed 0 --activation GoLU

It is judged by its error on validation images with fixed noise. Grids of samples are drawn beside the results;
tasks.diffusion.sample draws more, tasks.diffusion.eval scores them, and tasks.diffusion.export hands the model over."""

PROGRAM = TrainingProgram(
    module="tasks.diffusion.train_ddp",
    description=DESCRIPTION,
    task_class=Diffusion,
    recipes=RECIPES,
    recipe_flags=["--model"],
    datasets=DATASETS_HELP,
    dataset="celeba",
    data_help=DATA_HELP,
    choice="classes in proportion where there are any",
    aliases={"results": ["--save-dir"], "data": ["--data-dir"]},
    pictures=True,
    predictor="tasks.diffusion.sample",
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
