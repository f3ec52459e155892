"""Classify images: the metrics, the loss and the evaluation that every such task has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.cli.errors import UserError
from workbench.training.launch import sum_over_processes
from workbench.training.metrics import VAL_LOSS, Metric
from workbench.training.sampling import Sampling
from workbench.training.task import Graph, Task

if TYPE_CHECKING:
    from accelerate import Accelerator
    from PIL.Image import Image

TOP = 5
ACCURACY = Metric("val_accuracy", "accuracy", "%", True, "share of validation images whose class is the most probable")
TOP_ACCURACY = Metric(
    "val_top5_accuracy", "top-5 accuracy", "%", True, "share of those whose class is among the five", "detail"
)

Batch = tuple[Tensor, Tensor]  # x (N, C, H, W) and y, int64 (N,)


class Classification(Task):
    """Classify images; the accuracy on the validation images judges.

    A subclass sets `count`, `val_count`, `classes` and `names` when it opens the data, and gives `validation`,
    `input_shape` and `prepare`.
    """

    classes: int
    val_count: int
    names: Sequence[str]  # of the classes

    @property
    def metrics(self) -> Sequence[Metric]:  # type: ignore[override]
        """Return accuracy and loss, and the top-5 accuracy where there are more classes."""
        return (ACCURACY, VAL_LOSS, *([TOP_ACCURACY] if self.classes > TOP else []))

    @property
    def size(self) -> str:
        return f"{self.count} training and {self.val_count} validation images in {self.classes} classes"

    def amounts(self) -> dict[str, Any]:
        images = {"training_images": self.count, "validation_images": self.val_count}
        return {**images, "classes": self.classes}

    @property
    def extras(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Return the names of the classes, so that a checkpoint is all that predicting needs."""
        return {"names": list(self.names)}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        self.names = list(state["extras"]["names"])
        self.classes = len(self.names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Return channels, height and width of what the model takes; it has been made."""
        raise NotImplementedError

    def prepare(self, picture: Image) -> Tensor:
        """Make of an RGB picture what the model takes, (C, H, W), as of one for validation; it has been made."""
        raise NotImplementedError

    def graph(self, model: nn.Module) -> Graph:
        """Describe it as logits (N, classes) of images (N, C, H, W)."""
        device = next(model.parameters()).device
        return Graph(model, {"images": torch.zeros(2, *self.input_shape, device=device)}, {"images": {0: "N"}})

    def validation(self, sampling: Sampling) -> Iterator[Batch]:
        """Yield this process's share of the validation images."""
        raise NotImplementedError

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the cross-entropy."""
        return F.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model: nn.Module, sampling: Sampling, accelerator: Accelerator) -> dict[str, float]:
        """Measure loss and accuracies over exactly the whole validation set, each image counted once."""
        return evaluate(model, self.validation(sampling), accelerator)


def evaluate(model: nn.Module, batches: Iterable[Batch], accelerator: Accelerator) -> dict[str, float]:
    """Measure a model on the batches of all processes together.

    Returns:
        val_loss, the mean negative log-likelihood in nats; val_accuracy in percent; and val_top5_accuracy in percent if
        there are more than five classes.

    Raises:
        UserError: there is no image.
    """
    sums = torch.zeros(4, dtype=torch.float64, device=accelerator.device)
    classes = 0
    for x, y in batches:
        logits = model(x).float()
        classes = logits.shape[1]
        hits = logits.topk(min(TOP, classes)).indices == y[:, None]
        loss = F.cross_entropy(logits, y, reduction="sum")
        sums += torch.stack([loss, hits[:, 0].sum(), hits.sum(), torch.tensor(len(y), device=y.device)])
    loss, first, top, count = sum_over_processes(accelerator, sums).tolist()
    if count == 0:
        raise UserError("no validation image could be read: see the warnings above")
    metrics = {"val_loss": loss / count, "val_accuracy": 100 * first / count}
    return metrics | ({"val_top5_accuracy": 100 * top / count} if classes > TOP else {})
