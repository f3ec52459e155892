"""Tabulate learning rates before training, by the library's scheduler: there is no state to store or lose.

A table holds one rate an epoch or one a step; the loop spreads it over the run.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from workbench.cli.errors import UserError


def tabulate(lr: float, length: int, make: Callable[[Optimizer], LRScheduler]) -> list[float]:
    """Return the rates of a torch scheduler over `length` calls of its step(), the first one before any."""
    optimizer = torch.optim.SGD([torch.zeros(())], lr)
    scheduler = make(optimizer)
    rates = []
    for _ in range(length):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


def warmup_and_cosine(lr: float, length: int, warmup: int, decay: int, lowest: float) -> list[float]:
    """Return the rates of `length` steps: linear from near 0 to `lr`, then a cosine to `lowest` at step `decay`.

    As in GPT's trainings (Brown et al. 2020, nanoGPT): step i of the warm-up has lr (i + 1) / (warmup + 1).
    """
    rates = []
    for step in range(length):
        if step < warmup:
            rates.append(lr * (step + 1) / (warmup + 1))
        elif step >= decay:
            rates.append(lowest)
        else:
            part = (step - warmup) / (decay - warmup)
            rates.append(lowest + (lr - lowest) * (1 + math.cos(math.pi * part)) / 2)
    return rates


def warmup_and_milestones(
    lr: float, epochs: int, steps_per_epoch: int, warmup: int, milestones: Sequence[int], gamma: float
) -> list[float]:
    """Return the rates of all steps: linear from lr / 1000 in the first epoch, times `gamma` after each milestone.

    As in torchvision's reference training of detectors. A rate that is lowered is so from the end of an epoch on.

    Args:
        warmup: steps of the warm-up, at most; it ends with the first epoch.
        milestones: numbers of epochs.
    """
    length = min(warmup, steps_per_epoch - 1)
    rates = []
    for step in range(epochs * steps_per_epoch):
        rate = lr * gamma ** sum(step >= each * steps_per_epoch for each in milestones)
        rates.append(rate * (0.001 + 0.999 * step / length) if step < length else rate)
    return rates


def polynomial(lr: float, length: int, power: float = 0.9) -> list[float]:
    """Return the rates of `length` steps: lr (1 - step / length) ^ power."""
    return [lr * (1 - step / length) ** power for step in range(length)]


def tabulate_timm(lr: float, steps_per_epoch: int = 1, **settings: Any) -> list[float]:
    """Return the rates of timm's create_scheduler_v2(**settings): one an epoch, or one a step if step_on_epochs=False.

    The table is as long as timm wants to train: with warmup_prefix and cooldown_epochs longer than num_epochs.

    Raises:
        UserError: timm refuses the settings.
    """
    from timm.scheduler import create_scheduler_v2

    optimizer = torch.optim.SGD([torch.zeros(())], lr)
    try:
        scheduler, epochs = create_scheduler_v2(optimizer, updates_per_epoch=steps_per_epoch, **settings)
    except (ValueError, AssertionError) as error:
        raise UserError(f"the schedule cannot be made: {error}") from error
    by_epoch = settings.get("step_on_epochs", True)
    length = int(epochs) * (1 if by_epoch else steps_per_epoch)
    if scheduler is None:
        return [lr] * length
    rates = []
    for position in range(length):
        if by_epoch:
            scheduler.step(position)
        else:
            scheduler.step_update(position)
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return rates
