"""--init-from takes the names by which torchvision and timm publish weights."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torchvision.models import SqueezeNet1_1_Weights

from tests.tasks.image_classification.small import loop_of, timm_task, torchvision_task
from workbench.cli.errors import UserError

NAME = "SqueezeNet1_1_Weights.IMAGENET1K_V1"
VIT = "vit_tiny_patch16_224"


def starting_from(task, name):
    """The model of a run that starts from weights of that name, and what the run says of it."""
    object.__setattr__(task.source, "init_from", Path(name))
    model = loop_of(task).model
    return model.state_dict(), task.beginning


def test_of_torchvision(tmp_path, monkeypatch):
    theirs = torchvision.models.squeezenet1_1()
    file = tmp_path / "hub/checkpoints" / Path(SqueezeNet1_1_Weights.IMAGENET1K_V1.url).name
    file.parent.mkdir(parents=True)
    torch.save(theirs.state_dict(), file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found, said = starting_from(torchvision_task(), NAME)
    wanted = {name: each for name, each in theirs.state_dict().items() if not name.startswith("classifier")}
    assert all(torch.equal(found[name], each) for name, each in wanted.items())
    assert said == f"starts from {NAME}; made anew: classifier.1.weight, classifier.1.bias"  # of ten classes


def test_of_timm(tmp_path, monkeypatch):
    """A transformer's positions are fitted to the size of the images, as timm does it."""
    name, make = f"{VIT}.augreg_in21k", timm.create_model
    theirs = make(VIT, num_classes=21843)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")

    def from_the_file(*given, pretrained=False, **more):
        overlay = {"file": str(tmp_path / "weights.pth")} if pretrained else None
        return make(*given, pretrained=pretrained, pretrained_cfg_overlay=overlay, **more)

    monkeypatch.setattr(timm, "create_model", from_the_file)
    found, said = starting_from(timm_task(model=VIT, img_size=64), name)
    assert said == f"starts from {name}; made anew: head.weight, head.bias"
    assert torch.equal(found["blocks.3.mlp.fc1.weight"], theirs.blocks[3].mlp.fc1.weight)
    assert found["pos_embed"].shape == (1, 17, 192) and found["pos_embed"].std() > 0


@pytest.mark.parametrize(
    ("task", "name", "said"),
    [
        (
            torchvision_task,
            "ResNet18_Weights.IMAGENET1K_V1",
            f"unknown weights of squeezenet1_1 .* choose from {NAME}",
        ),
        (timm_task, "resnet18.a1_in1", "unknown weights of resnet18 .* did you mean resnet18.a1_in1k?"),
        (timm_task, "results/none.pth", "unknown weights of resnet18"),
    ],
)
def test_of_no_one(task, name, said):
    with pytest.raises(UserError, match=f"^--init-from: there is no file {name}; {said}"):
        starting_from(task(), name)


def test_what_cannot_be_downloaded_is_one_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"the weights resnet18\.a1_in1k cannot be downloaded") as error:
        starting_from(timm_task(), "resnet18.a1_in1k")
    assert "\n" not in str(error.value)
