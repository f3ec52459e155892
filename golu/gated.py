"""Provide the gated form of GoLU, golu(gate) * up, and the MLP of language models that is made of it."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from golu import formula, kernels
from golu.functional import check_parameters, is_plain, unchecked

_Parameters = tuple[float, float, float]


def golu_gate(gate: Tensor, up: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Return golu(gate) * up, rounded once, by one kernel forward and one backward; only gate and up are kept.

    Args:
        gate, up: float16, bfloat16, float32 or float64, of the same shape, dtype and device; halves of one tensor are
            read where they are.
        alpha, beta, gamma: as for `golu`.

    Returns:
        A tensor of their shape and dtype.

    Raises:
        ValueError: shapes, dtypes or devices differ, or a parameter is NaN or infinite.
        TypeError: they are not tensors of one of these dtypes.
    """
    _require_fitting(gate, up)
    if not alpha == beta == gamma == 1.0:
        check_parameters(alpha, beta, gamma)
    if torch.compiler.is_compiling() or not is_plain(gate, up):
        return _by_formula(gate, up, alpha, beta, gamma)
    if torch.is_grad_enabled() and (gate.requires_grad or up.requires_grad):
        y: Tensor = _apply(gate, up, alpha, beta, gamma)
        return y
    return _forward(gate, up, (alpha, beta, gamma))


def _require_fitting(gate: object, up: object) -> None:
    if not (isinstance(gate, Tensor) and isinstance(up, Tensor)):
        other = up if isinstance(gate, Tensor) else gate
        raise TypeError(f"golu_gate takes two tensors, not {type(other).__name__}")
    if gate.shape == up.shape and gate.dtype == up.dtype and gate.device == up.device:
        return
    for what in ("shape", "dtype", "device"):
        ours, theirs = getattr(gate, what), getattr(up, what)
        if ours != theirs:
            ours, theirs = (tuple(ours), tuple(theirs)) if what == "shape" else (ours, theirs)
            raise ValueError(f"gate and up have to have the same {what}, got {ours} and {theirs}")


def _by_formula(gate: Tensor, up: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    if gate.dtype in (torch.float16, torch.bfloat16):  # rounded once, as the kernel does
        return (formula.golu(gate.float(), alpha, beta, gamma) * up.float()).to(gate.dtype)
    return formula.golu(gate, alpha, beta, gamma) * up


def _new_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _computed(given: Sequence[Tensor], made: Sequence[Tensor], parameters: _Parameters) -> bool:
    """Compute by the kernel of the device: golu(gate) * up of (gate, up), or both gradients of (dy, gate, up).

    Returns whether there is one that serves them.
    """
    columns = distance = given[0].numel()
    distances = [distance] * (len(given) + len(made))
    if not all([each.is_contiguous() for each in given]):
        columns = given[0].shape[-1]
        found = [_distance(each) for each in given]
        given = [each.contiguous() if far is None else each for each, far in zip(given, found, strict=True)]
        distances = [columns if far is None else far for far in (*found, *[None] * len(made))]
    return bool(kernels.kernel_for(given[0].device.type).gated((*given, *made), columns, distances, *parameters))


def _distance(x: Tensor) -> int | None:
    """Return how far apart rows are in memory, in elements; None where that differs, or elements of a row are apart."""
    *rows, (columns, step) = zip(x.shape, x.stride(), strict=True)
    if step != 1 and columns != 1:
        return None
    rows = [(size, stride) for size, stride in rows if size != 1]
    for (_, outer), (size, inner) in itertools.pairwise(rows):
        if outer != size * inner:
            return None
    return rows[-1][1] if rows else columns


def _forward(gate: Tensor, up: Tensor, parameters: _Parameters) -> Tensor:
    if gate.numel():
        out = _new_like(gate)
        if _computed((gate, up), (out,), parameters):
            return out
    return _by_formula(gate, up, *parameters)


def _backward(dy: Tensor, gate: Tensor, up: Tensor, parameters: _Parameters) -> tuple[Tensor, Tensor]:
    """Return the gradients of gate and up, in new memory."""
    if gate.numel() and dy.dtype == gate.dtype and not torch.is_grad_enabled() and is_plain(dy):
        dgate, dup = _new_like(gate), _new_like(gate)
        if _computed((dy, gate, up), (dgate, dup), parameters):
            return dgate, dup
    wide = torch.float32 if gate.dtype in (torch.float16, torch.bfloat16) else gate.dtype
    d, g, u = dy.to(wide), gate.to(wide), up.to(wide)
    dgate = formula.backward(d * u, g, *parameters).to(gate.dtype)
    return dgate, (d * formula.golu(g, *parameters)).to(up.dtype)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, *parameters: float) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.parameters = parameters
        return _forward(gate, up, ctx.parameters)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        return *_backward(dy, gate, up, ctx.parameters), None, None, None


_apply = unchecked(_Gated)


class _GatedDown(torch.autograd.Function):
    """Compute linear(golu(gate) * up), keeping gate and up; the product is computed again for the weight's gradient."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, weight: Tensor, bias: Tensor | None, *parameters: float) -> Tensor:
        ctx.save_for_backward(gate, up, weight)
        ctx.parameters = parameters
        return F.linear(_forward(gate, up, ctx.parameters), weight, bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, weight = ctx.saved_tensors
        product = golu_gate(gate, up, *ctx.parameters)
        rows = dy.flatten(0, -2)
        dweight = rows.t() @ product.flatten(0, -2) if ctx.needs_input_grad[2] else None
        dbias = rows.sum(0) if ctx.needs_input_grad[3] else None
        return *_backward(dy @ weight, gate, up, ctx.parameters), dweight, dbias, None, None, None


class GoGLU(nn.Module):
    """Apply down_proj(golu(gate_proj(x)) * up_proj(x)), the MLP of Llama-like models with GoLU in place of SiLU.

    Args:
        in_features: size of the last dimension, of input and output.
        hidden_features: size of what is gated.
        bias: whether the three projections have biases.
        recompute: whether the product is computed again in the backward pass, not kept: with it, gate and up are all
            that is kept of the hidden size, beside the input.
        alpha, beta, gamma: of GoLU.

    Shape: (..., in_features) to the same. The projections are named as Llama's are, so that its weights load.

    Raises:
        ValueError: a parameter of GoLU is NaN or infinite.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        bias: bool = False,
        recompute: bool = False,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
    ) -> None:
        super().__init__()
        check_parameters(alpha, beta, gamma)
        self.gate_proj = nn.Linear(in_features, hidden_features, bias=bias)
        self.up_proj = nn.Linear(in_features, hidden_features, bias=bias)
        self.down_proj = nn.Linear(hidden_features, in_features, bias=bias)
        self.recompute, self.parameters_of_golu = recompute, (float(alpha), float(beta), float(gamma))

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_proj(x), self.up_proj(x)
        if self.recompute and self._alone(gate):
            weight, bias = self.down_proj.weight, self.down_proj.bias
            y: Tensor = _GatedDown.apply(gate, up, weight, bias, *self.parameters_of_golu)
            return y
        product: Tensor = self.down_proj(golu_gate(gate, up, *self.parameters_of_golu))
        return product

    @staticmethod
    def _alone(gate: Tensor) -> bool:
        """Tell whether nothing sees or casts the operations; where something does, the parts are computed singly."""
        autocast = torch.is_autocast_enabled(gate.device.type)
        seen = torch.compiler.is_compiling() or not is_plain(gate)
        return gate.ndim > 1 and not (autocast or seen)

    def extra_repr(self) -> str:
        alpha, beta, gamma = self.parameters_of_golu
        return f"recompute={self.recompute}, alpha={alpha:g}, beta={beta:g}, gamma={gamma:g}"
