"""Make models of torchvision or timm with one activation throughout."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import nn

from golu.activations import unknown_name
from workbench.cli.errors import UserError
from workbench.training.swap import with_activation


def check_input(model: nn.Module, side: int, batch: int) -> None:
    """Check that the model takes square images of `side` pixels, and `batch` of them in a process.

    Raises:
        UserError: it does not.
    """
    if batch == 1 and any(isinstance(each, nn.BatchNorm2d) for each in model.modules()):
        raise UserError("a batch of one image in a process has no statistics for this model: choose a larger one")
    image = torch.zeros(2, 3, side, side, device=next(model.parameters()).device)
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(image)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the model does not take images of {side} x {side}: {reason}") from error
    finally:
        model.train(training)


def torchvision_classifier(name: str, classes: int, activation: str) -> nn.Module:
    """Make a torchvision classifier with random initial weights.

    Raises:
        UserError: the name is unknown.
    """
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UserError(unknown_name("model", name, known))
    # these two would otherwise initialise slowly and warn, and give a tuple in training
    special: dict[str, Any] = (
        {"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    )
    model = torchvision.models.get_model(name, weights=None, num_classes=classes, **special)
    return with_activation(model, activation)


def timm_classifier(
    name: str, classes: int, activation: str, img_size: int | None = None, **settings: Any
) -> nn.Module:
    """Make a timm model with random initial weights; settings that are None are left to timm.

    Args:
        img_size: the side of its images; transformers are made for one, convolutions take any.

    Raises:
        UserError: the name is unknown, or the model does not take the settings.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    return with_activation(timm_model(name, img_size, num_classes=classes, **given), activation)


def timm_model(name: str, img_size: int | None = None, **given: Any) -> nn.Module:
    """Make a timm model as it comes.

    Raises:
        UserError: the name is unknown, or the model does not take the settings.
    """
    import timm

    known, (architecture, _, _) = timm.list_models(), name.partition(".")
    if architecture not in known:
        close = difflib.get_close_matches(name, known, n=3) or ["resnet50"]
        raise UserError(f"unknown model {name!r}: timm has {len(known)}, such as {', '.join(close)}")
    sized: dict[str, Any] = {} if img_size is None else {"img_size": img_size}
    try:
        try:
            return timm.create_model(name, **given, **sized)
        except TypeError:  # it takes no img_size, or none of the others, which it says now
            return timm.create_model(name, **given)
    except (TypeError, AssertionError, ValueError) as error:
        raise UserError(f"{name} cannot be made with {given}: {error}") from error
