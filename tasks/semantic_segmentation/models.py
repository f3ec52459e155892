"""Make segmentation models: torchvision's, and a small relative of DeepLabV3 for small images."""

from __future__ import annotations

from torch import nn

from tasks.semantic_segmentation.settings import Settings
from workbench.cli.errors import UserError
from workbench.training.swap import with_activation

WIDTH = 64  # channels of the small model's head
RATES = (2, 4, 6)  # of its dilated convolutions; torchvision's 12, 24, 36 are for images of 480 pixels


def segmenter(settings: Settings, classes: int, activation: str) -> nn.Module:
    """Make a segmentation model with random weights.

    Args:
        classes: with the background.

    Raises:
        UserError: the model has no second head, and is asked for one.
    """
    model = _small(classes, settings.aux_loss) if settings.model in SMALL else _torchvision(settings, classes)
    return with_activation(model, activation)


def _torchvision(settings: Settings, classes: int) -> nn.Module:
    from torchvision.models import get_model

    options = {"aux_loss": settings.aux_loss} if not settings.model.startswith("lraspp") else {}
    if settings.aux_loss and not options:
        raise UserError(f"{settings.model} has no second head: --aux-loss False")
    return get_model(settings.model, weights=None, weights_backbone=None, num_classes=classes, **options)  # type: ignore[no-any-return]


def _small(classes: int, aux_loss: bool) -> nn.Module:
    """Make DeepLabV3 on the first three levels of a ResNet of one block a level, at an eighth of the image's size."""
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.resnet import BasicBlock, ResNet
    from torchvision.models.segmentation import DeepLabV3
    from torchvision.models.segmentation.deeplabv3 import ASPP
    from torchvision.models.segmentation.fcn import FCNHead

    backbone = ResNet(BasicBlock, [1, 1, 1, 1])
    first = backbone.layer3[0]
    first.conv1.stride = first.downsample[0].stride = (1, 1)
    returned = {"layer3": "out"} | ({"layer2": "aux"} if aux_loss else {})
    head = nn.Sequential(
        ASPP(256, RATES, WIDTH), nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(),
        nn.Conv2d(WIDTH, classes, 1),
    )  # fmt: skip
    return DeepLabV3(IntermediateLayerGetter(backbone, returned), head, FCNHead(128, classes) if aux_loss else None)


SMALL = ("deeplabv3_resnet10",)
