"""A model of torchvision or timm with one activation throughout."""

from __future__ import annotations

import difflib
import warnings
from typing import TYPE_CHECKING, Any

from torch import nn

from golu import find_activations, replace_activation_by_torch_module
from golu.activations import ACTIVATIONS, unknown_name
from tasks.engine.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

# what a model has between its layers; sigmoids and their hard forms are gates, and stay
HIDDEN = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Mish, nn.ELU, nn.LeakyReLU)


def with_activation(model: nn.Module, activation: str) -> nn.Module:
    """Put the named activation in the place of every hidden one, functional calls included; the model is changed.

    The number of parameters and the initial weights stay as they were.
    """
    report = find_activations(model)
    held = {each.activation for each in report.functional} | {name for _, name in report.modules}
    held = {name.removesuffix("_tanh") for name in held}
    for cls in HIDDEN:
        if cls.__name__ in held and not _is(activation, cls):
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a call that cannot be swapped would falsify a comparison
                try:
                    replace_activation_by_torch_module(model, cls, activation, functional=True)
                except UserWarning as warning:
                    raise UserError(f"the model cannot be given {activation} throughout: {warning}") from None
    return model


def _is(activation: str, cls: type[nn.Module]) -> bool:
    made = ACTIVATIONS[activation]()
    return type(made) is cls and getattr(made, "approximate", "none") == "none"


def share_statistics(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Batch statistics over all processes, which torch has on GPUs only; elsewhere the model as it is."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if accelerator.num_processes > 1 and accelerator.is_main_process:
        print("--sync-bn has no effect on the CPU: each process has its own batch statistics")
    return model


def torchvision_classifier(name: str, classes: int, activation: str) -> nn.Module:
    """A torchvision classifier with random initial weights.

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


def timm_classifier(name: str, classes: int, activation: str, **settings: Any) -> nn.Module:
    """A timm model with random initial weights; settings that are None are left to timm.

    Raises:
        UserError: the name is unknown, or the model does not take the settings.
    """
    import timm

    known = timm.list_models()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or ["resnet50"]
        raise UserError(f"unknown model {name!r}: timm has {len(known)}, such as {', '.join(close)}")
    given = {key: value for key, value in settings.items() if value is not None}
    try:
        model = timm.create_model(name, num_classes=classes, **given)
    except (TypeError, AssertionError, ValueError) as error:
        raise UserError(f"{name} cannot be made with {given}: {error}") from error
    return with_activation(model, activation)
