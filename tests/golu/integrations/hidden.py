"""Count by operators which hidden activations a model really computes."""

from collections import Counter
from typing import Any

import torch
from torch import nn

from tests.golu.operations import Operations

HIDDEN = {"relu", "hardtanh", "gelu", "silu", "hardswish", "mish", "elu", "leaky_relu"}
Computed = tuple[int, Counter[str]]  # how often GoLU, and which other hidden activations how often


def computed(model: nn.Module, *inputs: Any, **named: Any) -> Computed:
    """Run the model in eval mode."""
    with torch.no_grad(), Operations() as operations:
        model.eval()(*inputs, **named)
    counts = operations.counts
    return counts["golu"], Counter({name: count for name, count in counts.items() if name in HIDDEN})
