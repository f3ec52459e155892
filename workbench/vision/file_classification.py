"""Classify images that are read from files, one by one, in worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from workbench.training.launch import Machine
from workbench.training.task import Source
from workbench.vision.classification import Classification
from workbench.vision.file_task import FileTask
from workbench.vision.files import FOLDER, Split, open_split, plain_name
from workbench.vision.folders import told
from workbench.vision.reading import Join, Labelled, Transform

if TYPE_CHECKING:
    from PIL.Image import Image


class FileClassification(FileTask, Classification):
    """Classify a folder of images, or a small data set whose images are treated as if they came from files.

    A subclass sets `transforms`, those of training and of validation images, before the first batch.

    Raises:
        UserError: there is no such data set.
    """

    transforms: tuple[Transform, Transform]
    split: Split

    def __init__(self, settings: object, source: Source, machine: Machine) -> None:
        super().__init__(settings, source, machine)
        self.name = plain_name(source.dataset)

    @property
    def dataset(self) -> str:
        """Name the data set, or its folder."""
        return self.source.data.resolve().name if self.name == FOLDER else self.name

    @property
    def size(self) -> str:
        training = f"{self.count} training and " if self.count else ""
        return f"{training}{self.val_count} validation images in {self.classes} classes{told(self.split.left_out)}"

    def open_split(self) -> Split:
        return open_split(self.name, self.source.data, *self.limits)

    def open(self, device: torch.device) -> None:
        super().open(device)
        self.classes, self.names, self.val_count = self.split.classes, self.split.names, len(self.split.val)

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        super().restore(state, device)
        self.device = device

    def prepare(self, picture: Image) -> Tensor:
        prepared: Tensor = self.transforms[1](picture)
        return prepared

    def joins(self) -> tuple[Join, Join]:
        train, val = self.transforms
        return Labelled(train), Labelled(val)
