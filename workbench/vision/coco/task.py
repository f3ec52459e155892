"""Train on images in COCO's format: what detection and segmentation share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from workbench.output.pictures import save_picture
from workbench.training.launch import Machine, process_count
from workbench.training.runs import position
from workbench.training.sampling import Sampling
from workbench.training.task import Batch, Source, Task
from workbench.vision.coco.annotations import Picture
from workbench.vision.coco.drawing import grid
from workbench.vision.coco.pictures import CocoSplit, folder_of, open_coco
from workbench.vision.reading import FromFiles, Join
from workbench.vision.weights import backbone_name, torchvision_weights, trained_backbone

if TYPE_CHECKING:
    from workbench.training.runs import StoredRun

SHOWN = 4  # validation images in a picture of predictions

Legend = Mapping[int, str] | None  # the classes by number; None: the picture itself names them


class CocoTask(Task):
    """Learn from images with annotations; the batch size is that of a process, as in torchvision's references.

    A subclass sets `masks`, and gives `target`, `learnt`, `joins`, `collate`, `backbone` and `compared`. Its settings
    are `CocoSettings`.
    """

    masks: bool  # whether annotations have to have masks
    categories: dict[int, str]  # once the data are open

    def __init__(self, settings: Any, source: Source, machine: Machine) -> None:
        super().__init__(settings, source, machine)
        folder_of(source.dataset, source.data)
        self.starts_trained = settings.weights is not None
        self.autocast = torch.float16 if settings.amp else None
        self.epochs, self.print_every = settings.epochs, settings.print_freq
        self.batch_size = settings.batch_size * process_count()
        self._batches: FromFiles | None = None

    # What a subclass gives

    def target(self, categories: dict[int, str]) -> Callable[[Picture], Any]:
        """Make what makes of a picture what is learnt of it."""
        raise NotImplementedError

    def learnt(self, picture: Picture) -> bool:
        """Tell whether there is anything to learn from a picture."""
        raise NotImplementedError

    def joins(self) -> tuple[Join, Join]:
        """Make the transforms of training and of validation images, each with its target."""
        raise NotImplementedError

    def collate(self, samples: list[Any]) -> Batch:
        """Make a batch."""
        raise NotImplementedError

    def backbone(self, model: nn.Module) -> nn.Module:
        """Return the part of the model that a classifier's weights may start."""
        raise NotImplementedError

    def compared(self, model: nn.Module, samples: list[Any]) -> tuple[list[tuple[Tensor, Tensor]], Legend]:
        """Draw what is in each validation sample, and what the model finds there; and say what the colours mean."""
        raise NotImplementedError

    # Data

    def configuration(self) -> dict[str, Any]:
        return super().configuration() | {"overall_batch": self.batch_size, "bad_images": self.source.bad_images}

    def open(self, device: torch.device) -> None:
        source, self.device = self.source, device
        limits = (source.limit_train, source.limit_val)
        self.split: CocoSplit = open_coco(source.dataset, source.data, self.target, self.learnt, limits, self.masks)
        self._fingerprint = self.split.fingerprint()
        self.categories, self.count = self.split.categories, len(self.split.train)

    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def size(self) -> str:
        return f"{self.count} training and {len(self.split.val)} validation images"

    @property
    def extras(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Return the categories, so that a checkpoint is all that predicting needs."""
        return {"categories": self.categories}

    @property
    def batches(self) -> FromFiles:
        """Return what reads the images, one at a time for validation; its workers start with the first batch."""
        if self._batches is None:
            self._batches = FromFiles(
                self.split.train, self.split.val, self.joins(), self.device, self.machine.workers,
                self.source.bad_images == "skip", self.collate, val_batch=1,
            )  # fmt: skip
        return self._batches

    def training(self, sampling: Sampling, epoch: int, first: int) -> Iterator[list[Batch]]:
        return self.batches.training(sampling, epoch, first)

    def validation(self, sampling: Sampling) -> Iterator[Batch]:
        """Yield this process's share of the validation images, one by one."""
        return self.batches.validation(sampling)

    def example(self) -> Batch:
        (batch, *_) = next(self.training(self.sampling(seed=0), 0, 0))
        return batch

    # Weights

    def starting_point(self, run: StoredRun) -> dict[str, Any]:
        folder = self.settings.backbone_checkpoint_path
        return {"backbone": None if folder is None else trained_backbone(folder, run).fingerprint()}

    def initialize(self, model: nn.Module, run: StoredRun) -> None:
        settings = self.settings
        if settings.weights is not None:
            torchvision_weights(settings.weights, settings.model).load_into(model)
        elif settings.backbone_checkpoint_path is not None:
            trained_backbone(settings.backbone_checkpoint_path, run).load_into(self.backbone(model))
        elif settings.weights_backbone is not None:
            found = torchvision_weights(settings.weights_backbone, backbone_name(settings.model))
            found.without_head().load_into(self.backbone(model))

    # Pictures

    def after_evaluation(self, model: nn.Module, run: StoredRun, entry: Mapping[str, Any]) -> None:
        """Draw validation images with what is in them, and beside it what the model finds."""
        (axis, at), every = position(entry), self.settings.picture_every
        if every == 0 or (at % every and at != self.epochs):
            return
        val, (_, join) = self.split.val, self.joins()
        shown = range(0, len(val), max(1, len(val) // SHOWN))[:SHOWN]
        samples = [join(*val[each]) for each in shown]
        with torch.inference_mode():
            pairs, legend = self.compared(model, samples)
        title = f"{run.model}, {run.dataset}, {run.activation}, seed {run.seed}, {axis} {at}"
        path = run.picture_path(entry)
        path.parent.mkdir(exist_ok=True)
        save_picture(path, grid(pairs, legend, title))
