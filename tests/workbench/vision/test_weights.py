"""workbench/vision/weights.py: trained weights to start from, and which of them stay as they are."""

import email.message
import http.client
import io
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import ResNet50_Weights
from torchvision.ops import FrozenBatchNorm2d

from tasks.object_detection.models import detector
from tasks.object_detection.recipes import RECIPES
from workbench.cli.errors import UserError
from workbench.training.runs import StoredRun
from workbench.training.weights import Weights
from workbench.vision.weights import backbone_name, torchvision_weights, trained_backbone, without_head

NAME = "ResNet50_Weights.IMAGENET1K_V1"
DETECTORS = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn_v2")


def run(activation="GoLU", seed=3):
    return StoredRun(Path("results"), "coco", "fasterrcnn_resnet50_fpn", activation, seed)


def state(value, activation="GoLU", ema=None, **more):
    """A checkpoint of a tiny classifier, whose weights all have this value."""

    def weights(value):
        return {
            "layer1.0.weight": torch.full((2, 3), value),
            "fcs.weight": torch.full((2,), value),
            "fc.weight": torch.full((5, 2), value),
            "fc.bias": torch.full((5,), value),
            "bn1.num_batches_tracked": torch.tensor(7),
        }

    return {
        "model": weights(value),
        "ema": None if ema is None else weights(ema),
        "configuration": {"activation": activation, "model": "resnet50"},
    } | more


def store(folder, checkpoint, activation="GoLU", seed=3):
    path = folder / activation / f"checkpoint_{seed}.pth"
    path.parent.mkdir(exist_ok=True)
    torch.save(checkpoint, path)
    return path


# Classifiers that were trained here


def test_the_classifier_has_the_runs_activation_and_seed(tmp_path):
    for number, (activation, seed) in enumerate([("GoLU", 0), ("GoLU", 3), ("ReLU", 0), ("ReLU", 3)]):
        store(tmp_path, state(float(number), activation), activation, seed)
    for number, (activation, seed) in enumerate([("GoLU", 0), ("GoLU", 3), ("ReLU", 0), ("ReLU", 3)]):
        found = trained_backbone(str(tmp_path), run(activation, seed))
        assert found.tensors.keys() == {"layer1.0.weight", "fcs.weight", "bn1.num_batches_tracked"}
        assert found.tensors["layer1.0.weight"].tolist() == [[number] * 3] * 2
        assert found.source == f"{tmp_path / activation / f'checkpoint_{seed}.pth'} (resnet50)"


def test_the_moving_average_is_preferred(tmp_path):
    store(tmp_path, state(1.0, ema=2.0))
    assert trained_backbone(str(tmp_path), run()).tensors["fcs.weight"].tolist() == [2, 2]


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("checkpoint", "damage", "said"),
    [
        (state(1.0), Path.unlink, "there is no trained backbone {}: --backbone-checkpoint-path names the folder"),
        (state(1.0), cut_short, "the checkpoint {} is broken"),
        (state(1.0), lambda path: path.write_bytes(b""), "the checkpoint {} is broken"),
        (state(1.0, "ReLU"), None, "the backbone {} is of ReLU, not of GoLU"),
        (state(1.0, configuration={}), None, "the backbone {} is of None, not of GoLU"),
        (state(float("nan")), None, "{} is of a training that diverged"),
        (state(float("inf"), ema=1.0), None, "{} is of a training that diverged"),
        (state(1.0, configuration=None), None, "{} is of an earlier version or another program"),
        ([state(1.0)], None, "{} is no checkpoint of a training run"),
    ],
)
def test_a_classifier_that_cannot_be_used_is_refused(checkpoint, damage, said, tmp_path):
    path = store(tmp_path, checkpoint)
    if damage:
        damage(path)
    with pytest.raises(UserError) as error:
        trained_backbone(str(tmp_path), run())
    assert str(error.value).startswith(said.format(path)) and "\n" not in str(error.value)


def test_a_classifier_of_another_architecture_is_refused(tmp_path):
    path = store(tmp_path, state(1.0, model=torchvision.models.resnet18().state_dict()))
    with pytest.raises(UserError) as error:
        trained_backbone(str(tmp_path), run()).load_into(torchvision.models.resnet50())
    message = str(error.value)
    assert message.startswith(f"{path} (resnet50) does not fit this model: ") and "\n" not in message
    assert len(message) < len(str(path)) + 300


def test_weights_are_set_and_told_from_others(tmp_path):
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    weights = Weights("there", model.state_dict())
    weights.load_into(other)
    assert torch.equal(other.weight, model.weight) and torch.equal(other.bias, model.bias)
    before = weights.fingerprint()
    assert Weights("elsewhere", other.state_dict()).fingerprint() == before and len(before) == 8
    renamed = {name.replace("bias", "bias2"): each for name, each in other.state_dict().items()}
    assert Weights("there", renamed).fingerprint() != before
    with torch.no_grad():
        other.bias[1] += 1e-6
    assert Weights("there", other.state_dict()).fingerprint() != before


# torchvision's weights


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A random ResNet-50 where torchvision keeps what it has downloaded; returns its weights."""
    folder = tmp_path_factory.mktemp("torch")
    torch.manual_seed(0)
    classifier = torchvision.models.resnet50()
    for each in classifier.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.normal_()
            each.running_var.uniform_(0.5, 2)
    file = folder / "hub/checkpoints" / Path(ResNet50_Weights.IMAGENET1K_V1.url).name
    file.parent.mkdir(parents=True)
    torch.save(classifier.state_dict(), file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(folder))
        yield classifier.state_dict()


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub/checkpoints" / Path(ResNet50_Weights.IMAGENET1K_V1.url).name


def test_weights_of_torchvision_start_a_backbone(cache):
    recipe = replace(RECIPES[DETECTORS[0]], weights_backbone=NAME)
    model = detector(recipe, 91, "GoLU", pretrained=True)
    without_head(torchvision_weights(NAME, backbone_name(recipe.model))).load_into(model.backbone.body)
    found = model.backbone.body.state_dict()
    names = {name for name in cache if not name.startswith("fc.") and not name.endswith("num_batches_tracked")}
    assert found.keys() == names and all(torch.equal(found[name], cache[name]) for name in names)


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("ResNet50_Weights.IMAGENET1K_V3", "resnet50", "did you mean ResNet50_Weights.IMAGENET1K_V"),
        ("ResNet18_Weights.IMAGENET1K_V1", "resnet50", "unknown weights of resnet50 'ResNet18_Weights.IMAGENET1K_V1'"),
        ("IMAGENET1K_V1", "resnet50", "unknown weights of resnet50 'IMAGENET1K_V1'"),
        (NAME, "fasterrcnn_resnet10_fpn", "unknown weights of fasterrcnn_resnet10_fpn"),
    ],
)
def test_unknown_weights_are_refused(name, model, said):
    with pytest.raises(UserError, match=said):
        torchvision_weights(name, model)


class Answer(io.BytesIO):
    """What a server sends that does not have the weights."""

    def info(self):
        return email.message.Message()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (urllib.error.URLError("no network"), "no network"),
        (TimeoutError(), "TimeoutError"),
        (http.client.IncompleteRead(b"some"), "IncompleteRead"),
        (Answer(b"a page\nthat asks for a password"), "invalid hash value"),
    ],
)
def test_a_download_that_fails_is_one_line(answer, reason, no_cache, monkeypatch):
    def urlopen(*_, **__):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(torch.hub, "urlopen", urlopen)
    with pytest.raises(UserError) as error:
        torchvision_weights(NAME, "resnet50")
    message = str(error.value)
    assert message.startswith(f"the weights {NAME} cannot be downloaded to {no_cache.parents[1]}")
    assert reason in message and "\n" not in message


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_a_download_that_was_damaged_is_one_line(content, no_cache):
    no_cache.parent.mkdir(parents=True)
    no_cache.write_bytes(content)
    with pytest.raises(UserError, match=f"^the weights {NAME} cannot be downloaded .*or read .*$") as error:
        torchvision_weights(NAME, "resnet50")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "classifier"),
    [
        ("fasterrcnn_resnet50_fpn", "resnet50"), ("retinanet_resnet50_fpn_v2", "resnet50"),
        ("deeplabv3_resnet101", "resnet101"), ("ssd300_vgg16", "ssd300_vgg16"),
    ],
)  # fmt: skip
def test_a_model_names_its_backbone(model, classifier):
    assert backbone_name(model) == classifier


# Frozen layers


def kinds(model):
    """Which parameters are trained, and the batch norms of each kind."""
    norms = {
        name: (type(each), each.num_features if isinstance(each, nn.BatchNorm2d) else len(each.weight), each.eps)
        for name, each in model.named_modules()
        if isinstance(each, (nn.BatchNorm2d, FrozenBatchNorm2d))
    }
    return {name: each.requires_grad for name, each in model.named_parameters()}, norms


@pytest.mark.parametrize("layers", [0, 3, 5, None])
@pytest.mark.parametrize("name", DETECTORS)
def test_what_is_frozen_is_what_torchvision_freezes(name, layers, monkeypatch):
    """On the meta device, where weights have no values; theirs are not read."""
    monkeypatch.setattr(torchvision.models.ResNet, "load_state_dict", lambda *_, **__: None)
    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", lambda *_, **__: {})
    recipe = replace(RECIPES[name], weights_backbone=NAME, trainable_backbone_layers=layers)
    with torch.device("meta"):
        ours = detector(recipe, 91, "ReLU", pretrained=True)
        theirs = torchvision.models.get_model(
            name, weights=None, weights_backbone=ResNet50_Weights.IMAGENET1K_V1, trainable_backbone_layers=layers
        )
    (trained, norms), expected = kinds(ours), kinds(theirs)
    assert trained == expected[0] and norms == expected[1] and len(norms) >= 53
    assert {each for name, each in trained.items() if not name.startswith("backbone.body.")} == {True}


@pytest.mark.parametrize("name", DETECTORS)
def test_nothing_is_frozen_of_random_weights(name):
    with torch.device("meta"):
        trained, norms = kinds(detector(RECIPES[name], 91, "ReLU", pretrained=False))
    assert set(trained.values()) == {True} and {kind for kind, _, _ in norms.values()} == {nn.BatchNorm2d}
