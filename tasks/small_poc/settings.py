"""Define the settings of a training of a small model on small images; recipes.py has named sets of them."""

from dataclasses import dataclass

from golu.activations import unknown_name
from tasks.small_poc.models import MODELS
from workbench.cli.arguments import non_negative_float, positive_float, positive_int, unit_float
from workbench.cli.errors import UserError
from workbench.cli.settings import setting, several
from workbench.training.optimizers import OPTIMIZERS

SCHEDULES = ("milestones", "cosine")
AUGMENTED = ("cifar10", "fashion_mnist")  # mirrored digits are other digits


@dataclass(frozen=True)
class Settings:
    """Hold all that the numbers of a run depend on, with data, activation and seed."""

    model: str = setting(str, "resnet20", f"model: one of {', '.join(MODELS)}")
    epochs: int = setting(positive_int, 164, "number of epochs; milestones move in proportion")
    batch_size: int = setting(positive_int, 128, "images in a step, over all processes")
    opt: str = setting(str, "sgd", f"optimiser: one of {', '.join(OPTIMIZERS)}")
    lr: float = setting(positive_float, 0.1, "initial learning rate")
    schedule: str = setting(str, "milestones", "learning rate schedule: milestones (by factors) or cosine (to 0)")
    milestones: tuple[int, ...] = several(
        positive_int, (81, 122), "epochs, counted from 1, at whose start the learning rate takes a factor"
    )
    factors: tuple[float, ...] = several(positive_float, (0.1, 0.1), "factor of each milestone")
    momentum: float = setting(unit_float, 0.9, "momentum of the optimiser")
    weight_decay: float = setting(non_negative_float, 1e-4, "weight decay")
    vector_weight_decay: float | None = setting(
        non_negative_float, None, "weight decay of biases and norms; none: as of all others"
    )
    augment: bool = setting(bool, True, f"shift and mirror training images of {' and '.join(AUGMENTED)}")
    amp: bool = setting(bool, False, "mixed precision: bfloat16 where it is safe")

    def __post_init__(self) -> None:
        for name, known in {"model": tuple(MODELS), "opt": tuple(OPTIMIZERS), "schedule": SCHEDULES}.items():
            if getattr(self, name) not in known:
                raise UserError(unknown_name(name, getattr(self, name), known))
        if len(self.milestones) != len(self.factors):
            raise UserError(
                f"--milestones has {len(self.milestones)} epochs, but --factors {len(self.factors)} numbers"
            )
