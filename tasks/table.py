"""List every task by name: what tasks.compare takes, what a checkpoint names, and what the contract suite tests."""

import importlib
from pathlib import Path

from workbench.cli.errors import UserError
from workbench.training.program import TrainingProgram
from workbench.training.trained import Checkpoint, open_checkpoint

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


def checkpoint_of(path: Path, averaged: bool | None = None) -> Checkpoint:
    """Read the checkpoint of any task of the table.

    Args:
        averaged: whether to take the moving average of the weights; None: if there is one.

    Raises:
        UserError: it is missing, broken, of a training that diverged or of another program.
    """

    def program(module: str) -> TrainingProgram:
        for task, known in TASKS.items():
            if module == known:
                return program_of(task)
        raise UserError(f"{path} is of {module}, which is no program of tasks/table.py")

    return open_checkpoint(path, program, averaged)
