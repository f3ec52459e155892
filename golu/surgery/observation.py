"""Run a model once, and note which activations are really computed, where, and how often."""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from golu.surgery.kinds import call_label, function_name
from golu.surgery.recognition import module_label


@dataclass(frozen=True)
class Observation:
    """Name an activation that was computed, and by what."""

    path: str  #: of the module in the model
    class_name: str  #: of the module
    activation: str  #: as ReLU
    call: str  #: the function, or what computed it unseen
    source: str  #: the file and the line
    count: int


def observe(model: nn.Module, inputs: Sequence[Any], named: Mapping[str, Any]) -> list[Observation]:
    """Run the model without gradients; its buffers and the random numbers are afterwards as they were."""
    watch = _Functions(model)
    with _undone(model), torch.no_grad(), watch, _Operations(watch):
        model(*inputs, **named)
    return [Observation(*place, count) for place, count in watch.found.items()]


@contextlib.contextmanager
def _undone(model: nn.Module) -> Iterator[None]:
    buffers = [(m, n, b, b.clone()) for m in model.modules() for n, b in m._buffers.items() if b is not None]
    random = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(random)
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                buffer.copy_(before)
                module._buffers[name] = buffer


class _Functions(TorchFunctionMode):
    """Note the calls of functions, each with the innermost module of the model that was running."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.paths = {module: path for path, module in model.named_modules()}
        self.labels: dict[nn.Module, str | None] = {}
        self.found: Counter[tuple[str, str, str, str, str]] = Counter()
        self.running: Any = None  # the function that runs
        self.known = False  # whether it is an activation

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        label = call_label(function, kwargs or {})
        before = self.running, self.known
        self.running, self.known = function, label is not None
        if label is not None and not before[1]:  # an operator that the other mode has noted comes by here
            self.note(label, function_name(function))
        try:
            return function(*args, **(kwargs or {}))
        finally:
            self.running, self.known = before

    def note(self, label: str, call: str) -> None:
        module, source = self.caller()
        if module is None:
            return
        if module not in self.labels:
            self.labels[module] = module_label(module)
        own = self.labels[module]
        self.found[self.paths[module], type(module).__name__, own or label, "module" if own else call, source] += 1

    def caller(self) -> tuple[nn.Module | None, str]:
        """Return the innermost module that runs, and the innermost line outside of torch and of this package."""
        frame = sys._getframe(2)
        source = ""
        while frame is not None:
            code = frame.f_code
            home = str(frame.f_globals.get("__name__", ""))
            if not source and not home.startswith(("torch.", "golu.surgery")):
                source = f"{code.co_filename}:{frame.f_lineno}"
            first = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
            if isinstance(first, nn.Module) and first in self.paths:
                return first, source
            frame = frame.f_back  # type: ignore[assignment]
        return None, source


_UNNAMED = {torch.ops.aten.log_sigmoid_forward.default: "LogSigmoid"}  # an operator that no function is named after


class _Operations(TorchDispatchMode):
    """Note activations that no function call shows: those inside of compiled code, and of recurrent layers."""

    def __init__(self, watch: _Functions) -> None:
        super().__init__()
        self.watch = watch

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        label = call_label(function, kwargs or {}) or _UNNAMED.get(function)
        before = self.watch.known
        if label is not None and not before:
            inside = getattr(self.watch.running, "__name__", "compiled code")
            self.watch.note(label, f"inside of {inside}")
            self.watch.known = True
        try:
            return function(*args, **(kwargs or {}))
        finally:
            self.watch.known = before
