"""Train a small model for a few steps."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def losses(model: nn.Module, loss: Callable[[], Tensor], steps: int = 4) -> list[float]:
    """Take steps of Adam on a loss, which is computed anew for each; return those before each step, and the last."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    found = []
    for _ in range(steps):
        value = loss()
        found.append(value.item())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return [*found, loss().item()]
