"""Language modelling on a prepared text."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tasks.compare.problem import Metric
from tasks.compare.recipe import Recipe
from tasks.engine.errors import UserError
from tasks.engine.loop import Experiment
from tasks.engine.seeding import seed_everything
from tasks.gpt.config import RECIPES as GPT_RECIPES
from tasks.gpt.experiment import build_model, make_experiment, make_optimizer
from tasks.gpt.prepare_text import EMBEDDED, prepare_text
from tasks.gpt.tokens import TokenFiles, open_tokens

if TYPE_CHECKING:
    from accelerate import Accelerator

PERPLEXITY = Metric(
    "val_perplexity",
    "perplexity",
    "perplexity (less is better): the exponential of the mean loss on the validation text",
    "of the perplexity",
    higher_is_better=False,
)
TOKEN_ACCURACY = Metric(
    "val_token_accuracy",
    "token accuracy (%)",
    "token accuracy: how often the token that is most probable by the model is the next one",
    "in percentage points",
)


class TextProblem:
    """A Problem; model, warm-up, cosine to a tenth, betas and clipping are those of the GPT recipe called `model`."""

    metrics = (PERPLEXITY, TOKEN_ACCURACY)

    def __init__(self, recipe: Recipe, tokens: TokenFiles) -> None:
        tokens = replace(tokens, train=tokens.train[: recipe.limit_train], val=tokens.val[: recipe.limit_val])
        base = GPT_RECIPES[recipe.model]
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
            learning_rate=recipe.lr,
            weight_decay=recipe.weight_decay,
            eval_interval=per_epoch,
            dtype="bfloat16" if recipe.device == "cuda" else "float32",
        )
        self.autocast = torch.bfloat16 if recipe.device == "cuda" else None
        self.size = f"{len(tokens.train)} training and {len(tokens.val)} validation tokens"
        self.configuration = asdict(recipe) | tokens.identity

    def initial_model(self, activation: str, seed: int) -> nn.Module:
        seed_everything(seed)
        return build_model(self._settings, self._tokens.vocabulary_size, activation).to(self._recipe.device)

    def make_optimizer(self, model: nn.Module) -> Optimizer:
        return make_optimizer(self._settings, model)

    def a_batch(self) -> tuple[Tensor, Tensor]:
        length = self._settings.block_size + 1
        content = torch.from_numpy(self._tokens.train[: self._settings.batch_size * length].astype("int64"))
        sequences = content.unflatten(0, (-1, length)).to(self._recipe.device)
        return sequences[:, :-1].contiguous(), sequences[:, 1:].contiguous()

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return model(*batch)

    def experiment(self, activation: str, seed: int, accelerator: Accelerator) -> Experiment:
        seed_everything(seed)
        experiment = make_experiment(self._settings, self._tokens, activation, seed, accelerator)
        experiment.axis = "epoch"
        return experiment


def open_text(recipe: Recipe, data_dir: Path) -> TextProblem:
    """The problem of a recipe; the embedded text is prepared if it is not there."""
    folder = data_dir / recipe.dataset
    if recipe.dataset == EMBEDDED and not folder.exists():
        prepare_text(folder, [])
    return TextProblem(recipe, open_tokens(folder))
