"""python -m tasks.gpt.train: a GPT with one activation and one seed. `--help` explains every flag."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from tasks.gpt.config import RECIPES
from tasks.gpt.experiment import make_experiment
from tasks.gpt.prepare_text import EMBEDDED
from tasks.gpt.settings import Settings
from tasks.gpt.tokens import dataset_folder, open_tokens
from workbench.cli.arguments import Parser, one_of
from workbench.cli.errors import UserError, run
from workbench.cli.flags import add_run_flags
from workbench.cli.settings import add_settings, chosen, configuration
from workbench.training.checkpoint import previous
from workbench.training.launch import check_device
from workbench.training.program import run_experiment
from workbench.training.run_folder import RunFolder

DESCRIPTION = """\
Train GPT-2's architecture on a prepared text, with one activation and one seed. Killed and started again, it goes on.

  python -m tasks.gpt.prepare_text && python -m tasks.gpt.train        # a minute on two cores, no download
  torchrun --standalone --nproc_per_node=4 -m tasks.gpt.train --model_name baby_gpt --dataset tiny_stories \\
      --dataset_path data --activation GoLU --seed 0 --results_path results

The text is read from <dataset path>/<dataset>, where the programs tasks.gpt.prepare_* have put it. Every value of a
recipe has a flag; without it the recipe of --model-name holds."""


def main() -> None:
    options = parse_arguments()
    settings = choose_settings(options)
    tokens = open_tokens(dataset_folder(options.dataset_path, options.dataset))
    folder = RunFolder(options.results, options.dataset, options.model_name, options.activation, options.seed)
    check_beginning(folder, options.init_from)
    run_experiment(
        folder,
        configuration(settings) | tokens.identity,
        lambda accelerator: make_experiment(
            settings,
            tokens,
            options.activation,
            options.seed,
            accelerator,
            options.compile,
            options.checkpoint_steps,
        ),
        options.device,
    )


def parse_arguments() -> argparse.Namespace:
    """Settings that the command line does not give are None."""
    parser = Parser("python -m tasks.gpt.train", DESCRIPTION)
    parser.add_argument(
        "--model-name", type=one_of("model", RECIPES), default="tiny", metavar="NAME",
        help=f"the recipe: one of {', '.join(RECIPES)}",
    )  # fmt: skip
    parser.add_argument(
        "--dataset", default=EMBEDDED, metavar="NAME",
        help="tiny_stories, open_web_text, or any other folder of a prepared text",
    )  # fmt: skip
    parser.add_argument(
        "--dataset-path", type=Path, default=Path("data"), metavar="DIR", help="the folder that --dataset is in"
    )
    add_run_flags(parser, ["--results-path"], ["--activation"])
    parser.add_argument(
        "--init-from", type=one_of("beginning", ("scratch", "resume")), metavar="NAME",
        help="scratch: there must be no checkpoint yet; resume: there must be one (default: go on if there is one)",
    )  # fmt: skip
    add_settings(parser, Settings(), recipes=RECIPES)
    return parser.parse_args()


def choose_settings(options: argparse.Namespace) -> Settings:
    """The recipe, changed by what the command line gives; the type of number is that of the device."""
    check_device(options.device)
    settings = chosen(options, RECIPES[options.model_name])
    if settings.dtype is None:
        cuda = torch.cuda.is_available() and options.device != "cpu"
        settings = replace(settings, dtype="bfloat16" if cuda else "float32")
    return settings


def check_beginning(folder: RunFolder, init_from: str | None) -> None:
    """Whether the run begins as the user thinks it does; one that has ended may be asked for either way."""
    if folder.results_path.exists():
        return
    begun = any(path.exists() for path in (folder.checkpoint_path, previous(folder.checkpoint_path)))
    if init_from == "scratch" and begun:
        raise UserError(
            f"{folder.checkpoint_path} is there already: --init-from resume goes on from it; to train from scratch, "
            "delete it or choose another --results-path"
        )
    if init_from == "resume" and not begun:
        raise UserError(f"there is no {folder.checkpoint_path} to resume from: begin with --init-from scratch")


if __name__ == "__main__":
    run(main)
