"""Put GoLU in the place of the hidden activations that a host's own argument does not reach."""

import warnings
from collections import Counter
from collections.abc import Collection

from torch import nn

from golu.modules import GoLU
from golu.surgery import find_activations, replace_activation_by_name
from golu.surgery.kinds import HIDDEN
from golu.surgery.report import require_model

_REPLACED = (*HIDDEN, "QuickGELU")
# a call whose approximation is known at run time only
_UNKNOWN_GELU = "GELU(approximate=...)"


def has_golu(model: nn.Module) -> bool:
    """Tell whether GoLU is in the model, as a module or as a function that one calls."""
    report = find_activations(model)
    return "GoLU" in {label for _, label in report.modules} | {call.activation for call in report.functional}


def left(model: nn.Module, keep: Collection[str] = ()) -> Counter[str]:
    """Count the hidden activations other than GoLU, modules and calls, except at attributes named in `keep`."""
    report = find_activations(model)
    modules = [label for path, label in report.modules if path.rpartition(".")[2] not in keep]
    calls = [_UNKNOWN_GELU if each.activation.startswith("GELU(") else each.activation for each in report.functional]
    return Counter(label for label in modules + calls if label in (*_REPLACED, _UNKNOWN_GELU))


def listed(counts: Counter[str]) -> str:
    """Write counts on one line: ReLU x4, SiLU x2."""
    return ", ".join(f"{label} x{count}" for label, count in counts.items())


def swap(
    model: nn.Module,
    keep: Collection[str] = (),
    keep_calls: tuple[type[nn.Module], ...] = (),
    stacklevel: int = 2,
) -> nn.Module:
    """Put GoLU in the place of every hidden activation, calls of functions included; return the model.

    Args:
        model: is changed in place. Parameters and initial weights stay as they were.
        keep: names of attributes whose modules stay, as a ReLU that keeps attention weights positive is no activation.
        keep_calls: classes whose own calls stay, as a ReLU that bounds an output is none.
        stacklevel: whom warnings name, as warnings.warn takes it.

    What cannot be swapped stays, and a warning lists it.
    """
    require_model(model)
    kept = [(parent, name, child) for parent in model.modules() for name, child in parent.named_children()]
    found = left(model, keep).keys()
    labels = (found | {"GELU", "GELU_tanh"}) - {_UNKNOWN_GELU} if _UNKNOWN_GELU in found else found
    for label in sorted(labels):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = replace_activation_by_name(model, label, GoLU, functional=True, keep=keep_calls)
        for each in caught:
            warnings.warn(str(each.message), stacklevel=stacklevel)
    for parent, name, child in kept:
        if name in keep:
            setattr(parent, name, child)
    return model
