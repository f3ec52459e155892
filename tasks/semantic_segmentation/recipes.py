"""List the recipes of the segmentation models: those of torchvision's references on COCO, and of a small one."""

from dataclasses import replace

from tasks.semantic_segmentation.settings import Settings

# For 32 images in a step, in 4 processes; the paper's table of results has a rate of 0.01.
COCO = Settings(model="deeplabv3_resnet50", epochs=30, batch_size=8, lr=0.02)
MOBILE = replace(COCO, lr=0.01, weight_decay=1e-6)
# For small images and random weights; a digit that is mirrored is none.
SMALL = Settings(
    model="lraspp_resnet10", epochs=7, batch_size=4, opt="adamw", lr=3e-3, weight_decay=0.01, aux_loss=False,
    base_size=128, crop_size=128, scales=(1.0, 1.0), hflip_prob=0.0,
)  # fmt: skip
RECIPES = {
    each.model: each
    for each in (
        SMALL,
        COCO,
        replace(COCO, model="deeplabv3_resnet101"),
        replace(MOBILE, model="deeplabv3_mobilenet_v3_large"),
        replace(COCO, model="fcn_resnet50"),
        replace(COCO, model="fcn_resnet101"),
        replace(MOBILE, model="lraspp_mobilenet_v3_large", aux_loss=False),
    )
}
