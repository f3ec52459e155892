"""Make optimisers by name, with torch's fused implementations where there are any."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from golu.activations import learned_parameters

Groups = Iterable[dict[str, Any]]

# name -> (parameter groups, lr, momentum) -> optimiser; the names mean what they do in torchvision's reference training
OPTIMIZERS: dict[str, Callable[[Groups, float, float], Optimizer]] = {
    "sgd": lambda groups, lr, momentum: torch.optim.SGD(groups, lr, momentum, fused=True),
    "sgd_nesterov": lambda groups, lr, momentum: torch.optim.SGD(
        groups, lr, momentum, nesterov=momentum > 0, fused=True
    ),
    "rmsprop": lambda groups, lr, momentum: torch.optim.RMSprop(groups, lr, alpha=0.9, eps=0.0316, momentum=momentum),
    "adamw": lambda groups, lr, _: torch.optim.AdamW(groups, lr, fused=True),
}


def make_optimizer(
    name: str,
    model: nn.Module,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    vector_weight_decay: float | None = None,
    norm_weight_decay: float | None = None,
) -> Optimizer:
    """Make one of `OPTIMIZERS` for all parameters that are trained.

    Args:
        vector_weight_decay: that of biases and norms; None: as all others.
        norm_weight_decay: that of norms alone; None: as all others.

    What activations learn has none: it would pull them to where they began, or to another function.
    """
    if norm_weight_decay is not None:
        return OPTIMIZERS[name](norm_groups(model, weight_decay, norm_weight_decay), lr, momentum)
    vector_weight_decay = weight_decay if vector_weight_decay is None else vector_weight_decay
    return OPTIMIZERS[name](parameter_groups(model, weight_decay, vector_weight_decay), lr, momentum)


def norm_groups(model: nn.Module, weight_decay: float, norm_weight_decay: float) -> list[dict[str, Any]]:
    """Group the parameters that are trained: those of norms, all others, and what activations learn, undecayed."""
    norms = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
    of_norms = {id(own) for each in model.modules() if isinstance(each, norms) for own in each.parameters()}
    return _groups(model, lambda each: id(each) in of_norms, norm_weight_decay, weight_decay)


def parameter_groups(model: nn.Module, weight_decay: float, vector_weight_decay: float) -> list[dict[str, Any]]:
    """Group the parameters that are trained: matrices and kernels, vectors, and what activations learn, undecayed."""
    return _groups(model, lambda each: each.ndim >= 2, weight_decay, vector_weight_decay)


def _groups(
    model: nn.Module, first: Callable[[nn.Parameter], bool], of_first: float, of_others: float
) -> list[dict[str, Any]]:
    of_activations = {id(each) for each in learned_parameters(model)}
    trained = [each for each in model.parameters() if each.requires_grad]
    others = [each for each in trained if id(each) not in of_activations]
    groups = [
        {"params": [each for each in others if first(each)], "weight_decay": of_first},
        {"params": [each for each in others if not first(each)], "weight_decay": of_others},
        {"params": [each for each in trained if id(each) in of_activations], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def take_step(optimizer: Optimizer, scaler: torch.amp.GradScaler, model: nn.Module, clip_norm: float | None) -> None:
    """Clip the gradients, change the weights by them, and clear them.

    Args:
        clip_norm: the largest norm of all gradients together; None: they are not clipped.
    """
    if clip_norm is not None:
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
