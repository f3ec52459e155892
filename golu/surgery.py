"""Find, replace and update the activations inside a model.

A module is replaced where its parent holds it; calls of functions such as F.relu(x) are golu.functional_calls's part.
"""

import ast
import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from golu.activations import ACTIVATIONS, get_activation_function, unknown_name
from golu.functional import check_parameters
from golu.functional_calls import CLASSES, IsOld, Method, held_functions, methods_with_calls, original_class, swaps
from golu.modules import GoLU

NewActivation = str | nn.Module | Callable[[], nn.Module]
# ---- what a model holds ----


@dataclass(frozen=True)
class FunctionalCall:
    """Name a place where a module computes an activation by a function."""

    path: str  # of the module in the model
    class_name: str  # of the module
    activation: str  # as ReLU
    call: str  # as F.relu(x, inplace=True), or self.activation for a function that the module holds
    source: str  # file:line


@dataclass(frozen=True)
class ActivationReport:
    """Hold what `find_activations` found; `str` of it is a table."""

    modules: list[tuple[str, str]]  # path in the model, class name
    functional: list[FunctionalCall]

    def counts(self) -> str:
        """Count each activation, on one line."""
        modules = Counter(name for _, name in self.modules)
        functional = Counter(call.activation for call in self.functional)
        found = [f"{name} x{n}" for name, n in modules.items()]
        found += [f"{name} x{n} (functional)" for name, n in functional.items()]
        return ", ".join(found) or "no activation"

    def __str__(self) -> str:
        groups: dict[tuple[str, str], list[str]] = {}
        for path, name in self.modules:
            groups.setdefault((name, "module"), []).append(path or "(root)")
        for call in self.functional:
            kind = f"{call.call} in {call.class_name}, {Path(call.source).name}"
            groups.setdefault((call.activation, kind), []).append(call.path or "(root)")
        if not groups:
            return "no activation"
        rows = [("activation", "count", "where", "as")]
        for (name, kind), paths in groups.items():
            rows.append((name, str(len(paths)), paths[0] + (", ..." if len(paths) > 1 else ""), kind))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join(f"{a:<{widths[0]}}  {n:>{widths[1]}}  {w:<{widths[2]}}  {k}" for a, n, w, k in rows)


def find_activations(model: nn.Module) -> ActivationReport:
    """Find the activations of a model: its modules, and the functions that its modules call.

    Modules are those of exactly one of torch's elementwise activation classes (or GLU, or GoLU), once each. Attention
    and the softmax family are left out. A GELU with approximate="tanh" is named GELU_tanh.

    Functions are found in the source of the modules' classes, where it is available: F.relu(x), torch.relu(x), x.relu()
    and the like, under whatever name the file imports them, and functions that a module keeps as an attribute.
    Not seen are calls in functions outside of classes and in static methods and properties.
    """
    modules = [(path, _label(m)) for path, m in model.named_modules() if original_class(m) in CLASSES.values()]
    return ActivationReport(modules, [call for _, call in _functional(model)])


def _label(module: nn.Module) -> str:
    tanh = isinstance(module, nn.GELU) and module.approximate == "tanh"
    return "GELU_tanh" if tanh else type(module).__name__


def _functional(model: nn.Module) -> Iterator[tuple[type[nn.Module], FunctionalCall]]:
    """Yield every functional call in the model, with the activation's class."""
    methods: dict[type, list[Method]] = {}
    for path, module in model.named_modules():
        cls, name = type(module), type(module).__name__
        if cls not in methods:
            methods[cls] = list(methods_with_calls(cls))
        for attribute, activation in held_functions(module):
            yield activation, FunctionalCall(path, name, activation.__name__, f"self.{attribute}", "an attribute")
        for method in methods[cls]:
            for call in method.calls:
                source = f"{method.function.__code__.co_filename}:{call.node.lineno}"
                yield call.cls, FunctionalCall(path, name, call.label, ast.unparse(call.node), source)


# ---- replacing ----


def replace_activation_by_torch_module(
    model: nn.Module, old_class: type[nn.Module], new: NewActivation, *, functional: bool = False
) -> nn.Module:
    """Replace every module of exactly the class `old_class`, in place: ReLU leaves LeakyReLU and subclasses alone.

    Args:
        model: may itself be of `old_class`.
        new: a name (see `golu.available_activations`), a module (every place gets its own copy), or a module class or
            other callable without arguments that returns a module.
        functional: also swap functional calls such as F.relu(x, inplace=True). Their new modules become submodules
            named golu_functional_0 and so on of the modules that make the calls.

    Returns:
        The model; or, if the model itself was replaced, the new module.

    Raises:
        TypeError: `old_class` is not a class, or `new` is none of the above.
        ValueError: `new` is an unknown name.

    A module shared by several places is replaced by one shared module. New modules take over the training flag, and
    the device and dtype of the model's first floating-point parameter. If nothing matches, a warning lists what the
    model holds instead.

    With `functional`, some calls stay as they are, and a warning lists them: tensor methods as x.relu(), calls for
    their in-place effect alone (the statement F.relu_(x)), those in a base class's method reached through super(), and
    those in fx graphs. A model with swapped calls cannot be pickled as a whole: save its state_dict. torch.jit.script
    does not see the swap; torch.compile, torch.export, torch.fx and torch.jit.trace do.
    """
    if not isinstance(old_class, type):
        raise TypeError(
            f"old_class has to be a class such as torch.nn.ReLU, got a {type(old_class).__name__}; "
            "replace_activation_by_name takes names"
        )
    return _replace(model, old_class.__name__, lambda cls, _: cls is old_class, new, functional)


def replace_activation_by_name(
    model: nn.Module, old_name: str, new: NewActivation, *, functional: bool = False
) -> nn.Module:
    """Replace as `replace_activation_by_torch_module` does, with the old activation given by name.

    Args:
        old_name: a name of `golu.available_activations` (GELU and GELU_tanh mean one approximation each), of an
            activation class of torch.nn (as ReLU6), or of the class of any module in the model; the first that fits.

    Raises:
        ValueError: the name is none of these; the message lists the known ones and the closest.
    """
    return _replace(model, old_name, _is_named(model, old_name), new, functional)


def _is_named(model: nn.Module, name: str) -> IsOld:
    if name in ACTIVATIONS:
        known = get_activation_function(name)
        return lambda cls, label: (cls, label) == (type(known), _label(known))
    if name in CLASSES:
        return lambda cls, _: cls is CLASSES[name]
    if any(original_class(module).__name__ == name for module in model.modules()):
        return lambda cls, _: cls.__name__ == name
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
    found = [module for module in model.modules() if isinstance(module, GoLU)]
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


def _replace(model: nn.Module, old: str, is_old: IsOld, new: NewActivation, functional: bool) -> nn.Module:
    make = _maker(model, new)
    # Everything is made before anything is changed: after an error the model is as it was.
    new_for = {m: make(m) for m in model.modules() if is_old(original_class(m), _label(m))}
    calls = list(swaps(model, is_old, make)) if functional else []
    if not new_for and not calls:
        make(model)  # a wrong `new` is an error all the same
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child in new_for:
                parent._modules[name] = new_for[child]
    for module, cls, activations in calls:
        module.__class__ = cls
        for name, activation in activations.items():
            setattr(module, name, activation)
    _leave_fast_path(model, {*new_for.values(), *(a for *_, activations in calls for a in activations.values())})
    left = [call for cls, call in _functional(model) if is_old(cls, call.activation)] if functional else []
    if left:
        places = dict.fromkeys(f"{call.call} in {call.class_name}, {call.source}" for call in left)
        warnings.warn(f"functional calls of {old} that could not be swapped: {'; '.join(places)}", stacklevel=3)
    elif not new_for and not calls:
        warnings.warn(f"no {old} was replaced: the model holds {find_activations(model).counts()}", stacklevel=3)
    return new_for.get(model, model)


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
        return get_activation_function(new)
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


def _leave_fast_path(model: nn.Module, new: set[nn.Module]) -> None:
    """Keep torch's encoder layers, once they hold a new activation, from their fused kernel for ReLU and GELU.

    They note at construction that the kernel may be used, and in eval mode would go on to compute the old activation.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and module.activation in new:
            module.activation_relu_or_gelu = 0
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and not all(
            getattr(layer, "activation_relu_or_gelu", 0) for layer in module.layers
        ):
            module.use_nested_tensor = False
