"""Tell which activation a function call computes."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from golu.functional import golu
from golu.modules import GoLU
from golu.neighbours import AGLU, ReLU2, TeLU, xIELU

_NO_ACTIVATIONS = {"MultiheadAttention", "Softmin", "Softmax", "Softmax2d", "LogSoftmax"}
# activations that call other activations' functions
COMPOSED: dict[str, type[nn.Module]] = {"ReLU2": ReLU2, "TeLU": TeLU, "xIELU": xIELU, "AGLU": AGLU}
CLASSES: dict[str, type[nn.Module]] = {
    **{name: getattr(nn, name) for name in nn.modules.activation.__all__ if name not in _NO_ACTIVATIONS},
    "GoLU": GoLU,
    **COMPOSED,
}


def _name(cls: type) -> str:
    return "leaky_relu" if cls is nn.LeakyReLU else cls.__name__.lower()


# what a model has between its layers; sigmoids, tanh and their hard forms are gates
HIDDEN = ("ReLU", "ReLU6", "GELU", "GELU_tanh", "SiLU", "Hardswish", "Mish", "ELU", "LeakyReLU")
_HOMES = (F, torch, torch.Tensor, torch._C._nn, torch.ops.aten)  # the last one's are packets of overloads


def _functions() -> dict[object, str]:
    found: dict[object, str] = {golu: "GoLU", torch.special.expit: "Sigmoid"}
    for label, cls in CLASSES.items():
        for name in (_name(cls), _name(cls) + "_"):
            for home in _HOMES:
                function = getattr(home, name, None)
                if function is None:
                    continue
                found[function] = label
                if home is torch.ops.aten:
                    found |= {getattr(function, overload): label for overload in function.overloads()}
    return found


FUNCTIONS = _functions()
# of tensors: x.relu()
METHODS: dict[str, str] = {
    name: label
    for label, cls in CLASSES.items()
    for name in (_name(cls), _name(cls) + "_")
    if hasattr(torch.Tensor, name)
}
_IN_PLACE = {function for function in FUNCTIONS if getattr(function, "__name__", "").endswith("_")}


def call_label(function: object, kwargs: Mapping[str, Any]) -> str | None:
    """Name the activation that a call of the function computes, as GELU_tanh; None for other functions."""
    label = FUNCTIONS.get(function)
    if label == "GELU" and kwargs.get("approximate") == "tanh":
        return "GELU_tanh"
    return label


def in_place(function: object, kwargs: Mapping[str, Any]) -> bool:
    """Tell whether a call of an activation overwrites its input."""
    return function in _IN_PLACE or bool(kwargs.get("inplace"))


def labels_of(cls: type) -> set[str]:
    """List the labels of a class of activations: GELU has three."""
    return {"GELU", "GELU_tanh", "QuickGELU"} if cls is nn.GELU else {cls.__name__}


def matches(label: str, labels: set[str]) -> bool:
    """Tell whether a label that was read in source is one of these, or may be: GELU(approximate=self.kind)."""
    return label in labels or (label.startswith("GELU(") and bool(labels & {"GELU", "GELU_tanh"}))


def function_name(function: object) -> str:
    return str(getattr(function, "__name__", function))


def is_bare(module: nn.Module) -> bool:
    """Tell whether a module has nothing of its own, so that a library may keep one for all models."""
    return not (module._modules or module._parameters or module._buffers)


def original_class(module: nn.Module) -> type:
    """Return the module's class, as it was before its calls were intercepted."""
    mro = type(module).__mro__
    below = [n for n, cls in enumerate(mro) if "_golu_intercepted" in vars(cls)]
    return mro[below[-1] + 2] if below else mro[0]  # behind it and its mixin
