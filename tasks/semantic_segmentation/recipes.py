"""List the recipes of the segmentation models: those of torchvision's references on COCO, and of a small one."""

from dataclasses import replace

from tasks.semantic_segmentation.settings import Settings

# The paper's commands have this rate, its table of results 0.01, which is torchvision's too.
COCO = Settings(model="deeplabv3_resnet50", epochs=30, batch_size=8, lr=0.02)
SMALL = Settings(model="deeplabv3_resnet10", epochs=20, opt="adamw", lr=1e-3, weight_decay=0.01, base_size=96,
                 crop_size=96)  # fmt: skip
RECIPES = {
    each.model: each
    for each in (
        SMALL,
        COCO,
        replace(COCO, model="deeplabv3_resnet101"),
        replace(COCO, model="deeplabv3_mobilenet_v3_large", lr=0.01),
        replace(COCO, model="fcn_resnet50", lr=0.01),
        replace(COCO, model="fcn_resnet101", lr=0.01),
        replace(COCO, model="lraspp_mobilenet_v3_large", lr=0.01, aux_loss=False),
    )
}
