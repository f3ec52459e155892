"""Find, replace and update the activations inside a model.

A module is replaced where its parent holds it; calls of functions such as F.relu(x) are intercepted while the model
runs (interception.py). What a model computes is read in its source (source.py), or seen when it runs (observation.py).
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from golu.activations import ACTIVATIONS, get_activation_function, unknown_name
from golu.functional import check_parameters
from golu.modules import GoLU
from golu.surgery.interception import class_to_be, intercept, intercepted
from golu.surgery.kinds import CLASSES, labels_of, original_class
from golu.surgery.observation import Observation, observe
from golu.surgery.recognition import module_label
from golu.surgery.report import ActivationReport, FunctionalCall, find_activations, functional_calls
from golu.surgery.source import iterates, may_call, shows

__all__ = [
    "ActivationReport",
    "FunctionalCall",
    "find_activations",
    "replace_activation_by_name",
    "replace_activation_by_torch_module",
    "update_golu_parameters",
]

NewActivation = str | nn.Module | Callable[[], nn.Module]


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

    return _replace(model, _Old(old_class.__name__, is_old, labels), new, functional, example, keep)


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
    return _replace(model, _named(model, old_name), new, functional, example, keep)


@dataclass(frozen=True)
class _Old:
    """Say what is replaced: modules, given the name of their place, and calls, given their label."""

    name: str
    is_old: Callable[[str, nn.Module], bool]
    labels: set[str] = field(default_factory=set)


def _named(model: nn.Module, name: str) -> _Old:
    label = module_label(get_activation_function(name)) if name in ACTIVATIONS else None
    if name in ACTIVATIONS and label is None:  # one that somebody has registered
        known = type(get_activation_function(name))
        return _Old(name, lambda _, module: original_class(module) is known)
    if label is not None or name in CLASSES or name == "QuickGELU":
        labels = {label} if label is not None else {name}
        return _Old(name, lambda _, module: module_label(module) in labels, labels)
    if any(original_class(module).__name__ == name for module in model.modules()):
        return _Old(name, lambda _, module: original_class(module).__name__ == name)
    if any(name == each for module in model.modules() for each in module._modules):
        return _Old(name, lambda place, _: place == name)
    leaves = {original_class(m).__name__ for m in model.modules() if not [*m.children(), *m.parameters()]}
    raise ValueError(unknown_name("activation", name, dict.fromkeys([*ACTIVATIONS, *CLASSES, *sorted(leaves)])))


def update_golu_parameters(
    model: nn.Module,
    new_alpha: float | None = None,
    new_beta: float | None = None,
    new_gamma: float | None = None,
) -> nn.Module:
    """Set the given parameters on every GoLU in the model, and return the model. What is None stays as it is.

    Raises:
        ValueError: the model holds no GoLU, or a value is NaN or infinite; then nothing has been changed.
    """
    modules = [each for module in model.modules() for each in (module, *intercepted(module).values())]
    found = [module for module in dict.fromkeys(modules) if isinstance(module, GoLU)]
    if not found:
        raise ValueError(
            f"the model holds no GoLU to update, but {find_activations(model).counts()}; "
            "replace_activation_by_name puts GoLU into it"
        )

    def updated(module: GoLU) -> tuple[float, float, float]:
        given = ((new_alpha, module.alpha), (new_beta, module.beta), (new_gamma, module.gamma))
        alpha, beta, gamma = (float(old if new is None else new) for new, old in given)
        return alpha, beta, gamma

    values = [updated(module) for module in found]
    for distinct in dict.fromkeys(values):
        check_parameters(*distinct)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # given just now, once rather than once a module
        for module, value in zip(found, values, strict=True):
            module.set_parameters(*value)
    return model


def _replace(
    model: nn.Module, old: _Old, new: NewActivation, functional: bool, example: Any, keep: tuple[type[nn.Module], ...]
) -> nn.Module:
    make = _maker(model, new)
    # Everything is made before anything is changed: after an error the model is as it was.
    places = [("", model)] + [(name, child) for parent in model.modules() for name, child in parent._modules.items()]
    new_for = {m: None for name, m in places if m is not None and old.is_old(name, m)}
    replaced = {module: make(module) for module in new_for}
    if not replaced:
        make(model)  # a wrong `new` is an error all the same
    before = find_activations(model)
    plan = _interceptions(model, old, make, replaced, keep) if functional and old.labels else []
    own = {module: copy.copy(module) for module, *_ in plan if module is not model and _may_be_shared(module)}
    for module in own.values():
        module._modules = dict(module._modules)
    _put(model, {**replaced, **own})
    for module, cls, activations in plan:
        shown = shows(module, original_class(module), old.labels) and not iterates(module, original_class(module))
        intercept(own.get(module, module), cls, activations, hidden=not shown)
    for made in replaced.values() if functional else ():
        _leave_alone(made)
    for module, activation in replaced.items():
        _keep_hooks(module, activation)
    news = {*replaced.values(), *(each for *_, activations in plan for each in activations.values())}
    _leave_fast_path(model, news, old.labels)
    model = replaced.get(model, model)
    # what is kept, and what a new activation calls, is not left by mistake
    own_calls = {each for new_one in news for each in new_one.modules()}
    apart = {path for path, each in model.named_modules() if isinstance(each, keep) or each in own_calls}
    left = [call for call in _left(model, old) if call.path not in apart] if functional else []
    left += [call for call in _seen(model, old, example) if call.path not in apart] if example is not None else []
    found = any(call.activation in old.labels or "GELU(" in call.activation for call in before.functional)
    if left:
        lines = dict.fromkeys(f"{call.call} in {call.class_name}, {call.source}" for call in left)
        warnings.warn(f"functional calls of {old.name} that could not be swapped: {'; '.join(lines)}", stacklevel=3)
    elif not replaced and not (functional and found) and example is None:
        later = "; calls of it that source does not show are swapped when they happen"
        done, rest = ("found", later) if plan else ("replaced", "")
        warnings.warn(f"no {old.name} was {done}: the model holds {before.counts()}{rest}", stacklevel=3)
    return model


def _put(model: nn.Module, new_for: Mapping[nn.Module, nn.Module]) -> None:
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is not None and child in new_for:
                parent._modules[name] = new_for[child]


_Plan = list[tuple[nn.Module, type, dict[str, nn.Module]]]


def _interceptions(
    model: nn.Module,
    old: _Old,
    make: Callable[[nn.Module], nn.Module],
    replaced: Mapping[nn.Module, nn.Module],
    keep: tuple[type[nn.Module], ...],
) -> _Plan:
    """List the modules whose calls have to be intercepted, their new class, and what they get to compute instead."""
    plan: _Plan = []
    for module in model.modules():
        cls = original_class(module)
        changes = cls not in CLASSES.values() and _may_change(module)
        if module in replaced or not changes or not may_call(module, cls, old.labels):
            continue
        if isinstance(module, keep) or module_label(module) is not None:  # an activation of another kind, say
            plan.append((module, class_to_be(module), {}))
        else:
            activation = make(module)
            trained = any(True for _ in activation.parameters())
            if trained and not shows(module, cls, old.labels):
                continue  # parameters that might never be used
            if trained and iterates(module, cls):
                raise ValueError(
                    f"{cls.__name__} may call {old.name} and goes through its children: an activation with parameters, "
                    "which would be one more, cannot be put into it"
                )
            labels = old.labels - intercepted(module).keys()
            plan.append((module, class_to_be(module), dict.fromkeys(labels, activation)))
    return plan


def _may_change(module: nn.Module) -> bool:
    return not isinstance(module, (torch.fx.GraphModule, torch.jit.ScriptModule))


def _may_be_shared(module: nn.Module) -> bool:
    """Tell whether it may be one that a library keeps for all models: it has nothing of its own."""
    return not (module._modules or module._parameters or module._buffers)


def _leave_alone(new: nn.Module) -> None:
    """Let what a new activation calls be what it says: ReLU squared calls F.relu."""
    for module in new.modules():
        cls = original_class(module)
        if not cls.__module__.startswith(("torch.", "golu.")) and _may_change(module):
            intercept(module, class_to_be(module), {})


def _keep_hooks(old: nn.Module, new: nn.Module) -> None:
    """Hand on the hooks, in the same dictionaries, so that their handles go on to remove them."""
    for name, hooks in vars(old).items():
        if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")) and hooks and "state" not in name:
            new.__dict__[name] = hooks


def _left(model: nn.Module, old: _Old) -> list[FunctionalCall | Observation]:
    """List the calls that the source shows and nothing intercepts."""
    calls: list[FunctionalCall | Observation] = [c for c in functional_calls(model) if c.activation in old.labels]
    for path, module in model.named_modules():
        for label in old.labels if isinstance(module, torch.jit.ScriptModule) else ():
            if f"aten::{label.lower()}" in str(module.inlined_graph):
                name = type(module).__name__
                calls.append(FunctionalCall(path, name, label, f"aten::{label.lower()}", "a scripted module"))
    return calls


def _seen(model: nn.Module, old: _Old, example: Any) -> list[Observation]:
    """Run the swapped model, and list what still computes the old activation."""
    named = example if isinstance(example, Mapping) else {}
    inputs = () if named else example if isinstance(example, tuple) else (example,)
    return [each for each in observe(model, inputs, named) if each.activation in old.labels]


def _maker(model: nn.Module, new: NewActivation) -> Callable[[nn.Module], nn.Module]:
    """Return a function that makes a new activation to stand in for, or in, a module of the model."""
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)

    def make(place: nn.Module) -> nn.Module:
        activation = _new(new)
        if parameter is not None:
            activation.to(parameter.device, parameter.dtype)
        return activation.train(place.training)

    return make


def _new(new: NewActivation) -> nn.Module:
    if isinstance(new, str):
        return CLASSES[new]() if new in CLASSES and new not in ACTIVATIONS else get_activation_function(new)
    if isinstance(new, nn.Module):
        return copy.deepcopy(new)
    wanted = "new has to be a name, a module, or a class or function that makes a module when called without arguments"
    try:
        made = new()
    except TypeError as error:
        raise TypeError(f"{wanted}; {new!r} does not: {error}") from error
    if not isinstance(made, nn.Module):
        raise TypeError(f"{wanted}; {new!r} makes a {type(made).__name__}")
    return made


def _leave_fast_path(model: nn.Module, new: set[nn.Module], labels: set[str]) -> None:
    """Keep torch's encoder layers, once they hold a new activation, from their fused kernel for ReLU and GELU.

    They note at construction that the kernel may be used, and in eval mode would go on to compute the old activation.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and (
            module.activation in new or labels & intercepted(module).keys()
        ):
            module.activation_relu_or_gelu = 0
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and not all(
            getattr(layer, "activation_relu_or_gelu", 0) for layer in module.layers
        ):
            module.use_nested_tensor = False
