"""Read in the source of modules which activation functions they call, and whether they could call others."""

import ast
import builtins
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CellType, FunctionType, ModuleType
from typing import Any

import torch
from torch import nn

from golu.surgery.kinds import CLASSES, FUNCTIONS, METHODS, call_label, matches

_HARMLESS_METHODS = {name for cls in (torch.Tensor, list, dict, str, set, tuple) for name in dir(cls)} - set(METHODS)


@dataclass(frozen=True)
class Call:
    label: str
    text: str
    source: str  # file:line


@dataclass
class Reading:
    """Hold what the source of a class says; what is not `sure` may call activations that it does not show."""

    calls: list[Call] = field(default_factory=list)
    called: set[str] = field(default_factory=set)  # attributes of self
    sure: bool = True


@functools.lru_cache(maxsize=4096)
def read(cls: type) -> Reading:
    """Read the methods that a module class defines outside of torch, and those of activations that it derives from."""
    reading = Reading()
    building = _only_for_building(cls)
    overriding: dict[str, list[Any]] = {}  # by name, the methods of classes before this one
    for owner in cls.__mro__:
        if owner is object or (owner.__module__.startswith("torch.") and owner not in CLASSES.values()):
            continue
        for name, value in vars(owner).items():
            function = _function(value)
            before = overriding.setdefault(name, [])
            reached = all(_calls_base(override, name, owner) for override in before)
            before.append(function)
            if function is None or not reached or name in building:
                continue
            tree = _parse(function)
            if tree is None:
                reading.sure = False
            else:
                _Reader(function, tree, reading).read()
    return reading


def _only_for_building(cls: type) -> set[str]:
    """List __init__ and the methods that nothing but __init__ calls, as _make_layer."""
    names: dict[bool, set[str]] = {True: {"__init__"}, False: set()}
    for owner in cls.__mro__:
        if owner is not nn.Module and owner is not object:
            for name, value in vars(owner).items():
                if isinstance(value, FunctionType):
                    names[name == "__init__"] |= set(inspect.unwrap(value).__code__.co_names)
    return names[True] - names[False] - {"forward"}


def _function(value: Any) -> FunctionType | None:
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    value = inspect.unwrap(value) if isinstance(value, FunctionType) else value
    return value if isinstance(value, FunctionType) else None


def _calls_base(override: FunctionType | None, name: str, owner: type) -> bool:
    """Tell whether the overriding method calls the overridden one, by super().name or Owner.name."""
    names = override.__code__.co_names if override is not None else ()
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


class _Reader:
    """Read one method into a Reading."""

    def __init__(self, function: FunctionType, tree: ast.FunctionDef, reading: Reading) -> None:
        self.function = function
        self.reading = reading
        tree.decorator_list = []
        self.nodes = list(ast.walk(tree))
        arguments = tree.args.posonlyargs + tree.args.args
        self.receiver = arguments[0].arg if arguments else None
        # names bound in any scope of it: what they stand for is known at run time only
        stored = {n.id for n in self.nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
        self.bound = stored | {n.arg for n in self.nodes if isinstance(n, ast.arg)}
        self.bound |= {n.name for n in self.nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n is not tree}

    def read(self) -> None:
        calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        for node in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
            self.read_call(node)
        called = {id(node.func) for node in calls}
        if any(isinstance(each, ast.Attribute) and each.attr == "_modules" for each in self.nodes):
            self.reading.called.add("children")
        others = (n for n in self.nodes if isinstance(n, (ast.Name, ast.Attribute)) and id(n) not in called)
        if any(self.resolve(each) in _ALL for each in others):  # handed on or stored instead of called
            self.reading.sure = False

    def read_call(self, node: ast.Call) -> None:
        callee = node.func
        target = self.resolve(callee)
        if target in _ALL:
            self.found(node, _written_label(target, node))
        elif isinstance(callee, ast.Attribute) and self.is_receiver(callee.value):
            self.reading.called.add(callee.attr)
        elif self.is_tensor_method(node):
            self.found(node, METHODS[callee.attr])  # type: ignore[attr-defined]
        elif target is not None:
            self.reading.sure &= _harmless(target)
        else:
            self.reading.sure &= isinstance(callee, ast.Attribute) and (
                callee.attr in _HARMLESS_METHODS or _is_super(callee.value)
            )

    def found(self, node: ast.Call, label: str) -> None:
        source = f"{self.function.__code__.co_filename}:{node.lineno}"
        self.reading.calls.append(Call(label, ast.unparse(node), source))

    def is_receiver(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id == self.receiver

    def is_tensor_method(self, node: ast.Call) -> bool:
        of = node.func
        return isinstance(of, ast.Attribute) and of.attr in METHODS and not node.args and not node.keywords

    def resolve(self, node: ast.expr) -> Any:
        """Return what a name, or a dotted name inside of a module, stands for; None if that is unknown."""
        if isinstance(node, ast.Attribute):
            home = self.resolve(node.value)
            found = vars(home).get(node.attr) if isinstance(home, ModuleType) else None
            return found if _hashable(found) else None
        if not isinstance(node, ast.Name) or node.id in self.bound:
            return None
        cells = dict(zip(self.function.__code__.co_freevars, self.function.__closure__ or (), strict=True))
        if node.id in cells:
            found = _contents(cells[node.id])
        else:
            found = self.function.__globals__.get(node.id, getattr(builtins, node.id, None))
        return found if _hashable(found) else None


_ALL = FUNCTIONS.keys()


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except Exception:
        return False
    return True


def _harmless(target: Any) -> bool:
    """Tell whether a function or class that is no activation surely calls none."""
    if isinstance(target, type):
        return not issubclass(target, nn.Module)
    home = str(getattr(target, "__module__", None) or "builtins")
    return inspect.isroutine(target) and home.split(".")[0] in ("builtins", "torch", "math", "warnings", "typing")


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing in it yet
        return None


def _written_label(target: object, node: ast.Call) -> str:
    label = str(call_label(target, {}))
    approximate = next((keyword.value for keyword in node.keywords if keyword.arg == "approximate"), None)
    if label != "GELU" or approximate is None:
        return label
    if isinstance(approximate, ast.Constant):
        return "GELU_tanh" if approximate.value == "tanh" else "GELU"
    return f"GELU(approximate={ast.unparse(approximate)})"  # known at run time only: neither of the two names


# ---- of an instance ----


def held_functions(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield activation functions kept as attributes, as torch's TransformerEncoderLayer does: name, label."""
    for name, value in vars(module).items():
        keywords = value.keywords if isinstance(value, functools.partial) else {}
        function = value.func if isinstance(value, functools.partial) else value
        if inspect.isroutine(function) and _hashable(function) and function in _ALL:
            yield name, str(call_label(function, keywords))


def iterates(module: nn.Module, cls: type) -> bool:
    """Tell whether the module goes through its children, and would take one more for one of them."""
    containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    return isinstance(module, containers) or bool(read(cls).called & {"children", "named_children", "modules"})


def shows(module: nn.Module, cls: type, labels: set[str]) -> bool:
    """Tell whether the source of the module, or what it holds, shows a call of an activation of these labels."""
    written = [call.label for call in read(cls).calls]
    held = [label for _, label in held_functions(module)]
    return any(matches(label, labels) for label in written + held)


def may_call(module: nn.Module, cls: type, labels: set[str]) -> bool:
    """Tell whether the module itself may call an activation of these labels; False only where that is sure."""
    if shows(module, cls, labels):
        return True
    if cls.__module__.startswith("torch."):
        return False
    reading = read(cls)
    known = all(
        name in module._modules or vars(module).get(name, ...) is None or inspect.isroutine(getattr(cls, name, None))
        for name in reading.called
    )
    return not (reading.sure and known)
