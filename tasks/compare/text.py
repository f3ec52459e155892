"""Language modelling on a prepared text."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from tasks.compare.problem import Metric
from tasks.compare.recipe import Recipe
from tasks.gpt.config import RECIPES as GPT_RECIPES
from tasks.gpt.experiment import build_model, make_experiment, make_optimizer
from tasks.gpt.prepare_text import EMBEDDED, prepare_text
from tasks.gpt.tokens import META, TokenFiles, dataset_folder, open_tokens
from workbench.cli.errors import UserError
from workbench.cli.settings import configuration
from workbench.training.loop import Experiment
from workbench.training.seeding import seed_everything

if TYPE_CHECKING:
    from accelerate import Accelerator

PERPLEXITY = Metric(
    "val_perplexity",
    "perplexity",
    "perplexity (less is better): the exponential of the mean loss on the validation text",
    "of the perplexity",
)
TOKEN_ACCURACY = Metric(
    "val_token_accuracy",
    "token accuracy (%)",
    "token accuracy: how often the token that is most probable by the model is the next one",
    "in percentage points",
)


class TextProblem:
    """A Problem; model, warm-up, cosine to a tenth, betas and clipping are those of the GPT recipe called `model`.

    A training too short for the recipe's warm-up warms up in a fifth of its steps.
    """

    metrics = (PERPLEXITY, TOKEN_ACCURACY)

    def __init__(self, recipe: Recipe, tokens: TokenFiles) -> None:
        base = GPT_RECIPES[recipe.model]
        train = _limited("train", tokens.train, recipe.limit_train, base.block_size)
        val = _limited("val", tokens.val, recipe.limit_val, base.block_size)
        tokens = replace(tokens, train=train, val=val)
        per_epoch = len(tokens.train) // (recipe.batch_size * base.block_size)
        if not per_epoch:
            raise UserError(
                f"a step takes {recipe.batch_size} x {base.block_size} tokens, more than the {len(tokens.train)} of "
                "the training text: take a smaller --batch-size"
            )
        at_once = max(part for part in range(1, base.batch_size + 1) if recipe.batch_size % part == 0)
        self.steps = recipe.epochs * per_epoch
        self._recipe, self._tokens = recipe, tokens
        self._settings = replace(
            base,
            batch_size=at_once,
            gradient_accumulation_steps=recipe.batch_size // at_once,
            max_iters=self.steps,
            warmup_iters=min(base.warmup_iters, self.steps // 5),
            learning_rate=recipe.lr,
            weight_decay=recipe.weight_decay,
            eval_interval=per_epoch,
            eval_iters=-(-base.eval_iters * base.batch_size // at_once),  # as many sequences as the GPT recipe
            dtype="bfloat16" if recipe.device == "cuda" else "float32",
        )
        self.autocast = torch.bfloat16 if recipe.device == "cuda" else None
        self.size = f"{len(tokens.train)} training and {len(tokens.val)} validation tokens"
        self.configuration = configuration(self._settings) | asdict(recipe) | tokens.identity

    def initial_model(self, activation: str, seed: int) -> nn.Module:
        seed_everything(seed)
        return build_model(self._settings, self._tokens.vocabulary_size, activation).to(self._recipe.device)

    def make_optimizer(self, model: nn.Module) -> Optimizer:
        return make_optimizer(self._settings, model)

    def a_batch(self) -> tuple[Tensor, Tensor]:
        count, size = self._settings.batch_size, self._settings.block_size
        starts = np.arange(count) * (len(self._tokens.train) - 1 - size) // max(1, count - 1)
        content = self._tokens.train[starts[:, None] + np.arange(size + 1)]
        sequences = torch.from_numpy(content.astype(np.int64)).to(self._recipe.device)
        return sequences[:, :-1].contiguous(), sequences[:, 1:].contiguous()

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return model(*batch)

    def experiment(self, activation: str, seed: int, accelerator: Accelerator) -> Experiment:
        seed_everything(seed)
        experiment = make_experiment(self._settings, self._tokens, activation, seed, accelerator)
        experiment.axis = "epoch"
        return experiment


def _limited(split: str, tokens: NDArray[np.uint16], limit: int | None, block_size: int) -> NDArray[np.uint16]:
    """The first tokens of a split, as many as the flag says."""
    if limit is not None and not block_size < limit <= len(tokens):
        raise UserError(
            f"--limit-{split} {limit} is out of range: it takes {block_size + 1} (a context and the token after it) to "
            f"{len(tokens)} (all)"
        )
    if len(tokens) <= block_size:
        raise UserError(f"{split}.bin has {len(tokens)} tokens, too few for a context of {block_size} and the next one")
    return tokens[:limit]


def open_text(recipe: Recipe, data_dir: Path) -> TextProblem:
    """The problem of a recipe; the embedded text is prepared if it is not there."""
    folder = dataset_folder(data_dir, recipe.dataset)
    if recipe.dataset == EMBEDDED and not (folder / META).exists():
        prepare_text(folder, [])
    return TextProblem(recipe, open_tokens(folder))
