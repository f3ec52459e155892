"""Find, replace and update the activations inside a model.

A module is replaced where its parent holds it. A functional call such as F.relu(x) is swapped by giving the module
that makes it a subclass of its own class, with the method rewritten to call a submodule: the class itself and other
models stay as they are, and copies, torch.fx and torch.compile see the new method. (torch.nn.utils.parametrize
gives modules a subclass too; a method bound to the instance would be lost by torch.fx and by pickle, silently.)
"""

import ast
import copy
import functools
import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from golu.activations import ACTIVATIONS, get_activation_function, unknown_name
from golu.functional import check_parameters, golu
from golu.modules import GoLU

NewActivation = str | nn.Module | Callable[[], nn.Module]
_IsOld = Callable[[type, str], bool]  # of an activation's class and label

_NO_ACTIVATIONS = {"MultiheadAttention", "Softmin", "Softmax", "Softmax2d", "LogSoftmax"}
_CLASSES: dict[str, type[nn.Module]] = {
    name: getattr(nn, name) for name in nn.modules.activation.__all__ if name not in _NO_ACTIVATIONS
} | {"GoLU": GoLU}


def _function_name(cls: type) -> str:
    return "leaky_relu" if cls is nn.LeakyReLU else cls.__name__.lower()


_FUNCTIONS: dict[object, type[nn.Module]] = {golu: GoLU} | {
    getattr(home, name): cls
    for cls in _CLASSES.values()
    for name in (_function_name(cls), _function_name(cls) + "_")
    for home in (F, torch)
    if hasattr(home, name)
}
_TENSOR_METHODS: dict[str, type[nn.Module]] = {
    name: cls
    for cls in _CLASSES.values()
    for name in (_function_name(cls), _function_name(cls) + "_")
    if hasattr(torch.Tensor, name)
}


# ---- what a model holds ----


@dataclass(frozen=True)
class FunctionalCall:
    """A place where a module computes an activation by a function."""

    path: str  # of the module in the model
    class_name: str  # of the module
    activation: str  # as ReLU
    call: str  # as F.relu(x, inplace=True), or self.activation for a function that the module holds
    source: str  # file:line


@dataclass(frozen=True)
class ActivationReport:
    """What `find_activations` found; `str` of it is a table."""

    modules: list[tuple[str, str]]  # path in the model, class name
    functional: list[FunctionalCall]

    def counts(self) -> str:
        """One line: how many of each."""
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
    """The activations of a model: its modules, and the functions that its modules call.

    Modules are those of exactly one of torch's elementwise activation classes (or GLU, or GoLU), once each. Attention
    and the softmax family are left out. A GELU with approximate="tanh" is named GELU_tanh.

    Functions are found in the source of the modules' classes, where it is available: F.relu(x), torch.relu(x), x.relu()
    and the like, under whatever name the file imports them, and functions that a module keeps as an attribute.
    Not seen are calls in functions outside of classes and in static methods and properties.
    """
    modules = [(path, _label(m)) for path, m in model.named_modules() if _class(m) in _CLASSES.values()]
    return ActivationReport(modules, [call for _, call in _functional(model)])


def _label(module: nn.Module) -> str:
    tanh = isinstance(module, nn.GELU) and module.approximate == "tanh"
    return "GELU_tanh" if tanh else type(module).__name__


def _functional(model: nn.Module) -> Iterator[tuple[type[nn.Module], FunctionalCall]]:
    """Every functional call in the model, with the activation's class."""
    methods: dict[type, list[_Method]] = {}
    for path, module in model.named_modules():
        cls, name = type(module), type(module).__name__
        if cls not in methods:
            methods[cls] = list(_methods(cls))
        for attribute, activation in _held(module):
            yield activation, FunctionalCall(path, name, activation.__name__, f"self.{attribute}", "an attribute")
        for method in methods[cls]:
            for call in method.calls:
                source = f"{method.function.__code__.co_filename}:{call.node.lineno}"
                yield call.cls, FunctionalCall(path, name, call.label, ast.unparse(call.node), source)


def _held(module: nn.Module) -> list[tuple[str, type[nn.Module]]]:
    """Activation functions kept as attributes, as torch's TransformerEncoderLayer does."""
    functions = ((name, value) for name, value in vars(module).items() if inspect.isroutine(value))
    return [(name, _FUNCTIONS[value]) for name, value in functions if value in _FUNCTIONS]


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
    """`replace_activation_by_torch_module`, with the old activation given by name.

    Args:
        old_name: a name of `golu.available_activations` (GELU and GELU_tanh mean one approximation each), of an
            activation class of torch.nn (as ReLU6), or of the class of any module in the model; the first that fits.

    Raises:
        ValueError: the name is none of these; the message lists the known ones and the closest.
    """
    return _replace(model, old_name, _is_named(model, old_name), new, functional)


def _is_named(model: nn.Module, name: str) -> _IsOld:
    if name in ACTIVATIONS:
        known = ACTIVATIONS[name]()
        return lambda cls, label: (cls, label) == (type(known), _label(known))
    if name in _CLASSES:
        return lambda cls, _: cls is _CLASSES[name]
    if any(_class(module).__name__ == name for module in model.modules()):
        return lambda cls, _: cls.__name__ == name
    leaves = {_class(m).__name__ for m in model.modules() if not [*m.children(), *m.parameters()]}
    raise ValueError(unknown_name("activation", name, dict.fromkeys([*ACTIVATIONS, *_CLASSES, *sorted(leaves)])))


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


def _replace(model: nn.Module, old: str, is_old: _IsOld, new: NewActivation, functional: bool) -> nn.Module:
    make = _maker(model, new)
    # Everything is made before anything is changed: after an error the model is as it was.
    new_for = {m: make(m) for m in model.modules() if is_old(_class(m), _label(m))}
    swaps = list(_swaps(model, is_old, make)) if functional else []
    if not new_for and not swaps:
        make(model)  # a wrong `new` is an error all the same
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child in new_for:
                parent._modules[name] = new_for[child]
    for module, cls, activations in swaps:
        module.__class__ = cls
        for name, activation in activations.items():
            setattr(module, name, activation)
    _leave_fast_path(model, {*new_for.values(), *(a for *_, activations in swaps for a in activations.values())})
    left = [call for cls, call in _functional(model) if is_old(cls, call.activation)] if functional else []
    if left:
        places = dict.fromkeys(f"{call.call} in {call.class_name}, {call.source}" for call in left)
        warnings.warn(f"functional calls of {old} that could not be swapped: {'; '.join(places)}", stacklevel=3)
    elif not new_for and not swaps:
        warnings.warn(f"no {old} was replaced: the model holds {find_activations(model).counts()}", stacklevel=3)
    return new_for.get(model, model)


def _maker(model: nn.Module, new: NewActivation) -> Callable[[nn.Module], nn.Module]:
    """A function that makes a new activation to stand in for, or in, a module of the model."""
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


# ---- functional calls: finding them in a class ----


@dataclass
class _Call:
    cls: type[nn.Module]  # of the activation
    label: str
    node: ast.Call
    x: ast.expr | None  # what it is applied to; None where the call cannot be swapped


@dataclass
class _Method:
    name: str
    owner: type  # the class that defines it
    value: FunctionType  # with its decorators
    function: FunctionType  # without
    tree: ast.FunctionDef  # free to be changed
    calls: list[_Call]
    overridden: bool  # reached through super() only


@dataclass(frozen=True)
class _Swapped:
    """What a class with swapped calls remembers."""

    original: type
    methods: dict[str, FunctionType] = field(default_factory=dict)
    trees: dict[FunctionType, ast.FunctionDef] = field(default_factory=dict)  # of the methods without decorators
    count: int = 0  # of swapped calls


def _swapped(cls: type) -> _Swapped:
    found = vars(cls).get("_golu_swapped")
    return found if isinstance(found, _Swapped) else _Swapped(cls)


def _class(module: nn.Module) -> type:
    """The module's class, as it was before calls were swapped."""
    return _swapped(type(module)).original


def _methods(cls: type) -> Iterator[_Method]:
    """The methods of a module class that call activations, outside of torch.nn and of the activations themselves."""
    swapped = _swapped(cls)
    overriding: dict[str, list[Any]] = {}  # by name, the methods of classes before this one
    for owner in swapped.original.__mro__:
        if owner.__module__.startswith("torch.nn.") or owner in _CLASSES.values():
            continue
        for name, value in vars(owner).items():
            before = overriding.setdefault(name, [])
            if not before:
                value = swapped.methods.get(name, value)
            function = inspect.unwrap(value) if isinstance(value, FunctionType) else None
            reached = all(_calls_base(override, name, owner) for override in before)
            before.append(function)
            if not isinstance(function, FunctionType) or not reached or name == "__init__":
                continue
            tree = copy.deepcopy(swapped.trees.get(function)) or _parse(function)
            calls = _find_calls(function, tree) if tree else []
            if tree and calls:
                yield _Method(name, owner, value, function, tree, calls, overridden=len(before) > 1)


def _calls_base(override: Any, name: str, owner: type) -> bool:
    """Whether the overriding method goes on to call the overridden one, by super().name or Owner.name."""
    names = override.__code__.co_names if isinstance(override, FunctionType) else ()
    return name in names and ("super" in names or owner.__name__ in names)


def _parse(function: FunctionType) -> ast.FunctionDef | None:
    """The function's syntax tree with the lines of its file; None without source."""
    try:
        lines, first = inspect.getsourcelines(function)
        indented = lines[0][0].isspace()
        # Under an `if` instead of dedented, which would change strings of several lines.
        module: Any = ast.parse("if True:\n" * indented + "".join(lines))
    except (OSError, SyntaxError):  # typed into a prompt, or a lambda inside of an expression
        return None
    ast.increment_lineno(module, first - 1 - indented)
    tree = module.body[0].body[0] if indented else module.body[0]
    return tree if isinstance(tree, ast.FunctionDef) and tree.name == function.__code__.co_name else None


def _find_calls(function: FunctionType, tree: ast.FunctionDef) -> list[_Call]:
    has_self = bool(tree.args.posonlyargs + tree.args.args)
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        target = _resolve(node.func, function)
        cls = _FUNCTIONS.get(target) if inspect.isroutine(target) else None
        if cls is not None:
            # As a statement it is called for its effect on x, which a module does not have.
            x = _input(node) if has_self and id(node) not in statements else None
            found.append(_Call(cls, _call_label(cls, node), node, x))
        elif _is_tensor_method(node, function):
            cls = _TENSOR_METHODS[node.func.attr]  # type: ignore[attr-defined]
            found.append(_Call(cls, cls.__name__, node, None))
    return sorted(found, key=lambda call: (call.node.lineno, call.node.col_offset))


def _resolve(node: ast.expr, function: FunctionType) -> Any:
    """What a name, or a dotted name inside of a module, stands for in a function; None if that is not known."""
    if isinstance(node, ast.Attribute):
        home = _resolve(node.value, function)
        return vars(home).get(node.attr) if isinstance(home, ModuleType) else None
    if not isinstance(node, ast.Name):
        return None
    code = function.__code__
    if node.id in code.co_varnames + code.co_cellvars:
        return None
    if node.id in code.co_freevars:
        return _contents(_cells(function)[node.id])
    return function.__globals__.get(node.id)


def _is_tensor_method(node: ast.Call, function: FunctionType) -> bool:
    """x.relu(), where x is neither a known module of functions nor the first argument, self."""
    if not isinstance(node.func, ast.Attribute) or node.func.attr not in _TENSOR_METHODS or node.args or node.keywords:
        return False
    of = node.func.value
    is_self = isinstance(of, ast.Name) and of.id == next(iter(function.__code__.co_varnames), None)
    return not is_self and _resolve(of, function) is None


def _input(node: ast.Call) -> ast.expr | None:
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if "out" in keywords or None in keywords or any(isinstance(arg, ast.Starred) for arg in node.args):
        return None
    return node.args[0] if node.args else keywords.get("input", keywords.get("x"))


def _call_label(cls: type, node: ast.Call) -> str:
    approximate = next((keyword.value for keyword in node.keywords if keyword.arg == "approximate"), None)
    if cls is not nn.GELU or approximate is None:
        return cls.__name__
    if isinstance(approximate, ast.Constant):
        return "GELU_tanh" if approximate.value == "tanh" else "GELU"
    return f"GELU(approximate={ast.unparse(approximate)})"  # known at run time only: neither of the two names


def _cells(function: FunctionType) -> dict[str, CellType]:
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing in it yet
        return None


# ---- functional calls: swapping them ----


def _swaps(
    model: nn.Module, is_old: _IsOld, make: Callable[[nn.Module], nn.Module]
) -> Iterator[tuple[nn.Module, type, dict[str, nn.Module]]]:
    """Modules to change: the class to give them, and the activations to put into them, by name."""
    classes: dict[type, tuple[type, list[str]]] = {}
    for module in model.modules():
        cls = type(module)
        if cls not in classes:
            classes[cls] = _swap_calls(cls, is_old)
        new_class, names = classes[cls]
        # A graph module writes its class anew; a method set on the instance comes before those of the class.
        if isinstance(module, torch.fx.GraphModule) or _swapped(new_class).methods.keys() & vars(module).keys():
            new_class, names = cls, []
        held = [name for name, activation in _held(module) if is_old(activation, activation.__name__)]
        if names or held:
            yield module, new_class, {name: make(module) for name in held + names}


def _swap_calls(cls: type, is_old: _IsOld) -> tuple[type, list[str]]:
    """A subclass that calls submodules where `cls` calls the old activation, and their names; or `cls` and none."""
    before = _swapped(cls)
    methods, trees, count = dict(before.methods), dict(before.trees), before.count
    for method in _methods(cls):
        calls = [call for call in method.calls if call.x is not None and is_old(call.cls, call.label)]
        if not calls or method.overridden:
            continue
        names = [f"golu_functional_{count + n}" for n in range(len(calls))]
        function = _rewrite(method, dict(zip(names, calls, strict=True)))
        decorated = _decorate_again(method.value, method.function, function)
        if decorated is not None:
            methods[method.name], trees[function] = decorated, method.tree
            count += len(calls)
    if count == before.count:
        return cls, []
    original = before.original
    namespace = {"__module__": original.__module__, "__qualname__": original.__qualname__, "__doc__": original.__doc__}
    swapped = _Swapped(original, methods, trees, count)
    new = type(original)(original.__name__, (original,), namespace | methods | {"_golu_swapped": swapped})
    return new, [f"golu_functional_{n}" for n in range(before.count, count)]


def _rewrite(method: _Method, calls: dict[str, _Call]) -> FunctionType:
    """The method without decorators, calling self.<name>(x) where it called an activation; changes its tree."""
    arguments = method.tree.args
    receiver = (arguments.posonlyargs + arguments.args)[0].arg
    for name, call in calls.items():
        assert call.x is not None
        call.node.func = ast.Attribute(ast.Name(receiver, ast.Load()), name, ast.Load())
        call.node.args, call.node.keywords = [call.x], []
    method.tree.decorator_list = []

    # It is compiled where it stood: in a class of this name, for the sake of self.__private, and in a function that has
    # the variables of its closure. Only its code is taken from there: nothing is executed, and the closure stays the
    # original one. The class around hides the inner class's name, which the method may use for a global.
    function = method.function
    variables = ", ".join(name for name in function.__code__.co_freevars if name != "__class__")
    owner = method.owner.__name__ if method.owner.__name__.isidentifier() else "owner"
    module: Any = ast.parse(f"def outside({variables}):\n class _golu_around:\n  class {owner}: pass")
    module.body[0].body[0].body[0].body = [method.tree]
    code = compile(ast.fix_missing_locations(module), function.__code__.co_filename, "exec", dont_inherit=True)
    for name in ("outside", "_golu_around", owner, method.tree.name):
        code = next(each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name)
    return _with_code(function, code, _cells(function))


def _with_code(function: FunctionType, code: CodeType, cells: dict[str, CellType]) -> FunctionType:
    """The function with other code and closure."""
    closure = tuple(cells[name] for name in code.co_freevars)
    new = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    new.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(new, function)
    del new.__wrapped__  # type: ignore[attr-defined]
    return new


def _decorate_again(outer: Any, inner: FunctionType, new: FunctionType) -> FunctionType | None:
    """`new` in copies of the decorators that turned `inner` into `outer`; None if one hides what it wraps."""
    if outer is inner:
        return new
    if not isinstance(outer, FunctionType):
        return None
    wrapped = outer.__wrapped__  # type: ignore[attr-defined]
    decorated = _decorate_again(wrapped, inner, new)
    cells = _cells(outer)
    holding = [name for name, cell in cells.items() if _contents(cell) is wrapped]
    if decorated is None or not holding:
        return None
    again = _with_code(outer, outer.__code__, cells | {name: CellType(decorated) for name in holding})
    again.__wrapped__ = decorated  # type: ignore[attr-defined]
    return again
