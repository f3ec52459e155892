"""A training of tasks/gpt: its learning rates, its steps against a plain loop, its evaluation."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tasks.gpt.config import RECIPES
from tasks.gpt.model import GPT
from tasks.gpt.settings import Settings
from tasks.gpt.task import LanguageModelling, build_model, step_rates
from tasks.gpt.tokens import open_tokens
from tests.tasks.gpt.examples import CPU, SMALL, counterpart, in_transformers, turned
from workbench.cli.errors import UserError
from workbench.training.launch import Machine, launched
from workbench.training.loop import Loop
from workbench.training.runs import StoredRun
from workbench.training.seeding import derived_seed, generator_for, seed_everything
from workbench.training.task import Source

# Learning rates


def expected_rate(step, highest, lowest, warmup, decay):
    if step < warmup:
        return highest / (warmup + 1) * (step + 1)
    if step > decay:
        return lowest
    angle = math.pi * (step - warmup) / (decay - warmup)
    return lowest + (highest - lowest) * math.cos(angle / 2) ** 2


@pytest.mark.parametrize(
    ("changes", "lowest", "decay"),
    [
        ({}, 2e-4, 100),
        ({"lr_decay_iters": 1000}, 2e-4, 1000),
        ({"min_lr": 1e-5, "lr_decay_iters": 50}, 1e-5, 50),
        ({"min_lr": 0.0, "warmup_iters": 0}, 0.0, 100),
    ],
)
def test_rates_rise_along_a_line_and_fall_along_a_cosine(changes, lowest, decay):
    settings = Settings(**{"max_iters": 100, "learning_rate": 2e-3, "warmup_iters": 10} | changes)
    expected = [expected_rate(step, 2e-3, lowest, settings.warmup_iters, decay) for step in range(100)]
    assert step_rates(settings) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"decay_lr": False}, [1.0] * 20),
        ({"warmup_iters": 99}, [(step + 1) / 100 for step in range(20)]),
        ({"lr_decay_iters": 5}, [(step + 1) / 11 for step in range(10)] + [0.1] * 10),
        ({"lr_decay_iters": 10}, [(step + 1) / 11 for step in range(10)] + [0.1] * 10),
    ],
)
def test_rates_that_do_not_fall_or_only_rise(changes, expected):
    settings = Settings(**{"max_iters": 20, "learning_rate": 1.0, "warmup_iters": 10} | changes)
    assert step_rates(settings) == pytest.approx(expected)


# Training


@pytest.fixture
def double():
    """Numbers so exact that no rounding grows into a difference."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def task_of(settings, text, **limits):
    task = LanguageModelling(settings, Source(text.name, text.parent, **limits), Machine("cpu"))
    task.open(CPU)
    return task


def trained(settings, text, activation="GoLU", seed=0, **limits):
    """The loop, the loss of every batch, and what the loop reached."""
    losses, task = [], task_of(settings, text, **limits)
    loss_of = task.loss

    def recorded(model, batch):
        loss = loss_of(model, batch)
        losses.append(loss.item())
        return loss

    task.loss = recorded
    with launched("cpu") as accelerator:
        loop = Loop(task, StoredRun(Path("nowhere"), text.name, "tiny", activation, seed), accelerator)
        return loop, losses, loop.train(after_step=lambda: None)


def test_fifty_steps_are_those_of_a_plain_loop(text, double):
    settings = replace(SMALL, max_iters=50, eval_interval=20, bias=True, vocab_multiple=64, learning_rate=1e-2)
    tokens = open_tokens(text)
    seed_everything(5)
    reference = in_transformers(build_model(settings, tokens.vocabulary_size, "GoLU"))
    matrices = [each for each in reference.parameters() if each.ndim == 2]
    vectors = [each for each in reference.parameters() if each.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], betas=(0.9, 0.99)
    )
    content, expected = torch.from_numpy(tokens.train.astype(np.int64)), []
    for step in range(50):
        starts = torch.randint(len(content) - 16, (4,), generator=generator_for(5, "windows", step)).tolist()
        batch = torch.stack([content[start : start + 17] for start in starts])
        logits = reference(batch[:, :-1]).logits
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        expected.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = expected_rate(step, 1e-2, 1e-3, 4, 50)
        optimizer.step()
    loop, losses, reached = trained(settings, text, seed=5)
    assert losses == pytest.approx(expected, rel=1e-9) and losses[-1] < 0.9 * losses[0]
    theirs = dict(reference.named_parameters())
    for name, value in loop.model.named_parameters():
        assert torch.allclose(turned(name, value), theirs[counterpart(name)], atol=1e-9), name
    assert [entry["lr"] for entry in reached.trace] == pytest.approx(
        [expected_rate(step, 1e-2, 1e-3, 4, 50) for step in (19, 39, 49)]
    )


@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulated_batches_are_one(text, accumulation, double):
    whole, _, one = trained(replace(SMALL, batch_size=16), text)
    smaller = replace(SMALL, batch_size=16 // accumulation, gradient_accumulation_steps=accumulation, eval_iters=12)
    parts, losses, two = trained(smaller, text)
    assert len(losses) == 12 * accumulation
    expected = [entry["train_loss"] for entry in two.trace]
    assert [entry["train_loss"] for entry in one.trace] == pytest.approx(expected, rel=1e-9)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-9)


@pytest.mark.parametrize(("processes", "expected"), [(1, 40), (2, 20), (3, 16), (4, 10), (8, 5), (16, 3)])
def test_a_step_has_as_many_sequences_in_any_number_of_processes(processes, expected, text, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    task = task_of(replace(RECIPES["gpt2s"], block_size=16), text)
    assert task.accumulation == expected
    assert task.batch_size * task.samples_per_item == 480 * 16
    batches = next(task.training(task.sampling(0, processes - 1, processes), 0, 0))
    assert [len(tokens) for tokens, _ in batches] == [480 // (processes * expected)] * expected


def test_a_number_of_processes_that_does_not_divide_a_step(text, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1000")
    with pytest.raises(UserError, match="an overall batch of 4 cannot be shared evenly by 1000 processes"):
        task_of(SMALL, text).sampling(0, 0, 1000)


@pytest.mark.parametrize(
    ("max_iters", "interval", "steps"), [(12, 5, [5, 10, 12]), (10, 5, [5, 10]), (3, 5, [3]), (3, 1, [1, 2, 3])]
)
def test_the_last_part_may_be_shorter(max_iters, interval, steps, text):
    loop, losses, reached = trained(replace(SMALL, max_iters=max_iters, eval_interval=interval), text)
    assert [next(iter(entry.items())) for entry in reached.trace] == [("step", step) for step in steps]
    assert len(losses) == reached.step == max_iters
    assert {float(each["step"]) for each in loop.optimizer.state.values()} == {max_iters}
    for entry, (first, last) in zip(reached.trace, pairwise([0, *steps]), strict=True):
        assert entry["train_loss"] == pytest.approx(np.mean(losses[first:last]), rel=1e-6)


def test_epochs_are_passes_over_the_text(text):
    """Each evaluated, and the rates spread over them; a step has 4 x 16 tokens."""
    settings = replace(SMALL, epochs=3, warmup_iters=99, vocab_multiple=64)
    loop, losses, reached = trained(settings, text, limit_train=10 * 64 + 63)
    assert len(losses) == reached.step == loop.steps == 30
    assert [next(iter(entry.items())) for entry in reached.trace] == [("epoch", epoch) for epoch in (1, 2, 3)]
    expected = [expected_rate(step, 2e-3, 2e-4, 30 // 5, 30) for step in range(30)]
    assert loop.rates == pytest.approx(expected)
    assert [entry["lr"] for entry in reached.trace] == pytest.approx(expected[9::10])
    assert task_of(replace(settings, warmup_iters=2), text, limit_train=640).rates(10)[2] == pytest.approx(2e-3)
    with pytest.raises(UserError, match=r"^a step takes 4 x 16 tokens, more than the 63 of the training text: take a"):
        task_of(settings, text, limit_train=63)


@pytest.mark.parametrize("split", ["train", "val"])
def test_limits_take_the_beginning_of_the_text(split, text):
    whole = getattr(open_tokens(text), split)
    for limit in (17, len(whole)):
        task = task_of(SMALL, text, **{f"limit_{split}": limit})
        assert getattr(task.tokens, split).tolist() == whole[:limit].tolist()
        assert task.fingerprint() == open_tokens(text).fingerprint()
    for limit in (16, len(whole) + 1):
        with pytest.raises(UserError, match=rf"^--limit-{split} {limit} is out .* 17 \(.*\) to {len(whole)} \(all\)$"):
            task_of(SMALL, text, **{f"limit_{split}": limit})


def test_the_evaluation_is_that_of_the_whole_model(text):
    """By hand, on windows cut out here, with the padded vocabulary and without dropout."""
    tokens = open_tokens(text)
    loop, _, reached = trained(replace(SMALL, dropout=0.3, vocab_multiple=64), text)
    last = len(tokens.val) - 17
    content = torch.from_numpy(tokens.val.astype(np.int64))
    losses, hits = [], []
    loop.model.eval()
    with torch.no_grad():
        for number in range(12):  # 3 batches of 4
            start = number * last // 11
            logits = loop.model(content[None, start : start + 16])[0].double()
            following = content[start + 1 : start + 17]
            losses += (torch.logsumexp(logits, 1) - logits[range(16), following]).tolist()
            hits += (logits.argmax(1) == following).tolist()
    assert reached.trace[-1]["val_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert reached.trace[-1]["val_token_accuracy"] == pytest.approx(100 * np.mean(hits))


def test_what_is_random_in_a_step_depends_on_seed_and_step_alone(text, monkeypatch):
    forward, seeds = GPT.forward, []

    def recorded(self, tokens, targets=None):
        if targets is not None:
            seeds.append(torch.initial_seed())
        return forward(self, tokens, targets)

    monkeypatch.setattr(GPT, "forward", recorded)
    trained(SMALL, text, seed=3)
    assert seeds == [derived_seed(3, "step", step, 0) for step in range(12)]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_types_of_number(dtype, text):
    _, losses, _ = trained(replace(SMALL, dtype=dtype), text)
    _, expected, _ = trained(SMALL, text)
    assert losses == pytest.approx(expected, rel=0.02) and losses != pytest.approx(expected, rel=1e-7)


def test_utilisation_is_the_part_of_the_peak(text, monkeypatch):
    assert not any("mfu" in entry for entry in trained(SMALL, text)[2].trace)
    monkeypatch.setattr("workbench.training.launch.peak_flops", lambda device: 1e12)
    loop, _, reached = trained(SMALL, text)
    flops = loop.model.flops_per_token()
    for entry in reached.trace:
        assert entry["mfu"] == pytest.approx(entry["tokens_per_second"] * flops / 1e12)
