"""The settings of a run: a recipe for each data set, which the command line may change."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """With activation and seed, all that the numbers of a run depend on: only runs that agree in it are compared."""

    dataset: str
    model: str = "cnn"
    epochs: int = 10
    batch_size: int = 128  # images or sequences of a step
    lr: float = 2e-3  # the highest
    weight_decay: float = 0.01  # on matrices and kernels, not on biases and norms
    augment: bool = False  # random crops and mirror images
    limit_train: int | None = None  # images or tokens
    limit_val: int | None = None
    device: str = "cpu"
    threads: int | None = None  # None: as many as torch takes; how many changes the last digits of a sum


# That of the digits was chosen with ReLU alone, to be converged and yet short of a perfect score, where all activations
# would look the same: hence 20 images a class. They are so small that a second thread saves little, and with one the
# numbers do not depend on how many cores a machine has. The others are customary values, not tuned for any activation;
# those of the texts are their GPT recipes'. The rate of tiny is the best of 1, 2, 4 and 8e-3 with ReLU and one seed.
IMAGES = {
    each.dataset: each
    for each in (
        Recipe("digits", epochs=20, batch_size=32, lr=4e-3, limit_train=200, threads=1),
        Recipe("fashion_mnist"),
        Recipe("mnist", epochs=5),
        Recipe("cifar10", epochs=30, augment=True),
    )
}
TEXTS = {
    each.dataset: each
    for each in (
        Recipe("pydoc_topics", "tiny", epochs=7, batch_size=16, lr=2e-3, weight_decay=0.1),
        Recipe("tiny_stories", "baby_gpt", epochs=3, batch_size=640, lr=1e-3, weight_decay=0.1),
        Recipe("open_web_text", "gpt2s", epochs=32, batch_size=480, lr=6e-4, weight_decay=0.1),
    )
}
RECIPES = IMAGES | TEXTS
