"""Train detectors, with masks or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tasks.object_detection.models import detector
from tasks.object_detection.settings import Settings
from workbench.cli.errors import UserError
from workbench.training.launch import Machine, decided_by_main, gathered_by_main, to_device
from workbench.training.optimizers import make_optimizer
from workbench.training.sampling import Sampling
from workbench.training.schedules import tabulate, warmup_and_milestones
from workbench.training.task import Source
from workbench.vision.coco.annotations import Picture, ground_truth
from workbench.vision.coco.drawing import Objects, draw_objects
from workbench.vision.coco.grouping import GroupedSampling, aspect_ratio_groups
from workbench.vision.coco.results import results_of
from workbench.vision.coco.scores import average_precision, instance_metrics
from workbench.vision.coco.targets import Instances
from workbench.vision.coco.task import CocoTask, Legend
from workbench.vision.coco.transforms import detection_join
from workbench.vision.reading import Join

if TYPE_CHECKING:
    from accelerate import Accelerator

DRAWN = 0.3  # the score from which an object is in a picture

Batch = tuple[list[Tensor], list[dict[str, Any]]]


class Detection(CocoTask):
    """Train a detector as torchvision's reference does; COCO's average precision judges."""

    settings: Settings
    masks = False

    def __init__(self, settings: Settings, source: Source, machine: Machine) -> None:
        super().__init__(settings, source, machine)
        self.metrics = instance_metrics(self.masks)

    # Data

    def target(self, categories: dict[int, str]) -> Callable[[Picture], Any]:
        return Instances(self.masks)

    def learnt(self, picture: Picture) -> bool:
        """Tell whether a picture has an object of more than a pixel: torchvision trains on these."""
        return any(min(each.box[2:]) > 1 for each in picture.annotations)

    def joins(self) -> tuple[Join, Join]:
        s = self.settings
        train = detection_join(s.data_augmentation, s.min_size, s.max_size, s.hflip_prob)
        return train, detection_join(None, s.min_size, s.max_size)

    @staticmethod
    def collate(samples: list[Any]) -> Batch:
        images, targets = zip(*samples, strict=True)
        return list(images), list(targets)

    def open(self, device: torch.device) -> None:
        super().open(device)
        self.pretrained = self.settings.pretrained
        ratios = [each.width / each.height for each in self.split.train.pictures]
        self._groups = aspect_ratio_groups(ratios, self.settings.aspect_ratio_group_factor)

    def sampling(self, seed: int, process: int = 0, processes: int = 1) -> Sampling:
        return GroupedSampling(self.count, self.batch_size, seed, process, processes, groups=self._groups)

    # Model

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        super().restore(state, device)
        self.pretrained = self.settings.pretrained or state["configuration"]["backbone"] is not None

    def model(self, activation: str) -> nn.Module:
        classes = max(self.categories) + 1  # categories are labels as they are, and 0 is the background
        return to_device(detector(self.settings, classes, activation, self.pretrained), self.device)

    def backbone(self, model: nn.Module) -> nn.Module:
        if not isinstance(getattr(model.backbone, "body", None), nn.Module):
            raise UserError(f"{self.settings.model} has no ResNet that could start from trained weights")
        body: nn.Module = model.backbone.body  # type: ignore[assignment]
        return body

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        s = self.settings
        return make_optimizer(s.opt, model, s.lr, s.weight_decay, s.momentum, norm_weight_decay=s.norm_weight_decay)

    def rates(self, steps_per_epoch: int) -> list[float]:
        return step_rates(self.settings, steps_per_epoch)

    # Learning

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the sum of the model's losses: of its proposals, classes, boxes and masks."""
        images, targets = batch
        losses: dict[str, Tensor] = model(images, targets)
        return torch.stack(list(losses.values())).sum()

    def predict(self, model: nn.Module, batch: Batch) -> Any:
        return model(batch[0])

    def evaluate(self, model: nn.Module, sampling: Sampling, accelerator: Accelerator) -> dict[str, float]:
        """Find the objects in every validation image, and have the main process score them all."""
        found, seen = [], []  # an image that cannot be read has no objects to find
        with torch.autocast(accelerator.device.type, enabled=False):  # float16 would round boxes
            for images, targets in self.validation(sampling):
                for output, target in zip(model(images), targets, strict=True):
                    found += results_of(output, target["image_id"])
                    seen.append(target["image_id"])
        results, read = gathered_by_main(accelerator, found), set(gathered_by_main(accelerator, seen) or [])
        truth = ground_truth([each for each in self.split.val.pictures if each.id in read], self.categories)
        return decided_by_main(accelerator, partial(average_precision, truth, results, self.masks))

    # Pictures

    def compared(self, model: nn.Module, samples: list[Any]) -> tuple[list[tuple[Tensor, Tensor]], Legend]:
        pairs = []
        for image, target in samples:
            (output,) = model([image.to(self.device)])
            both = Objects(target["boxes"], target["labels"], masks=target.get("masks")), objects_of(output, DRAWN)
            pixels = (image * 255).round().byte()
            truth, found = (draw_objects(pixels, each, self.categories) for each in both)
            pairs.append((truth, found))
        return pairs, None


def objects_of(output: Mapping[str, Tensor], least: float) -> Objects:
    """Return what a detector found in an image with a score of at least `least`, on the CPU."""
    output = {name: each.detach().cpu() for name, each in output.items()}
    sure = output["scores"] >= least
    masks = output["masks"][sure, 0] > 0.5 if "masks" in output else None
    return Objects(output["boxes"][sure], output["labels"][sure], output["scores"][sure], masks)


def step_rates(settings: Settings, steps_per_epoch: int) -> list[float]:
    """Return the learning rate of each step."""
    if settings.lr_scheduler == "multisteplr":
        return warmup_and_milestones(
            settings.lr, settings.epochs, steps_per_epoch, settings.warmup_steps, settings.lr_steps, settings.lr_gamma
        )
    from torch.optim.lr_scheduler import CosineAnnealingLR

    by_epoch = tabulate(settings.lr, settings.epochs, lambda optimizer: CosineAnnealingLR(optimizer, settings.epochs))
    warmup = warmup_and_milestones(1.0, settings.epochs, steps_per_epoch, settings.warmup_steps, (), 1.0)
    return [factor * by_epoch[step // steps_per_epoch] for step, factor in enumerate(warmup)]
