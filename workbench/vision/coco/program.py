"""Make a command of a task on images in COCO's format: what is the same in all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.training.program import Options, TrainingProgram
from workbench.vision.coco.pictures import DATA_HELP, DATASETS_HELP
from workbench.vision.coco.task import CocoTask


def coco_program(
    module: str,
    description: str,
    task_class: type[CocoTask],
    recipes: Mapping[str, Any],
    finish: Callable[[Any, Options], Any] | None = None,
) -> TrainingProgram:
    """Describe a program that trains on scenes by default, and on COCO; its arguments are `TrainingProgram`'s."""
    return TrainingProgram(
        module=module,
        description=description,
        task_class=task_class,
        recipes=recipes,
        finish=finish,
        datasets=DATASETS_HELP,
        dataset="scenes",
        data_help=DATA_HELP,
        choice="a fixed choice",
        recipe_flags=["--model"],
        pictures=True,
        aliases={"results": ["--output-dir"], "data": ["--data-path"], "weight_decay": ["--wd"]},
        tested=True,
        predictor=module.replace(".train", ".predict"),
    )
