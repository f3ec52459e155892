"""The models: small, normalised, and with one activation throughout; those of tasks.small_poc among them."""

from collections.abc import Callable

from torch import nn

from golu import get_activation_function
from tasks.small_poc.models import MODELS as SMALL_MODELS


def build_model(name: str, shape: tuple[int, int, int], classes: int, activation: str) -> nn.Module:
    """A model for images of shape (C, H, W), giving logits (N, classes).

    The initial weights of mlp and cnn are PyTorch's defaults, which favour no activation. No activation draws random
    numbers, so after the same seed they are the same, bit for bit, whatever the activation.
    """
    return MODELS[name](shape, classes, lambda: get_activation_function(activation))


def mlp(shape: tuple[int, int, int], classes: int, activation: Callable[[], nn.Module]) -> nn.Module:
    """Two hidden layers of 256."""
    channels, height, width = shape
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = channels * height * width
    for units in (256, 256):
        layers += [nn.Linear(inputs, units), nn.LayerNorm(units), activation()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def cnn(shape: tuple[int, int, int], classes: int, activation: Callable[[], nn.Module]) -> nn.Module:
    """Three 3x3 convolutions, the second and third halving the resolution, then the mean over pixels."""
    layers: list[nn.Module] = []
    inputs = shape[0]
    for channels, stride in ((32, 1), (64, 2), (64, 2)):
        layers += [
            nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            activation(),
        ]
        inputs = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


MODELS = {"mlp": mlp, "cnn": cnn, **SMALL_MODELS}
