"""List every task by name: what tasks.compare takes, and what the contract suite tests."""

import importlib

from workbench.training.program import TrainingProgram

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
