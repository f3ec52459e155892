"""Register golu::golu and golu::golu_backward, what dispatch modes, tensor subclasses and the profiler see of GoLU.

They compute by the same kernels as a plain call, so the bits of value and gradient are the same, and so is what is
kept for backward: x. In a graph of torch.compile stands golu::compiled, which becomes either golu::golu or the formula
when that graph is differentiated. The registration defines names and implementations; it takes about 1 ms.
"""

import sys
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from golu import formula, kernels

_library = torch.library.Library("golu", "DEF")
_TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.pointwise)
_PARAMETERS = "float alpha=1.0, float beta=1.0, float gamma=1.0"
_library.define(f"golu(Tensor x, {_PARAMETERS}) -> Tensor", tags=_TAGS)
_library.define(f"golu_backward(Tensor dy, Tensor x, {_PARAMETERS}) -> Tensor", tags=_TAGS)
_FEW = 2**16  # elements: as fast either way, measured with neighbours to fuse with
_GENERATION = "1"  # to be raised when _compiled or the formula changes: torch finds compiled code by the graph
_library.define("compiled(Tensor x, float alpha, float beta, float gamma, str generation) -> Tensor", tags=_TAGS)
_golu = torch.ops.golu.golu.default
_golu_backward = torch.ops.golu.golu_backward.default


def forward(x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Call the operator golu::golu."""
    if type(x) is not Tensor:
        _teach_dtensor()
    y: Tensor = _golu(x, alpha, beta, gamma)
    return y


def backward(dy: Tensor, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Call the operator golu::golu_backward; differentiable, to any order."""
    dx: Tensor = _golu_backward(dy, x, alpha, beta, gamma)
    return dx


class _GoLU(torch.autograd.Function):
    """Differentiate golu::golu by golu::golu_backward."""

    @staticmethod
    def forward(ctx: Any, keys: Any, x: Tensor, *parameters: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.parameters = parameters
        return _below_autograd(_golu, keys, x, *parameters)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        dx: Tensor = _golu_backward(dy, *ctx.saved_tensors, *ctx.parameters)
        return None, dx, *[None] * len(ctx.parameters)


def _below_autograd(operator: Any, keys: Any, *arguments: Any) -> Tensor:
    """Go on with the call to what comes after autograd: a subclass, a mode, or the kernel."""
    with torch._C._AutoDispatchBelowAutograd():
        result: Tensor = operator.redispatch(keys & torch._C._after_autograd_keyset, *arguments)
    return result


def _forward_under_autograd(keys: Any, x: Tensor, *parameters: float) -> Tensor:
    if transformed():
        return formula.golu(x, *parameters)
    if x.requires_grad and torch.is_grad_enabled():
        y: Tensor = _GoLU.apply(keys, x, *parameters)
        return y
    return _below_autograd(_golu, keys, x, *parameters)


def _backward_under_autograd(keys: Any, dy: Tensor, x: Tensor, *parameters: float) -> Tensor:
    if transformed() or (torch.is_grad_enabled() and (dy.requires_grad or x.requires_grad)):
        return formula.backward(dy, x, *parameters)
    return _below_autograd(_golu_backward, keys, dy, x, *parameters)


def compiled(x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Call the operator golu::compiled, in code that torch.compile traces."""
    y: Tensor = torch.ops.golu.compiled.default(x, alpha, beta, gamma, _GENERATION)
    return y


def _compiled(x: Tensor, alpha: float, beta: float, gamma: float, generation: str) -> Tensor:
    """Choose what a compiled graph holds: the kernel from _FEW elements on, where there is one; else the formula."""
    alpha, beta, gamma = map(_constant, (alpha, beta, gamma))
    if torch._guards.TracingContext.try_get() is None:  # the graph is not compiled further, and runs
        return forward(x, alpha, beta, gamma)
    if _better_fused(x):
        return formula.golu(x, alpha, beta, gamma)
    _teach_partitioner()
    return forward(x, alpha, beta, gamma)


def _constant(parameter: float | torch.SymFloat) -> float:
    """Return the number itself: dynamic shapes make floats symbolic too, which would be computed with in fp64."""
    return parameter.node.guard_float("", 0) if isinstance(parameter, torch.SymFloat) else parameter


def _better_fused(x: Tensor) -> bool:
    """Tell whether generated code that computes the formula is at least as fast as a call of the kernel.

    On a CPU its exponential takes twice the time of the kernel's, which outweighs what a call costs from _FEW elements.
    """
    if x.device.type != "cpu" or kernels.kernel_for("cpu").name == "formula":
        return True
    elements = x.numel()
    if isinstance(elements, torch.SymInt):  # dynamic shapes: that of the first call, without a guard
        return (elements.node.hint or _FEW) < _FEW
    return elements < _FEW


def _teach_partitioner() -> None:
    """Tell torch.compile that both operators may be computed again rather than stored, as it knows of elementwise ones.

    It has no public way; the list that it keeps is of torch's own operators.
    """
    from torch._functorch.partitioners import pointwise_ops

    if torch.ops.golu.golu not in pointwise_ops():
        pointwise_ops().extend([torch.ops.golu.golu, torch.ops.golu.golu_backward])


def transformed() -> bool:
    """Tell whether a function is differentiated forward or transformed by torch.func now."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _forward(x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    return kernels.forward(x, alpha, beta, gamma)


def _backward(dy: Tensor, x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    return kernels.backward(dy, x, alpha, beta, gamma)


for _name, _computed, _differentiable, _decomposed, _shaped in (
    ("golu", _forward, _forward_under_autograd, formula.golu, lambda x, *_: torch.empty_like(x)),
    ("golu_backward", _backward, _backward_under_autograd, formula.backward, lambda dy, x, *_: torch.empty_like(x)),
):
    _library.impl(_name, _computed, "CompositeExplicitAutograd")
    _library.impl(_name, _shaped, "Meta")
    _library.impl(_name, _differentiable, "Autograd", with_keyset=True)
    _library.impl(_name, _decomposed, "FuncTorchBatched")
    _library.impl(_name, _decomposed, "Batched")  # that of torch.autograd.grad(..., is_grads_batched=True)


_library.impl("compiled", _compiled, "CompositeImplicitAutograd")

_dtensor_knows = False


def _teach_dtensor() -> None:
    """Tell DTensor, once and only where it is in use, that both operators are elementwise; it ignores their tag."""
    global _dtensor_knows
    if _dtensor_knows or "torch.distributed.tensor" not in sys.modules:
        return
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.experimental import register_sharding

    def placements(*arguments: Any) -> list[tuple[list[Any], list[Any]]]:
        tensors = [a for a in arguments if not isinstance(a, float)]
        numbers = [None] * (len(arguments) - len(tensors))
        same = [Replicate(), *(Shard(dim) for dim in range(tensors[0].ndim))]
        return [([each], [each] * len(tensors) + numbers) for each in same]

    register_sharding([_golu, _golu_backward])(placements)
    _dtensor_knows = True
