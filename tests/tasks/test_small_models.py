"""tasks/small_poc/models.py."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from golu import GoLU
from tasks.small_poc.models import MODELS, BasicBlock, DenseLayer, WideBlock, build_model

CIFAR = (3, 32, 32)
RESNETS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962}
PARAMETERS = {f"resnet{depth}": count for depth, count in RESNETS.items()} | {
    "wideresnet_28_2": 1_467_610,
    "densenet_40": 1_019_722,
    "mlp_1": 1_579_530,
    "mlp_4": 2_370_570,
}
ONE_OF_EACH = ["resnet20", "wideresnet_28_2", "densenet_40", "mlp_3"]


def shapes_only(name, shape=CIFAR, classes=10, activation="GoLU"):
    """The model without memory: what is asked of it takes no time, however large it is."""
    with torch.device("meta"):
        return build_model(name, shape, classes, activation)


def count(model, *kinds):
    return sum(type(each) in kinds for each in model.modules())


def parameters(model):
    return sum(each.numel() for each in model.parameters())


def golu_by_hand(x):
    return x * torch.exp(-torch.exp(-x))


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_parameters_as_in_the_literature(name, expected):
    assert {parameters(shapes_only(name, activation=each)) for each in ("ReLU", "Mish", "GoLU")} == {expected}


@pytest.mark.parametrize("depth", RESNETS)
def test_parameters_of_the_resnets_in_closed_form(depth):
    n = (depth - 2) // 6
    weights = 9 * (1 * 16 + 2 * n * 16**2 + 16 * 32 + (2 * n - 1) * 32**2 + 32 * 64 + (2 * n - 1) * 64**2)
    norms = 2 * (16 * (1 + 2 * n) + 32 * 2 * n + 64 * 2 * n)
    assert parameters(shapes_only(f"resnet{depth}", (1, 28, 28), 7)) == weights + norms + 65 * 7


def test_parameters_of_the_others_in_closed_form():
    wide = 9 * 16 + 2 * 16  # and then stages of four blocks
    for inputs, outputs in ((16, 32), (32, 64), (64, 128)):
        wide += 9 * inputs * outputs + 7 * 9 * outputs**2 + inputs * outputs + 2 * (7 * outputs) + 2 * inputs
    wide += 2 * 128 - 2 * 16  # the last norm; the first was counted twice
    assert parameters(shapes_only("wideresnet_28_2", (1, 28, 28))) == wide + 129 * 10

    channels = [16 + 12 * i for i in range(37)]
    dense = 9 * 16 + sum((2 + 9 * 12) * each for each in channels[:36]) + 2 * channels[36]
    dense += sum(2 * each + each**2 for each in (channels[12], channels[24]))
    assert parameters(shapes_only("densenet_40", (1, 28, 28))) == dense + (channels[36] + 1) * 10

    for blocks in (1, 2, 3, 4):
        hidden = (784 + 3) * 512 + (blocks - 1) * (512 + 3) * 512
        assert parameters(shapes_only(f"mlp_{blocks}", (1, 28, 28))) == hidden + 513 * 10


@pytest.mark.parametrize("name", MODELS)
def test_depth_and_number_of_activations(name):
    family, _, depth = name.rpartition("t" if name.startswith("resnet") else "_")
    model = shapes_only(name)
    layers = count(model, nn.Conv2d, nn.Linear)
    expected = {
        "resne": (int(depth), int(depth) - 1),
        "wideresnet_28": (28 + 1, 25),  # the authors count the convolutions, three of the shortcuts among them
        "densenet": (40, 39),
        "mlp": (int(depth) + 1, int(depth)),
    }
    assert (layers, count(model, GoLU)) == expected[family]
    assert count(model, nn.ReLU) == 0
    assert all(each.bias is None for each in model.modules() if isinstance(each, nn.Conv2d))


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), CIFAR])
@pytest.mark.parametrize("name", [*ONE_OF_EACH, "resnet110"])
def test_logits_for_images_of_any_size(name, shape):
    logits = shapes_only(name, shape, classes=7)(torch.empty(5, *shape, device="meta"))
    assert logits.shape == (5, 7)


@pytest.mark.parametrize(("name", "channels"), [("resnet20", (16, 32, 64)), ("wideresnet_28_2", (32, 64, 128))])
def test_stages_halve_the_resolution(name, channels):
    seen = []
    model = shapes_only(name)
    for block in model:
        if isinstance(block, BasicBlock | WideBlock):
            block.register_forward_hook(lambda *arguments: seen.append(tuple(arguments[-1].shape[1:])))
    model(torch.empty(2, *CIFAR, device="meta"))
    depth = len(seen) // 3
    assert seen == [(c, size, size) for c, size in zip(channels, (32, 16, 8), strict=True) for _ in range(depth)]


def test_the_densenet_grows_by_twelve_channels_a_layer():
    seen = []
    model = shapes_only("densenet_40")
    for layer in model:
        if isinstance(layer, DenseLayer):
            layer.register_forward_hook(lambda *arguments: seen.append(tuple(arguments[-1].shape[1:])))
    model(torch.empty(2, *CIFAR, device="meta"))
    assert seen == [(16 + 12 * i, 32 >> (i - 1) // 12, 32 >> (i - 1) // 12) for i in range(1, 37)]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_initial_weights_are_the_same_for_every_activation(name):
    def weights(activation, seed=0):
        torch.manual_seed(seed)
        return {n: p for n, p in build_model(name, (1, 8, 8), 10, activation).named_parameters() if p.numel() > 1}

    relu = weights("ReLU")
    for activation in ("Mish", "GoLU", "PReLU"):  # the last has parameters, which draw no random numbers
        others = weights(activation)
        assert others.keys() == relu.keys()
        assert all(torch.equal(others[each], relu[each]) for each in relu)
    other_seed = weights("ReLU", seed=1)
    assert not any(torch.equal(other_seed[each], relu[each]) for each in relu if relu[each].ndim > 1)


@pytest.mark.parametrize(
    ("name", "bias_is_zero"), [("resnet20", False), ("wideresnet_28_2", True), ("densenet_40", True)]
)
def test_initial_distribution(name, bias_is_zero):
    torch.manual_seed(0)
    model = build_model(name, CIFAR, 10, "GoLU")
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.15)
            assert abs(module.weight.mean().item()) < 4 * math.sqrt(2 / fan_out / module.weight.numel())
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
        if isinstance(module, nn.Linear):
            assert (module.bias == 0).all() == bias_is_zero


def with_random_norms(module):
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            for tensor in (each.weight.data, each.bias.data, each.running_mean, each.running_var):
                tensor.uniform_(0.5, 1.5)
    return module.eval()


def norm(x, bn):
    shape = (1, -1, 1, 1)
    scaled = (x - bn.running_mean.view(shape)) / torch.sqrt(bn.running_var.view(shape) + 1e-5)
    return scaled * bn.weight.view(shape) + bn.bias.view(shape)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 8, 2)])
def test_a_resnet_block_by_hand(inputs, outputs, stride):
    torch.manual_seed(0)
    block = with_random_norms(BasicBlock(inputs, outputs, stride, GoLU))
    x = torch.randn(2, inputs, 7, 7)
    y = golu_by_hand(norm(F.conv2d(x, block.conv1.weight, stride=stride, padding=1), block.bn1))
    y = norm(F.conv2d(y, block.conv2.weight, padding=1), block.bn2)
    shortcut = torch.zeros_like(y)
    shortcut[:, :inputs] = x[:, :, ::stride, ::stride]
    assert torch.allclose(block(x), golu_by_hand(y + shortcut), atol=1e-5)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 8, 1), (4, 8, 2)])
def test_a_wide_block_by_hand(inputs, outputs, stride):
    torch.manual_seed(0)
    block = with_random_norms(WideBlock(inputs, outputs, stride, GoLU))
    x = torch.randn(2, inputs, 7, 7)
    first = golu_by_hand(norm(x, block.bn1))
    y = golu_by_hand(norm(F.conv2d(first, block.conv1.weight, stride=stride, padding=1), block.bn2))
    shortcut = x if inputs == outputs else F.conv2d(first, block.projection.weight, stride=stride)
    assert torch.allclose(block(x), shortcut + F.conv2d(y, block.conv2.weight, padding=1), atol=1e-5)


def test_a_dense_layer_by_hand():
    torch.manual_seed(0)
    layer = with_random_norms(DenseLayer(4, 3, GoLU))
    x = torch.randn(2, 4, 7, 7)
    y = layer(x)
    assert torch.equal(y[:, :4], x)
    assert torch.allclose(y[:, 4:], F.conv2d(golu_by_hand(norm(x, layer.bn)), layer.conv.weight, padding=1), atol=1e-5)


def test_an_mlp_by_hand():
    torch.manual_seed(0)
    model = build_model("mlp_2", (1, 4, 4), 3, "GoLU")
    x = torch.randn(5, 1, 4, 4)
    y = x.flatten(1)
    for linear in [each for each in model if isinstance(each, nn.Linear)][:2]:
        y = golu_by_hand(F.layer_norm(linear(y), (512,)))
    assert torch.allclose(model(x), model[-1](y), atol=1e-5)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_channels_last_gives_the_same(name):
    torch.manual_seed(0)
    model = build_model(name, (3, 16, 16), 10, "GoLU").eval()
    x = torch.randn(2, 3, 16, 16)
    logits = model(x)
    again = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert torch.allclose(again, logits, rtol=1e-4, atol=1e-4)


def test_an_unknown_name_is_said_with_the_closest():
    with pytest.raises(ValueError, match="did you mean densenet_40"):
        build_model("densenet40", CIFAR, 10, "ReLU")
    with pytest.raises(ValueError, match="did you mean GoLU"):
        build_model("resnet20", CIFAR, 10, "golu")
