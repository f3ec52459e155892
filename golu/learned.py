"""Provide GoLU with alpha, beta and gamma that are learnt, one or one a channel, positive by construction."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from golu import formula, kernels
from golu.functional import check_parameters, is_plain, unchecked

NAMES = ("alpha", "beta", "gamma")


def golu_learned(x: Tensor, log_alpha: Tensor, log_beta: Tensor, log_gamma: Tensor, channel_dim: int = 1) -> Tensor:
    """Apply GoLU whose parameters are tensors, by a kernel that makes their gradients in the pass of x's.

    Args:
        x: float16, bfloat16, float32 or float64, of any shape.
        log_alpha, log_beta, log_gamma: logarithms of the parameters, of shape (1,), for all elements, or (channels,).
        channel_dim: the dimension of x that has the channels.

    Returns:
        A tensor of x's shape and dtype.

    Raises:
        ValueError: x has not as many channels, or the logarithms are not of one shape and device.
        TypeError: x is not of one of these dtypes.
    """
    logarithms = log_alpha, log_beta, log_gamma
    _require_fitting(x, *logarithms, channel_dim)
    if torch.compiler.is_compiling() or not is_plain(x, *logarithms) or log_alpha.device != x.device:
        return _by_formula(x, logarithms, channel_dim)
    y: Tensor = _apply(x, *logarithms, channel_dim if len(log_alpha) > 1 else None)
    return y


def _require_fitting(x: Tensor, alpha: Tensor, beta: Tensor, gamma: Tensor, channel_dim: int) -> None:
    shape, device = alpha.shape, alpha.device
    alike = shape == beta.shape == gamma.shape and device == beta.device == gamma.device
    if not alike or len(shape) != 1:
        found = ", ".join(f"{tuple(each.shape)} on {each.device}" for each in (alpha, beta, gamma))
        raise ValueError(f"the logarithms are of one shape, (1,) or (channels,), and on one device, not {found}")
    channels, there = shape[0], -x.ndim <= channel_dim < x.ndim
    if channels != 1 and not (there and x.shape[channel_dim] == channels):
        size = f"{x.shape[channel_dim]} there" if there else "no such dimension"
        raise ValueError(
            f"num_parameters={channels} is a parameter for each of {channels} channels in dimension {channel_dim}, but "
            f"the input of shape {tuple(x.shape)} has {size}"
        )


def _by_formula(x: Tensor, logarithms: Sequence[Tensor], channel_dim: int | None) -> Tensor:
    shape = [1] * x.ndim
    if channel_dim is not None and len(logarithms[0]) > 1:
        shape[channel_dim] = len(logarithms[0])
    wide = torch.promote_types(logarithms[0].dtype, torch.float32)
    alpha, beta, gamma = (each.to(wide).exp().view(shape) for each in logarithms)
    return formula.golu_of_tensors(x, alpha, beta, gamma)


def _in_memory(x: Tensor, channel_dim: int | None) -> tuple[Tensor, tuple[int, int, int]]:
    """Return x, copied where it has to be, and the shape of its memory: (rows, channels, inner)."""
    if channel_dim is None:
        if not x.is_contiguous() and x.stride() != torch.empty_like(x, device="meta").stride():
            x = torch.empty_like(x).copy_(x)
        return x, (1, 1, x.numel())
    size, dim = x.size(), channel_dim % x.ndim
    if not x.is_contiguous():
        if x.movedim(dim, -1).is_contiguous():  # channels_last
            return x, (x.numel() // size[dim], size[dim], 1)
        x = x.contiguous()
    return x, (math.prod(size[:dim]), size[dim], math.prod(size[dim + 1 :]))


def _computed(
    dy: Tensor | None, x: Tensor, shape: tuple[int, int, int], logarithms: Sequence[Tensor]
) -> tuple[Tensor, ...] | None:
    """Return what the kernel of the device does, which takes logarithms in float32; None where there is none."""
    done = kernels.kernel_for(x.device.type).learned(dy, x, shape, [each.float() for each in logarithms])
    if done is None or dy is None:
        return done
    return done[0], *(each.to(given.dtype) for each, given in zip(done[1:], logarithms, strict=True))


class _Learned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *given: Any) -> Tensor:
        """Take x, the three logarithms, and the dimension of the channels, None if there are none."""
        *logarithms, channel_dim = given
        ctx.save_for_backward(x, *logarithms)
        ctx.channel_dim = channel_dim
        done = _computed(None, *_in_memory(x, channel_dim), logarithms)
        return _by_formula(x, logarithms, channel_dim) if done is None else done[0]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, *logarithms = ctx.saved_tensors
        twice = torch.is_grad_enabled()  # the gradient is differentiated again
        if not twice and is_plain(dy):
            stored, shape = _in_memory(x, ctx.channel_dim)
            if dy.stride() != stored.stride():
                dy = torch.empty_like(stored).copy_(dy)
            done = _computed(dy, stored, shape, logarithms)
            if done is not None:
                return *done, None
        with torch.enable_grad():
            given = [
                each if twice and each.requires_grad else each.detach().requires_grad_() for each in (x, *logarithms)
            ]
            y = _by_formula(given[0], given[1:], ctx.channel_dim)
            gradients = torch.autograd.grad(y, given, dy, create_graph=twice)
        return *gradients, None


_apply = unchecked(_Learned)


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

    log_alpha: Tensor
    log_beta: Tensor
    log_gamma: Tensor

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
        return golu_learned(x, self.log_alpha, self.log_beta, self.log_gamma, self.channel_dim)
