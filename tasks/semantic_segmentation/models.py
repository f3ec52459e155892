"""Make segmentation models: torchvision's, and a small relative of LR-ASPP for small images."""

from __future__ import annotations

from typing import Any

from torch import nn

from tasks.semantic_segmentation.settings import Settings
from workbench.cli.errors import UserError
from workbench.training.swap import with_activation

SMALL = "lraspp_resnet10"


def segmenter(settings: Settings, classes: int, activation: str) -> nn.Module:
    """Make a segmentation model with random weights.

    Args:
        classes: with the background.

    Raises:
        UserError: the model has no second head, and is asked for one.
    """
    if settings.aux_loss and settings.model.startswith("lraspp"):
        raise UserError(f"{settings.model} has no second head: --aux-loss False")
    return with_activation(_small(classes) if settings.model == SMALL else _torchvision(settings, classes), activation)


def _torchvision(settings: Settings, classes: int) -> nn.Module:
    from torchvision.models import get_model

    options: dict[str, Any] = {} if settings.model.startswith("lraspp") else {"aux_loss": settings.aux_loss}
    model: nn.Module = get_model(settings.model, weights=None, weights_backbone=None, num_classes=classes, **options)
    return model


def _small(classes: int) -> nn.Module:
    """Make LR-ASPP on the first and the third level of a ResNet of one block a level."""
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.resnet import BasicBlock, ResNet
    from torchvision.models.segmentation import LRASPP

    body = ResNet(BasicBlock, [1, 1, 1, 1])
    return LRASPP(IntermediateLayerGetter(body, {"layer1": "low", "layer3": "high"}), 64, 256, classes)
