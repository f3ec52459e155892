"""The recipes of the CIFAR models, as the papers that introduced them trained them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """SGD with momentum, and a learning rate that is multiplied at some epochs; all of it can be changed."""

    epochs: int = 164
    batch_size: int = 128
    lr: float = 0.1
    milestones: tuple[int, ...] = (81, 122)  # after so many epochs the rate is multiplied by ...
    factors: tuple[float, ...] = (0.1, 0.1)  # ... so much
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4


RESNET = Recipe()
MLP = Recipe(epochs=5, lr=0.01, milestones=(), factors=(), weight_decay=0.0)
RECIPES = {
    "resnet20": RESNET,
    "resnet32": RESNET,
    "resnet44": RESNET,
    "resnet56": RESNET,
    # deep enough not to start at 0.1 (He et al., 2016)
    "resnet110": Recipe(lr=0.01, milestones=(2, 81, 122), factors=(10.0, 0.1, 0.1)),
    "wideresnet_28_2": Recipe(
        epochs=200, milestones=(60, 120, 160), factors=(0.2, 0.2, 0.2), nesterov=True, weight_decay=5e-4
    ),
    "densenet_40": Recipe(epochs=300, batch_size=64, milestones=(150, 225), nesterov=True),
    # those of the ablations, at its base values
    **{f"mlp_{blocks}": MLP for blocks in range(1, 5)},
}


def epoch_rates(lr: float, milestones: tuple[int, ...], factors: tuple[float, ...], epochs: int) -> list[float]:
    """The learning rate of each epoch."""
    rates = []
    for epoch in range(epochs):
        rate = lr
        for milestone, factor in zip(milestones, factors, strict=True):
            rate *= factor if epoch >= milestone else 1.0
        rates.append(rate)
    return rates
