"""Start from trained weights: those of a classifier that was trained here, or torchvision's."""

from __future__ import annotations

import re
from pathlib import Path

from torch import hub, nn

from golu.activations import unknown_name
from workbench.cli.errors import UserError, first_line
from workbench.training.checkpoint import read_trained
from workbench.training.runs import StoredRun
from workbench.training.weights import Weights
from workbench.vision.models import timm_model

HEAD = "fc."  # of a ResNet: its parameters begin so


def without_head(weights: Weights) -> Weights:
    """Return those of a classifier's backbone alone."""
    return Weights(weights.source, {name: each for name, each in weights.tensors.items() if not name.startswith(HEAD)})


def trained_backbone(folder: str, run: StoredRun) -> Weights:
    """Read the classifier that was trained with the run's activation and seed: its moving average, if it has one.

    Args:
        folder: holds a folder for each activation, as <results>/imagenet_1k/resnet50 does.

    Raises:
        UserError: it is missing, broken, diverged, or of another activation.
    """
    path = Path(folder) / run.activation / f"checkpoint_{run.seed}.pth"
    if not path.exists():
        raise UserError(
            f"there is no trained backbone {path}: --backbone-checkpoint-path names the folder that holds a folder for "
            "each activation, as results/imagenet_1k/resnet50"
        )
    state = read_trained(path)
    configuration, tensors = state.get("configuration"), state.get("ema") or state["model"]
    if not isinstance(configuration, dict):
        raise UserError(f"{path} is of an earlier version or another program")
    if configuration.get("activation") != run.activation:
        raise UserError(f"the backbone {path} is of {configuration.get('activation')}, not of {run.activation}")
    return without_head(Weights(f"{path} ({configuration.get('model')})", tensors))


def torchvision_weights(name: str, model: str) -> Weights:
    """Load weights of torchvision by their name, as ResNet50_Weights.IMAGENET1K_V1; they are downloaded once.

    Args:
        model: the one they have to be of.

    Raises:
        UserError: there are no such weights, or they cannot be downloaded or read.
    """
    import torchvision

    known = torchvision.models.list_models()
    weights = [str(each) for each in torchvision.models.get_model_weights(model)] if model in known else []
    if name not in weights:
        raise UserError(unknown_name(f"weights of {model}", name, weights))
    try:
        return Weights(name, torchvision.models.get_weight(name).get_state_dict(check_hash=True))
    except Exception as error:  # the many ways in which downloading and reading go wrong
        raise UserError(
            f"the weights {name} cannot be downloaded to {hub.get_dir()}, or read ({first_line(error)})"
        ) from error


def timm_weights(name: str, model: str, img_size: int | None) -> Weights:
    """Load weights of timm by their name, as vit_tiny_patch16_224.augreg_in21k; they are downloaded once.

    Args:
        model: the one they have to be of.
        img_size: for whose positions they are made to fit; None: the model's own.

    Raises:
        UserError: there are no such weights, or they cannot be downloaded or read.
    """
    import timm

    known = timm.list_pretrained(f"{model}.*")
    if name != model and name not in known:
        raise UserError(unknown_name(f"weights of {model}", name, known))
    try:
        return Weights(name, timm_model(name, img_size, pretrained=True).state_dict())
    except Exception as error:  # the many ways in which downloading and reading go wrong
        raise UserError(f"the weights {name} cannot be downloaded, or read ({first_line(error)})") from error


def backbone_name(model: str) -> str:
    """Return which classifier a model of torchvision is built on, as resnet50 in deeplabv3_resnet50."""
    found = re.search(r"resnet\d+", model)
    return found.group() if found else model


def freeze(body: nn.Module, trainable: int, statistics: bool) -> None:
    """Freeze the first layers of a trained ResNet's body, as torchvision's detectors do.

    Args:
        trainable: how many of its five parts are trained, counted from the end.
        statistics: whether batch norms keep their statistics, and their parameters, throughout.
    """
    from torchvision.ops import FrozenBatchNorm2d

    parts = ["layer4", "layer3", "layer2", "layer1", "conv1"][:trainable] + ["bn1"] * (trainable == 5)
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name.startswith(tuple(parts)))
    for parent in list(body.modules()) if statistics else []:
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, FrozenBatchNorm2d(child.num_features, child.eps))
