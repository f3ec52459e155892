"""Cut batches of sequences out of the tokens: which ones make up a step, and which are evaluated."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tasks.gpt.tokens import TokenFiles
from workbench.cli.errors import UserError
from workbench.training.sampling import Sampling
from workbench.training.seeding import generator_for

Batch = tuple[Tensor, Tensor]  # tokens and what comes after each of them, int64 (N, block size)


class Windows:
    """Yield sequences of `block_size` tokens: random ones to train on, fixed ones to evaluate.

    A step's are drawn with replacement, by the seed and the step alone, and dealt out to processes and batches.

    Raises:
        UserError: a split is shorter than a sequence and the token after it.
    """

    def __init__(self, tokens: TokenFiles, block_size: int, device: torch.device) -> None:
        for split, content in (("train", tokens.train), ("val", tokens.val)):
            if len(content) <= block_size:
                raise UserError(
                    f"{tokens.folder / f'{split}.bin'} has {len(content)} tokens, too few for a context of "
                    f"{block_size} and the token after it: take a longer text or a smaller --block-size"
                )
        self._tokens, self._block_size, self._device = tokens, block_size, device

    def training(self, sampling: Sampling, epoch: int, first: int, total: int) -> Iterator[list[Batch]]:
        """Yield, for each step of an epoch from `first` on, this process's batches.

        Args:
            sampling: how a step's sequences are dealt out; its own order is not used.
            total: steps of the whole training, whose last epoch may be shorter.
        """
        steps = sampling.steps_per_epoch
        starts = len(self._tokens.train) - self._block_size
        for step in range(epoch * steps + first, min((epoch + 1) * steps, total)):
            generator = generator_for(sampling.seed, "windows", step)
            drawn = torch.randint(starts, (sampling.batch_size,), generator=generator)
            yield [self._batch("train", drawn[places]) for places in sampling.positions_in_step()]

    def validation(self, sampling: Sampling, count: int) -> Iterator[Batch]:
        """Yield this process's share of `count` fixed sequences, spread evenly over the text, none overlapping."""
        last = len(self._tokens.val) - 1 - self._block_size
        count = min(count, last // self._block_size + 1)
        starts = torch.arange(count) * last // max(1, count - 1)
        for part in starts[sampling.share(count)].split(sampling.local_batch):
            if len(part):  # else there are more processes than sequences
                yield self._batch("val", part)

    def example(self, count: int) -> Batch:
        """Return `count` training sequences, spread evenly over the text."""
        last = len(self._tokens.train) - 1 - self._block_size
        return self._batch("train", torch.arange(count) * last // max(1, count - 1))

    def _batch(self, split: str, starts: Tensor) -> Batch:
        content = getattr(self._tokens, split)
        places = starts.numpy()[:, None] + np.arange(self._block_size + 1)
        taken = torch.from_numpy(content[places].astype(np.int64))
        if taken.max() >= self._tokens.vocabulary_size:
            raise UserError(
                f"{self._tokens.folder / f'{split}.bin'} holds the token {taken.max()}, but its vocabulary has "
                f"{self._tokens.vocabulary_size}: prepare the text again"
            )
        if self._device.type == "cuda":
            taken = taken.pin_memory().to(self._device, non_blocking=True)
        return taken[:, :-1], taken[:, 1:]
