"""Train a language model on a prepared text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.gpt.evaluation import METRICS, evaluate
from tasks.gpt.gpt2 import from_gpt2, published
from tasks.gpt.model import GPT
from tasks.gpt.prepare_text import EMBEDDED, prepare_text
from tasks.gpt.settings import Settings
from tasks.gpt.tokens import META, TokenFiles, dataset_folder, open_tokens
from tasks.gpt.windows import Batch, Windows
from workbench.cli.errors import UserError
from workbench.training.launch import Machine, chosen_device, process_count
from workbench.training.optimizers import parameter_groups
from workbench.training.sampling import Sampling
from workbench.training.schedules import warmup_and_cosine
from workbench.training.task import Graph, Source, Task
from workbench.training.weights import Weights

if TYPE_CHECKING:
    from accelerate import Accelerator


class LanguageModelling(Task):
    """Train a GPT; an epoch lies between two evaluations, samples are sequences, and the speed is in tokens."""

    settings: Settings
    metrics = METRICS
    unit = "tokens"

    def __init__(self, settings: Settings, source: Source, machine: Machine) -> None:
        if settings.dtype is None:
            dtype = "bfloat16" if chosen_device(machine.device) == "cuda" else "float32"
            settings = replace(settings, dtype=dtype)
        super().__init__(settings, source, machine)
        dataset_folder(source.data, source.dataset)
        self.batch_size, self.samples_per_item = settings.step_sequences, settings.block_size
        self.clip_norm = settings.grad_clip or None
        self.autocast = None if settings.dtype == "float32" else getattr(torch, str(settings.dtype))
        self.axis = "epoch" if settings.epochs else "step"

    def open(self, device: torch.device) -> None:
        folder = dataset_folder(self.source.data, self.source.dataset)
        if self.source.dataset == EMBEDDED and not (folder / META).exists():
            prepare_text(folder, [])
        tokens = open_tokens(folder)
        self._fingerprint = tokens.fingerprint()
        self.take(tokens, device)

    def take(self, tokens: TokenFiles, device: torch.device) -> None:
        """Take this text as the data."""
        size, source = self.settings.block_size, self.source
        train = _limited("train", tokens.train, source.limit_train, size)
        tokens = replace(tokens, train=train, val=_limited("val", tokens.val, source.limit_val, size))
        self.tokens, self.vocabulary_size, self.device = tokens, tokens.vocabulary_size, device
        self._windows = Windows(tokens, size, device)
        self.plan = self._plan(len(train))
        self.accumulation = self._accumulation()
        interval = min(self.plan.eval_interval, self.plan.max_iters)
        self.count, self.epochs, self.steps = (
            interval * self.batch_size, -(-self.plan.max_iters // interval), self.plan.max_iters,
        )  # fmt: skip

    def _plan(self, tokens: int) -> Settings:
        """Return the settings in steps, whether they were given in steps or in epochs."""
        settings = self.settings
        if settings.epochs is None:
            return settings
        per_epoch = tokens // (self.batch_size * settings.block_size)
        if not per_epoch:
            raise UserError(
                f"a step takes {self.batch_size} x {settings.block_size} tokens, more than the {tokens} of the "
                "training text: take a smaller --batch-size"
            )
        steps = settings.epochs * per_epoch
        warmup = min(settings.warmup_iters, steps // 5)
        return replace(settings, max_iters=steps, eval_interval=per_epoch, warmup_iters=warmup)

    def _accumulation(self) -> int:
        """Return how few batches a step and process can have, none of them larger than the setting."""
        share = max(1, self.batch_size // process_count())
        largest = self.settings.batch_size
        return next(n for n in range(1, share + 1) if share % n == 0 and share <= n * largest)

    @property
    def extras(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Return the vocabulary, so that a checkpoint is all that sampling needs."""
        return {"vocabulary": self.tokens.vocabulary}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        self.vocabulary_size, self.device = state["configuration"]["vocabulary_size"], device

    def graph(self, model: nn.Module) -> Graph:
        """Describe it as logits (N, T, vocabulary_size) of tokens, int64 (N, T)."""
        tokens = torch.zeros(2, min(16, self.settings.block_size), dtype=torch.int64, device=self.device)
        return Graph(model, {"tokens": tokens}, {"tokens": {0: "N", 1: "T"}})

    @property
    def size(self) -> str:
        return f"{len(self.tokens.train)} training and {len(self.tokens.val)} validation tokens"

    def configuration(self) -> dict[str, Any]:
        return super().configuration() | self.tokens.identity

    def fingerprint(self) -> str:
        return self._fingerprint

    def training(self, sampling: Sampling, epoch: int, first: int) -> Iterator[list[Batch]]:
        return self._windows.training(sampling, epoch, first, self.plan.max_iters)

    def model(self, activation: str) -> nn.Module:
        return build_model(self.settings, self.vocabulary_size, activation).to(self.device)

    def published(self, name: str) -> Weights:
        return published(name)

    def adapted(self, weights: Weights) -> Weights:
        """Take GPT-2's names too, as the folders of transformers have them."""
        s = self.settings
        return from_gpt2(weights, rows_of(s, self.vocabulary_size), s.block_size, s.bias)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Make AdamW, whose weight decay leaves out biases, norms and what an activation learns."""
        s = self.settings
        groups = parameter_groups(model, s.weight_decay, 0.0)
        return torch.optim.AdamW(groups, s.learning_rate, (s.beta1, s.beta2), fused=True)

    def rates(self, steps_per_epoch: int) -> list[float]:
        return step_rates(self.plan)

    def flops_per_sample(self, model: nn.Module) -> float | None:
        assert isinstance(model, GPT)
        return model.flops_per_token()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        loss: Tensor = model(*batch)
        return loss

    def evaluate(self, model: nn.Module, sampling: Sampling, accelerator: Accelerator) -> dict[str, float]:
        sequences = self.settings.eval_iters * self.settings.batch_size
        return evaluate(model, self._windows.validation(sampling, sequences), accelerator)

    def example(self) -> Batch:
        return self._windows.example(self.settings.batch_size)


def rows_of(settings: Settings, vocabulary_size: int) -> int:
    """Return how many tokens a model knows."""
    return -(-vocabulary_size // settings.vocab_multiple) * settings.vocab_multiple


def build_model(settings: Settings, vocabulary_size: int, activation: str) -> GPT:
    """Make the model; for the speed of its last matrix product it may know a few tokens that no text has."""
    return GPT(
        rows_of(settings, vocabulary_size),
        settings.block_size,
        settings.n_layer,
        settings.n_head,
        settings.n_embd,
        settings.dropout,
        settings.bias,
        activation,
        settings.gated,
    )


def step_rates(settings: Settings) -> list[float]:
    """Return the learning rate of each step."""
    rate, steps = settings.learning_rate, settings.max_iters
    if not settings.decay_lr:
        return [rate] * steps
    lowest = rate / 10 if settings.min_lr is None else settings.min_lr
    return warmup_and_cosine(rate, steps, settings.warmup_iters, settings.lr_decay_iters or steps, lowest)


def _limited(split: str, tokens: NDArray[np.uint16], limit: int | None, block_size: int) -> NDArray[np.uint16]:
    """Take the first tokens of a split, as many as the flag says."""
    if limit is not None and not block_size < limit <= len(tokens):
        raise UserError(
            f"--limit-{split} {limit} is out of range: it takes {block_size + 1} (a context and the token after it) to "
            f"{len(tokens)} (all)"
        )
    return tokens[:limit]
