"""Make a command of a task: its recipes, its flags, and the run that they describe."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from workbench.cli import flags
from workbench.cli.arguments import Parser, one_of
from workbench.cli.errors import Diverged
from workbench.cli.settings import add_settings, with_options
from workbench.training.events import import_wandb
from workbench.training.extension import RATES, Extension
from workbench.training.launch import Machine, is_main_process
from workbench.training.run import evaluate_run, evaluation, summary, train_run
from workbench.training.runs import StoredRun
from workbench.training.task import Source, Spec, Task

Options = argparse.Namespace


@dataclass(frozen=True)
class TrainingProgram:
    """Describe a task as `python -m <module>` trains it, and as comparisons take it.

    Args:
        module: as "tasks.small_poc.main".
        description: what --help says: a sentence, then commands.
        task_class: makes the task of settings, source and machine; a class or function at the top of a module.
        recipes: named settings; what the command line gives goes before them. The first is the default.
        datasets: what --dataset takes, for --help.
        dataset: its default.
        data: the default of --data.
        recipe_flags: the flags that choose the recipe, if it is not the only one.
        aliases: other names of flags, as {"results": ["--output-dir"]}; settings may have some too.
        data_help: what --help says of --data.
        unit: what --limit-train and --limit-val count.
        choice: which of these they take.
        pictures: whether --bad-images says what to do with files that cannot be read.
        add_flags: adds flags of the program's own.
        base: the settings that the command line changes, where they are not simply a recipe.
        finish: changes the settings by other options, after those of the command line are set.
        check: refuses a run, by what is stored of it.
        default_text: what --help says of the default of a setting, where it is in a file.
        tested: whether there is --test-only.
        beginnings: words that --init-from takes beside a file, each with what it means.
        published: an example of a name by which the model's own library publishes weights, if --init-from takes one.
        predictor: the module of the program that uses its models, where that is not one for all tasks.
    """

    module: str
    description: str
    task_class: Callable[[Any, Source, Machine], Task]
    recipes: Mapping[str, Any]
    datasets: str
    dataset: str
    data: Path = Path("data")
    recipe_flags: Sequence[str] = ()
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    data_help: str = "folder of data sets"
    unit: str = "images"
    choice: str = "classes in proportion"
    pictures: bool = False
    add_flags: Callable[[Parser], None] | None = None
    base: Callable[[Options], Any] | None = None
    finish: Callable[[Any, Options], Any] | None = None
    check: Callable[[Options, StoredRun], None] | None = None
    default_text: str = ""
    tested: bool = False
    beginnings: Mapping[str, str] = field(default_factory=dict)
    published: str = ""
    predictor: str = ""

    @property
    def command(self) -> str:
        """Return the command that starts the program."""
        return f"python -m {self.module}"

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Train the run that the command line describes, or resume it, and print how it ended.

        Raises:
            Diverged: its training loss became infinite or NaN.
            UserError: a mistake in the command line, or in what is stored or read.
        """
        options = self.parse(arguments)
        if options.wandb is not None:
            import_wandb()  # or say that it is missing, before any work
        spec = self.spec(options)
        task = spec.task()
        run = StoredRun(options.results, task.dataset, task.model_name, options.activation, options.seed)
        if self.tested and options.test_only:
            found = evaluate_run(spec, run)
            if is_main_process():
                print(evaluation(task.metrics, found))
            return
        extension = Extension(run, options.extend) if options.extend else None
        if extension is not None:
            run = replace(run, variant=extension.variant(spec.settings))
        check = partial(self.check, options) if self.check else None
        results = train_run(spec, run, self.notes(options), check, extension=extension)
        if results["final"] is None:
            raise Diverged(f"{summary(results)}; stored in {run.results_path}")
        if is_main_process():
            print(f"{summary(results)}\nstored in {run.results_path}")

    def parse(self, arguments: Sequence[str] | None = None) -> Options:
        """Parse the command line of a run; settings that it does not give are None."""
        parser = Parser(self.command, self.description)
        flags.add_activation_flag(parser, self.aliases.get("activation", ()))
        flags.add_seed_flag(parser)
        flags.add_results_flag(
            parser, "stored runs, each in DIR/<dataset>/<model>/<activation>", self.aliases.get("results", ())
        )
        flags.add_wandb_flag(parser)
        parser.add_argument(
            "--extend", type=one_of("choice", RATES), metavar="NAME",
            help="go on with the run of these flags that has ended with fewer epochs or steps, as a run of its own "
            "beside it: last keeps the learning rate of its end, longer takes that of a schedule of the new length "
            "(default: a run whose learning rate is constant goes on, another is left as it is)",
        )  # fmt: skip
        if self.tested:
            parser.add_argument(
                "--test-only", action="store_true",
                help="evaluate the checkpoint of this run, or the model that --weights names, and train nothing",
            )  # fmt: skip
        self.add_task_flags(parser)
        return parser.parse_args(arguments)

    def add_task_flags(
        self, parser: Parser, changes: Mapping[str, Any] | None = None, hidden: Sequence[str] = ()
    ) -> None:
        """Add all flags that say what is trained on what: all but activation, seed and results.

        Args:
            changes: settings that differ from the recipes'.
            hidden: settings that other flags decide.
        """
        if self.recipe_flags:
            first = next(iter(self.recipes))
            parser.add_argument(
                *self.recipe_flags, dest="recipe", type=one_of("model", self.recipes), default=first, metavar="NAME",
                help=f"model, whose recipe sets what no flag changes: one of {', '.join(self.recipes)}",
            )  # fmt: skip
        parser.add_argument("--dataset", default=self.dataset, metavar="NAME", help=self.datasets)
        flags.add_data_flag(parser, self.data_help, self.aliases.get("data", ()), self.data)
        flags.add_limit_flags(parser, self.unit, self.choice)
        words = "".join(f"; or {word}: {meaning}" for word, meaning in self.beginnings.items())
        published = f", or the name of published ones, as {self.published}, which are downloaded" * bool(self.published)
        parser.add_argument(
            "--init-from", type=Path, metavar="FILE",
            help="start from the weights in FILE: a checkpoint of a training here, or a state_dict of the model's own "
            f"library (.safetensors, .pth){published}; the activation may be another one, and a head of another size "
            f"is made anew{words} (default: random weights)",
        )  # fmt: skip
        if self.pictures:
            parser.add_argument(
                "--bad-images", type=one_of("choice", ("refuse", "skip")), default="refuse", metavar="NAME",
                help="what to do with a file that is no image: refuse (stop, and name it) or skip (name it, and go on)",
            )  # fmt: skip
        flags.add_machine_flags(parser)
        if self.add_flags is not None:
            self.add_flags(parser)
        recipes = {name: replace(each, **changes or {}) for name, each in self.recipes.items()}
        decided = {*hidden, *(("model",) if self.recipe_flags else ())}
        first = next(iter(recipes.values()))
        several = recipes if len(recipes) > 1 else None
        add_settings(parser, first, self.aliases, self.default_text, several, decided)

    def spec(self, options: Options, changes: Mapping[str, Any] | None = None) -> Spec:
        """Specify the task that the options describe.

        Args:
            changes: settings that differ from the recipe's; what the command line gives goes before them too.

        Raises:
            UserError: the settings are invalid.
        """
        first = next(iter(self.recipes))
        base = self.base(options) if self.base else self.recipes[getattr(options, "recipe", first)]
        settings = with_options(options, replace(base, **changes or {}))
        if self.finish is not None:
            settings = self.finish(settings, options)
        weights = None if str(options.init_from) in self.beginnings else options.init_from
        source = Source(
            options.dataset, options.data, options.limit_train, options.limit_val,
            getattr(options, "bad_images", "refuse"), weights,
        )  # fmt: skip
        machine = Machine(
            options.device, options.workers, options.compile, options.checkpoint_steps, options.keep,
            getattr(options, "wandb", None),
        )  # fmt: skip
        return Spec(self.task_class, settings, source, machine, self.module)

    def notes(self, options: Options) -> dict[str, Any]:
        """Return what is stored with the results, but changes no number."""
        name = getattr(options, "run_name", None)
        return {"run_name": name} if name else {}
