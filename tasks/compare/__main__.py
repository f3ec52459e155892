"""python -m tasks.compare compares activations on a task; `--help` explains every flag."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tasks.compare import report
from tasks.compare.cost import measure_costs
from tasks.compare.figure import draw
from tasks.compare.recipes import COMPARED, Compared, comparison_of
from tasks.table import TASKS, program_of
from workbench.cli import flags
from workbench.cli.arguments import Parser, one_of, positive_int
from workbench.cli.errors import Stopped, UserError, run
from workbench.output.environment import describe
from workbench.output.storage import prepare_folder
from workbench.training.plan import Planned, check, complete, device_of
from workbench.training.program import TrainingProgram
from workbench.training.run import configuration_of
from workbench.training.runs import StoredRun
from workbench.training.task import Spec, Task, opened

DESCRIPTION = """\
Train the same model from the same weights on the same batches with each activation, over several seeds, and print
what each one reaches and costs.

  python -m tasks.compare                          # scikit-learn's digits, about a minute on a laptop
  python -m tasks.compare --dataset pydoc_topics   # a small GPT on Python's help texts, a minute a run
  python -m tasks.compare --dataset fashion_mnist --activations ReLU GELU GoLU --seeds 3 --limit-train 5000
  python -m tasks.compare --task image_classification --dataset digits --model resnet18 --train-crop-size 32 \\
      --batch-size 32 --epochs 2 --limit-val 200 --seeds 2      # any other task, with its own recipe and flags

Without --task the data set says what is trained. Stopped and started again, it resumes; more seeds or activations add
to those stored. The flags below are those of the task; name it before --help to see another one's."""


@dataclass(frozen=True)
class Chosen:
    """Hold the program whose task is compared, and what its recipe changes for it."""

    program: TrainingProgram
    compared: Compared | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare as the command line says."""
    start = time.perf_counter()
    chosen = choose(arguments)
    options = parse_arguments(chosen, arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    spec = chosen.program.spec(options, chosen.compared.changes if chosen.compared else None)
    device = device_of(spec)
    task = opened(spec, device)
    plan = planned(options, spec, task)
    ended = check(plan)
    output = options.results / task.dataset / task.model_name
    prepare_folder(output)
    print(f"{', '.join(options.activations)}; seeds 0 to {options.seeds - 1}; baseline {options.baseline}")
    print(f"{report.settings(task)}; {task.size}")
    judge = task.metrics[0]
    found = complete(plan, lambda run, results: report.outcome(run, results, judge), options.jobs, ended=ended)
    runs = [report.Ended(run, results) for run, results in found.items()]
    metrics = runs[0].run.read_metrics()
    origins = report.origins([each.results["environment"] for each in runs])
    if origins and options.same_environment:
        raise UserError(f"the stored runs are not of one origin: {origins}; delete some, or choose another --results")
    print("measuring time and memory", flush=True)
    try:
        costs = measure_costs(task, options.activations, options.baseline, device)
    except KeyboardInterrupt:
        raise Stopped(f"stopped: all runs are in {options.results}, the same command measures again") from None
    comparison = report.Comparison(task.dataset, task.model_name, metrics, options.baseline, device.type, runs, costs)
    origin = {"configuration": configuration_of(task), "environment": describe(device.type)}
    print(report.write(output, comparison, report.settings(task), origins, origin))
    draw(output / "comparison", comparison)
    print(f"{output} has comparison.png and .svg, table.md, summary.csv, runs.csv, results.json and the runs")
    print(f"took {time.perf_counter() - start:.0f} s")


def choose(arguments: Sequence[str] | None) -> Chosen:
    """Choose the task that the command line names, or that its data set has."""
    early = Parser("python -m tasks.compare", DESCRIPTION, add_help=False)
    early.add_argument("--task", type=one_of("task", TASKS))
    early.add_argument("--dataset", default="digits")
    flags.add_data_flag(early, "", ["--data-dir"])
    options, _ = early.parse_known_args(arguments)
    if options.task:
        return Chosen(program_of(options.task), None)
    compared = comparison_of(options.dataset, options.data)
    return Chosen(program_of(compared.task), compared)


def parse_arguments(chosen: Chosen, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the flags of the comparison and those of the task; settings that are not given are None."""
    parser = Parser("python -m tasks.compare", DESCRIPTION)
    tasks = f"task to train, with its own recipe: one of {', '.join(TASKS)} (default: the data set's)"
    parser.add_argument("--task", type=one_of("task", TASKS), metavar="NAME", help=tasks)
    flags.add_activations_flag(parser)
    flags.add_baseline_flag(parser)
    flags.add_seeds_flag(parser, 5)
    flags.add_results_flag(
        parser, "stored runs, in DIR/<dataset>/<model>, beside the table", ["--output"], Path("results/compare")
    )
    compared = chosen.compared
    jobs = "number of runs trained at once, each in a process with one thread; 1: in this process"
    parser.add_argument("--jobs", type=positive_int, default=1, metavar="N", help=jobs)
    threads = compared.threads if compared else None
    shown = threads or f"{torch.get_num_threads()}, which torch takes"
    parser.add_argument(
        "--threads", type=positive_int, default=threads, metavar="N", help=f"number of CPU threads (default: {shown})"
    )
    parser.add_argument(
        "--same-environment", action="store_true",
        help="refuse stored runs of different versions, commits or machines, instead of naming the difference",
    )  # fmt: skip
    chosen.program.add_task_flags(parser, compared.changes if compared else None)
    if compared:
        known = f"data set: one of {', '.join(COMPARED)}, or a prepared text in --data; others with --task"
        parser.change("--dataset", default="digits", purpose=f"{known} (default: digits)")
        parser.set_defaults(recipe=compared.recipe)
        if compared.limit_train:
            parser.change("--limit-train", default=compared.limit_train)
    options = parser.parse_args(arguments)
    flags.require_distinct("--activations", options.activations)
    options.baseline = flags.baseline_of(options.baseline, options.activations)
    return options


def planned(options: argparse.Namespace, spec: Spec, task: Task) -> list[Planned]:
    """Plan all activations of a seed before the next seed."""
    return [
        Planned(StoredRun(options.results, task.dataset, task.model_name, activation, seed), spec)
        for seed in range(options.seeds)
        for activation in options.activations
    ]


if __name__ == "__main__":
    run(main)
