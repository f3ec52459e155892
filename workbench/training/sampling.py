"""Choose the samples of each step: the same whatever the number of processes and of accumulated batches."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.cli.errors import UserError
from workbench.training.seeding import generator_for


@dataclass(frozen=True)
class Sampling:
    """Shuffle `count` samples in each epoch, and deal them out to steps, processes and accumulated batches.

    A step takes `batch_size` samples in all; the last step of an epoch is left out unless it is full.

    Args:
        count: samples of the training set.
        batch_size: samples of a step, over all processes and accumulated batches.
        accumulation: batches that a process accumulates for a step.
        repeats: how often a sample is drawn in a row (repeated augmentation, Hoffer et al. 2020); an epoch keeps its
            length, and so sees count / repeats of the samples.

    Raises:
        UserError: the samples do not fill a step, or a step cannot be shared out evenly.
    """

    count: int
    batch_size: int
    seed: int
    process: int = 0
    processes: int = 1
    accumulation: int = 1
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % (self.processes * self.accumulation):
            raise UserError(
                f"an overall batch of {self.batch_size} cannot be shared evenly by {self.processes} processes "
                f"with {self.accumulation} accumulated batches each: choose a multiple of "
                f"{self.processes * self.accumulation}"
            )
        if self.count < self.batch_size:
            raise UserError(f"a batch of {self.batch_size} is more than the {self.count} training samples")

    @property
    def steps_per_epoch(self) -> int:
        return self.count // self.batch_size

    @property
    def local_batch(self) -> int:
        """Return how many samples go through the model at once, in one process."""
        return self.batch_size // (self.processes * self.accumulation)

    def order(self, epoch: int) -> Tensor:
        """Return the shuffled samples of an epoch, int64 (count,)."""
        order = torch.randperm(self.count, generator=generator_for(self.seed, "order", epoch))
        return order.repeat_interleave(self.repeats)[: self.count]

    def steps(self, epoch: int, first: int = 0) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Yield, for each step from `first` on, this process's batches: samples, and their positions in the epoch.

        Neighbours go to different processes, and so do repeats of one sample.
        """
        order = self.order(epoch)
        for step in range(first, self.steps_per_epoch):
            positions = [step * self.batch_size + each for each in self.positions_in_step()]
            yield [(order[each], each) for each in positions]

    def positions_in_step(self) -> tuple[Tensor, ...]:
        """Return which of a step's samples are in each of this process's batches."""
        return torch.arange(self.process, self.batch_size, self.processes).chunk(self.accumulation)

    def share(self, count: int) -> Tensor:
        """Return this process's share of `count` validation samples: each in exactly one process, none twice."""
        return torch.arange(self.process, count, self.processes)
