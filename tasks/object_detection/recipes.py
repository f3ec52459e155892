"""List the recipes of the detectors, as torchvision's references train them on COCO, and of small ones for scenes."""

from dataclasses import replace

from tasks.object_detection.settings import Settings
from workbench.training.program import Options

COCO = Settings(model="fasterrcnn_resnet50_fpn")
# For small images and random weights; a digit that is mirrored is none.
SMALL = Settings(
    model="fasterrcnn_resnet10_fpn", epochs=3, batch_size=4, opt="adamw", lr=1e-3, weight_decay=0.05,
    norm_weight_decay=0.0, lr_scheduler="cosineannealinglr", warmup_steps=100, hflip_prob=0.0,
    min_size=96, max_size=160,
)  # fmt: skip
RECIPES = {
    each.model: each
    for each in (
        SMALL,
        replace(SMALL, model="retinanet_resnet10_fpn"),
        COCO,
        replace(COCO, model="fasterrcnn_resnet50_fpn_v2"),
        replace(COCO, model="retinanet_resnet50_fpn", lr=0.01),
        replace(
            COCO, model="retinanet_resnet50_fpn_v2", opt="adamw", lr=1e-4, weight_decay=0.05, norm_weight_decay=0.0,
            data_augmentation="multiscale",
        ),
        replace(COCO, model="fcos_resnet50_fpn", lr=0.01),
        replace(
            COCO, model="ssd300_vgg16", epochs=120, lr_steps=(80, 110), lr=0.002, weight_decay=5e-4,
            data_augmentation="ssd",
        ),
        replace(
            COCO, model="ssdlite320_mobilenet_v3_large", epochs=660, batch_size=24, lr=0.15, weight_decay=4e-5,
            lr_scheduler="cosineannealinglr", data_augmentation="ssdlite",
        ),
    )
}  # fmt: skip


def shortened(settings: Settings, recipe: Settings) -> Settings:
    """Move the recipe's lr_steps in proportion, if the settings have other epochs and the same lr_steps."""
    if settings.epochs == recipe.epochs or settings.lr_steps != recipe.lr_steps:
        return settings
    return replace(
        settings, lr_steps=tuple(max(1, round(e * settings.epochs / recipe.epochs)) for e in recipe.lr_steps)
    )


def finish(settings: Settings, options: Options) -> Settings:
    """Finish the settings that the command line gives."""
    return shortened(settings, RECIPES[options.recipe])
