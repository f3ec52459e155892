"""Slice batches out of small images that are all in memory, and augment them at once."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.training.sampling import Sampling
from workbench.training.seeding import generator_for
from workbench.vision.datasets import Images

EVALUATION_BATCH = 1000  # changes speed and memory only
SHIFT = 4  # pixels, at most

Batch = tuple[Tensor, Tensor]


class InMemory:
    """Yield the batches of `images`, wherever these are.

    Args:
        augment: shift and mirror training images.
    """

    def __init__(self, images: Images, augment: bool) -> None:
        self._images, self._augment = images, augment

    def training(self, sampling: Sampling, epoch: int, first: int) -> Iterator[list[Batch]]:
        """Yield what `Task.training` has to."""
        images = self._images
        device = images.train_x.device
        for step, shares in enumerate(sampling.steps(epoch, first), start=first):
            if self._augment:  # for the whole step: each process and accumulated batch takes its part
                draws = draw_shifts(sampling.batch_size, generator_for(sampling.seed, "augment", epoch, step))
            batches = []
            for samples, positions in shares:
                samples = samples.to(device)
                x, y = images.train_x[samples], images.train_y[samples]
                if self._augment:
                    x = shift_and_mirror(x, draws[positions - step * sampling.batch_size])
                batches.append((x, y))
            yield batches

    def validation(self, sampling: Sampling) -> Iterator[Batch]:
        """Yield this process's share of the validation images."""
        share = sampling.share(len(self._images.val_y)).to(self._images.val_x.device)
        for samples in share.split(EVALUATION_BATCH):
            yield self._images.val_x[samples], self._images.val_y[samples]


def draw_shifts(count: int, generator: torch.Generator) -> Tensor:
    """Draw, for each of `count` images: rows, columns (0 to 8) and whether to mirror (0 or 1), int64 (count, 3)."""
    shifts = torch.randint(2 * SHIFT + 1, (count, 2), generator=generator)
    return torch.cat([shifts, torch.randint(2, (count, 1), generator=generator)], dim=1)


def shift_and_mirror(x: Tensor, draws: Tensor) -> Tensor:
    """Cut each image of x (N, C, H, W) out of its zero-padded self, and mirror it, as `draws` (N, 3) says."""
    count, channels, height, width = x.shape
    padded = F.pad(x, (SHIFT, SHIFT, SHIFT, SHIFT))
    rows = draws[:, :1] + torch.arange(height)
    columns = draws[:, 1:2] + torch.arange(width)
    columns = torch.where(draws[:, 2:] == 1, columns.flip(1), columns)
    rows, columns = rows.to(x.device), columns.to(x.device)
    image = torch.arange(count, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
