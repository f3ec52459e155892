"""Learn from images that are read one by one, in worker processes: what all such tasks share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import default_collate

from workbench.training.launch import Machine, gathered_by_main
from workbench.training.runs import StoredRun, position
from workbench.training.sampling import Sampling
from workbench.training.task import Source, Task
from workbench.vision.folders import told
from workbench.vision.reading import Batch, FromFiles, Join

if TYPE_CHECKING:
    from accelerate import Accelerator


class FileTask(Task):
    """Learn from images in files, or from images that are treated as if they came from files.

    A subclass gives `open_split` and `joins`.
    """

    split: Any  # once the data are open
    val_batch: int | None = None  # images of a batch for validation; None: as in training

    def __init__(self, settings: Any, source: Source, machine: Machine) -> None:
        super().__init__(settings, source, machine)
        self._batches: FromFiles | None = None

    # What a subclass gives

    @property
    def limits(self) -> tuple[int | None, int | None]:
        """Return how many training and validation pictures are opened; None: all."""
        return 0 if self.source.only_val else self.source.limit_train, self.source.limit_val

    def open_split(self) -> Any:
        """Open the pictures: `train`, `val` and `fingerprint()`.

        Raises:
            UserError: they are missing or damaged.
        """
        raise NotImplementedError

    def joins(self) -> tuple[Join, Join]:
        """Make what makes samples of training pictures and of those for validation, with their targets."""
        raise NotImplementedError

    @staticmethod
    def collate(samples: list[Any]) -> Batch:
        """Make a batch; a static method, which goes to worker processes without the task."""
        return default_collate(samples)

    # What all of them do

    def configuration(self) -> dict[str, Any]:
        return super().configuration() | {"bad_images": self.source.bad_images}

    def open(self, device: torch.device) -> None:
        self.device, self.split = device, self.open_split()
        self._fingerprint: str = self.split.fingerprint()
        self.count = len(self.split.train)

    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def size(self) -> str:
        training = f"{self.count} training and " if self.count else ""
        return f"{training}{len(self.split.val)} validation images{told(self.split.left_out)}"

    def amounts(self) -> dict[str, Any]:
        images = {"training_images": self.count, "validation_images": len(self.split.val)}
        return super().amounts() | images | {"other_files": dict(self.split.left_out)}

    def unreadable(self, accelerator: Accelerator) -> dict[str, int]:
        """Count the files that --bad-images skip left out, each once, whichever processes met it."""
        if self.source.bad_images != "skip":
            return {}
        found = [gathered_by_main(accelerator, sorted(names)) or [] for names in self.batches.unreadable]
        return {f"unreadable_{split}": len(set(names)) for split, names in zip(("train", "val"), found, strict=True)}

    @property
    def batches(self) -> FromFiles:
        """Return what reads the images; its workers start with the first batch."""
        if self._batches is None:
            self._batches = FromFiles(
                self.split.train, self.split.val, self.joins(), self.device, self.machine.workers,
                self.source.bad_images == "skip", self.collate, self.val_batch,
            )  # fmt: skip
        return self._batches

    def training(self, sampling: Sampling, epoch: int, first: int) -> Iterator[list[Batch]]:
        return self.batches.training(sampling, epoch, first)

    def validation(self, sampling: Sampling) -> Iterator[Batch]:
        """Yield this process's share of the validation images."""
        return self.batches.validation(sampling)

    def example(self) -> Batch:
        (batch, *_) = next(self.training(self.sampling(seed=0), 0, 0))
        return batch

    def picture_due(self, run: StoredRun, entry: Mapping[str, Any], every: int) -> Path | None:
        """Return where the picture of an evaluation goes, if it is one of `every` so many, or the last; 0: none is."""
        _, at = position(entry)
        if every == 0 or (at % every and at != self.epochs):
            return None
        path = run.picture_path(entry)
        path.parent.mkdir(exist_ok=True)
        return path
