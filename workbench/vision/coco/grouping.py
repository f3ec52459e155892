"""Make steps of images of similar shape, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.training.sampling import Sampling


@dataclass(frozen=True)
class GroupedSampling(Sampling):
    """Shuffle as `Sampling` does, and then deal the images of each group to steps of their own.

    A step is taken when a group has enough images for it. What is left of the groups in the end makes the last steps.
    An epoch sees the images that it would have seen without groups, each once, however rare their shape is.

    Args:
        groups: the group of each sample.
    """

    groups: tuple[int, ...] = ()

    def order(self, epoch: int) -> Tensor:
        waiting: dict[int, list[int]] = {}
        ordered: list[int] = []
        shuffled, seen = super().order(epoch).tolist(), self.steps_per_epoch * self.batch_size
        for sample in shuffled[:seen]:
            group = waiting.setdefault(self.groups[sample], [])
            group.append(sample)
            if len(group) == self.batch_size:
                ordered += group
                group.clear()
        left = [sample for _, group in sorted(waiting.items()) for sample in group]
        return torch.tensor(ordered + left + shuffled[seen:])


def aspect_ratio_groups(ratios: Sequence[float], factor: int) -> tuple[int, ...]:
    """Return a group for each ratio of width to height.

    Args:
        factor: k makes 2k + 2 groups, of ratios from 1/2 to 2 on a logarithmic scale and beyond; 0: one group.
    """
    if factor == 0:
        return (0,) * len(ratios)
    edges = 2 ** torch.linspace(-1, 1, 2 * factor + 1, dtype=torch.float64)
    found = torch.bucketize(torch.tensor(ratios, dtype=torch.float64), edges, right=True)
    return tuple(found.tolist())
