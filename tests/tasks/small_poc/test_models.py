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
PARAMETERS = {
    **{f"resnet{depth}": count for depth, count in RESNETS.items()},
    "wideresnet_28_2": 1_467_610,
    "densenet_40": 1_019_722,
    **{f"mlp_{n}": (3072 + 3) * 512 + (n - 1) * (512 + 3) * 512 + 513 * 10 for n in (1, 2, 3, 4)},
    "mlp": (3072 + 3) * 256 + (256 + 3) * 256 + 257 * 10,
    "cnn": 9 * (3 * 32 + 32 * 64 + 64 * 64) + 2 * (32 + 64 + 64) + 65 * 10,
}
ONE_OF_EACH = ["resnet20", "wideresnet_28_2", "densenet_40", "mlp_3", "cnn"]


def shapes_only(name, shape=CIFAR, classes=10, activation="GoLU"):
    """The model without memory: what is asked of it takes no time, however large it is."""
    with torch.device("meta"):
        return build_model(name, shape, classes, activation)


def count(model, *kinds):
    return sum(type(each) in kinds for each in model.modules())


def shapes_after(model, *kinds):
    """(C, H, W) of what each module of these kinds gives for a CIFAR image."""
    seen = []
    for each in model:
        if isinstance(each, kinds):
            each.register_forward_hook(lambda *arguments: seen.append(tuple(arguments[-1].shape[1:])))
    model(torch.empty(2, *CIFAR, device="meta"))
    return seen


def golu_by_hand(x):
    return x * torch.exp(-torch.exp(-x))


def test_every_model_has_its_number_of_parameters():
    """Those of the literature, and of the MLPs and the small one as written out above."""
    for activation in ("ReLU", "Mish", "GoLU"):
        models = {name: shapes_only(name, activation=activation) for name in MODELS}
        assert {name: sum(each.numel() for each in models[name].parameters()) for name in MODELS} == PARAMETERS


@pytest.mark.parametrize("name", MODELS)
def test_depth_and_number_of_activations(name):
    model = shapes_only(name)
    expected = {
        **{f"resnet{depth}": (depth, depth - 1) for depth in RESNETS},
        "wideresnet_28_2": (28 + 1, 25),  # the authors count the convolutions, three of the shortcuts among them
        "densenet_40": (40, 39),
        **{f"mlp_{blocks}": (blocks + 1, blocks) for blocks in (1, 2, 3, 4)},
        "mlp": (3, 2),
        "cnn": (4, 3),
    }
    assert (count(model, nn.Conv2d, nn.Linear), count(model, GoLU)) == expected[name]
    assert count(model, nn.ReLU) == 0
    assert all(each.bias is None for each in model.modules() if isinstance(each, nn.Conv2d))


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), CIFAR])
@pytest.mark.parametrize("name", [*ONE_OF_EACH, "resnet110"])
def test_logits_for_images_of_any_size(name, shape):
    logits = shapes_only(name, shape, classes=7)(torch.empty(5, *shape, device="meta"))
    assert logits.shape == (5, 7)


@pytest.mark.parametrize(
    ("name", "channels", "blocks"), [("resnet20", (16, 32, 64), 3), ("wideresnet_28_2", (32, 64, 128), 4)]
)
def test_stages_halve_the_resolution(name, channels, blocks):
    expected = [(c, size, size) for c, size in zip(channels, (32, 16, 8), strict=True) for _ in range(blocks)]
    assert shapes_after(shapes_only(name), BasicBlock, WideBlock) == expected


def test_the_densenet_grows_by_twelve_channels_a_layer():
    expected = [(16 + 12 * i, 32 >> (i - 1) // 12, 32 >> (i - 1) // 12) for i in range(1, 37)]
    assert shapes_after(shapes_only("densenet_40"), DenseLayer) == expected


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
    torch.manual_seed(0)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            for tensor in (each.weight.data, each.bias.data, each.running_mean, each.running_var):
                tensor.uniform_(0.5, 1.5)
    return module.eval()


def norm(x, bn):
    shape = (1, -1, 1, 1)
    scaled = (x - bn.running_mean.view(shape)) / torch.sqrt(bn.running_var.view(shape) + 1e-5)
    return scaled * bn.weight.view(shape) + bn.bias.view(shape)


def conv(x, module, stride=1):
    return F.conv2d(x, module.weight, stride=stride, padding=module.weight.shape[-1] // 2)


SHAPES = pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 8, 1), (4, 8, 2)])


@SHAPES
def test_a_resnet_block_by_hand(inputs, outputs, stride):
    block = with_random_norms(BasicBlock(inputs, outputs, stride, GoLU))
    x = torch.randn(2, inputs, 7, 7)
    y = golu_by_hand(norm(conv(x, block.conv1, stride), block.bn1))
    y = norm(conv(y, block.conv2), block.bn2)
    y[:, :inputs] += x[:, :, ::stride, ::stride]
    assert torch.allclose(block(x), golu_by_hand(y), atol=1e-5)


@SHAPES
def test_a_wide_block_by_hand(inputs, outputs, stride):
    block = with_random_norms(WideBlock(inputs, outputs, stride, GoLU))
    x = torch.randn(2, inputs, 7, 7)
    first = golu_by_hand(norm(x, block.bn1))
    y = golu_by_hand(norm(conv(first, block.conv1, stride), block.bn2))
    shortcut = x if inputs == outputs else conv(first, block.projection, stride)
    assert torch.allclose(block(x), shortcut + conv(y, block.conv2), atol=1e-5)


def test_a_dense_layer_by_hand():
    layer = with_random_norms(DenseLayer(4, 3, GoLU))
    x = torch.randn(2, 4, 7, 7)
    expected = torch.cat([x, conv(golu_by_hand(norm(x, layer.bn)), layer.conv)], dim=1)
    assert torch.allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize(("name", "units"), [("mlp_2", 512), ("mlp", 256)])
def test_an_mlp_by_hand(name, units):
    torch.manual_seed(0)
    model = build_model(name, (1, 4, 4), 3, "GoLU")
    x = torch.randn(5, 1, 4, 4)
    y = x.flatten(1)
    for linear in [each for each in model if isinstance(each, nn.Linear)][:2]:
        y = golu_by_hand(F.layer_norm(linear(y), (units,)))
    assert torch.allclose(model(x), model[-1](y), atol=1e-5)


def test_the_cnn_by_hand():
    model = with_random_norms(build_model("cnn", (1, 8, 8), 3, "GoLU"))
    x = y = torch.randn(5, 1, 8, 8)
    for number, stride in enumerate((1, 2, 2)):
        y = golu_by_hand(norm(conv(y, model[3 * number], stride), model[3 * number + 1]))
    assert torch.allclose(model(x), model[-1](y.mean(dim=(2, 3))), atol=1e-5)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_channels_last_gives_the_same(name):
    model, x = build_model(name, (3, 16, 16), 10, "GoLU").eval(), torch.randn(2, 3, 16, 16)
    logits = model(x)
    again = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert torch.allclose(again, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "activation", "meant"), [("densenet40", "ReLU", "densenet_40"), ("cnn", "golu", "GoLU")]
)
def test_an_unknown_name_is_said_with_the_closest(name, activation, meant):
    with pytest.raises(ValueError, match=f"did you mean {meant}"):
        build_model(name, CIFAR, 10, activation)
