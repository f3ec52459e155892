"""Say what is compared on a data set if no task is named: a task, its recipe, and what differs from that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from golu.activations import unknown_name
from tasks.gpt.tokens import dataset_folder
from workbench.cli.errors import UserError


@dataclass(frozen=True)
class Compared:
    """Describe the comparison of a data set.

    Args:
        task: its name in tasks/table.py.
        recipe: the name of the task's recipe.
        changes: settings that differ from the recipe's.
        limit_train: training images or tokens that are taken; None: all.
        threads: CPU threads; None: as many as torch takes.
    """

    task: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    limit_train: int | None = None
    threads: int | None = None


def _images(**changes: Any) -> Compared:
    quick = {"opt": "adamw", "lr": 2e-3, "schedule": "cosine", "milestones": (), "factors": (), "weight_decay": 0.01,
             "vector_weight_decay": 0.0, "batch_size": 128, "epochs": 10, "augment": False}  # fmt: skip
    return Compared("small_poc", "cnn", quick | changes)


# That of the digits was chosen with ReLU alone, to be converged and yet short of a perfect score, where all activations
# would look the same: hence 20 images a class. They are so small that a second thread saves little, and with one the
# numbers do not depend on how many cores a machine has. The others are customary values, not tuned for any activation;
# those of the texts are their GPT recipes'. The rate of tiny is the best of 1, 2, 4 and 8e-3 with ReLU and one seed.
COMPARED = {
    "digits": replace(_images(epochs=20, batch_size=32, lr=4e-3), limit_train=200, threads=1),
    "fashion_mnist": _images(),
    "mnist": _images(epochs=5),
    "cifar10": _images(epochs=30, augment=True),
    "scenes": Compared("object_detection", "fasterrcnn_resnet10_fpn", {"epochs": 4}),
    "pydoc_topics": Compared("gpt", "tiny", {"epochs": 7}),
    "tiny_stories": Compared("gpt", "baby_gpt", {"epochs": 3}),
    "open_web_text": Compared("gpt", "gpt2s", {"epochs": 32}),
}


def comparison_of(dataset: str, data: Path) -> Compared:
    """Choose the comparison of a data set; any prepared text has that of the embedded one.

    Raises:
        UserError: there is no such data set.
    """
    if dataset in COMPARED:
        return COMPARED[dataset]
    if not (dataset_folder(data, dataset) / "train.bin").exists():
        raise UserError(
            f"{unknown_name('dataset', dataset, COMPARED)}; nor is it a text that tasks.gpt.prepare_text has written "
            f"to {data}; --task takes other data"
        )
    return COMPARED["pydoc_topics"]
