"""Find the activations that modules call as functions, and swap them.

A call is swapped by giving the module that makes it a subclass of its own class, with the method rewritten to call a
submodule: the class itself and other models stay as they are, and copies, torch.fx and torch.compile see the new
method. (torch.nn.utils.parametrize gives modules a subclass too; a method bound to the instance would be lost by
torch.fx and by pickle, silently.)
"""

import ast
import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from golu.functional import golu
from golu.modules import GoLU

IsOld = Callable[[type, str], bool]  # of an activation's class and label

_NO_ACTIVATIONS = {"MultiheadAttention", "Softmin", "Softmax", "Softmax2d", "LogSoftmax"}
CLASSES: dict[str, type[nn.Module]] = {
    name: getattr(nn, name) for name in nn.modules.activation.__all__ if name not in _NO_ACTIVATIONS
} | {"GoLU": GoLU}


def _function_name(cls: type) -> str:
    return "leaky_relu" if cls is nn.LeakyReLU else cls.__name__.lower()


_NAMES = [(name, cls) for cls in CLASSES.values() for name in (_function_name(cls), _function_name(cls) + "_")]
_FUNCTIONS: dict[object, type[nn.Module]] = {golu: GoLU} | {
    getattr(home, name): cls for name, cls in _NAMES for home in (F, torch) if hasattr(home, name)
}
_TENSOR_METHODS: dict[str, type[nn.Module]] = {name: cls for name, cls in _NAMES if hasattr(torch.Tensor, name)}


# ---- finding them in a class ----


@dataclass
class _Call:
    cls: type[nn.Module]  # of the activation
    label: str
    node: ast.Call
    x: ast.expr | None  # what it is applied to; None where the call cannot be swapped


@dataclass
class Method:
    name: str
    owner: type  # the class that defines it
    value: FunctionType  # with its decorators
    function: FunctionType  # without
    tree: ast.FunctionDef  # free to be changed
    calls: list[_Call]
    overridden: bool  # reached through super() only


@dataclass(frozen=True)
class _Swapped:
    """Hold what a class with swapped calls remembers."""

    original: type
    methods: dict[str, FunctionType] = field(default_factory=dict)
    trees: dict[FunctionType, ast.FunctionDef] = field(default_factory=dict)  # of the methods without decorators
    count: int = 0  # of swapped calls


def _swapped(cls: type) -> _Swapped:
    found = vars(cls).get("_golu_swapped")
    return found if isinstance(found, _Swapped) else _Swapped(cls)


def original_class(module: nn.Module) -> type:
    """Return the module's class, as it was before calls were swapped."""
    return _swapped(type(module)).original


def methods_with_calls(cls: type) -> Iterator[Method]:
    """Yield a module class's methods that call activations, outside of torch.nn and of the activations themselves."""
    swapped = _swapped(cls)
    overriding: dict[str, list[Any]] = {}  # by name, the methods of classes before this one
    for owner in swapped.original.__mro__:
        if owner.__module__.startswith("torch.nn.") or owner in CLASSES.values():
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
                yield Method(name, owner, value, function, tree, calls, overridden=len(before) > 1)


def _calls_base(override: Any, name: str, owner: type) -> bool:
    """Tell whether the overriding method calls the overridden one, by super().name or Owner.name."""
    names = override.__code__.co_names if isinstance(override, FunctionType) else ()
    return name in names and ("super" in names or owner.__name__ in names)


def _parse(function: FunctionType) -> ast.FunctionDef | None:
    """Return the function's syntax tree with the lines of its file; None without source."""
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
    """Return what a name, or a dotted name inside of a module, stands for in a function; None if that is unknown."""
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
    """Tell whether it is x.relu(), where x is neither a known module of functions nor the first argument, self."""
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


def held_functions(module: nn.Module) -> list[tuple[str, type[nn.Module]]]:
    """List activation functions kept as attributes, as torch's TransformerEncoderLayer does."""
    functions = ((name, value) for name, value in vars(module).items() if inspect.isroutine(value))
    return [(name, _FUNCTIONS[value]) for name, value in functions if value in _FUNCTIONS]


# ---- swapping them ----


def swaps(
    model: nn.Module, is_old: IsOld, make: Callable[[nn.Module], nn.Module]
) -> Iterator[tuple[nn.Module, type, dict[str, nn.Module]]]:
    """Yield the modules to change: the class to give them, and the activations to put into them, by name."""
    classes: dict[type, tuple[type, list[str]]] = {}
    for module in model.modules():
        cls = type(module)
        if cls not in classes:
            classes[cls] = _swap_calls(cls, is_old)
        new_class, names = classes[cls]
        # A graph module writes its class anew; a method set on the instance comes before those of the class.
        if isinstance(module, torch.fx.GraphModule) or _swapped(new_class).methods.keys() & vars(module).keys():
            new_class, names = cls, []
        held = [name for name, activation in held_functions(module) if is_old(activation, activation.__name__)]
        if names or held:
            yield module, new_class, {name: make(module) for name in held + names}


def _swap_calls(cls: type, is_old: IsOld) -> tuple[type, list[str]]:
    """Return a subclass that calls submodules where `cls` calls the old activation, and their names; or `cls`, none."""
    before = _swapped(cls)
    methods, trees, count = dict(before.methods), dict(before.trees), before.count
    for method in methods_with_calls(cls):
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


def _rewrite(method: Method, calls: dict[str, _Call]) -> FunctionType:
    """Return the method without decorators, calling self.<name>(x) for each activation; its tree is changed."""
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
    closure = tuple(cells[name] for name in code.co_freevars)
    new = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    new.__kwdefaults__ = function.__kwdefaults__
    functools.update_wrapper(new, function)
    del new.__wrapped__  # type: ignore[attr-defined]
    return new


def _decorate_again(outer: Any, inner: FunctionType, new: FunctionType) -> FunctionType | None:
    """Wrap `new` in copies of the decorators that turned `inner` into `outer`; None if one hides what it wraps."""
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
