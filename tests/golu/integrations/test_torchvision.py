"""Models of torchvision have GoLU wherever torchvision's own have a hidden activation."""

import warnings
from collections import Counter
from typing import Any

import pytest
import torch
import torchvision

import golu.integrations.torchvision as golu_torchvision
from golu import GoLU
from tests.golu.integrations.hidden import computed


def image(side: int) -> tuple[Any, ...]:
    return (torch.randn(2, 3, side, side),)


def video(frames: int, side: int) -> tuple[Any, ...]:
    return (torch.randn(1, 3, frames, side, side),)


PLAIN: dict[str, Any] = {}
NO_WEIGHTS: dict[str, Any] = {"weights_backbone": None}
SMALL: dict[str, Any] = NO_WEIGHTS | {"min_size": 64, "max_size": 64}
INIT: dict[str, Any] = {"init_weights": False}  # as it draws them in no time
# of every module of torchvision.models the smallest model, with its settings, its inputs
MODELS: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "mobilenet_v3_small": (PLAIN, image(32)),
    "resnet18": (PLAIN, image(32)),
    "lraspp_mobilenet_v3_large": (NO_WEIGHTS, image(32)),
    "fcos_resnet50_fpn": (SMALL, image(32)),  # the one whose ReLU in the head is no activation
}
SLOW: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "alexnet": (PLAIN, image(64)),
    "convnext_tiny": (PLAIN, image(32)),
    "densenet121": (PLAIN, image(32)),
    "efficientnet_b0": (PLAIN, image(32)),
    "mobilenet_v2": (PLAIN, image(32)),
    "googlenet": (INIT, image(32)),
    "inception_v3": (INIT, image(128)),
    "maxvit_t": (PLAIN, image(224)),
    "mnasnet0_5": (PLAIN, image(32)),
    "regnet_y_400mf": (PLAIN, image(32)),
    "shufflenet_v2_x0_5": (PLAIN, image(32)),
    "squeezenet1_1": (PLAIN, image(32)),
    "swin_t": (PLAIN, image(32)),
    "vgg11": (PLAIN, image(32)),
    "vit_b_16": (PLAIN, image(224)),
    "deeplabv3_mobilenet_v3_large": (NO_WEIGHTS, image(32)),
    "fcn_resnet50": (NO_WEIGHTS, image(32)),
    "fasterrcnn_mobilenet_v3_large_320_fpn": (SMALL, image(32)),
    "keypointrcnn_resnet50_fpn": (SMALL, image(32)),
    "maskrcnn_resnet50_fpn": (SMALL, image(32)),
    "retinanet_resnet50_fpn": (SMALL, image(32)),
    "ssd300_vgg16": (NO_WEIGHTS, image(32)),
    "ssdlite320_mobilenet_v3_large": (NO_WEIGHTS, image(32)),
    "raft_small": (PLAIN, image(128) * 2),
    "mc3_18": (PLAIN, video(8, 112)),
    "mvit_v2_s": (PLAIN, video(16, 224)),
    "s3d": (PLAIN, video(16, 224)),
    "swin3d_t": (PLAIN, video(8, 112)),
    "quantized_googlenet": (INIT, image(32)),
    "quantized_inception_v3": (INIT, image(128)),
    "quantized_mobilenet_v2": (PLAIN, image(32)),
    "quantized_mobilenet_v3_large": (PLAIN, image(32)),
    "quantized_resnet18": (PLAIN, image(32)),
    "quantized_shufflenet_v2_x0_5": (PLAIN, image(32)),
}
EVERY_MODEL = [*MODELS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_every_hidden_activation_is_golu(name: str) -> None:
    """As often as torchvision's own model computes one, from the same initial weights."""
    settings, inputs = (MODELS | SLOW)[name]
    torch.manual_seed(0)
    plain = torchvision.models.get_model(name, weights=None, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.manual_seed(0)
        model = golu_torchvision.get_model(name, **settings)
    weights = plain.state_dict()
    assert all(torch.equal(weights.pop(key), weight) for key, weight in model.state_dict().items()) and not weights
    bounds = Counter(relu=5) if name.startswith("fcos") else Counter()  # its distances, at each level of the pyramid
    before = computed(plain, *inputs)[1]
    assert computed(model, *inputs) == ((before - bounds).total(), bounds) and before != bounds


@pytest.mark.slow
def test_every_module_of_torchvision_is_known() -> None:
    """Fails with a torchvision that has others."""

    def home(name: str) -> str:
        return torchvision.models.get_model_builder(name).__module__

    assert {home(name) for name in torchvision.models.list_models()} == {home(name) for name in MODELS | SLOW}


def test_layers_take_the_class() -> None:
    for layer in (
        torchvision.ops.MLP(4, [8, 2], activation_layer=GoLU, inplace=True),
        torchvision.ops.Conv2dNormActivation(4, 8, activation_layer=GoLU),
        torchvision.ops.SqueezeExcitation(4, 2, activation=GoLU),
    ):
        inputs = torch.randn(2, 4) if isinstance(layer, torchvision.ops.MLP) else torch.randn(2, 4, 8, 8)
        assert computed(layer, inputs) == (1, {})


def test_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="Unknown model resnet_that_is_none"):
        golu_torchvision.get_model("resnet_that_is_none")
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="linear has no hidden activation that GoLU could be put in the place of"):
        golu_torchvision.get_model("linear")
