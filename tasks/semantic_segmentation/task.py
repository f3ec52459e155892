"""Train segmentation models: a class for each pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.semantic_segmentation.models import segmenter
from tasks.semantic_segmentation.settings import Settings
from workbench.cli.errors import UserError
from workbench.training.launch import Machine, sum_over_processes, to_device
from workbench.training.optimizers import OPTIMIZERS
from workbench.training.sampling import Sampling
from workbench.training.schedules import polynomial
from workbench.training.task import Graph, Source
from workbench.vision.coco.annotations import Picture
from workbench.vision.coco.drawing import draw_classes, occurring
from workbench.vision.coco.pictures import COCO
from workbench.vision.coco.scores import SEGMENTATION_METRICS, confusion, mean_iou, pixel_accuracy
from workbench.vision.coco.targets import IGNORED, ClassMap
from workbench.vision.coco.task import CocoTask, Legend
from workbench.vision.coco.transforms import MEAN, STD, segmentation_join
from workbench.vision.reading import Join

if TYPE_CHECKING:
    from accelerate import Accelerator

# the categories of COCO that Pascal VOC has, in VOC's order: classes 1 to 20 of torchvision's models
VOC = (5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
LEAST_OF_COCO = 1000  # pixels of objects in an image of COCO to learn from, as torchvision's reference has it

Batch = tuple[Tensor, Tensor]


class Segmentation(CocoTask):
    """Train a segmentation model as torchvision's reference does; the mean IoU judges."""

    settings: Settings
    metrics = SEGMENTATION_METRICS
    masks = True

    def __init__(self, settings: Settings, source: Source, machine: Machine) -> None:
        super().__init__(settings, source, machine)
        if settings.batch_size == 1 and not settings.model.startswith("fcn"):  # the others pool to a single pixel
            raise UserError("a batch of one image in a process has no statistics for this model: choose a larger one")
        self.sync_batch_norm = settings.sync_bn

    # Data

    def open(self, device: torch.device) -> None:
        super().open(device)
        self.names = class_names(self.source.dataset, self.categories)

    def target(self, categories: dict[int, str]) -> Callable[[Picture], Any]:
        return ClassMap(class_numbers(self.source.dataset, categories))

    def learnt(self, picture: Picture) -> bool:
        numbers = VOC if self.source.dataset == COCO else None
        area = sum(each.area for each in picture.annotations if numbers is None or each.category in numbers)
        return area > (LEAST_OF_COCO if numbers else 0)

    def joins(self) -> tuple[Join, Join]:
        s = self.settings
        return segmentation_join(s.base_size, s.crop_size, s.scales, s.hflip_prob), segmentation_join(s.base_size)

    @staticmethod
    def collate(samples: list[Any]) -> Batch:
        images, classes = zip(*samples, strict=True)
        return torch.stack(images), torch.stack(classes)

    # Model

    @property
    def extras(self) -> Mapping[str, Any]:  # type: ignore[override]
        return {"categories": self.names}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        super().restore(state, device)
        self.names = self.categories

    def graph(self, model: nn.Module) -> Graph:
        """Describe it as logits (N, classes and background, H, W) of images (N, 3, H, W)."""
        side = self.settings.base_size
        images = torch.zeros(2, 3, side, side, device=self.device)
        return Graph(Logits(model), {"images": images}, {"images": {0: "N"}})

    def model(self, activation: str) -> nn.Module:
        return to_device(segmenter(self.settings, len(self.names) + 1, activation), self.device)

    def backbone(self, model: nn.Module) -> nn.Module:
        part: nn.Module = model.backbone  # type: ignore[assignment]
        return part

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Make the optimiser, with a higher rate for the second head."""
        s = self.settings
        aux = {id(each) for name, each in model.named_parameters() if name.startswith("aux_classifier.")}
        parts = [[each for each in model.parameters() if (id(each) in aux) == of_aux] for of_aux in (False, True)]
        groups = [
            {"params": part, "lr_scale": scale, "weight_decay": s.weight_decay}
            for part, scale in zip(parts, (1.0, s.aux_lr_factor), strict=True)
            if part
        ]
        return OPTIMIZERS[s.opt](groups, s.lr, s.momentum)

    def rates(self, steps_per_epoch: int) -> list[float]:
        return polynomial(self.settings.lr, self.settings.epochs * steps_per_epoch)

    # Learning

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross-entropy over the pixels with a class, and a part of that of the second head."""
        image, classes = batch
        outputs: dict[str, Tensor] = model(image)
        labelled = (classes != IGNORED).sum().clamp(min=1)  # a crop may have no pixel with a class
        losses = {
            name: F.cross_entropy(each, classes, ignore_index=IGNORED, reduction="sum") / labelled
            for name, each in outputs.items()
        }
        return losses["out"] + self.settings.aux_weight * losses["aux"] if "aux" in losses else losses["out"]

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        found: Tensor = model(batch[0])["out"]
        return found

    def evaluate(self, model: nn.Module, sampling: Sampling, accelerator: Accelerator) -> dict[str, float]:
        """Count pixels over exactly the whole validation set, each image at `base_size`."""
        count = len(self.names) + 1
        matrix = torch.zeros(count, count, dtype=torch.int64, device=accelerator.device)
        loss = torch.zeros((), dtype=torch.float64, device=accelerator.device)
        for image, classes in self.validation(sampling):
            logits = self.predict(model, (image, classes)).float()
            loss += F.cross_entropy(logits, classes, ignore_index=IGNORED, reduction="sum")
            matrix += confusion(logits.argmax(1), classes, count, IGNORED)
        loss, matrix = sum_over_processes(accelerator, loss), sum_over_processes(accelerator, matrix)
        return {
            "val_miou": mean_iou(matrix),
            "val_loss": float(loss / matrix.sum()),
            "val_pixel_accuracy": pixel_accuracy(matrix),
        }

    # Pictures

    def compared(self, model: nn.Module, samples: list[Any]) -> tuple[list[tuple[Tensor, Tensor]], Legend]:
        pairs, maps = [], []
        for image, classes in samples:
            found = self.predict(model, (image[None].to(self.device), classes)).argmax(1)[0].cpu()
            pixels = pixels_of(image)
            pairs.append((draw_classes(pixels, classes, {}), draw_classes(pixels, found, {})))
            maps += [classes, found]
        return pairs, occurring(self.names, maps)


def class_numbers(dataset: str, categories: Mapping[int, str]) -> dict[int, int]:
    """Return the class of each category: of COCO those of VOC, of other data all of them.

    Raises:
        UserError: COCO is named, but these are not its categories.
    """
    chosen = VOC if dataset == COCO else tuple(categories)
    absent = set(chosen) - set(categories)
    if absent:
        raise UserError(f"--dataset coco: these data have no category {min(absent)}: give their folder another name")
    return {category: number for number, category in enumerate(chosen, start=1)}


def class_names(dataset: str, categories: Mapping[int, str]) -> dict[int, str]:
    """Return the names of the classes, without the background."""
    return {number: categories[category] for category, number in class_numbers(dataset, categories).items()}


class Logits(nn.Module):
    """Return the logits of a segmentation model of torchvision as a plain tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)["out"]
        return logits


def pixels_of(image: Tensor) -> Tensor:
    """Return the image, uint8 (3, H, W), that was normalised."""
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    return ((image * std + mean).clamp(0, 1) * 255).round().byte()
