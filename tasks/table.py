"""List every task by name: what tasks.compare takes, what a checkpoint names, and what the contract suite tests."""

import importlib
from functools import partial
from pathlib import Path

from workbench.cli.errors import UserError
from workbench.training.checkpoint import read
from workbench.training.program import TrainingProgram
from workbench.training.trained import Checkpoint, open_checkpoint, program_named

# name -> the module whose PROGRAM trains it
TASKS = {
    "small_poc": "tasks.small_poc.main",
    "train_vit": "tasks.small_poc.train_vit",
    "image_classification": "tasks.image_classification.train",
    "timm_training_script": "tasks.image_classification.timm_training_script",
    "tiny_vit": "tasks.image_classification.tiny_vit.main",
    "gpt": "tasks.gpt.train",
    "object_detection": "tasks.object_detection.train",
    "instance_segmentation": "tasks.instance_segmentation.train",
    "semantic_segmentation": "tasks.semantic_segmentation.train",
    "diffusion": "tasks.diffusion.train_ddp",
}


def program_of(task: str) -> TrainingProgram:
    """Import the program of a task of the table."""
    program: TrainingProgram = importlib.import_module(TASKS[task]).PROGRAM
    return program


def task_of(module: str) -> str | None:
    """Return the name of the task that a module trains; None if it is none of the table."""
    return next((task for task, known in TASKS.items() if known == module), None)


def program_of_checkpoint(path: Path) -> TrainingProgram:
    """Import the program that has written a checkpoint, whose weights are not read.

    Raises:
        UserError: it is missing, broken or of another program.
    """
    return _program(path, program_named(read(path, weights=False), path))


def checkpoint_of(path: Path, averaged: bool | None = None) -> Checkpoint:
    """Read the checkpoint of any task of the table.

    Args:
        averaged: whether to take the moving average of the weights; None: if there is one.

    Raises:
        UserError: it is missing, broken, of a training that diverged or of another program.
    """
    return open_checkpoint(path, partial(_program, path), averaged)


def _program(path: Path, module: str) -> TrainingProgram:
    task = task_of(module)
    if task is None:
        raise UserError(f"{path} is of {module}, which is no program of tasks/table.py")
    return program_of(task)
