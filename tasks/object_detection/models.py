"""Make detectors: torchvision's, and small relatives of theirs for small images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from tasks.object_detection.settings import Settings
from workbench.training.swap import with_activation
from workbench.vision.coco.transforms import RESIZING
from workbench.vision.weights import freeze

WIDTH = 64  # channels of a small model's feature pyramid
NORM = partial(nn.GroupNorm, 8)  # batches are too small for statistics over them
ANCHORS = (12, 24, 48, 96, 192)  # pixels, one a level of the pyramid; torchvision's begin at 32

# weights of torchvision that were trained with batch norms that add nothing to a variance
EXACT_NORMS = tuple(f"{name}_ResNet50_FPN_Weights.COCO_V1" for name in ("FasterRCNN", "MaskRCNN", "RetinaNet"))


def detector(settings: Settings, classes: int, activation: str, pretrained: bool) -> nn.Module:
    """Make a detector with random weights.

    Args:
        classes: with the background.
        pretrained: whether its backbone will start from trained weights: then, as in torchvision, its first layers and
            the statistics of its batch norms are frozen (of the models called v2 only the layers).
    """
    from torchvision.models.detection.fcos import FCOSRegressionHead
    from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

    make = SMALL.get(settings.model, _torchvision)
    model = make(settings, classes, **_options(settings))
    if pretrained and hasattr(model.backbone, "body"):
        trainable = 3 if settings.trainable_backbone_layers is None else settings.trainable_backbone_layers
        freeze(model.backbone.body, trainable, statistics=not settings.model.endswith("v2"))
    for each in model.modules():
        if isinstance(each, MultiScaleRoIAlign):
            _fix_scales(each)
    if settings.weights in EXACT_NORMS:
        for each in model.modules():
            if isinstance(each, FrozenBatchNorm2d):
                each.eps = 0.0
    return with_activation(model, activation, keep=(FCOSRegressionHead,))  # its ReLU makes distances


def _fix_scales(pool: nn.Module) -> None:
    """Show the pooling a large image, of whose size it keeps how much smaller each level of the pyramid is.

    Otherwise it would keep that of the first batch, rounded, which for small images depends on what that is: a run that
    resumes would go on with other numbers.
    """
    side = 2**10
    with torch.device("cpu"):
        levels = {name: torch.zeros(1, 1, side >> 2 + level, side >> 2 + level) for level, name in enumerate("0123")}
        pool(levels, [torch.tensor([[0.0, 0.0, 1.0, 1.0]])], [(side, side)])


def _options(settings: Settings) -> dict[str, Any]:
    """Return what the constructors of torchvision's models take."""
    options: dict[str, Any] = {}
    if not settings.model.startswith("ssd"):  # which has a fixed size
        options = {"min_size": settings.min_size, "max_size": settings.max_size}
    if settings.data_augmentation in RESIZING:
        options["_skip_resize"] = True
    if settings.rpn_score_thresh is not None:
        options["rpn_score_thresh"] = settings.rpn_score_thresh
    return options


def _torchvision(settings: Settings, classes: int, **options: Any) -> nn.Module:
    from torchvision.models import get_model

    model: nn.Module = get_model(settings.model, weights=None, weights_backbone=None, num_classes=classes, **options)
    return model


def _pyramid(levels: tuple[int, ...], extra: nn.Module) -> nn.Module:
    """Make a feature pyramid on a ResNet of one block a level."""
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.resnet import BasicBlock, ResNet

    returned = {f"layer{level}": str(number) for number, level in enumerate(levels)}
    channels = [32 * 2**level for level in levels]
    body = ResNet(BasicBlock, [1, 1, 1, 1], norm_layer=NORM)
    return BackboneWithFPN(body, returned, channels, WIDTH, extra, NORM)


def _rcnn(classes: int, options: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a small R-CNN, and how few proposals it has."""
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
    from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

    return {
        "backbone": _pyramid((1, 2, 3, 4), LastLevelMaxPool()),
        "rpn_anchor_generator": AnchorGenerator(tuple((each,) for each in ANCHORS), ((0.5, 1.0, 2.0),) * len(ANCHORS)),
        "box_head": TwoMLPHead(WIDTH * 7**2, 2 * WIDTH),
        "box_predictor": FastRCNNPredictor(2 * WIDTH, classes),
        "rpn_pre_nms_top_n_train": 400, "rpn_post_nms_top_n_train": 200,
        "rpn_pre_nms_top_n_test": 200, "rpn_post_nms_top_n_test": 100, "box_batch_size_per_image": 64, **options,
    }  # fmt: skip


def _small_faster_rcnn(settings: Settings, classes: int, **options: Any) -> nn.Module:
    from torchvision.models.detection import FasterRCNN

    return FasterRCNN(**_rcnn(classes, options))


def _small_mask_rcnn(settings: Settings, classes: int, **options: Any) -> nn.Module:
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

    head, predictor = MaskRCNNHeads(WIDTH, (WIDTH, WIDTH), 1), MaskRCNNPredictor(WIDTH, WIDTH, classes)
    return MaskRCNN(**_rcnn(classes, options), mask_head=head, mask_predictor=predictor)


def _small_retinanet(settings: Settings, classes: int, **options: Any) -> nn.Module:
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.retinanet import RetinaNetHead
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    sizes = tuple(tuple(round(each * 2 ** (third / 3)) for third in range(3)) for each in ANCHORS)
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(ANCHORS))
    head = RetinaNetHead(WIDTH, anchors.num_anchors_per_location()[0], classes, NORM)
    pyramid = _pyramid((2, 3, 4), LastLevelP6P7(WIDTH, WIDTH))
    return RetinaNet(pyramid, classes, anchor_generator=anchors, head=head, **options)


# name -> (settings, classes, options) -> model
SMALL: dict[str, Callable[..., nn.Module]] = {
    "fasterrcnn_resnet10_fpn": _small_faster_rcnn,
    "retinanet_resnet10_fpn": _small_retinanet,
    "maskrcnn_resnet10_fpn": _small_mask_rcnn,
}
