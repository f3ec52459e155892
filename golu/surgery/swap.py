"""Put new activations into a model: in the place of modules, and of functions that modules call."""

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from golu.activations import ACTIVATIONS, get_activation_function, unknown_name
from golu.surgery.interception import class_to_be, intercept, intercepted
from golu.surgery.kinds import CLASSES, COMPOSED, is_bare, original_class
from golu.surgery.observation import Observation, observe
from golu.surgery.recognition import module_label
from golu.surgery.report import FunctionalCall, find_activations, functional_calls, require_model
from golu.surgery.source import iterates, may_call, shows

NewActivation = str | nn.Module | Callable[[], nn.Module]


@dataclass(frozen=True)
class Old:
    """Say what is replaced: modules, given the name of their place, and calls, given their label."""

    name: str
    is_old: Callable[[str, nn.Module], bool]
    labels: set[str] = field(default_factory=set)


def named(model: nn.Module, name: str) -> Old:
    require_model(model)
    label = module_label(get_activation_function(name)) if name in ACTIVATIONS else None
    if name in ACTIVATIONS and label is None:  # one that somebody has registered
        known = type(get_activation_function(name))
        return Old(name, lambda _, module: original_class(module) is known)
    if label is not None or name in CLASSES or name == "QuickGELU":
        labels = {label} if label is not None else {name}
        return Old(name, lambda _, module: module_label(module) in labels, labels)
    if any(original_class(module).__name__ == name for module in model.modules()):
        return Old(name, lambda _, module: original_class(module).__name__ == name)
    if any(name == each for module in _parents(model) for each in module._modules):
        return Old(name, lambda place, _: place == name)
    leaves = {original_class(m).__name__ for m in model.modules() if not [*m.children(), *m.parameters()]}
    raise ValueError(unknown_name("activation", name, dict.fromkeys([*ACTIVATIONS, *CLASSES, *sorted(leaves)])))


@dataclass(frozen=True)
class _Interception:
    """Say how calls of a module are intercepted; without activations they stay as they are."""

    module: nn.Module
    cls: type
    activations: dict[str, nn.Module] = field(default_factory=dict)
    hidden: bool = False


def replace(
    model: nn.Module, old: Old, new: NewActivation, functional: bool, example: Any, keep: tuple[type[nn.Module], ...]
) -> nn.Module:
    """Do what golu.replace_activation_by_torch_module describes; warnings name its caller's caller."""
    require_model(model)
    make = _maker(model, new)
    # Everything is made before anything is changed: after an error the model is as it was.
    places = [("", model)] + [(name, child) for parent in _parents(model) for name, child in parent._modules.items()]
    replaced = {m: make(m) for m in dict.fromkeys(m for name, m in places if m is not None and old.is_old(name, m))}
    if not replaced:
        make(model)  # a wrong `new` is an error all the same
    before = None if replaced else find_activations(model)
    plan = _interceptions(model, old, make, replaced, keep) if functional and old.labels else []
    own = {
        each.module: copy.deepcopy(each.module) for each in plan if each.module is not model and is_bare(each.module)
    }
    _put(model, {**replaced, **own})
    for each in plan:
        intercept(own.get(each.module, each.module), each.cls, each.activations, each.hidden)
    for module, activation in replaced.items():
        _keep_hooks(module, activation)
        if functional:
            _leave_alone(activation)
    made = {*replaced.values(), *(activation for each in plan for activation in each.activations.values())}
    _leave_fast_path(model, made, old.labels)
    model = replaced.get(model, model)
    left = _left(model, old, made, functional, example, keep)
    if left:
        warnings.warn(f"functional calls of {old.name} that could not be swapped: {'; '.join(left)}", stacklevel=3)
    elif before is not None and example is None and not (functional and before.shows(old.labels)):
        later = "; calls of it that source does not show are swapped when they happen"
        done, rest = ("found", later) if plan else ("replaced", "")
        warnings.warn(f"no {old.name} was {done}: the model holds {before.counts()}{rest}", stacklevel=3)
    return model


def _parents(model: nn.Module) -> list[nn.Module]:
    """List the modules whose children can be replaced: all but scripted and traced ones, and what is in them."""
    return [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]


def _put(model: nn.Module, new_for: Mapping[nn.Module, nn.Module]) -> None:
    for parent in _parents(model):
        for name, child in parent._modules.items():
            if child is not None and child in new_for:
                parent._modules[name] = new_for[child]


def _interceptions(
    model: nn.Module,
    old: Old,
    make: Callable[[nn.Module], nn.Module],
    replaced: Mapping[nn.Module, nn.Module],
    keep: tuple[type[nn.Module], ...],
) -> list[_Interception]:
    """List the modules whose calls have to be intercepted, their new class, and what they get to compute instead."""
    plan = []
    for module in model.modules():
        cls = original_class(module)
        changes = (cls not in CLASSES.values() or cls in COMPOSED.values()) and _may_change(module)
        if module in replaced or not changes or not may_call(module, cls, old.labels):
            continue
        if isinstance(module, keep) or module_label(module) is not None:  # an activation of another kind, say
            plan.append(_Interception(module, class_to_be(module)))
            continue
        activation = make(module)
        trained = any(True for _ in activation.parameters())
        shown, through = shows(module, cls, old.labels), iterates(module, cls)
        if trained and not shown:
            continue  # parameters that might never be used
        if trained and through:
            raise ValueError(
                f"{cls.__name__} may call {old.name} and goes through its children: an activation with parameters, "
                "which would be one more, cannot be put into it"
            )
        activations = dict.fromkeys(old.labels - intercepted(module).keys(), activation)
        plan.append(_Interception(module, class_to_be(module), activations, hidden=through or not shown))
    return plan


def _may_change(module: nn.Module) -> bool:
    return not isinstance(module, (torch.fx.GraphModule, torch.jit.ScriptModule))


def _leave_alone(new: nn.Module) -> None:
    """Let what a new activation calls be what it says: ReLU squared calls F.relu."""
    for module in new.modules():
        cls = original_class(module)
        ours = cls.__module__.startswith(("torch.", "golu.")) and cls not in COMPOSED.values()
        if not ours and _may_change(module):
            intercept(module, class_to_be(module), {})


def _keep_hooks(old: nn.Module, new: nn.Module) -> None:
    """Hand on the hooks, in the same dictionaries, so that their handles go on to remove them."""
    for name, hooks in vars(old).items():
        if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")) and hooks and "state" not in name:
            new.__dict__[name] = hooks


def _left(
    model: nn.Module,
    old: Old,
    made: set[nn.Module],
    functional: bool,
    example: Any,
    keep: tuple[type[nn.Module], ...],
) -> list[str]:
    """Name the calls that nothing intercepts: as the source shows them, and as the example meets them.

    What is kept, and what a new activation calls, is not left by mistake.
    """
    calls: list[FunctionalCall | Observation] = []
    if functional:
        calls += functional_calls(model)
    if example is not None:
        named = example if isinstance(example, Mapping) else {}
        inputs = () if named else example if isinstance(example, tuple) else (example,)
        calls += observe(model, inputs, named)
    new = {each for activation in made for each in activation.modules()}
    apart = {path for path, each in model.named_modules() if isinstance(each, keep) or each in new}
    left = [call for call in calls if call.activation in old.labels and call.path not in apart]
    return list(dict.fromkeys(f"{call.call} in {call.class_name}, {call.source}" for call in left))


def _maker(model: nn.Module, new: NewActivation) -> Callable[[nn.Module], nn.Module]:
    """Return a function that makes a new activation to stand in for, or in, a module of the model."""
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)

    def make(place: nn.Module) -> nn.Module:
        activation = _new(new)
        if parameter is not None:
            activation.to(parameter.device, parameter.dtype)
        return activation.train(getattr(place, "training", False))  # a frozen scripted module has none

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
