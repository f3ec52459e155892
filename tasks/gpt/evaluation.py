"""Measure loss, perplexity and token accuracy over fixed sequences."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from tasks.gpt.windows import Batch
from workbench.training.launch import sum_over_processes
from workbench.training.metrics import VAL_LOSS, Metric

if TYPE_CHECKING:
    from accelerate import Accelerator

METRICS = (
    Metric(
        "val_perplexity", "perplexity",
        meaning="the exponential of the mean loss on the validation text; less is better"
    ),
    Metric(
        "val_token_accuracy", "token accuracy", "%", True,
        "how often the token that is most probable by the model is the next one"
    ),
    VAL_LOSS,
)  # fmt: skip
_LARGEST_LOSS = 100.0  # cut to it before the exponential, which would overflow; trained models are far below


def evaluate(model: nn.Module, batches: Iterable[Batch], accelerator: Accelerator) -> dict[str, float]:
    """Measure means over every token of every process.

    Returns:
        val_loss in nats a token, val_perplexity = exp(val_loss) (of a loss up to 100), val_token_accuracy in percent:
        how often the most probable token was the next one.
    """
    sums = torch.zeros(3, dtype=torch.float64, device=accelerator.device)  # loss, hits, tokens
    for tokens, targets in batches:
        logits, targets = model(tokens).flatten(0, 1), targets.flatten()
        sums[0] += F.cross_entropy(logits.float(), targets, reduction="sum")
        sums[1] += (logits.argmax(1) == targets).sum()
        sums[2] += len(targets)
    loss, hits, tokens = sum_over_processes(accelerator, sums).tolist()
    loss /= tokens
    return {
        "val_loss": loss,
        "val_perplexity": math.exp(min(loss, _LARGEST_LOSS)),
        "val_token_accuracy": 100 * hits / tokens,
    }
