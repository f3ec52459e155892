"""python -m tasks.compare: which activation for this task? `--help` explains every flag."""

import argparse
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from golu import available_activations
from golu.activations import unknown_name
from tasks.compare import report
from tasks.compare.cost import measure_costs
from tasks.compare.figure import draw
from tasks.compare.images import open_images
from tasks.compare.models import MODELS
from tasks.compare.problem import Problem
from tasks.compare.recipe import IMAGES, RECIPES, TEXTS, Recipe
from tasks.compare.runs import Run, load_runs, store_run
from tasks.compare.text import open_text
from tasks.compare.training import train
from tasks.gpt.config import RECIPES as GPT_RECIPES
from tasks.gpt.prepare_text import EMBEDDED
from tasks.gpt.tokens import dataset_folder
from workbench.cli.arguments import Parser, non_negative_float, one_of, positive_float, positive_int
from workbench.cli.errors import Stopped, UserError, run
from workbench.cli.flags import add_activations_flag, require_distinct
from workbench.cli.progress import Progress
from workbench.cli.settings import by_recipe
from workbench.output.environment import describe
from workbench.output.storage import prepare_folder
from workbench.training.launch import check_device

DESCRIPTION = """\
Train the same model from the same weights on the same batches with each activation, over several seeds, and print
what each one reaches and costs.

  python -m tasks.compare                          # scikit-learn's digits, about a minute on a laptop
  python -m tasks.compare --dataset pydoc_topics   # a small GPT on Python's help texts, a minute a run
  python -m tasks.compare --dataset fashion_mnist --activations ReLU GELU GoLU --seeds 3 --limit-train 5000

Stopped and started again, it goes on with the runs that are missing; more seeds or activations add to those stored."""


def main() -> None:
    start = time.perf_counter()
    options = parse_arguments()
    recipe = choose_recipe(options)
    torch.set_num_threads(recipe.threads or torch.get_num_threads())
    problem = open_problem(recipe, options.data_dir)
    runs = load_runs(options.output, problem.configuration)
    prepare_folder(options.output / "runs")

    print(f"{', '.join(options.activations)}; seeds 0 to {options.seeds - 1}; baseline {options.baseline}")
    print(f"{report.settings(recipe)}; {problem.size}")
    origin = {"configuration": problem.configuration, "environment": describe(recipe.device)}
    try:
        train_missing(options, recipe, problem, runs, origin)
        print("measuring time and memory", flush=True)
        costs = measure_costs(problem, options.activations, options.baseline)
    except KeyboardInterrupt:
        message = f"stopped: {len(runs)} finished runs are in {options.output}, the same command goes on from there"
        raise Stopped(message) from None

    chosen = [runs[activation, seed] for activation in options.activations for seed in range(options.seeds)]
    summaries = report.summarise(chosen, problem.metrics, costs, options.baseline)
    print(report.write(options.output, recipe, problem.metrics, options.baseline, origin, summaries, chosen))
    draw(options.output / "comparison", recipe, problem.metrics[0], options.activations, chosen)
    print(f"{options.output} has comparison.png and .svg, table.md, summary.csv, runs.csv, results.json and runs/")
    print(f"took {time.perf_counter() - start:.0f} s")


def parse_arguments() -> argparse.Namespace:
    """Settings of the recipe that the command line does not give are None."""
    parser = Parser("python -m tasks.compare", DESCRIPTION)

    def add(flag: str, kind: Any, purpose: str, **more: Any) -> None:
        parser.add_argument(flag, type=kind, help=purpose, **{"metavar": "N" if kind is positive_int else "X"} | more)

    def choice(flag: str, known: Any, purpose: str, **more: Any) -> None:
        add(flag, one_of(flag[2:], known), purpose, metavar="NAME", **more)

    activation = one_of("activation", available_activations())
    known = f"one of {', '.join(IMAGES)} (images), {', '.join(TEXTS)} (text), or a prepared text in --data-dir"
    add("--dataset", str, known, default="digits", metavar="NAME")
    models = f"for images one of {', '.join(MODELS)}; for text one of {', '.join(GPT_RECIPES)}"
    choice("--model", [*MODELS, *GPT_RECIPES], f"{models} {by_dataset('model')}")
    add_activations_flag(parser)
    add("--baseline", activation, "what to compare with (default: ReLU if it is there, else the first)", metavar="NAME")
    add("--seeds", positive_int, "how many seeds, counted from 0", default=5)
    add("--epochs", positive_int, f"passes over the training data {by_dataset('epochs')}")
    add("--batch-size", positive_int, f"images or sequences a step {by_dataset('batch_size')}")
    add(
        "--lr",
        positive_float,
        f"the highest learning rate; it falls along a cosine, for text after a warm-up {by_dataset('lr')}",
    )
    add("--weight-decay", non_negative_float, f"of all but biases and norms {by_dataset('weight_decay')}")
    add("--limit-train", positive_int, f"training images, classes in proportion, or tokens {by_dataset('limit_train')}")
    add("--limit-val", positive_int, f"validation images or tokens {by_dataset('limit_val')}")
    choice("--device", ("cpu", "cuda"), f"cpu or cuda {by_dataset('device')}")
    add("--threads", positive_int, f"CPU threads {by_dataset('threads', unset=torch.get_num_threads())}")
    add("--data-dir", Path, "where data sets are, or are downloaded to", default=Path("data"), metavar="DIR")
    add("--output", Path, "where everything is stored (default: results/compare/<dataset>)", metavar="DIR")
    options = parser.parse_args()
    options.output = options.output or Path("results/compare", options.dataset)

    require_distinct("--activations", options.activations)
    if options.baseline is None:
        options.baseline = "ReLU" if "ReLU" in options.activations else options.activations[0]
    if options.baseline not in options.activations:
        raise UserError(f"--baseline {options.baseline} is not among the activations: {', '.join(options.activations)}")
    check_device(options.device)
    return options


def by_dataset(setting: str, unset: object = "all") -> str:
    """The defaults of a recipe's setting, for its help."""
    return f"(default: {by_recipe(RECIPES, setting, str(unset))})"


def choose_recipe(options: argparse.Namespace) -> Recipe:
    """The data set's recipe, changed by what the command line gives; any prepared text has that of the embedded one."""
    given = {each.name: getattr(options, each.name, None) for each in fields(Recipe)}
    base = RECIPES.get(options.dataset)
    if base is None:
        if not (dataset_folder(options.data_dir, options.dataset) / "train.bin").exists():
            raise UserError(
                f"{unknown_name('dataset', options.dataset, RECIPES)}; nor is it a text that tasks.gpt.prepare_text "
                f"has written to {options.data_dir}"
            )
        base = TEXTS[EMBEDDED]
    recipe = replace(base, **{name: value for name, value in given.items() if value is not None})
    models = MODELS if recipe.dataset in IMAGES else GPT_RECIPES
    if recipe.model not in models:
        raise UserError(f"--model {recipe.model} is not for {recipe.dataset}: take one of {', '.join(models)}")
    return recipe if recipe.threads else replace(recipe, threads=torch.get_num_threads())


def open_problem(recipe: Recipe, data_dir: Path) -> Problem:
    """The recipe's model and data."""
    return open_images(recipe, data_dir) if recipe.dataset in IMAGES else open_text(recipe, data_dir)


def train_missing(
    options: argparse.Namespace,
    recipe: Recipe,
    problem: Problem,
    runs: dict[tuple[str, int], Run],
    origin: dict[str, Any],
) -> None:
    """Train what is not among `runs`, all activations of a seed before the next seed; store each, with its origin."""
    wanted = [(activation, seed) for seed in range(options.seeds) for activation in options.activations]
    missing = [each for each in wanted if each not in runs]
    if len(missing) < len(wanted):
        print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are stored already, {len(missing)} to go")
    with Progress(problem.steps * len(missing)) as progress:
        for number, (activation, seed) in enumerate(missing, start=1):
            progress.doing(f"{activation}, seed {seed}")
            result = origin | train(problem, recipe.device, activation, seed, after_step=progress.advance)
            store_run(options.output, result)
            runs[activation, seed] = result
            progress.reach(problem.steps * number)  # a run that diverged ended early
            progress.report(f"{activation}, seed {seed}: {report.outcome(result, problem.metrics[0])}")


if __name__ == "__main__":
    run(main)
