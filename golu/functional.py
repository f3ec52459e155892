"""Compute golu() and gompertz() by a kernel that reads the memory, by the operator golu::golu, or by the formula."""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import handle_torch_function, has_torch_function_unary

from golu import formula, from_output, kernels, operator

_is_compiling = torch.compiler.is_compiling
_is_exporting = torch.compiler.is_exporting
_is_grad_enabled = torch.is_grad_enabled
_has_storage = torch._C._has_storage
_functorch_active = torch._C._are_functorch_transforms_active
_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
_profiler_enabled = torch._C._autograd._profiler_enabled
_tracing_state = torch._C._get_tracing_state
_PLAIN = (Tensor, torch.nn.Parameter)
_UNIT = (1.0, 1.0, 1.0)


def golu(x: Tensor, alpha: float | Tensor = 1.0, beta: float | Tensor = 1.0, gamma: float | Tensor = 1.0) -> Tensor:
    """Apply GoLU elementwise: alpha * x * exp(-beta * exp(-gamma * x)).

    Args:
        x: float16, bfloat16, float32 or float64, of any shape, strides and device.
        alpha, beta, gamma: finite floats; negative alpha and non-positive beta or gamma are followed, with a warning.
            Where one is a tensor, it gets its gradient; tensors are broadcast against x and their values not checked.

    Returns:
        A tensor of x's shape, dtype and device; dense memory keeps its order (channels_last stays so).

    Raises:
        TypeError: x is not of one of these dtypes.
        ValueError: a parameter is NaN or infinite.

    Only x is kept for the backward pass (more where a parameter is a tensor: plain operations compute it then).
    At -inf the value is -0 and the gradient 0; at +inf they are inf and 1.
    """
    compiling = _is_compiling()
    if _mode_while_compiling() if compiling else has_torch_function_unary(x):
        return handle_torch_function(golu, (x,), x, alpha, beta, gamma)
    if (type(alpha) is not float or type(beta) is not float or type(gamma) is not float) and (
        isinstance(alpha, Tensor) or isinstance(beta, Tensor) or isinstance(gamma, Tensor)
    ):
        return _of_tensors(formula.golu_of_tensors, x, alpha, beta, gamma)
    if not (0.0 <= alpha < math.inf and 0.0 < beta < math.inf and 0.0 < gamma < math.inf):
        check_parameters(alpha, beta, gamma)
    if compiling:
        return _seen(x, alpha, beta, gamma)
    y = kernels.call(x, alpha, beta, gamma, _apply)
    if y is not None:
        return y
    if not is_plain(x):
        return _seen(x, alpha, beta, gamma)
    if x.requires_grad and _is_grad_enabled():
        recorded: Tensor = _apply(x, alpha, beta, gamma)
        return recorded
    return kernels.forward(x, alpha, beta, gamma)


def gompertz(x: Tensor, alpha: float | Tensor = 1.0, beta: float | Tensor = 1.0, gamma: float | Tensor = 1.0) -> Tensor:
    """Apply the Gompertz gate elementwise: alpha * exp(-beta * exp(-gamma * x)). Arguments and errors as for `golu`."""
    if _mode_while_compiling() if _is_compiling() else has_torch_function_unary(x):
        return handle_torch_function(gompertz, (x,), x, alpha, beta, gamma)
    if isinstance(alpha, Tensor) or isinstance(beta, Tensor) or isinstance(gamma, Tensor):
        return _of_tensors(formula.gompertz_of_tensors, x, alpha, beta, gamma)
    check_parameters(alpha, beta, gamma)
    _must_be_tensor(x)
    return _traceable(formula.gompertz)(x, alpha, beta, gamma)


def _mode_while_compiling() -> bool:
    """Tell under torch.compile, whose has_torch_function knows no modes, whether one is to see the call."""
    return _function_modes() > 0 and torch._C._is_torch_function_mode_enabled()


def is_plain(x: Tensor, *others: Tensor) -> bool:
    """Tell whether they have memory of their own and nothing sees operations: no transform, subclass, mode or trace."""
    for each in (x, *others):  # there is no storage for batched gradients and sparse layouts
        if type(each) not in _PLAIN or not _has_storage(each) or each.is_nested:
            return False
    return (
        not _functorch_active()
        and forward_ad._current_level < 0
        and not _dispatch_modes()
        and not _profiler_enabled()
        and _tracing_state() is None
    )


def _seen(x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Compute golu where something sees the operations: one operator, or those of the formula where they transform."""
    _must_be_tensor(x)
    if _is_compiling() and not _is_exporting():
        return operator.compiled(x, alpha, beta, gamma)
    if _is_exporting() or _transformed(x) or _tracing_state() is not None:
        return _traceable(formula.golu)(x, alpha, beta, gamma)
    if x.is_nested and x.layout is torch.strided:
        parts = [golu(part, alpha, beta, gamma) for part in x.unbind()]
        return torch.nested.as_nested_tensor(parts, layout=torch.strided)
    return operator.forward(x, alpha, beta, gamma)


def _transformed(x: Tensor) -> bool:
    """Tell whether x is differentiated forward, batched, or an argument of a function under torch.func."""
    batched = type(x) in _PLAIN and not _has_storage(x)
    return batched or operator.transformed()


def _must_be_tensor(x: object) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"GoLU takes float16, bfloat16, float32 or float64 tensors, not {type(x).__name__}")


def _traceable(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compile the function where torch.jit.trace looks on, whose graph would otherwise hold the example's dtype."""
    if _tracing_state() is None or torch.onnx.is_in_onnx_export():  # the older exporter to ONNX takes no branches
        return function
    return _scripted(function)


@functools.cache
def _scripted(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that TorchScript is deprecated
        scripted: Callable[..., Tensor] = torch.jit.script(function)
    return scripted


def _of_tensors(function: Callable[..., Tensor], x: Tensor, *parameters: float | Tensor) -> Tensor:
    """Call a formula that takes all parameters as tensors."""
    _must_be_tensor(x)
    tensors = [p if isinstance(p, Tensor) else torch.full((), p, dtype=torch.float64) for p in parameters]
    return _traceable(function)(x, *tensors)


class _GoLU(torch.autograd.Function):
    """Run a kernel under autograd; `setup_context` would cost six times as much a call, functorch gets the formula."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: float) -> Tensor:
        """Take alpha, beta and gamma, or nothing for 1, which makes a small call faster."""
        ctx.save_for_backward(x)
        if parameters:
            ctx.parameters = parameters
        return kernels.forward(x, *(parameters or _UNIT))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        parameters = ctx.parameters
        dx = None if _is_compiling() else kernels.call_backward(dy, x, *parameters)
        if dx is None:
            dx = _backward(dy, x, *parameters)
        return dx if parameters is _UNIT else (dx, None, None, None)


def _backward(dy: Tensor, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    """Compute a gradient that is out of the ordinary."""
    if _is_compiling() or _is_grad_enabled() or _transformed(dy):  # create_graph, batched gradients
        return formula.backward(dy, x, alpha, beta, gamma)
    return kernels.backward(dy, x, alpha, beta, gamma) if is_plain(dy) else operator.backward(dy, x, alpha, beta, gamma)


def unchecked(function: type[torch.autograd.Function], **defaults: Any) -> Callable[..., Any]:
    """Return the `apply` of a function without what torch checks around it, where that has been checked.

    It costs as much as GoLU itself. `defaults` are what its context has from the beginning.
    """
    context: Any = function._backward_cls
    for name, value in {**defaults, "apply": function.backward}.items():
        setattr(context, name, value)
    apply: Callable[..., Any] = super(torch.autograd.Function, function).apply  # type: ignore[misc]
    return apply


_apply = unchecked(_GoLU, parameters=_UNIT)


def golu_keeping_output(x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Apply GoLU, keeping for the backward pass its output and one bit an element, not its input.

    The next layer of a model keeps the output anyway, as its input. Where something sees or transforms the operations
    (torch.compile, torch.func, forward AD, export, subclasses, modes), this is `golu`.

    Args:
        x, alpha, beta, gamma: as for `golu`; alpha and gamma are positive, and beta is from 0.01 to 2.

    Returns:
        What `golu` returns. Changing it in place before the backward pass is an error.

    Raises:
        ValueError: with these parameters the output does not tell the derivative.
        TypeError: as for `golu`.
    """
    compiling = _is_compiling()
    if _mode_while_compiling() if compiling else has_torch_function_unary(x):
        return handle_torch_function(golu_keeping_output, (x,), x, alpha, beta, gamma)
    from_output.require_suitable(alpha, beta, gamma)
    done = None if compiling else kernels.call(x, alpha, beta, gamma, _apply_keeping)
    if done is not None:
        return done
    if compiling or not is_plain(x) or not (x.requires_grad and _is_grad_enabled()):
        return golu(x, alpha, beta, gamma)
    y: Tensor = _apply_keeping(x, alpha, beta, gamma)
    return y


class _OutputKept(torch.autograd.Function):
    """Run a kernel under autograd that differentiates from the output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: float) -> Tensor:
        """Take alpha, beta and gamma, or nothing for 1."""
        y, packed = kernels.forward_keeping(x, *(parameters or _UNIT))
        ctx.save_for_backward(y, packed)
        if parameters:
            ctx.parameters = parameters
        if not y.is_contiguous():
            ctx.stride = y.stride()
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        y, packed = ctx.saved_tensors
        parameters, stride = ctx.parameters, ctx.stride
        dx = None
        if stride is None and not _is_compiling():
            dx = kernels.call_backward_from_output(dy, y, packed, *parameters)
        if dx is None:
            dx = _backward_from_output(dy, y, packed, stride, *parameters)
        return dx if parameters is _UNIT else (dx, None, None, None)


def _backward_from_output(
    dy: Tensor, y: Tensor, packed: Tensor, stride: tuple[int, ...] | None, *parameters: float
) -> Tensor:
    """Compute a gradient that is out of the ordinary; `stride` is that of the output, None where it was contiguous."""
    if stride is None:  # hooks on saved tensors may have changed it
        y = y.contiguous()
    elif y.stride() != stride:
        y = y.new_empty_strided(y.size(), stride).copy_(y)
    if _is_compiling() or _is_grad_enabled() or not is_plain(dy):  # create_graph, batched gradients
        return from_output.backward(dy, y, from_output.unpacked(packed, y), *parameters)
    return kernels.backward_from_output(dy, y, packed, *parameters)


_apply_keeping = unchecked(_OutputKept, parameters=_UNIT, stride=None)


def check_parameters(alpha: float, beta: float, gamma: float, stacklevel: int = 3) -> None:
    """Raise for parameters that are no finite numbers; warn the caller's caller where the gate loses its S shape."""
    for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        if not -math.inf < value < math.inf:  # a comparison, which torch.compile can trace
            raise ValueError(f"GoLU needs finite parameters, got {name}={value}")
    if not _is_compiling() and (alpha < 0 or beta <= 0 or gamma <= 0):
        warnings.warn(
            f"GoLU with alpha={alpha}, beta={beta}, gamma={gamma}: "
            "unless alpha >= 0, beta > 0 and gamma > 0, the gate is no longer an S-shaped curve",
            stacklevel=stacklevel,
        )


# TorchScript compiles the formula in place of these functions
setattr(golu, "__prepare_scriptable__", lambda: formula.golu)  # noqa: B010
setattr(golu_keeping_output, "__prepare_scriptable__", lambda: formula.golu)  # noqa: B010
setattr(gompertz, "__prepare_scriptable__", lambda: formula.gompertz)  # noqa: B010
