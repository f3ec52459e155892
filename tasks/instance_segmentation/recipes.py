"""List the recipes of the detectors with masks: those of the detectors, and their settings."""

from dataclasses import replace

from tasks.object_detection.recipes import COCO, SMALL, shortened
from tasks.object_detection.settings import Settings
from workbench.training.program import Options

RECIPES = {
    each.model: each
    for each in (
        replace(SMALL, model="maskrcnn_resnet10_fpn", epochs=2),
        replace(COCO, model="maskrcnn_resnet50_fpn"),
        replace(COCO, model="maskrcnn_resnet50_fpn_v2"),
    )
}


def finish(settings: Settings, options: Options) -> Settings:
    """Finish the settings that the command line gives."""
    return shortened(settings, RECIPES[options.recipe])
