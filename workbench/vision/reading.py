"""Read pictures one by one and make batches of them, in worker processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from workbench.cli.errors import UserError
from workbench.training.faults import batches_of
from workbench.training.sampling import Sampling
from workbench.training.seeding import derived_seed, seed_everything

if TYPE_CHECKING:
    from PIL.Image import Image

PREFETCH = 4  # batches a worker keeps ready

Transform = Callable[["Image"], Tensor]
Join = Callable[["Image", Any], Any]  # makes a sample of a picture and its target
Batch = Any  # what samples are collated to


class Pictures(Protocol):
    """Hold PIL images with their targets, as a label."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Image, Any]: ...

    def name(self, index: int) -> str:
        """Return what an error calls the image."""

    def fingerprint(self) -> int:
        """Return a checksum that tells these images from others."""


@dataclass(frozen=True)
class _Broken:
    name: str
    reason: str


@dataclass(frozen=True)
class Labelled:
    """Join a picture, transformed, and its label."""

    transform: Transform

    def __call__(self, picture: Image, label: int) -> tuple[Tensor, int]:
        return self.transform(picture), label


class _Samples:
    """Give the workers (index, seed) -> sample, where the seed decides on the augmentation."""

    def __init__(self, pictures: Pictures, join: Join) -> None:
        self._pictures, self._join = pictures, join

    def __getitem__(self, key: tuple[int, int]) -> Any:
        index, seed = key
        seed_everything(seed)
        try:
            picture, target = self._pictures[index]
        except Exception as error:  # PIL has many ways of refusing a file
            return _Broken(self._pictures.name(index), str(error))
        return self._join(picture, target)


@dataclass(frozen=True)
class _Collate:
    """Collate the samples that could be read, and name the others."""

    collate: Callable[[list[Any]], Batch]

    def __call__(self, samples: list[Any]) -> tuple[Batch | None, list[_Broken]]:
        good = [each for each in samples if not isinstance(each, _Broken)]
        return (self.collate(good) if good else None), [each for each in samples if isinstance(each, _Broken)]


def on_device(value: Any, device: torch.device) -> Any:
    """Move every tensor in lists, tuples and dictionaries to the device."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {name: on_device(each, device) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(on_device(each, device) for each in value)
    return value


class _Keys:
    """Hold the batches to read next, as the workers want them; replaced before each pass."""

    def __init__(self) -> None:
        self.batches: Iterator[list[tuple[int, int]]] = iter(())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.batches


class FromFiles:
    """Read batches of pictures to a device.

    Args:
        train, val: the pictures of each split.
        joins: make a sample of a training picture, and of one for validation.
        workers: processes that read ahead, for training and for validation; 0: none. Should one be killed, reading
            raises a UserError.
        skip_broken: leave out files that are no image, naming each once, instead of stopping at the first.
        collate: makes a batch of samples.
        val_batch: images of a batch for validation; None: as in training.
    """

    def __init__(
        self,
        train: Pictures,
        val: Pictures,
        joins: tuple[Join, Join],
        device: torch.device,
        workers: int = 0,
        skip_broken: bool = False,
        collate: Callable[[list[Any]], Batch] = default_collate,
        val_batch: int | None = None,
    ) -> None:
        self._val, self._val_batch, self._device, self._skip = val, val_batch, device, skip_broken
        self.unreadable: tuple[set[str], set[str]] = set(), set()  # names of files for training, and for validation
        self._keys = _Keys(), _Keys()
        self._loaders: list[DataLoader[Any]] = [
            DataLoader(
                _Samples(pictures, join),  # type: ignore[arg-type]
                batch_sampler=keys,
                collate_fn=_Collate(collate),
                num_workers=workers,
                persistent_workers=workers > 0,
                prefetch_factor=PREFETCH if workers else None,
                pin_memory=device.type == "cuda",
            )
            for pictures, join, keys in zip((train, val), joins, self._keys, strict=True)
        ]

    def training(self, sampling: Sampling, epoch: int, first: int) -> Iterator[list[Batch]]:
        """Yield what `Task.training` has to."""

        def keys() -> Iterator[list[tuple[int, int]]]:
            for shares in sampling.steps(epoch, first):
                for samples, positions in shares:
                    seeds = [derived_seed(sampling.seed, "augment", epoch, each) for each in positions.tolist()]
                    yield list(zip(samples.tolist(), seeds, strict=True))

        batches = self._read(0, keys())
        for _ in range(first, sampling.steps_per_epoch):
            yield [self._whole(next(batches)) for _ in range(sampling.accumulation)]

    def validation(self, sampling: Sampling) -> Iterator[Batch]:
        """Yield this process's share of the validation images; what is random in one depends on it alone."""
        size = self._val_batch or sampling.local_batch
        share = sampling.share(len(self._val))
        keys = ([(each, derived_seed("validation", each)) for each in some.tolist()] for some in share.split(size))
        for batch in self._read(1, keys):
            if batch is not None:
                yield batch

    def _read(self, which: int, keys: Iterator[list[tuple[int, int]]]) -> Iterator[Batch]:
        self._keys[which].batches = keys
        for batch, broken in batches_of(self._loaders[which]):
            for each in broken:
                self._report(which, each)
            yield None if batch is None else on_device(batch, self._device)

    def _report(self, which: int, broken: _Broken) -> None:
        message = f"{broken.name} is no image that can be read ({broken.reason})"
        if not self._skip:
            raise UserError(f"{message}: replace it, or leave such files out with --bad-images skip")
        if broken.name not in self.unreadable[which]:
            self.unreadable[which].add(broken.name)
            print(f"warning: {message}, left out", file=sys.stderr)

    def _whole(self, batch: Batch) -> Batch:
        if batch is None:
            raise UserError("a whole batch of images could not be read: see the warnings above")
        return batch
