"""Compute other activations in place of functions that a module calls, while the module runs.

A module whose calls are intercepted gets a subclass of its own class, in which every method of its own runs under a
torch function mode: whatever calls F.relu meanwhile (an alias, a partial, a function out of a list, a helper in another
file) gets the module that stands under "ReLU" in the submodule `golu_functional`. torch.compile, torch.export, torch.fx
and copies see it; the class itself and other models stay as they are.
"""

import functools
import sys
import warnings
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from golu.surgery.kinds import call_label, function_name, in_place, original_class

FUNCTIONAL = "golu_functional"


class _Interception(TorchFunctionMode):
    """Answer the calls of activations for the module that runs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        label = call_label(function, kwargs)
        if label is not None:
            new = _held(self.module)
            if new is not None and label in new and (torch.compiler.is_compiling() or _within_reach(function)):
                return _instead(new[label], function, args, kwargs)
        return function(*args, **kwargs)


def _instead(new: nn.Module, function: Any, args: Any, kwargs: Any) -> Any:
    x = args[0] if args else kwargs.get("input", kwargs.get("self"))
    if in_place(function, kwargs):  # somebody may go on with x
        return x.copy_(new(x.clone()))
    y = new(x)
    out = kwargs.get("out")
    return y if out is None else out.resize_(y.shape).copy_(y)


def _within_reach(function: Any) -> bool:
    """Tell whether a call that is intercepted now will be whenever it is made; raise or warn where it will not."""
    frame, name = sys._getframe(2), function_name(function)
    while frame is not None and frame.f_code is not _RUN:
        file = frame.f_code.co_filename.replace("\\", "/")
        if file.endswith("torch/utils/checkpoint.py"):
            raise RuntimeError(
                f"{name} is called in a function given to torch.utils.checkpoint, which runs it again where "
                "the new activation cannot take its place: give checkpoint a module or a method of a module instead"
            )
        code = frame.f_code
        if code.co_name == "forward" and isinstance(frame.f_locals.get(code.co_varnames[0]), torch._C._FunctionBase):
            warnings.warn(
                f"{name} is called in a torch.autograd.Function, whose backward belongs to it: not replaced",
                stacklevel=4,
            )
            return False
        frame = frame.f_back  # type: ignore[assignment]
    return True


def _intercepting(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method, run under an interception for its module."""

    @functools.wraps(method)
    def run(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        depth = torch._C._len_torch_function_stack()
        top = torch._C._get_function_stack_at(depth - 1) if depth else None
        if not isinstance(top, _Interception):
            with _Interception(self):
                return method(self, *args, **kwargs)
        before, top.module = top.module, self  # one mode serves all modules: each costs every operation time
        try:
            return method(self, *args, **kwargs)
        finally:
            top.module = before

    return run


_RUN = next(each for each in _intercepting.__code__.co_consts if hasattr(each, "co_name") and each.co_name == "run")


class _Intercepted(nn.Module):  # of Module's memory layout, as a change of class asks for
    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keep the class from registries that its original writes subclasses into."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        made = super().__reduce_ex__(protocol)
        if isinstance(made, tuple) and getattr(made[0], "__name__", "") == "__newobj__":
            return (_new_object, (original_class(self), *made[1][1:]), *made[2:])
        return made


def _new_object(cls: type, *args: Any) -> Any:
    cls = intercepted_class(cls)
    return cls.__new__(cls, *args)


@functools.lru_cache(maxsize=1024)
def intercepted_class(cls: Any) -> type:
    """Return a subclass whose own methods run under an interception."""
    methods: dict[str, Any] = {name: getattr(cls, name) for name in ("__call__", "forward")}
    for owner in reversed(cls.__mro__):
        if owner is not object and not owner.__module__.startswith("torch."):
            own = {n: v for n, v in vars(owner).items() if isinstance(v, FunctionType) and not n.startswith("__")}
            methods |= own
    namespace = {name: _intercepting(method) for name, method in methods.items()}
    about = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    new: type = type(cls)(cls.__name__, (_Intercepted, cls), namespace | about | {"_golu_intercepted": True})
    return new


def class_to_be(module: nn.Module) -> type:
    """Return the class that the module needs to be intercepted: its own, if it is already."""
    cls: Any = type(module)
    if original_class(module) is not cls:
        return type(module)
    if parametrize.is_parametrized(module) and cls.__name__.startswith("Parametrized"):
        # below torch's class, which it takes off again when the parametrization is removed
        rest = {n: v for n, v in vars(cls).items() if n not in ("__dict__", "__weakref__")}
        below: type = type(cls)(cls.__name__, (intercepted_class(cls.__bases__[0]), *cls.__bases__[1:]), rest)
        return below
    return intercepted_class(cls)


def _held(module: nn.Module) -> Any:
    if isinstance(module, torch.jit.ScriptModule):  # stays as it is, and its _modules is no dict
        return None
    return module._modules.get(FUNCTIONAL) or module.__dict__.get(FUNCTIONAL)


def intercepted(module: nn.Module) -> dict[str, nn.Module]:
    """Return what is computed in place of the activations that this module calls, by label."""
    held = _held(module)
    return dict(held.items()) if isinstance(held, nn.ModuleDict) else {}


def intercept(module: nn.Module, cls: type, activations: dict[str, nn.Module], hidden: bool = False) -> None:
    """Give the module the class, and the activations to compute; with none, its calls stay as they are.

    They become a submodule, unless `hidden`: for modules that go through their children, or may never need them.
    """
    module.__class__ = cls
    if not activations:
        return
    held = _held(module)
    if held is None:
        held = nn.ModuleDict().train(module.training)
        if hidden:
            module.__dict__[FUNCTIONAL] = held
        else:
            module.add_module(FUNCTIONAL, held)
    held.update(activations)
