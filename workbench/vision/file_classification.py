"""Classify images that are read from files, one by one, in worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from workbench.training.launch import Machine
from workbench.training.sampling import Sampling
from workbench.training.task import Source
from workbench.vision.classification import Batch, Classification
from workbench.vision.files import FOLDER, open_split, plain_name
from workbench.vision.reading import FromFiles, Labelled, Transform


class FileClassification(Classification):
    """Classify a folder of images, or a small data set whose images are treated as if they came from files.

    A subclass sets `transforms`, those of training and of validation images, before the first batch.

    Raises:
        UserError: there is no such data set.
    """

    transforms: tuple[Transform, Transform]

    def __init__(self, settings: object, source: Source, machine: Machine) -> None:
        super().__init__(settings, source, machine)
        self.name = plain_name(source.dataset)
        self._batches: FromFiles | None = None

    @property
    def dataset(self) -> str:
        """Name the data set, or its folder."""
        return self.source.data.resolve().name if self.name == FOLDER else self.name

    def configuration(self) -> dict[str, Any]:
        return super().configuration() | {"bad_images": self.source.bad_images}

    def open(self, device: torch.device) -> None:
        source = self.source
        self.device = device
        self.split = open_split(self.name, source.data, source.limit_train, source.limit_val)
        self._fingerprint = self.split.fingerprint()
        self.classes = self.split.classes
        self.count, self.val_count = len(self.split.train), len(self.split.val)

    def fingerprint(self) -> str:
        return self._fingerprint

    def training(self, sampling: Sampling, epoch: int, first: int) -> Iterator[list[Batch]]:
        return self.batches.training(sampling, epoch, first)

    def validation(self, sampling: Sampling) -> Iterator[Batch]:
        return self.batches.validation(sampling)

    @property
    def batches(self) -> FromFiles:
        """Return what reads the images; its workers start with the first batch."""
        if self._batches is None:
            train, val = self.transforms
            self._batches = FromFiles(
                self.split.train, self.split.val, (Labelled(train), Labelled(val)), self.device, self.machine.workers,
                skip_broken=self.source.bad_images == "skip",
            )  # fmt: skip
        return self._batches

    def example(self) -> Batch:
        (batch, *_) = next(self.training(self.sampling(seed=0), 0, 0))
        return batch
