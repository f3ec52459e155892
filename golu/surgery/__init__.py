"""Find, replace and update the activations inside a model.

A module is replaced where its parent holds it; calls of functions such as F.relu(x) are intercepted while the model
runs (interception.py). What a model computes is read in its source (source.py), or seen when it runs (observation.py).
"""

import warnings
from typing import Any, Literal

from torch import nn

from golu.functional import check_parameters
from golu.modules import GoLU, check_keep
from golu.surgery.interception import intercepted
from golu.surgery.kinds import CLASSES, labels_of, original_class
from golu.surgery.recognition import module_label
from golu.surgery.report import ActivationReport, FunctionalCall, find_activations, require_model
from golu.surgery.swap import NewActivation, Old, named, replace

__all__ = [
    "ActivationReport",
    "FunctionalCall",
    "find_activations",
    "replace_activation_by_name",
    "replace_activation_by_torch_module",
    "update_golu_parameters",
]


def replace_activation_by_torch_module(
    model: nn.Module,
    old_class: type[nn.Module],
    new: NewActivation,
    *,
    functional: bool = False,
    example: Any = None,
    keep: tuple[type[nn.Module], ...] = (),
) -> nn.Module:
    """Replace every module of exactly the class `old_class`, in place: ReLU leaves LeakyReLU and subclasses alone.

    Args:
        model: may itself be of `old_class`.
        new: a name (see `golu.available_activations`, or a class of torch.nn), a module (every place gets its own
            copy), or a module class or other callable without arguments that returns a module.
        functional: also let calls of functions such as F.relu(x, inplace=True) compute the new activation, however the
            call is written, and replace modules of other classes that compute the same as `old_class`. A module that
            makes such calls gets one new activation for them all, under its submodule `golu_functional`. Where the
            source only leaves it open, an activation without parameters is ready too, but no submodule.
        example: what the model is called with once after the swap (a tensor, a tuple of arguments, or a dict of named
            ones), to see that nothing is left; a warning lists what is.
        keep: classes whose own calls stay, as a ReLU that bounds an output is no activation.

    Returns:
        The model; or, if the model itself was replaced, the new module.

    Raises:
        TypeError: `old_class` is not a class, or `new` is none of the above.
        ValueError: `new` is an unknown name.

    A module shared by several places is replaced by one shared module. New modules take over the hooks, the training
    flag, and the device and dtype of the model's first floating-point parameter. If nothing matches, a warning lists
    what the model holds instead.

    With `functional`, calls that cannot be intercepted stay, and a warning lists them where they are known: those in
    recurrent layers, fx graphs and scripted modules. In a function given to torch.utils.checkpoint such a call is an
    error when it happens, in a torch.autograd.Function a warning. Calls made by modules that are put into the model
    later count too. Outside of torch.compile, each operation of a module that may make such calls costs some
    microseconds more.
    """
    if not isinstance(old_class, type):
        raise TypeError(
            f"old_class has to be a class such as torch.nn.ReLU, got a {type(old_class).__name__}; "
            "replace_activation_by_name takes names"
        )
    labels = labels_of(old_class) if old_class in CLASSES.values() else set()

    def is_old(name: str, module: nn.Module) -> bool:
        return original_class(module) is old_class or (functional and module_label(module) in labels)

    return replace(model, Old(old_class.__name__, is_old, labels), new, functional, example, keep)


def replace_activation_by_name(
    model: nn.Module,
    old_name: str,
    new: NewActivation,
    *,
    functional: bool = False,
    example: Any = None,
    keep: tuple[type[nn.Module], ...] = (),
) -> nn.Module:
    """Replace as `replace_activation_by_torch_module` does, with the old activation given by name.

    Args:
        old_name: a name of `golu.available_activations` (GELU and GELU_tanh mean one approximation each), of an
            activation class of torch.nn (as ReLU6), or QuickGELU, all for whatever module computes it; or of the class
            of any module in the model; or of an attribute that holds modules (as act1); the first that fits.

    Raises:
        ValueError: the name is none of these; the message lists the known ones and the closest.
    """
    return replace(model, named(model, old_name), new, functional, example, keep)


def update_golu_parameters(
    model: nn.Module,
    new_alpha: float | None = None,
    new_beta: float | None = None,
    new_gamma: float | None = None,
    *,
    keep: Literal["input", "output"] | None = None,
) -> nn.Module:
    """Set the given parameters on every GoLU in the model, and return the model. What is None stays as it is.

    Args:
        keep: what backward passes keep: "output" brings training's memory down to that of ReLU (see `GoLU`).

    Raises:
        ValueError: the model holds no GoLU, a value is NaN or infinite, or they do not go with keep="output"; then
            nothing has been changed.
    """
    require_model(model)
    modules = [each for module in model.modules() for each in (module, *intercepted(module).values())]
    found = [module for module in dict.fromkeys(modules) if isinstance(module, GoLU)]
    if not found:
        held = find_activations(model)
        other = f", but {held.counts()}" if held.modules or held.functional else " nor any other activation"
        raise ValueError(f"the model holds no GoLU to update{other}; replace_activation_by_name puts GoLU into one")

    def updated(module: GoLU) -> tuple[float, float, float]:
        given = ((new_alpha, module.alpha), (new_beta, module.beta), (new_gamma, module.gamma))
        alpha, beta, gamma = (float(old if new is None else new) for new, old in given)
        return alpha, beta, gamma

    values = [updated(module) for module in found]
    for distinct in dict.fromkeys(values):
        check_parameters(*distinct)
    for module, (alpha, beta, gamma) in zip(found, values, strict=True):
        check_keep(alpha, beta, gamma, module.keep if keep is None else keep)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # given just now, once rather than once a module
        for module, value in zip(found, values, strict=True):
            module.set_parameters(*value, keep)
    return model
