"""Define the settings of a training of torchvision's detectors; the defaults are those of Faster R-CNN on COCO."""

from dataclasses import dataclass

from golu.activations import unknown_name
from workbench.cli.arguments import non_negative_float, non_negative_int, positive_float, positive_int, unit_float
from workbench.cli.errors import UserError
from workbench.cli.settings import setting, several
from workbench.vision.coco.settings import CocoSettings
from workbench.vision.coco.transforms import DETECTION

SCHEDULES = ("multisteplr", "cosineannealinglr")


@dataclass(frozen=True)
class Settings(CocoSettings):
    """Hold all that the numbers of a run depend on, with activation and seed."""

    norm_weight_decay: float | None = setting(non_negative_float, None, "weight decay of norms; none: as all others")
    lr_scheduler: str = setting(str, "multisteplr", f"schedule of the learning rate: one of {', '.join(SCHEDULES)}")
    lr_steps: tuple[int, ...] = several(positive_int, (16, 22), "epochs after which multisteplr lowers the rate")
    lr_gamma: float = setting(positive_float, 0.1, "factor of multisteplr on the learning rate")
    warmup_steps: int = setting(non_negative_int, 1000, "steps, within the first epoch, in which the rate rises to lr")
    aspect_ratio_group_factor: int = setting(
        non_negative_int, 3, "batches of images of similar shape: k makes 2k + 2 groups by width / height, 0 makes one"
    )
    data_augmentation: str = setting(str, "hflip", f"augmentation of training images: one of {', '.join(DETECTION)}")
    min_size: int = setting(positive_int, 800, "shorter side of an image in pixels, as the model sees it")
    max_size: int = setting(positive_int, 1333, "longer side of an image in pixels, at most")
    trainable_backbone_layers: int | None = setting(
        non_negative_int, None, "parts of a trained backbone that are trained on, 0 to 5 from its end; none: 3"
    )
    rpn_score_thresh: float | None = setting(
        unit_float, None, "score from which an R-CNN looks at a proposal; none: all of them"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, values in {"lr_scheduler": SCHEDULES, "data_augmentation": DETECTION}.items():
            if getattr(self, name) not in values:
                raise UserError(unknown_name(name, getattr(self, name), values))
        if self.min_size > self.max_size:
            raise UserError(f"--min-size {self.min_size} is larger than --max-size {self.max_size}")
        if self.rpn_score_thresh is not None and "rcnn" not in self.model:
            raise UserError(f"--rpn-score-thresh is for an R-CNN: {self.model} has no proposals")
        layers = self.trainable_backbone_layers
        if layers is not None and not self.pretrained:
            raise UserError("--trainable-backbone-layers is for a trained backbone: give its weights too")
        if layers is not None and layers > 5:
            raise UserError(f"--trainable-backbone-layers {layers} is out of range: 0 to 5")
