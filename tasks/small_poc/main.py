"""python -m tasks.small_poc.main: the CIFAR ResNets, WRN-28-2 and DenseNet-40. `--help` explains every flag."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from tasks.small_poc.models import build_model
from tasks.small_poc.recipe import RECIPES, Recipe, epoch_rates
from workbench.cli.arguments import Parser, non_negative_float, one_of, positive_float, positive_int
from workbench.cli.errors import run
from workbench.training.launch import placed
from workbench.training.loop import Experiment
from workbench.training.optimizers import make_optimizer
from workbench.training.program import run_experiment
from workbench.training.run_folder import RunFolder
from workbench.training.sampling import Sampling
from workbench.vision.datasets import DATASETS, load_images
from workbench.vision.evaluation import evaluate
from workbench.vision.flags import add_run_flags
from workbench.vision.in_memory import InMemory

if TYPE_CHECKING:
    from accelerate import Accelerator

DESCRIPTION = """\
Train a small model on small images with one activation and one seed. Killed and started again, it goes on.

  python -m tasks.small_poc.main --model resnet20 --activation GoLU --seed 0
  python -m tasks.small_poc.main --model resnet20 --dataset digits --epochs 3     # half a minute, no download"""

AUGMENTED = ("cifar10", "fashion_mnist")  # mirrored digits are other digits


def main() -> None:
    options = parse_arguments()
    recipe = choose_recipe(options)
    augment = options.dataset in AUGMENTED and not options.no_augment
    configuration = asdict(recipe) | {
        "augment": augment,
        "amp": options.amp,
        "limit_train": options.limit_train,
        "limit_val": options.limit_val,
    }
    configuration |= {name: list(configuration[name]) for name in ("milestones", "factors")}  # as JSON has them
    folder = RunFolder(options.results, options.dataset, options.model, options.activation, options.seed)
    run_experiment(
        folder, configuration, lambda accelerator: make(options, recipe, augment, accelerator), options.device
    )


def parse_arguments() -> argparse.Namespace:
    """Settings of the recipe that the command line does not give are None."""
    parser = Parser("python -m tasks.small_poc.main", DESCRIPTION)

    def add(flag: str, kind: Any, purpose: str, **more: Any) -> None:
        parser.add_argument(flag, type=kind, help=purpose, **{"metavar": "N" if kind is positive_int else "X"} | more)

    add("--model", one_of("model", RECIPES), f"one of {', '.join(RECIPES)}", default="resnet20", metavar="NAME")
    add("--dataset", one_of("dataset", DATASETS), f"one of {', '.join(DATASETS)}", default="cifar10", metavar="NAME")
    add("--data-dir", Path, "where data sets are, or are downloaded to", default=Path("data"), metavar="DIR")
    add_run_flags(parser, ["--results-path"], ["--activation"])
    per_model = "(default: the model's recipe)"
    add("--epochs", positive_int, f"passes over the training images; the milestones move in proportion {per_model}")
    add("--batch-size", positive_int, f"images a step, over all processes {per_model}")
    add("--lr", positive_float, f"learning rate at first {per_model}")
    add("--weight-decay", non_negative_float, f"of all parameters {per_model}")
    parser.add_argument("--no-augment", action="store_true", help="leave CIFAR-10 and Fashion-MNIST as they are")
    parser.add_argument("--amp", action="store_true", help="bfloat16 where it is safe")

    return parser.parse_args()


def choose_recipe(options: argparse.Namespace) -> Recipe:
    """The model's recipe, changed by what the command line gives; a shorter run takes its milestones in proportion."""
    recipe = RECIPES[options.model]
    given = {name: getattr(options, name) for name in ("epochs", "batch_size", "lr", "weight_decay")}
    chosen = replace(recipe, **{name: value for name, value in given.items() if value is not None})
    if chosen.epochs == recipe.epochs:
        return chosen
    moved = tuple(round(each * chosen.epochs / recipe.epochs) for each in recipe.milestones)
    return replace(chosen, milestones=moved)


def make(options: argparse.Namespace, recipe: Recipe, augment: bool, accelerator: Accelerator) -> Experiment:
    with accelerator.main_process_first():  # which may have to download
        images = load_images(options.dataset, options.data_dir, options.limit_train, options.limit_val)
    sampling = Sampling(
        len(images.train_y), recipe.batch_size, options.seed, accelerator.process_index, accelerator.num_processes
    )
    images = images.to(str(accelerator.device))
    _, *shape = images.train_x.shape
    model = build_model(options.model, tuple(shape), images.classes, options.activation)
    model = placed(model, accelerator.device)
    if options.compile:
        model.compile()
    optimizer = make_optimizer(
        "sgd_nesterov" if recipe.nesterov else "sgd", model, recipe.lr, recipe.weight_decay, recipe.momentum
    )
    data = InMemory(images, sampling, augment)
    return Experiment(
        model=model,
        optimizer=optimizer,
        rates=epoch_rates(recipe.lr, recipe.milestones, recipe.factors, recipe.epochs),
        epochs=recipe.epochs,
        steps_per_epoch=sampling.steps_per_epoch,
        samples_per_step=recipe.batch_size,
        seed=options.seed,
        batches=data.training,
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        evaluate=lambda model: evaluate(model, data.validation(), accelerator),
        autocast=torch.bfloat16 if options.amp else None,
        checkpoint_every=options.checkpoint_steps,
    )


if __name__ == "__main__":
    run(main)
