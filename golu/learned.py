"""Provide GoLU with alpha, beta and gamma that are learnt, one or one a channel, positive by construction."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from golu import formula, kernels
from golu.functional import check_parameters, is_plain

NAMES = ("alpha", "beta", "gamma")


def golu_learned(x: Tensor, parameters: Tensor, channel_dim: int = 1) -> Tensor:
    """Apply GoLU with alpha, beta and gamma as tensors, by a kernel that makes their gradients in the pass of x's.

    Args:
        x: float16, bfloat16, float32 or float64, of any shape.
        parameters: (3, 1), for all elements, or (3, channels): alpha, beta and gamma, positive, of a floating dtype.
        channel_dim: the dimension of x that has the channels.

    Returns:
        A tensor of x's shape and dtype.

    Raises:
        ValueError: x has not as many channels.
        TypeError: x is not of one of these dtypes.
    """
    shape = _shape_for(x, parameters.shape[1], channel_dim)
    seen = torch.compiler.is_compiling() or not (is_plain(x) and is_plain(parameters))
    if seen or (parameters.requires_grad and parameters.device != x.device):
        return _by_formula(x, parameters, shape)
    y: Tensor = _Learned.apply(x, parameters, channel_dim, shape)
    return y


def _shape_for(x: Tensor, channels: int, channel_dim: int) -> list[int]:
    """Return the shape with which a parameter of each channel is broadcast against x."""
    if channels == 1:
        return [1] * x.ndim
    if not -x.ndim <= channel_dim < x.ndim or x.shape[channel_dim] != channels:
        size = f"{x.shape[channel_dim]} there" if -x.ndim <= channel_dim < x.ndim else "no such dimension"
        raise ValueError(
            f"num_parameters={channels} is a parameter for each of {channels} channels in dimension {channel_dim}, but "
            f"the input of shape {tuple(x.shape)} has {size}"
        )
    return [channels if dim == channel_dim % x.ndim else 1 for dim in range(x.ndim)]


def _by_formula(x: Tensor, parameters: Tensor, shape: Sequence[int]) -> Tensor:
    alpha, beta, gamma = (each.view(shape) for each in parameters.unbind(0))
    return formula.golu_of_tensors(x, alpha, beta, gamma)


def _in_rows(x: Tensor, channels: int, channel_dim: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """View or copy x as (rows, channels, inner), contiguous; and return what brings such a tensor into x's shape."""
    size = x.size()
    if channels == 1 and x.is_contiguous():
        return x.view(1, 1, x.numel()), lambda y: y.view(size)
    if channels == 1:
        stride = torch.empty_like(x, device="meta").stride()
        if x.stride() != stride:
            x = torch.empty_like(x).copy_(x)
        return x.as_strided((1, 1, x.numel()), (x.numel(), x.numel(), 1)), lambda y: y.as_strided(size, stride)
    last = x.movedim(channel_dim, -1)
    if last.is_contiguous() and not x.is_contiguous():
        return last.view(-1, channels, 1), lambda y: y.view(last.size()).movedim(-1, channel_dim)
    x = x.contiguous()
    rows = math.prod(size[: channel_dim % x.ndim])
    return x.view(rows, channels, -1) if x.numel() else x.view(0, channels, 1), lambda y: y.view(size)


class _Learned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, parameters: Tensor, channel_dim: int, shape: list[int]) -> Tensor:
        ctx.save_for_backward(x, parameters)
        ctx.channel_dim, ctx.shape = channel_dim, shape
        rows, restored = _in_rows(x, parameters.shape[1], channel_dim)
        done = kernels.kernel_for(x.device.type).learned(None, rows, parameters.double().contiguous())
        return _by_formula(x, parameters, shape) if done is None else restored(done[0])

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, parameters = ctx.saved_tensors
        if not torch.is_grad_enabled() and is_plain(dy):
            rows, restored = _in_rows(x, parameters.shape[1], ctx.channel_dim)
            # brought into x's order of memory, which the rows have
            like = torch.empty_like(x).copy_(dy) if dy.stride() != x.stride() else dy
            dy_rows, _ = _in_rows(like, parameters.shape[1], ctx.channel_dim)
            if dy_rows.shape == rows.shape:
                done = kernels.kernel_for(x.device.type).learned(dy_rows, rows, parameters.double().contiguous())
                if done is not None and done[1] is not None:
                    return restored(done[0]), done[1].to(parameters.dtype), None, None
        twice = torch.is_grad_enabled()  # the gradient is differentiated again
        with torch.enable_grad():
            given = [
                each if twice and each.requires_grad else each.detach().requires_grad_() for each in (x, parameters)
            ]
            y = _by_formula(given[0], given[1], ctx.shape)
            dx, dparameters = torch.autograd.grad(y, given, dy, create_graph=twice)
        return dx, dparameters, None, None


class TrainableGoLU(nn.Module):
    """Apply GoLU and learn alpha, beta and gamma, as logarithms, so that they stay positive.

    `GoLU(trainable=True)` makes one.

    Args:
        alpha, beta, gamma: where they begin, above 0.
        trainable: which are learnt; the others stay.
        num_parameters: 1, or the number of channels, each of which then has parameters of its own.
        channel_dim: the dimension of the input that has the channels: 1, or -1 where it is the last one.

    Shape: any; the output has the input's shape and dtype. The workbench's optimisers give them no weight decay.

    Raises:
        ValueError: a parameter is not a positive number, or a name unknown; when called, the input has not as many
            channels.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        *,
        trainable: Sequence[str] = NAMES,
        num_parameters: int = 1,
        channel_dim: int = 1,
    ) -> None:
        super().__init__()
        check_parameters(alpha, beta, gamma)
        if min(alpha, beta, gamma) <= 0:
            raise ValueError(f"parameters that are learnt begin above 0, got {alpha=:g}, {beta=:g}, {gamma=:g}")
        if num_parameters < 1:
            raise ValueError(f"num_parameters is 1 or the number of channels, not {num_parameters}")
        if not trainable or not set(trainable) <= set(NAMES):
            raise ValueError(f"trainable is True or some of {', '.join(NAMES)}, not {trainable!r}")
        self.num_parameters, self.channel_dim = num_parameters, channel_dim
        for name, value in zip(NAMES, (alpha, beta, gamma), strict=True):
            logarithm = torch.full((num_parameters,), math.log(value))
            if name in trainable:
                self.register_parameter(f"log_{name}", nn.Parameter(logarithm))
            else:
                self.register_buffer(f"log_{name}", logarithm)

    def extra_repr(self) -> str:
        learnt = ", ".join(name for name in NAMES if f"log_{name}" in self._parameters)
        return f"{learnt}, num_parameters={self.num_parameters}, channel_dim={self.channel_dim}"

    def forward(self, x: Tensor) -> Tensor:
        logarithms = torch.stack([getattr(self, f"log_{name}") for name in NAMES])
        return golu_learned(x, logarithms.exp(), self.channel_dim)
