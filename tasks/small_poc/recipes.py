"""List the recipes of the CIFAR models, as the papers that introduced them trained them."""

from dataclasses import replace

from tasks.small_poc.settings import Settings

RESNET = Settings()
MLP = Settings(model="mlp_1", epochs=8, lr=0.01, milestones=(), factors=(), weight_decay=0.0)  # the ablation's base
QUICK = Settings(model="cnn", epochs=10, opt="adamw", lr=2e-3, schedule="cosine", milestones=(), factors=(),
                 weight_decay=0.01, vector_weight_decay=0.0, augment=False)  # fmt: skip
RECIPES = {
    each.model: each
    for each in (
        *(replace(RESNET, model=f"resnet{depth}") for depth in (20, 32, 44, 56)),
        # deep enough not to start at 0.1 (He et al., 2016)
        replace(RESNET, model="resnet110", lr=0.01, milestones=(2, 81, 122), factors=(10.0, 0.1, 0.1)),
        replace(
            RESNET, model="wideresnet_28_2", opt="sgd_nesterov", epochs=200, milestones=(60, 120, 160),
            factors=(0.2, 0.2, 0.2), weight_decay=5e-4,
        ),
        replace(
            RESNET, model="densenet_40", opt="sgd_nesterov", epochs=300, batch_size=64, milestones=(150, 225)
        ),
        *(replace(MLP, model=f"mlp_{blocks}") for blocks in range(1, 5)),
        *(replace(QUICK, model=name) for name in ("mlp", "cnn")),
    )
}  # fmt: skip


def shortened(settings: Settings, recipe: Settings) -> Settings:
    """Move the recipe's milestones in proportion, if the settings have other epochs and the same milestones."""
    if settings.epochs == recipe.epochs or settings.milestones != recipe.milestones:
        return settings
    moved = tuple(1 + round((each - 1) * settings.epochs / recipe.epochs) for each in recipe.milestones)
    return replace(settings, milestones=moved)


def epoch_rates(settings: Settings) -> list[float]:
    """Return the learning rate of each epoch: a factor holds from the start of its milestone, epochs counted from 1."""
    rates = []
    for epoch in range(settings.epochs):
        rate = settings.lr
        for milestone, factor in zip(settings.milestones, settings.factors, strict=True):
            rate *= factor if epoch + 1 >= milestone else 1.0
        rates.append(rate)
    return rates
