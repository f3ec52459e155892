"""python -m tasks.gpt.train trains a GPT with one activation and one seed; `--help` explains every flag."""

from tasks.gpt.config import RECIPES
from tasks.gpt.prepare_text import EMBEDDED
from tasks.gpt.task import LanguageModelling
from workbench.cli.errors import UserError, run
from workbench.training.checkpoint import previous
from workbench.training.program import Options, TrainingProgram
from workbench.training.runs import StoredRun

DESCRIPTION = """\
Train GPT-2's architecture on a prepared text, with one activation and one seed. Stopped and started again, it resumes.

  python -m tasks.gpt.train                                        # a minute on two cores, no download
  torchrun --standalone --nproc_per_node=4 -m tasks.gpt.train --model_name baby_gpt --dataset tiny_stories \\
      --data data --activation GoLU --seed 0 --results results

The text is read from <data>/<dataset>, where the programs tasks.gpt.prepare_* have put it. Every value of a recipe has
a flag; without it the recipe of --model-name holds."""


def check_beginning(options: Options, run: StoredRun) -> None:
    """Check that the run begins as --init-from says.

    Raises:
        UserError: it does not.
    """
    begun = any(path.exists() for path in (run.checkpoint_path, previous(run.checkpoint_path)))
    if str(options.init_from) == "scratch" and begun:
        raise UserError(
            f"{run.checkpoint_path} is there already: --init-from resume resumes from it; to train from scratch, "
            "delete it or choose another --results"
        )
    if str(options.init_from) == "resume" and not begun:
        raise UserError(f"there is no {run.checkpoint_path} to resume from: begin with --init-from scratch")


PROGRAM = TrainingProgram(
    module="tasks.gpt.train",
    description=DESCRIPTION,
    task_class=LanguageModelling,
    recipes=RECIPES,
    recipe_flags=["--model-name", "--model"],
    datasets="data set: tiny_stories, open_web_text, or any other folder of a prepared text",
    dataset=EMBEDDED,
    unit="tokens",
    choice="from the beginning of the text",
    aliases={"results": ["--results-path"], "data": ["--dataset-path", "--data-dir"], "learning_rate": ["--lr"]},
    beginnings={"scratch": "allow no checkpoint of this run", "resume": "demand one"},
    check=check_beginning,
    predictor="tasks.gpt.sample",
    published="gpt2",
)
main = PROGRAM.main

if __name__ == "__main__":
    run(main)
