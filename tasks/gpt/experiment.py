"""The training of a GPT as the engine takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from tasks.gpt.evaluation import evaluate
from tasks.gpt.model import GPT
from tasks.gpt.settings import Settings
from tasks.gpt.tokens import TokenFiles
from tasks.gpt.windows import Windows
from workbench.training.loop import Experiment
from workbench.training.optimizers import parameter_groups
from workbench.training.sampling import Sampling
from workbench.training.schedules import warmup_and_cosine

if TYPE_CHECKING:
    from accelerate import Accelerator


def build_model(settings: Settings, vocabulary_size: int, activation: str) -> GPT:
    """The model; for the speed of its last matrix product it may know a few tokens that no text has."""
    rows = -(-vocabulary_size // settings.vocab_multiple) * settings.vocab_multiple
    return GPT(
        rows,
        settings.block_size,
        settings.n_layer,
        settings.n_head,
        settings.n_embd,
        settings.dropout,
        settings.bias,
        activation,
    )


def make_optimizer(settings: Settings, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW; its weight decay leaves biases, norms and what an activation learns alone."""
    groups = parameter_groups(model, settings.weight_decay, 0.0)
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW(groups, settings.learning_rate, betas, fused=True)


def step_rates(settings: Settings) -> list[float]:
    """The learning rate of each step."""
    rate, steps = settings.learning_rate, settings.max_iters
    if not settings.decay_lr:
        return [rate] * steps
    lowest = rate / 10 if settings.min_lr is None else settings.min_lr
    return warmup_and_cosine(rate, steps, settings.warmup_iters, settings.lr_decay_iters or steps, lowest)


def make_experiment(
    settings: Settings,
    tokens: TokenFiles,
    activation: str,
    seed: int,
    accelerator: Accelerator,
    compile: bool = False,
    checkpoint_every: int = 1000,
) -> Experiment:
    """The experiment of this process; between two evaluations it counts an epoch.

    Raises:
        UserError: a step's sequences cannot be shared out evenly, or the text is too short.
    """
    interval = min(settings.eval_interval, settings.max_iters)
    sampling = Sampling(
        interval * settings.step_sequences,
        settings.step_sequences,
        seed,
        accelerator.process_index,
        accelerator.num_processes,
        _accumulation(settings, accelerator.num_processes),
    )
    windows = Windows(tokens, settings.block_size, sampling, accelerator.device, settings.max_iters)
    model = build_model(settings, tokens.vocabulary_size, activation).to(accelerator.device)
    optimizer = make_optimizer(settings, model)
    if compile:
        model.compile()
    sequences = settings.eval_iters * settings.batch_size
    return Experiment(
        model=model,
        optimizer=optimizer,
        rates=step_rates(settings),
        epochs=-(-settings.max_iters // interval),
        steps_per_epoch=interval,
        samples_per_step=settings.step_sequences * settings.block_size,
        seed=seed,
        batches=windows.training,
        loss=lambda model, batch: model(*batch),
        evaluate=lambda model: evaluate(model, windows.validation(sequences), accelerator),
        judge="val_loss",
        higher_is_better=False,
        unit="tokens",
        clip_norm=settings.grad_clip or None,
        autocast=None if settings.dtype in (None, "float32") else getattr(torch, settings.dtype),
        checkpoint_every=checkpoint_every,
        steps=settings.max_iters,
        axis="step",
        flops_per_sample=model.flops_per_token(),
        carried={"vocabulary": tokens.vocabulary},
    )


def _accumulation(settings: Settings, processes: int) -> int:
    """As few batches a step and process as leave none larger than the setting."""
    share = max(1, settings.step_sequences // processes)
    return next(
        batches for batches in range(1, share + 1) if share % batches == 0 and share <= batches * settings.batch_size
    )
