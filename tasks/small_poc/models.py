"""Build the models: CIFAR ResNets, a wide and a dense one, and MLPs, each with one activation throughout."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golu import get_activation_function
from golu.activations import unknown_name

MLP_UNITS = 512

Activation = Callable[[], nn.Module]


def build_model(name: str, shape: tuple[int, int, int], classes: int, activation: str) -> nn.Module:
    """Build a model for images of shape (C, H, W), giving logits (N, classes).

    No activation draws random numbers, so after the same seed the initial weights are the same, bit for bit,
    whatever the activation.

    Raises:
        ValueError: the model or the activation is unknown; the message lists the known ones and the closest.
    """
    if name not in MODELS:
        raise ValueError(unknown_name("model", name, MODELS))
    return MODELS[name](shape, classes, lambda: get_activation_function(activation))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution that keeps the resolution (over the stride); what follows it has a bias of its own."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def _initialise_convolutions(model: nn.Module) -> None:
    """Initialise as He et al., 2015, by fan-out, for every activation as for ReLU; BatchNorm starts at 1 and 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class BasicBlock(nn.Module):
    """Apply two 3x3 convolutions, and add a shortcut without parameters before the second activation.

    Where the shape changes, the shortcut takes every `stride`-th pixel and gives the new channels zeros (option A).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.conv1, self.bn1, self.act1 = _conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), activation()
        self.conv2, self.bn2, self.act2 = _conv(outputs, outputs, 3), nn.BatchNorm2d(outputs), activation()
        self.stride, self.new_channels = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))
        return self.act2(y + shortcut)


def resnet(depth: int, shape: tuple[int, int, int], classes: int, activation: Activation) -> nn.Module:
    """Build the ResNet for CIFAR of He et al., 2016: depth = 6 n + 2, with n blocks of 16, 32 and 64 channels each."""
    layers: list[nn.Module] = [_conv(shape[0], 16, 3), nn.BatchNorm2d(16), activation()]
    inputs = 16
    for channels in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            layers.append(BasicBlock(inputs, channels, channels // inputs, activation))
            inputs = channels
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
    _initialise_convolutions(model)
    return model


class WideBlock(nn.Module):
    """Apply norm, activation and convolution, twice, beside a shortcut.

    Where the shape changes, the shortcut is a 1x1 convolution of what the first activation gives.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.bn1, self.act1, self.conv1 = nn.BatchNorm2d(inputs), activation(), _conv(inputs, outputs, 3, stride)
        self.bn2, self.act2, self.conv2 = nn.BatchNorm2d(outputs), activation(), _conv(outputs, outputs, 3)
        self.projection = _conv(inputs, outputs, 1, stride) if (inputs, stride) != (outputs, 1) else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(x))
        shortcut = x if self.projection is None else self.projection(y)
        return shortcut + self.conv2(self.act2(self.bn2(self.conv1(y))))


def wide_resnet(depth: int, width: int, shape: tuple[int, int, int], classes: int, activation: Activation) -> nn.Module:
    """Build the WRN of Zagoruyko and Komodakis, 2016, without dropout: depth = 6 n + 4, `width` times wider."""
    layers: list[nn.Module] = [_conv(shape[0], 16, 3)]
    inputs = 16
    for channels, stride in ((16 * width, 1), (32 * width, 2), (64 * width, 2)):
        for i in range((depth - 4) // 6):
            layers.append(WideBlock(inputs, channels, stride if i == 0 else 1, activation))
            inputs = channels
    return _preactivated(layers, inputs, classes, activation)


class DenseLayer(nn.Module):
    """Apply norm, activation and a 3x3 convolution, and append its `growth` channels to the input."""

    def __init__(self, inputs: int, growth: int, activation: Activation) -> None:
        super().__init__()
        self.bn, self.act, self.conv = nn.BatchNorm2d(inputs), activation(), _conv(inputs, growth, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.conv(self.act(self.bn(x)))), dim=1)


def densenet(depth: int, growth: int, shape: tuple[int, int, int], classes: int, activation: Activation) -> nn.Module:
    """Build the DenseNet of Huang et al., 2017, no bottlenecks or compression: depth = 3 n + 4, n layers a block."""
    layers: list[nn.Module] = [_conv(shape[0], 16, 3)]
    channels = 16
    for block in range(3):
        if block > 0:
            layers += [nn.BatchNorm2d(channels), activation(), _conv(channels, channels, 1), nn.AvgPool2d(2)]
        for _ in range((depth - 4) // 3):
            layers.append(DenseLayer(channels, growth, activation))
            channels += growth
    return _preactivated(layers, channels, classes, activation)


def _preactivated(layers: list[nn.Module], channels: int, classes: int, activation: Activation) -> nn.Module:
    """End a model whose blocks begin with norm and activation: both once more, the mean over pixels, logits."""
    linear = nn.Linear(channels, classes)
    pooled = [nn.BatchNorm2d(channels), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*layers, *pooled, linear)
    _initialise_convolutions(model)
    nn.init.zeros_(linear.bias)
    return model


def mlp(widths: tuple[int, ...], shape: tuple[int, int, int], classes: int, activation: Activation) -> nn.Module:
    """Build hidden layers of these widths, each normalised, with PyTorch's default initial weights."""
    channels, height, width = shape
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = channels * height * width
    for units in widths:
        layers += [nn.Linear(inputs, units), nn.LayerNorm(units), activation()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def cnn(shape: tuple[int, int, int], classes: int, activation: Activation) -> nn.Module:
    """Build three 3x3 convolutions, two of which halve the resolution, then the mean over pixels; default weights."""
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


# name -> model, given (C, H, W), the number of classes, and what makes an activation
MODELS: dict[str, Callable[[tuple[int, int, int], int, Activation], nn.Module]] = {
    **{f"resnet{depth}": partial(resnet, depth) for depth in (20, 32, 44, 56, 110)},
    "wideresnet_28_2": partial(wide_resnet, 28, 2),
    "densenet_40": partial(densenet, 40, 12),
    **{f"mlp_{blocks}": partial(mlp, (MLP_UNITS,) * blocks) for blocks in (1, 2, 3, 4)},
    "mlp": partial(mlp, (256, 256)),
    "cnn": cnn,
}
