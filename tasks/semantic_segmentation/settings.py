"""Define the settings of a training of torchvision's segmentation models; the defaults are DeepLabV3's on COCO."""

from dataclasses import dataclass

from workbench.cli.arguments import positive_float, positive_int, truth
from workbench.cli.errors import UserError
from workbench.cli.settings import setting, several
from workbench.vision.coco.settings import CocoSettings


@dataclass(frozen=True)
class Settings(CocoSettings):
    """Hold all that the numbers of a run depend on, with activation and seed."""

    aux_loss: bool = setting(truth, True, "a second head with a loss of its own: True or False")
    aux_weight: float = setting(positive_float, 0.5, "weight of the second head's loss")
    aux_lr_factor: float = setting(positive_float, 10.0, "factor on the learning rate of the second head")
    base_size: int = setting(positive_int, 520, "shorter side of an image in pixels")
    scales: tuple[float, ...] = several(
        positive_float,
        (0.5, 2.0),
        "smallest and largest factor on the shorter side of training images, drawn at random",
    )
    crop_size: int = setting(positive_int, 480, "side of a training image in pixels, cut out of it")
    sync_bn: bool = setting(bool, True, "share batch norm statistics over all processes (on GPUs)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.scales) != 2 or self.scales[0] > self.scales[1]:
            raise UserError(f"--scales {' '.join(map(str, self.scales))}: give the smallest and the largest")
