"""Build models of torchvision with GoLU."""

from typing import Any

from torch import nn

from golu.integrations.hosts import imported
from golu.integrations.swapping import left, swap

_AT_LEAST = "0.25"  # of torch 2.10, which golu needs


def get_model(name: str, *, weights: Any = None, **config: Any) -> nn.Module:
    """Build a model of torchvision with GoLU for its hidden activations.

    They are swapped after building, since hardly a builder takes an activation. Sigmoids, and the ReLU by which FCOS
    bounds its distances, stay. Where a layer takes `activation_layer`, as torchvision.ops.MLP, golu.GoLU can be given.

    Args:
        name, weights, config: what `torchvision.models.get_model` takes. Initial weights are drawn as torchvision draws
            them with the same seed.

    Raises:
        ImportError: torchvision is missing or too old.
        ValueError: torchvision has no such model; or it has no hidden activation.
    What cannot be swapped stays, and a warning lists it.
    """
    imported("torchvision", _AT_LEAST)
    from torchvision import models
    from torchvision.models.detection import fcos

    model: nn.Module = models.get_model(name, weights=weights, **config)
    if not left(model):
        raise ValueError(f"{name} has no hidden activation that GoLU could be put in the place of")
    return swap(model, keep_calls=(fcos.FCOSRegressionHead,), stacklevel=3)
