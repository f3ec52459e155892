"""workbench/training/swap.py: a ready-made model with another activation throughout."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from golu import find_activations, golu
from workbench.training.swap import with_activation

# what makes the model, the side of its images, and what it has between its layers if that is one activation
MODELS = {
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=5), 32, "ReLU"),
    "densenet121": (lambda: torchvision.models.densenet121(num_classes=5), 32, "ReLU"),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(num_classes=5), 32, None),
    "vit": (lambda: torchvision.models.VisionTransformer(32, 16, 1, 2, 16, 32, num_classes=5), 32, "GELU"),
    "efficientnet_b0": (lambda: timm.create_model("efficientnet_b0", num_classes=5), 32, "Swish"),
    "tiny_vit": (lambda: timm.create_model("tiny_vit_5m_224", num_classes=5), 64, "GELU"),
    "vit_tiny": (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=32, depth=2), 32, "GELU"),
}
EVERY = pytest.mark.parametrize(("make", "size", "own"), MODELS.values(), ids=MODELS)


@EVERY
def test_the_model_computes_as_if_torch_had_only_golu(make, size, own, monkeypatch):
    """The reference is the untouched model with torch's own functions exchanged below it."""
    torch.manual_seed(0)
    reference = make().eval()
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        for each in reference.parameters():  # some begin at 0, and would hide what is before them
            each += 0.1 * torch.randn_like(each)
        for module in reference.modules():
            if isinstance(module, nn.BatchNorm2d):  # and some activations would be given tiny numbers
                module.momentum = None
        reference.train()(x)
        reference.eval()
        ours = with_activation(copy.deepcopy(reference), "GoLU")
        before, found = reference(x), ours(x)
        for name in ("relu", "gelu", "silu", "hardswish"):
            monkeypatch.setattr(F, name, lambda x, *_, **__: golu(x))
        expected = reference(x)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, before, rtol=1e-2, atol=1e-3)


@EVERY
def test_the_models_own_activation_changes_nothing(make, size, own):
    with torch.device("meta"):
        model = make()
    before = [(id(module), type(module)) for module in model.modules()]
    if own:
        assert with_activation(model, own) is model
        assert [(id(module), type(module)) for module in model.modules()] == before


@pytest.mark.parametrize(("own", "wanted"), [("tanh", "GELU"), ("none", "GELU_tanh")])
def test_the_two_gelus_are_two_activations(own, wanted):
    model = with_activation(nn.Sequential(nn.Linear(2, 2), nn.GELU(own)), wanted)
    assert [label for _, label in find_activations(model).modules] == [wanted]
