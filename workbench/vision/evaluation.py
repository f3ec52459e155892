"""Loss and accuracy over exactly the whole validation set, each image counted once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.cli.errors import UserError
from workbench.training.launch import total

if TYPE_CHECKING:
    from accelerate import Accelerator

TOP = 5


def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], accelerator: Accelerator) -> dict[str, float]:
    """Metrics over the batches (x (N, ...), y int64 (N,)) of all processes together.

    Returns:
        val_loss, the mean negative log-likelihood in nats; val_accuracy in percent; and val_top5_accuracy in percent if
        there are more than five classes.
    """
    sums = torch.zeros(4, dtype=torch.float64, device=accelerator.device)
    classes = 0
    for x, y in batches:
        logits = model(x).float()
        classes = logits.shape[1]
        hits = logits.topk(min(TOP, classes)).indices == y[:, None]
        loss = F.cross_entropy(logits, y, reduction="sum")
        sums += torch.stack([loss, hits[:, 0].sum(), hits.sum(), torch.tensor(len(y), device=y.device)])
    loss, first, top, count = total(accelerator, sums).tolist()
    if count == 0:
        raise UserError("no validation image could be read: see the warnings above")
    metrics = {"val_loss": loss / count, "val_accuracy": 100 * first / count}
    return metrics | ({"val_top5_accuracy": 100 * top / count} if classes > TOP else {})
