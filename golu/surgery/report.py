"""Report the activations of a model: its modules, the calls that its source shows, and what it really computes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from golu.surgery.interception import intercepted
from golu.surgery.kinds import CLASSES, METHODS, call_label, function_name, matches, original_class
from golu.surgery.observation import Observation, observe
from golu.surgery.recognition import module_label
from golu.surgery.source import held_functions, read


@dataclass(frozen=True)
class FunctionalCall:
    """Name a place where a module computes an activation by a function."""

    path: str  #: of the module in the model
    class_name: str  #: of the module
    activation: str  #: as ReLU
    call: str  #: as F.relu(x, inplace=True), or self.activation for a function that the module holds
    source: str  #: the file and the line


@dataclass(frozen=True)
class ActivationReport:
    """Hold what `find_activations` found; `str` of it is a table."""

    modules: list[tuple[str, str]]  #: path in the model, class name
    functional: list[FunctionalCall]  #: that the source shows, and that are not intercepted
    observed: list[Observation] | None = None  #: that were computed with the given inputs

    def shows(self, labels: set[str]) -> bool:
        """Tell whether the source shows a call of an activation of these labels."""
        return any(matches(call.activation, labels) for call in self.functional)

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
        text = _columns(rows)
        if self.observed is None:
            return text
        seen = [("computed", "count", "where", "by")]
        for each in self.observed:
            by = f"{each.call} in {each.class_name}, {Path(each.source).name}"
            seen.append((each.activation, str(each.count), each.path or "(root)", by))
        return f"{text}\n\n{_columns(seen)}"


def _columns(rows: list[tuple[str, str, str, str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(f"{a:<{widths[0]}}  {n:>{widths[1]}}  {w:<{widths[2]}}  {k}" for a, n, w, k in rows)


def require_model(model: object, hint: str = "") -> None:
    """Raise a TypeError for what is no model."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"it takes a model (torch.nn.Module), not a {type(model).__name__}{hint}")


def find_activations(model: nn.Module, *inputs: Any, **named: Any) -> ActivationReport:
    """Find the activations of a model: its modules, and the functions that its modules call.

    Args:
        model: is not changed.
        inputs, named: what the model is called with, once, without gradients, to see what it really computes; then the
            report has `observed`: every activation that was computed, by which module, where, and how often.

    Modules are torch's elementwise activations (or GLU, or GoLU), once each, and modules of other classes that compute
    the same, as the GELUs of transformers: those without parameters are shown some numbers. Attention and the softmax
    family are left out. A GELU with approximate="tanh" is named GELU_tanh, x * sigmoid(1.702 x) QuickGELU.

    Functions are found in the source of the modules' classes, where it is available: F.relu(x), torch.relu(x), x.relu()
    and the like, under whatever name the file imports them, and functions that a module keeps as an attribute; those
    of scripted and traced modules in their graphs. What source does not show (a function out of a list, say, or called
    in another file) is seen with inputs only.
    """
    require_model(model)
    modules = [(path, label) for path, m in model.named_modules() if (label := module_label(m)) is not None]
    observed = observe(model, inputs, named) if inputs or named else None
    return ActivationReport(modules, list(functional_calls(model)), observed)


def functional_calls(model: nn.Module) -> Iterator[FunctionalCall]:
    """Yield every functional call that the source shows and that is not intercepted."""
    compiled: set[nn.Module] = set()  # what is in scripted modules, whose graphs show theirs too
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            if module not in compiled and hasattr(module, "inlined_graph"):  # a list of modules has none
                compiled.update(module.modules())
                yield from _in_script(path, module)
            continue
        cls, taken = original_class(module), set(intercepted(module))
        both = {"GELU", "GELU_tanh"} <= taken  # whatever the approximation turns out to be
        if cls in CLASSES.values() or module_label(module) is not None:
            continue
        for attribute, label in held_functions(module):
            if label not in taken:
                yield FunctionalCall(path, cls.__name__, label, f"self.{attribute}", "an attribute")
        yield from _recurrent(path, module)
        yield from _in_graph(path, module)
        for call in read(cls).calls:
            if call.label not in taken and not (both and call.label.startswith("GELU(")):
                yield FunctionalCall(path, cls.__name__, call.label, call.text, call.source)


def _in_graph(path: str, module: nn.Module) -> Iterator[FunctionalCall]:
    for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
        label = call_label(node.target, node.kwargs) if node.op == "call_function" else None
        label = METHODS.get(node.target) if node.op == "call_method" else label
        if label is not None:
            name = function_name(node.target)
            call = f"{name}({', '.join(map(str, node.args))})"
            yield FunctionalCall(path, type(module).__name__, label, call, "an fx graph")


def _in_script(path: str, module: torch.jit.ScriptModule) -> Iterator[FunctionalCall]:
    """Yield each activation once: F.silu(x) has silu and silu_ in its graph, of which one runs."""
    found = {}
    for node in _nodes(module.inlined_graph):
        namespace, _, name = node.kind().partition("::")
        label = call_label(getattr(torch.ops.aten, name, None), {}) if namespace == "aten" else None
        if label == "GELU":
            approximate = list(node.inputs())[1].toIValue()
            label = {"none": "GELU", "tanh": "GELU_tanh"}.get(approximate, "GELU(approximate=...)")
        found[label] = name.removesuffix("_")
    for label, name in found.items():
        if label is not None:
            yield FunctionalCall(path, str(module.original_name), label, name, "a scripted module")


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _recurrent(path: str, module: nn.Module) -> Iterator[FunctionalCall]:
    nonlinearity = getattr(module, "nonlinearity", None)
    if isinstance(module, (nn.RNN, nn.RNNCell)) and nonlinearity in ("relu", "tanh"):
        label = {"relu": "ReLU", "tanh": "Tanh"}[str(nonlinearity)]
        yield FunctionalCall(path, type(module).__name__, label, f"nonlinearity={nonlinearity!r}", "an argument")
