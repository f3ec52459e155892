"""Define the settings that every training on images in COCO's format has."""

from dataclasses import dataclass

from golu.activations import unknown_name
from workbench.cli.arguments import non_negative_float, non_negative_int, positive_float, positive_int, unit_float
from workbench.cli.errors import UserError
from workbench.cli.settings import setting
from workbench.training.optimizers import OPTIMIZERS


@dataclass(frozen=True)
class CocoSettings:
    """Hold what a run depends on, with activation and seed; a task adds its own, and its defaults."""

    model: str = setting(str, "", "model")
    epochs: int = setting(positive_int, 26, "number of epochs")
    batch_size: int = setting(positive_int, 4, "images in a step, in each process")
    opt: str = setting(str, "sgd", f"optimiser: one of {', '.join(OPTIMIZERS)}")
    lr: float = setting(positive_float, 0.02, "highest learning rate; torchvision's are for 16 or 32 images in a step")
    momentum: float = setting(unit_float, 0.9, "momentum of the optimiser")
    weight_decay: float = setting(non_negative_float, 1e-4, "weight decay")
    hflip_prob: float = setting(unit_float, 0.5, "probability with which a training image is mirrored")
    weights: str | None = setting(str, None, "weights of torchvision that the whole model starts from (a download)")
    weights_backbone: str | None = setting(
        str,
        None,
        "torchvision's weights that the backbone starts from, as ResNet50_Weights.IMAGENET1K_V1 (a download)",
    )
    backbone_checkpoint_path: str | None = setting(
        str, None, "folder of classifiers trained here, as results/imagenet_1k/resnet50; the backbone starts from the "
        "one of the same activation and seed", stored=False,
    )  # fmt: skip
    amp: bool = setting(bool, False, "mixed precision: float16 with a scaled loss")
    print_freq: int | None = setting(positive_int, None, "steps between two lines of progress", stored=False)
    picture_every: int = setting(
        non_negative_int, 5, "epochs between two pictures of predictions, besides that of the last; 0: none",
        stored=False,
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.opt not in OPTIMIZERS:
            raise UserError(unknown_name("opt", self.opt, OPTIMIZERS))
        given = {
            "--weights": self.weights,
            "--weights-backbone": self.weights_backbone,
            "--backbone-checkpoint-path": self.backbone_checkpoint_path,
        }
        several = [flag for flag, value in given.items() if value is not None]
        if len(several) > 1:
            raise UserError(f"{' and '.join(several)} are both given: the model can start from one of them")

    @property
    def pretrained(self) -> bool:
        """Tell whether the backbone starts from trained weights."""
        given = (self.weights, self.weights_backbone, self.backbone_checkpoint_path)
        return any(each is not None for each in given)
