"""workbench/vision/models.py: the models of torchvision and timm with another activation."""

from collections import Counter

import pytest
import torch

from golu import find_activations
from workbench.cli.errors import UserError
from workbench.vision.models import timm_classifier, torchvision_classifier

PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "wide_resnet50_2": 68_883_240,
    "densenet121": 7_978_856,
    "mobilenet_v3_small": 2_542_856,
    "vit_b_32": 88_224_232,
    "vit_b_16": 86_567_656,
    "efficientnet_b0": 5_288_548,
    "tiny_vit_21m_224": 21_198_568,
    "vit_tiny_patch16_224": 5_717_416,
}
OF_TIMM = ("efficientnet_b0", "tiny_vit_21m_224", "vit_tiny_patch16_224")


def classifier(name, activation, classes=1000):
    return (timm_classifier if name in OF_TIMM else torchvision_classifier)(name, classes, activation)


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_parameters_as_in_the_literature_whatever_the_activation(name, expected):
    for activation in ("ReLU", "Mish", "GoLU"):
        with torch.device("meta"):
            model = classifier(name, activation)
        assert sum(each.numel() for each in model.parameters()) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", {"GoLU": 9}),  # one at the start, and one that each of 8 blocks uses twice
        ("densenet121", {"GoLU": 121}),  # the last one is a function in the model's forward
        ("vit_b_32", {"GoLU": 12}),
        ("mobilenet_v3_small", {"GoLU": 19 + 14, "Hardsigmoid": 9}),  # in the place of Hardswish and ReLU
        ("mobilenet_v3_small", {"ReLU": 19 + 14, "Hardsigmoid": 9}),
        ("efficientnet_b0", {"GoLU": 49, "Sigmoid": 16}),
        ("tiny_vit_21m_224", {"GoLU": 13 + 10}),  # between convolutions, and in ten blocks of attention
        ("vit_tiny_patch16_224", {"GoLU": 12}),
    ],
)
def test_every_hidden_activation_is_replaced_and_gates_stay(name, expected):
    with torch.device("meta"):
        found = find_activations(classifier(name, next(iter(expected))))
    assert Counter(label for _, label in found.modules) == expected
    # timm's attention has a gate that may be switched on
    assert all(call.call == "self.gate(x).sigmoid()" for call in found.functional)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "densenet121", "efficientnet_b0", "vit_tiny_patch16_224"])
def test_initial_weights_depend_on_the_seed_alone(name):
    def weights(activation, seed=0):
        torch.manual_seed(seed)
        return classifier(name, activation, classes=5).state_dict()

    relu, golu_, other_seed = weights("ReLU"), weights("GoLU"), weights("ReLU", seed=1)
    assert relu.keys() == golu_.keys()
    assert all(torch.equal(relu[each], golu_[each]) for each in relu)
    assert any(not torch.equal(relu[each], other_seed[each]) for each in relu)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        # its results would be stored under the name of an activation that it does not have
        ("vit_base_patch16_clip_quickgelu_224", {}, "cannot be given GoLU"),
        ("resnet18", {"window_size": 3}, r"resnet18 cannot be made with .*window_size"),
    ],
)
def test_models_that_cannot_be_made(name, settings, said):
    with torch.device("meta"), pytest.raises(UserError, match=said):
        timm_classifier(name, 10, "GoLU", **settings)
