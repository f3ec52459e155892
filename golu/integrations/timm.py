"""Build models of timm with GoLU, and make "golu" a name that timm's `act_layer` takes."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from golu.functional import golu
from golu.integrations.hosts import NAME, Registration, imported
from golu.integrations.swapping import has_golu, left, listed
from golu.integrations.swapping import swap as swap_hidden
from golu.modules import GoLU
from golu.surgery import replace_activation_by_name

_AT_LEAST = "0.9.16"
# 1 / sqrt(Var[golu(z)]) for z standard normal: what nfnets scale by, to keep the variance
_GAMMA = 1.989570705556305
# attributes that keep the weights of a linear attention positive, as EfficientViT's: no activations
_KEPT = ("kernel_func",)
# activations made of ReLU: what is swapped is all of it, scale and bias included
_OF_RELU = ("StarReLU", "SquaredReLU")


def _golu(x: Tensor, inplace: bool = False) -> Tensor:
    """Apply GoLU, as timm calls functions: `inplace` is ignored."""
    return golu(x)


def enable() -> Registration:
    """Make "golu" known to timm: to `act_layer`, to `get_act_layer` and `get_act_fn`, and to nfnets.

    Returns:
        What takes it out again, by `undo()` or as a context manager. Where it was known already, nothing happens.

    Raises:
        ImportError: timm is missing or too old.
        ValueError: timm has another "golu".
    """
    imported("timm", _AT_LEAST)
    from timm.layers import create_act
    from timm.models import nfnet

    entries: list[tuple[dict[str, Any], Any]] = [
        (create_act._ACT_LAYER_DEFAULT, GoLU),
        (create_act._ACT_FN_DEFAULT, _golu),
        (nfnet._nonlin_gamma, _GAMMA),
    ]
    return Registration("timm", entries)


def create_model(model_name: str, pretrained: bool = False, *, swap: bool = True, **settings: Any) -> nn.Module:
    """Build a model of timm with GoLU for its hidden activations, whichever family it is of.

    The family's `act_layer` gets the name, or the class where it takes no name. What that does not reach (squeeze and
    excitation, stems, families without `act_layer`) is swapped afterwards. Sigmoids, and the ReLU that keeps attention
    weights positive in EfficientViT, are gates rather than activations and stay.

    Args:
        model_name, pretrained, settings: what `timm.create_model` takes, but act_layer. Initial weights are drawn as
            timm draws them with the same seed.
        swap: False leaves what `act_layer` does not reach, as timm's own programs do, and warns of it.

    Raises:
        ImportError: timm is missing or too old.
        TypeError: settings have act_layer.
        ValueError: there is nothing that could be GoLU; or timm has another "golu".
    Errors of timm (unknown names, settings that a model does not take) are raised as they are.
    """
    if "act_layer" in settings:
        raise TypeError("act_layer is GoLU here; for others there is timm.create_model")
    with enable():
        model = _built(model_name, {"pretrained": pretrained, **settings})
    rest = left(model, _KEPT)
    if not rest and not has_golu(model):
        raise ValueError(f"{model_name} has no hidden activation that GoLU could be put in the place of")
    if swap:
        for name in {type(each).__name__ for each in model.modules()}.intersection(_OF_RELU):
            model = replace_activation_by_name(model, name, GoLU)
        return swap_hidden(model, _KEPT, stacklevel=3)
    if not has_golu(model):
        raise ValueError(f"{model_name} takes no act_layer: swap=True puts GoLU in the place of {listed(rest)}")
    if rest:
        warnings.warn(f"{model_name}: act_layer leaves {listed(rest)}; swap=True makes them GoLU too", stacklevel=2)
    return model


def _built(model_name: str, settings: dict[str, Any]) -> nn.Module:
    """Build by name, by class, or as timm does without either: what the family takes."""
    import timm

    random = torch.get_rng_state()
    for act_layer in (NAME, GoLU):
        try:
            return timm.create_model(model_name, act_layer=act_layer, **settings)
        except TypeError:  # the argument is not taken, or a name is not
            torch.set_rng_state(random)
    return timm.create_model(model_name, **settings)
