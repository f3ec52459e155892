"""Train on images in COCO's format: what detection and segmentation share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from workbench.output.pictures import save_picture
from workbench.training.launch import Machine, process_count
from workbench.training.runs import position
from workbench.training.task import Source
from workbench.vision.coco.annotations import Picture
from workbench.vision.coco.drawing import grid
from workbench.vision.coco.pictures import CocoSplit, folder_of, open_coco
from workbench.vision.file_task import FileTask
from workbench.vision.weights import backbone_name, torchvision_weights, trained_backbone, without_head

if TYPE_CHECKING:
    from workbench.training.runs import StoredRun

SHOWN = 4  # validation images in a picture of predictions

Legend = Mapping[int, str] | None  # the classes by number; None: the picture itself names them


class CocoTask(FileTask):
    """Learn from images with annotations; the batch size is that of a process, as in torchvision's references.

    A subclass sets `masks`, and gives `target`, `learnt`, `joins`, `collate`, `backbone` and `compared`. Its settings
    are `CocoSettings`.
    """

    masks: bool  # whether annotations have to have masks
    categories: dict[int, str]  # once the data are open
    split: CocoSplit
    val_batch = 1

    def __init__(self, settings: Any, source: Source, machine: Machine) -> None:
        super().__init__(settings, source, machine)
        folder_of(source.dataset, source.data)
        self.starts_trained = settings.weights is not None
        self.autocast = torch.float16 if settings.amp else None
        self.epochs, self.print_every = settings.epochs, settings.print_freq
        self.batch_size = settings.batch_size * process_count()

    # What a subclass gives

    def target(self, categories: dict[int, str]) -> Callable[[Picture], Any]:
        """Make what makes of a picture what is learnt of it."""
        raise NotImplementedError

    def learnt(self, picture: Picture) -> bool:
        """Tell whether there is anything to learn from a picture."""
        raise NotImplementedError

    def backbone(self, model: nn.Module) -> nn.Module:
        """Return the part of the model that a classifier's weights may start."""
        raise NotImplementedError

    def compared(self, model: nn.Module, samples: list[Any]) -> tuple[list[tuple[Tensor, Tensor]], Legend]:
        """Draw what is in each validation sample, and what the model finds there; and say what the colours mean."""
        raise NotImplementedError

    # Data

    def configuration(self) -> dict[str, Any]:
        return super().configuration() | {"overall_batch": self.batch_size}

    def open_split(self) -> CocoSplit:
        source = self.source
        return open_coco(source.dataset, source.data, self.target, self.learnt, self.limits, self.masks)

    def open(self, device: torch.device) -> None:
        super().open(device)
        self.categories = self.split.categories

    @property
    def extras(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Return the categories, so that a checkpoint is all that predicting needs."""
        return {"categories": self.categories}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        self.categories = {int(number): str(name) for number, name in state["extras"]["categories"].items()}
        self.device = device

    # Weights

    def starting_point(self, run: StoredRun) -> dict[str, Any]:
        folder = self.settings.backbone_checkpoint_path
        backbone = None if folder is None else trained_backbone(folder, run).fingerprint()
        return {"backbone": backbone, **super().starting_point(run)}

    def initialize(self, model: nn.Module, run: StoredRun) -> None:
        super().initialize(model, run)
        settings = self.settings
        if settings.weights is not None:
            torchvision_weights(settings.weights, settings.model).load_into(model)
        elif settings.backbone_checkpoint_path is not None:
            trained_backbone(settings.backbone_checkpoint_path, run).load_into(self.backbone(model))
        elif settings.weights_backbone is not None:
            found = torchvision_weights(settings.weights_backbone, backbone_name(settings.model))
            without_head(found).load_into(self.backbone(model))

    # Pictures

    def after_evaluation(self, model: nn.Module, run: StoredRun, entry: Mapping[str, Any]) -> None:
        """Draw validation images with what is in them, and beside it what the model finds."""
        path = self.picture_due(run, entry, self.settings.picture_every)
        if path is None:
            return
        val, (_, join) = self.split.val, self.joins()
        shown = range(0, len(val), max(1, len(val) // SHOWN))[:SHOWN]
        samples = [join(*val[each]) for each in shown]
        with torch.inference_mode():
            pairs, legend = self.compared(model, samples)
        title = f"{run.model}, {run.dataset}, {run.activation}, seed {run.seed}, {' '.join(map(str, position(entry)))}"
        save_picture(path, grid(pairs, legend, title))
