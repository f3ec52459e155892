"""The models of detection and segmentation, and their recipes."""

import functools
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from golu import GoLU, find_activations, golu
from tasks.object_detection.models import detector
from tasks.object_detection.recipes import shortened
from tasks.semantic_segmentation.models import segmenter
from tasks.table import program_of
from workbench.cli.errors import UserError
from workbench.training.swap import with_activation

RECIPES = {
    task: program_of(task).recipes for task in ("object_detection", "instance_segmentation", "semantic_segmentation")
}
NAMES = [(task, name) for task in RECIPES for name in RECIPES[task]]
EVERY = pytest.mark.parametrize(("task", "name"), NAMES)
SMALL = pytest.mark.parametrize(("task", "name"), [each for each in NAMES if "resnet10_" in f"{each[1]}_"])
TORCHVISIONS = pytest.mark.parametrize(("task", "name"), [each for each in NAMES if "resnet10_" not in f"{each[1]}_"])
HIDDEN = (nn.ReLU, nn.ReLU6, nn.Hardswish)
BOUND = "nn.functional.relu(self.bbox_reg(bbox_feature))"  # FCOS's distances, which are not negative


def make(task, name, activation="GoLU", **changes):
    settings = replace(RECIPES[task][name], **changes)
    if task == "semantic_segmentation":
        return segmenter(settings, 21, activation)
    return detector(settings, 91, activation, pretrained=False)


@functools.cache
def on_meta(*arguments, **changes):
    """A model without values, which takes little time, for several tests."""
    with torch.device("meta"):
        return make(*arguments, **changes)


# Architecture


@pytest.mark.parametrize(
    ("task", "name", "count"),
    [
        ("object_detection", "fasterrcnn_resnet50_fpn", 41_808_406),
        ("object_detection", "retinanet_resnet50_fpn_v2", 38_198_935),
        ("instance_segmentation", "maskrcnn_resnet50_fpn", 44_454_513),
        ("semantic_segmentation", "deeplabv3_resnet50", 42_004_074),
    ],
)
def test_the_models_have_the_published_sizes(task, name, count):
    assert sum(each.numel() for each in on_meta(task, name).parameters()) == count


@TORCHVISIONS
def test_the_parameters_are_those_of_torchvisions_model(task, name):
    options = {"num_classes": 21 if task == "semantic_segmentation" else 91}
    if options["num_classes"] == 21 and not name.startswith("lraspp"):
        options["aux_loss"] = True
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None, weights_backbone=None, **options)
    ours, expected = on_meta(task, name).state_dict(), theirs.state_dict()
    assert [(key, each.shape) for key, each in ours.items()] == [(key, each.shape) for key, each in expected.items()]


@pytest.mark.parametrize("name", ["fasterrcnn_resnet10_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn"])
def test_images_are_resized_once(name):
    """By the model, unless the augmentation has done so."""
    for augmentation, skip in (("hflip", False), ("lsj", True), ("multiscale", True)):
        model = on_meta("object_detection", name, data_augmentation=augmentation, min_size=300, max_size=500)
        images, _ = model.transform([torch.rand(3, 60, 80), torch.rand(3, 70, 200)])
        assert images.image_sizes == ([(60, 80), (70, 200)] if skip else [(300, 400), (175, 500)])


def test_ssd_has_its_own_size():
    for name, side in (("ssd300_vgg16", 300), ("ssdlite320_mobilenet_v3_large", 320)):
        assert on_meta("object_detection", name, min_size=100).transform.fixed_size == (side, side)


def test_proposals_below_a_score_are_left_out_if_asked():
    name = "fasterrcnn_resnet10_fpn"
    assert on_meta("object_detection", name).rpn.score_thresh == 0.0
    assert on_meta("object_detection", name, rpn_score_thresh=0.25).rpn.score_thresh == 0.25


def test_a_second_head_is_there_if_asked():
    for asked in (True, False):
        model = on_meta("semantic_segmentation", "deeplabv3_resnet50", aux_loss=asked)
        assert (model.aux_classifier is not None) == asked
    for name in ("lraspp_resnet10", "lraspp_mobilenet_v3_large"):
        with pytest.raises(UserError, match=f"^{name} has no second head: --aux-loss False$"):
            on_meta("semantic_segmentation", name, aux_loss=True)


@SMALL
def test_a_small_model_learns_and_predicts(task, name):
    torch.manual_seed(0)
    model = make(task, name)
    if task == "semantic_segmentation":
        outputs = model(torch.randn(2, 3, 64, 96))
        assert outputs.keys() == ({"out", "aux"} if RECIPES[task][name].aux_loss else {"out"})
        assert {tuple(each.shape) for each in outputs.values()} == {(2, 21, 64, 96)}
        return
    images = [torch.rand(3, 96, 120), torch.rand(3, 110, 96)]
    masks = torch.zeros(1, 96, 120, dtype=torch.bool), torch.zeros(0, 110, 96, dtype=torch.bool)
    masks[0][0, 10:60, 20:70] = True
    targets = [
        {"boxes": torch.tensor([[20.0, 10, 70, 60]]), "labels": torch.tensor([90]), "masks": masks[0]},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": masks[1]},
    ]
    loss = sum(model(images, targets).values())
    loss.backward()
    assert loss.isfinite() and all(each.grad is not None for each in model.parameters())
    with torch.no_grad():
        for image, found in zip(images, model.eval()(images), strict=True):
            height, width = image.shape[1:]
            assert len(found["boxes"]) == len(found["labels"]) <= 300
            assert ((found["boxes"] >= 0) & (found["boxes"] <= torch.tensor([width, height] * 2))).all()
            assert task == "object_detection" or found["masks"].shape[1:] == (1, height, width)


# Activations


def functional(model):
    return [(each.activation, each.class_name) for each in find_activations(model).functional]


@EVERY
def test_every_hidden_activation_is_swapped(task, name):
    model, others = on_meta(task, name), on_meta(task, name, "ReLU")
    assert not [path for path, each in model.named_modules() if type(each) in HIDDEN]
    left = [each for each in find_activations(model).functional if each.activation != "Sigmoid"]
    assert [each.call for each in left] == ([BOUND] if name.startswith("fcos") else [])
    places = {path for path, each in others.named_modules() if type(each) is nn.ReLU}
    calls = [each for each in functional(others) if each[0] == "ReLU"]
    found = {path for path, each in model.named_modules() if type(each) is GoLU}
    assert {path for path in found if "golu_functional" not in path} == places
    assert len(found) - len(places) == len(set(calls)) - len(left)  # one for each module that calls


def test_the_functional_calls_that_are_swapped():
    pyramid, head = [("ReLU", "LastLevelP6P7")], [("ReLU", "TwoMLPHead")] * 2
    expected = {
        "fasterrcnn_resnet10_fpn": head, "fasterrcnn_resnet50_fpn": head, "fasterrcnn_resnet50_fpn_v2": [],
        "retinanet_resnet10_fpn": pyramid, "retinanet_resnet50_fpn": pyramid, "retinanet_resnet50_fpn_v2": pyramid,
        "fcos_resnet50_fpn": [*pyramid, ("ReLU", "FCOSRegressionHead")],
        "ssd300_vgg16": [], "ssdlite320_mobilenet_v3_large": [],
    }  # fmt: skip
    for name in RECIPES["object_detection"]:
        found = functional(on_meta("object_detection", name, "ReLU"))
        assert [each for each in found if each[0] == "ReLU"] == expected[name]


def test_the_heads_compute_with_the_activation():
    torch.manual_seed(0)
    box_head = make("object_detection", "fasterrcnn_resnet10_fpn").roi_heads.box_head
    x = torch.randn(4, 64, 7, 7)
    assert torch.allclose(box_head(x), golu(box_head.fc7(golu(box_head.fc6(x.flatten(1))))), atol=1e-6)
    extra = make("object_detection", "retinanet_resnet10_fpn").backbone.fpn.extra_blocks
    levels, _ = extra([torch.randn(1, 64, 8, 8)], [torch.randn(1, 64, 8, 8)], ["0"])
    assert torch.allclose(levels[2], extra.p7(golu(levels[1])), atol=1e-6) and levels[1].min() < 0


def test_fcos_has_no_negative_distances():
    """Its last ReLU is not between layers; those before it are, and are swapped."""
    torch.manual_seed(0)
    with torch.device("meta"):
        head = make("object_detection", "fcos_resnet50_fpn").head.regression_head
    head.to_empty(device="cpu")
    for each in head.parameters():
        nn.init.normal_(each, std=0.05)
    x = torch.randn(1, 256, 9, 9)
    with torch.no_grad():
        distances, _ = head([x])
        assert [type(each) for each in head.conv] == [nn.Conv2d, nn.GroupNorm, GoLU] * 4
        for number in range(0, 12, 3):
            x = golu(head.conv[number + 1](head.conv[number](x)))
        expected = head.bbox_reg(x).clamp(min=0).permute(0, 2, 3, 1).reshape(1, -1, 4)
    assert torch.allclose(distances, expected, atol=1e-5) and distances.min() == 0 and distances.max() > 0
    assert isinstance(head, torchvision.models.detection.fcos.FCOSRegressionHead)


class Bounded(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.relu(self.inner(x))


class Also(Bounded):
    pass


@pytest.mark.parametrize("kind", [Bounded, Also])
def test_what_is_kept_keeps_its_own_calls_alone(kind):
    x = torch.randn(50)
    model = with_activation(nn.Sequential(kind(Bounded(nn.ReLU())), nn.ReLU()), "GoLU", keep=(kind,))
    inner = torch.relu(golu(x)) if kind is Bounded else golu(golu(x))
    assert torch.equal(model(x), golu(torch.relu(inner))) and isinstance(model[0], kind)
    with pytest.raises(UserError, match=r"cannot be given GoLU: it has ReLU x1 \(functional\), which is kept"):
        with_activation(nn.Sequential(kind(nn.Linear(2, 2))), "GoLU", keep=(kind,))


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("object_detection", "retinanet_resnet10_fpn"), ("instance_segmentation", "maskrcnn_resnet10_fpn"),
        ("semantic_segmentation", "lraspp_resnet10"), ("semantic_segmentation", "lraspp_mobilenet_v3_large"),
    ],
)  # fmt: skip
def test_initial_weights_are_the_same_whatever_the_activation(task, name):
    states = []
    for activation in ("ReLU", "GELU"):
        torch.manual_seed(5)
        states.append(make(task, name, activation).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[1][key], each) for key, each in states[0].items())
    assert any(each.is_floating_point() and each.std() > 0 for each in states[0].values())


# Recipes: those of torchvision's references/detection and references/segmentation

DETECTION = {
    "epochs": 26, "opt": "sgd", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4, "norm_weight_decay": None,
    "lr_scheduler": "multisteplr", "lr_steps": (16, 22), "lr_gamma": 0.1, "aspect_ratio_group_factor": 3,
    "data_augmentation": "hflip", "min_size": 800, "max_size": 1333, "warmup_steps": 1000, "amp": False,
}  # fmt: skip
SEGMENTATION = {
    "epochs": 30, "batch_size": 8, "opt": "sgd", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4, "aux_loss": True,
    "aux_weight": 0.5, "aux_lr_factor": 10.0, "base_size": 520, "crop_size": 480, "amp": False,
}  # fmt: skip
CHANGES = {
    "retinanet_resnet50_fpn": {"lr": 0.01},
    "fcos_resnet50_fpn": {"lr": 0.01},
    "retinanet_resnet50_fpn_v2": {
        "opt": "adamw", "lr": 1e-4, "weight_decay": 0.05, "norm_weight_decay": 0.0, "data_augmentation": "multiscale",
    },
    "ssd300_vgg16": {
        "epochs": 120, "lr_steps": (80, 110), "lr": 0.002, "weight_decay": 5e-4, "data_augmentation": "ssd",
    },
    "ssdlite320_mobilenet_v3_large": {
        "epochs": 660, "batch_size": 24, "lr": 0.15, "weight_decay": 4e-5, "lr_scheduler": "cosineannealinglr",
        "data_augmentation": "ssdlite",
    },
    "deeplabv3_mobilenet_v3_large": {"lr": 0.01, "weight_decay": 1e-6},
    "lraspp_mobilenet_v3_large": {"lr": 0.01, "weight_decay": 1e-6, "aux_loss": False},
}  # fmt: skip


@TORCHVISIONS
def test_recipes_are_those_of_torchvisions_references(task, name):
    settings = RECIPES[task][name]
    assert settings.model == name and not settings.pretrained
    expected = (SEGMENTATION if task == "semantic_segmentation" else DETECTION) | CHANGES.get(name, {})
    assert {key: getattr(settings, key) for key in expected} == expected


def test_the_rate_falls_in_proportion_in_a_shorter_training():
    recipe = RECIPES["object_detection"]["fasterrcnn_resnet50_fpn"]
    for epochs, steps in ((26, (16, 22)), (13, (8, 11)), (52, (32, 44)), (1, (1, 1))):
        assert shortened(replace(recipe, epochs=epochs), recipe).lr_steps == steps
    assert shortened(replace(recipe, epochs=13, lr_steps=(3,)), recipe).lr_steps == (3,)
