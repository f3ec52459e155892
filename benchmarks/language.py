"""Tokens a second of a GPT's training beside a plain PyTorch loop, and of GoLU beside the other activations.

python -m benchmarks.language
python -m benchmarks.language --device cuda
python -m benchmarks.language --compile
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import report
from benchmarks.epochs import Epoch, measured_twice, rows, text, without_evaluation
from golu.activations import compared_activations
from tasks.gpt.config import RECIPES
from tasks.gpt.settings import Settings
from tasks.gpt.task import LanguageModelling
from tasks.gpt.tokens import TokenFiles
from workbench.cli.arguments import positive_int
from workbench.cli.errors import run
from workbench.training.launch import Machine, check_device, launched
from workbench.training.loop import Loop
from workbench.training.runs import StoredRun
from workbench.training.seeding import seed_everything
from workbench.training.task import Source

NAMES = sorted(compared_activations(), key=lambda name: name != "GELU")  # what GPTs have comes first


class PlainBlock(nn.Module):
    """A transformer layer as a tutorial writes it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.fc, self.proj = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        self.gelu, self.drop_1, self.drop_2 = nn.GELU(), nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = (
            each.view(n, t, self.heads, c // self.heads).transpose(1, 2)
            for each in self.qkv(self.norm_1(x)).split(c, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0, is_causal=True)
        x = x + self.drop_1(self.out(y.transpose(1, 2).contiguous().view(n, t, c)))
        return x + self.drop_2(self.proj(self.gelu(self.fc(self.norm_2(x)))))


class PlainGPT(nn.Module):
    def __init__(self, settings: Settings, vocabulary_size: int) -> None:
        super().__init__()
        width = settings.n_embd
        self.tokens, self.positions = nn.Embedding(vocabulary_size, width), nn.Embedding(settings.block_size, width)
        self.drop = nn.Dropout(settings.dropout)
        layers = [PlainBlock(width, settings.n_head, settings.dropout) for _ in range(settings.n_layer)]
        self.layers, self.norm = nn.Sequential(*layers), nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocabulary_size, bias=False)
        self.head.weight = self.tokens.weight
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.drop(self.tokens(x) + self.positions(torch.arange(x.shape[1], device=x.device)))
        logits = self.head(self.norm(self.layers(x)))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), y.view(-1))


def plain_epoch(settings: Settings, tokens: TokenFiles, device: str, compile: bool) -> Epoch:
    """Steps of one batch each, as a tutorial writes them."""
    seed_everything(0)
    model: nn.Module = PlainGPT(settings, tokens.vocabulary_size).to(device)
    groups = [
        {"params": [each for each in model.parameters() if each.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [each for each in model.parameters() if each.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, settings.learning_rate, (settings.beta1, settings.beta2), fused=True)
    run_model = torch.compile(model) if compile else model
    size, count = settings.block_size, settings.batch_size

    def batch() -> tuple[Tensor, Tensor]:
        starts = torch.randint(len(tokens.train) - size, (count,)).tolist()
        x = torch.stack([torch.from_numpy(tokens.train[i : i + size].astype(np.int64)) for i in starts])
        y = torch.stack([torch.from_numpy(tokens.train[i + 1 : i + 1 + size].astype(np.int64)) for i in starts])
        if device == "cuda":
            return x.pin_memory().to(device, non_blocking=True), y.pin_memory().to(device, non_blocking=True)
        return x, y

    def epoch() -> float:
        _synchronize(device)
        start = time.perf_counter()
        model.train()
        x, y = batch()
        for _ in range(settings.max_iters):
            with torch.autocast(device, torch.bfloat16, enabled=settings.dtype == "bfloat16"):
                loss = run_model(x, y)
            x, y = batch()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        _synchronize(device)
        return time.perf_counter() - start

    return epoch


def loop_epoch(accelerator, settings: Settings, tokens: TokenFiles, compile: bool, activation: str) -> Epoch:  # type: ignore[no-untyped-def]
    """The same as tasks.gpt.train does it, of one model that goes on learning."""
    device = accelerator.device.type
    task = LanguageModelling(settings, Source("random"), Machine(device, compile=compile))
    task.take(tokens, accelerator.device)
    without_evaluation(task)
    seed_everything(0)
    model = task.model(activation)
    task.model = lambda activation: model  # type: ignore[method-assign]
    run = StoredRun(Path(), "", "", activation, 0)

    def epoch() -> float:
        _synchronize(device)
        start = time.perf_counter()
        Loop(task, run, accelerator).train(after_step=lambda: None)
        _synchronize(device)
        return time.perf_counter() - start

    return epoch


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = report.parser("language", __doc__)
    parser.add_argument(
        "--rounds", type=positive_int, default=5, help="epochs of each of two models; the median is reported"
    )
    parser.add_argument("--compile", action="store_true", help="run all models through torch.compile")
    options = report.parse(parser, arguments)
    check_device(options.device)
    device, compile, cuda = options.device, options.compile, options.device == "cuda"
    dtype = "bfloat16" if cuda else "float32"
    sizes = {
        "tiny": (1024, replace(RECIPES["tiny"], max_iters=20)),
        "babyGPT": (50304, replace(RECIPES["baby_gpt"], max_iters=20 if cuda else 2, batch_size=40 if cuda else 4)),
    }
    numbers = {}
    with launched(device) as accelerator:
        for size, (vocabulary, recipe) in sizes.items():
            settings = replace(recipe, gradient_accumulation_steps=1, dtype=dtype)
            content = np.random.default_rng(0).integers(0, vocabulary, 10**6).astype(np.uint16)
            crc32 = dict.fromkeys(("train", "val"))
            tokens = TokenFiles(Path("random"), content, content, vocabulary, {"kind": "random"}, crc32)
            count = settings.max_iters * settings.batch_size * settings.block_size
            plain = partial(plain_epoch, settings, tokens, device, compile)
            ours = partial(loop_epoch, accelerator, settings, tokens, compile)
            beside = measured_twice({"plain loop": plain, "this loop": partial(ours, "GELU")}, options.rounds)
            numbers[f"{size} with GELU"] = rows(beside, count, "tokens", "plain loop")
            by_activation = measured_twice({name: partial(ours, name) for name in NAMES}, options.rounds)
            numbers[f"{size} with each activation"] = rows(by_activation, count, "tokens", "GELU")
    sections = {name: text(each, "tokens") for name, each in numbers.items()}
    print("\n\n".join(sections.values()))
    batches = " and ".join(f"{recipe.batch_size} x {recipe.block_size}" for _, recipe in sizes.values())
    report.write(
        "language_compiled" if compile else "language", options, "Training speed of GPTs",
        f"{dtype}, {torch.get_num_threads()} threads{', torch.compile' if compile else ''}. tiny: 4 layers of 128, "
        "knows 1024 tokens; babyGPT: 6 layers of 384, dropout 0.2, knows 50304 tokens. A step has one batch of "
        f"{batches} tokens. Two models of each in turn, medians of {options.rounds} rounds; speed is relative to the "
        "first row, and above 1 is faster.",
        sections, numbers,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
