"""tasks/gpt: the model against another GPT-2, a training against a plain loop, the programs on a small text."""

import json
import math
import random
import re
import shlex
import shutil
import sys
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from golu import available_activations
from tasks.gpt import sample, train
from tasks.gpt.config import RECIPES
from tasks.gpt.evaluation import evaluate
from tasks.gpt.experiment import _accumulation, build_model, make_experiment, step_rates
from tasks.gpt.model import GPT
from tasks.gpt.prepare_text import prepare_text
from tasks.gpt.settings import Settings
from tasks.gpt.tokens import TokenFiles, open_tokens
from tasks.gpt.windows import Windows
from workbench.cli.errors import UserError
from workbench.training.launch import launched
from workbench.training.loop import train as run_loop
from workbench.training.sampling import Sampling
from workbench.training.seeding import derived_seed, generator_for, seed_everything

CPU = torch.device("cpu")
LEARNED = {"PReLU"}  # activations with parameters
SMALL = replace(
    RECIPES["tiny"],
    n_layer=2, n_head=2, n_embd=32, block_size=16, batch_size=4, max_iters=12, warmup_iters=4, eval_interval=5,
    eval_iters=3,
)  # fmt: skip
FLAGS = shlex.split(
    "--n_layer 2 --n_head 2 --n_embd 32 --block_size 16 --batch_size 4 --max_iters 12 --warmup_iters 4 "
    "--eval_interval 5 --eval_iters 3 --dropout 0.2 --vocab_multiple 64 --checkpoint_steps 2 --device cpu"
)


def words(seed):
    """Words of which each follows some others more often, in lines."""
    draw, text = random.Random(seed), ["the"]
    known = ["the", "a", "quick", "brown", "fox", "dog", "jumps", "over", "lazy", "and", "sleeps", "again"]
    for _ in range(3000):
        text.append(known[(known.index(text[-1]) + draw.choice((1, 1, 1, 2, 5))) % len(known)])
    return " ".join(f"{word}.\n" if draw.random() < 0.1 else word for word in text)


def prepared(folder, text, vocabulary="characters", **keywords):
    folder.mkdir(parents=True)
    (folder / "input.txt").write_text(text)
    prepare_text(folder / "text", [folder / "input.txt"], vocabulary, **keywords)
    return folder / "text"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A small text, its characters tokenised."""
    return prepared(tmp_path_factory.mktemp("data") / "whole", words(0))


# The model against transformers' GPT-2

RENAMED = {
    "blocks.": "h.", "attention.qkv": "attn.c_attn", "attention.proj": "attn.c_proj", "norm_1": "ln_1",
    "norm_2": "ln_2", "mlp.fc": "mlp.c_fc", "mlp.proj": "mlp.c_proj", "token_embedding": "wte",
    "position_embedding": "wpe",
}  # fmt: skip


def counterpart(name):
    """What transformers calls a parameter."""
    for ours, theirs in RENAMED.items():
        name = name.replace(ours, theirs)
    return "transformer." + (name.replace("norm.", "ln_f.") if name.startswith("norm.") else name)


def turned(name, value):
    """Their layers hold their matrices transposed."""
    return value.T if name.startswith("blocks.") and value.ndim == 2 else value


def in_transformers(model, activation="gelu", tied=True):
    """Their GPT-2 with our weights; what we have not is zero."""
    from transformers import GPT2Config, GPT2LMHeadModel

    rows, width = model.token_embedding.weight.shape
    reference = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=rows, n_positions=model.block_size, n_embd=width, n_layer=len(model.blocks),
            n_head=model.blocks[0].attention.n_head, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            activation_function=activation, tie_word_embeddings=tied, attn_implementation="eager",
            bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip
    theirs = dict(reference.named_parameters())
    with torch.no_grad():
        for name, value in theirs.items():
            if name.endswith("bias"):
                value.zero_()
        for name, value in model.named_parameters():
            theirs[counterpart(name)].copy_(turned(name, value))
        reference.lm_head.weight.copy_(model.token_embedding.weight)
    return reference


def gompertz(x):
    return x * torch.exp(-torch.exp(-x))


def with_gompertz(reference):
    for block in reference.transformer.h:
        del block.mlp.act
        block.mlp.act = gompertz
    return reference


def scrambled(bias, activation="GELU"):
    """A model whose every parameter matters."""
    model = GPT(61, 16, n_layer=3, n_head=4, n_embd=24, bias=bias, activation=activation)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    return model


def some_tokens(*shape, known=61):
    return torch.randint(known, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("activation", "theirs"), [("GELU", "gelu"), ("GELU_tanh", "gelu_new"), ("GoLU", None)])
def test_logits_loss_and_gradients_are_those_of_transformers(activation, theirs, bias):
    model = scrambled(bias, activation)
    reference = in_transformers(model, theirs or "gelu", tied=False)
    if theirs is None:
        reference = with_gompertz(reference)
    tokens = some_tokens(5, 16)
    assert torch.allclose(model(tokens), reference(tokens).logits, atol=1e-4)
    loss, expected = model(tokens[:, :-1], tokens[:, 1:]), reference(tokens, labels=tokens).loss
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    expected.backward()
    gradients = {name: value.grad for name, value in reference.named_parameters()}
    gradients["transformer.wte.weight"] += gradients["lm_head.weight"]  # ours is both
    for name, value in model.named_parameters():
        wanted = gradients[counterpart(name)]
        assert torch.allclose(turned(name, value.grad), wanted, atol=1e-4 * float(wanted.abs().max())), name


def test_a_shorter_text_has_the_first_positions():
    model = scrambled(True)
    tokens = some_tokens(2, 16)
    assert torch.allclose(model(tokens[:, :5]), model(tokens)[:, :5], atol=1e-4)


def test_no_token_sees_a_later_one():
    model = scrambled(True)
    tokens = some_tokens(1, 16)
    before = model(tokens)
    for place in (0, 7, 15):
        changed = tokens.clone()
        changed[0, place] = (tokens[0, place] + 1) % 61
        after = model(changed)
        assert torch.allclose(after[:, :place], before[:, :place], atol=1e-5)
        assert ((after - before)[0, place:].abs().amax(1) > 1e-3).all()


def closed_form(rows, block_size, n_layer, n_embd, bias):
    matrices = (rows + block_size) * n_embd + n_layer * 12 * n_embd**2
    norms = (2 * n_layer + 1) * n_embd
    return matrices + norms + (norms + n_layer * 9 * n_embd if bias else 0)


@pytest.mark.parametrize(
    ("recipe", "changes", "known", "expected"),
    [
        ("gpt2s", {"bias": True, "vocab_multiple": 1}, 50257, 124_439_808),
        ("gpt2s", {}, 50257, closed_form(50304, 1024, 12, 768, False)),
        ("gpt2s", {"bias": True}, 50257, closed_form(50304, 1024, 12, 768, True)),
        ("baby_gpt", {}, 50257, closed_form(50304, 256, 6, 384, False)),
        ("tiny", {}, 103, closed_form(103, 64, 4, 128, False)),
        ("tiny", {"vocab_multiple": 64}, 128, closed_form(128, 64, 4, 128, False)),
        ("tiny", {"vocab_multiple": 64}, 129, closed_form(192, 64, 4, 128, False)),
    ],
)
def test_number_of_parameters(recipe, changes, known, expected):
    with torch.device("meta"):
        model = build_model(replace(RECIPES[recipe], **changes), known, "GELU")
    assert sum(each.numel() for each in model.parameters()) == expected


def test_the_activation_adds_no_parameters():
    counts = {}
    for activation in available_activations():
        with torch.device("meta"):
            model = build_model(RECIPES["tiny"], 103, activation)
        counts[activation] = sum(each.numel() for each in model.parameters())
    assert len({count for activation, count in counts.items() if activation not in LEARNED}) == 1
    assert {activation for activation in counts if counts[activation] > counts["ReLU"]} == LEARNED


def test_steps_of_the_recipes_have_the_tokens_of_the_paper():
    tokens = {name: recipe.step_sequences * recipe.block_size for name, recipe in RECIPES.items()}
    assert tokens["baby_gpt"] == 640 * 256
    assert tokens["gpt2s"] == 480 * 1024


def test_initial_weights():
    seed_everything(0)
    model = build_model(replace(RECIPES["tiny"], bias=True), 1000, "GoLU")
    found = {"normal": 0, "small": 0, "zero": 0, "one": 0}
    for name, value in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            found["one"] += 1
            assert (value == 1).all(), name
        elif name.endswith("bias"):
            found["zero"] += 1
            assert (value == 0).all(), name
        else:
            small = name.endswith("proj.weight")
            found["small" if small else "normal"] += 1
            std = 0.02 / math.sqrt(2 * 4) if small else 0.02
            assert value.std().item() == pytest.approx(std, rel=0.03), name
            assert abs(value.mean().item()) < 5 * std / math.sqrt(value.numel()), name
    assert found == {"normal": 2 + 2 * 4, "small": 2 * 4, "zero": 6 * 4 + 1, "one": 2 * 4 + 1}


def test_initial_weights_are_the_same_whatever_the_activation():
    models = {}
    for activation in available_activations():
        seed_everything(7)
        models[activation] = build_model(SMALL, 61, activation).state_dict()
    first = models["GoLU"]
    for activation, weights in models.items():
        for name, value in first.items():
            assert torch.equal(weights[name], value), (activation, name)
    seed_everything(8)
    assert not torch.equal(
        build_model(SMALL, 61, "GoLU").state_dict()["token_embedding.weight"], first[next(iter(first))]
    )


@pytest.mark.parametrize("activation", ["GoLU", "ReLU", "GELU"])
def test_an_untrained_model_knows_nothing(activation):
    seed_everything(0)
    model = build_model(RECIPES["tiny"], 1000, activation)
    loss = model(some_tokens(8, 64, known=1000), some_tokens(64, 8, known=1000).T).item()
    assert loss == pytest.approx(math.log(1000), abs=0.1)


def test_dropout_is_at_all_its_places_and_for_training_alone(monkeypatch):
    model = build_model(replace(SMALL, dropout=0.3), 61, "GoLU")
    used, asked, attend = [], [], F.scaled_dot_product_attention
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda module, inputs, output, name=name: used.append((name, module.p)))

    def recorded(*arguments, **keywords):
        asked.append(keywords["dropout_p"])
        return attend(*arguments, **keywords)

    monkeypatch.setattr(F, "scaled_dot_product_attention", recorded)
    tokens = some_tokens(2, 16)
    assert not torch.equal(model(tokens), model(tokens))
    parts = [f"blocks.{block}.{part}.dropout" for block in range(2) for part in ("attention", "mlp")]
    assert used == [(name, 0.3) for name in ["dropout", *parts]] * 2
    model.eval()
    assert torch.equal(model(tokens), model(tokens))
    assert asked == [0.3] * 4 + [0.0] * 4


def test_flops_of_a_token():
    model = GPT(61, 16, n_layer=3, n_head=4, n_embd=24, bias=False)
    products = 61 * 24 + 3 * 12 * 24**2 + 7 * 24  # parameters but positions
    assert model.flops_per_token() == 6 * products + 12 * 3 * 24 * 16


@pytest.mark.parametrize("activation", ["GoLU", "GELU"])
def test_it_compiles_without_a_graph_break(activation):
    model = scrambled(True, activation)
    tokens = some_tokens(2, 17)
    tokens, targets = tokens[:, :-1], tokens[:, 1:]
    torch._dynamo.reset()
    explained = torch._dynamo.explain(model)(tokens, targets)
    assert explained.graph_break_count == 0 and explained.graph_count == 1
    model(tokens, targets).backward()
    expected = [each.grad.clone() for each in model.parameters()]
    model.zero_grad()
    torch._dynamo.reset()
    torch.compile(model, fullgraph=True, backend="aot_eager")(tokens, targets).backward()
    for each, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.allclose(each.grad, gradient, atol=1e-5)


# Windows


def token_files(train_tokens, val_tokens=None, known=2**16):
    val_tokens = train_tokens if val_tokens is None else val_tokens
    return TokenFiles(
        Path("text"), np.array(train_tokens, np.uint16), np.array(val_tokens, np.uint16), known, {}, {}
    )  # fmt: skip


def windows(tokens, block_size=7, batch_size=8, steps=5, seed=0, **sharing):
    return Windows(tokens, block_size, Sampling(steps * batch_size, batch_size, seed, **sharing), CPU, 10**9)


def drawn(made, epoch=0, first=0):
    """The tokens of each step's batches, targets left out."""
    return [[tokens.tolist() for tokens, _ in step] for step in made.training(epoch, first)]


def test_a_window_is_cut_out_of_the_text_and_its_targets_are_shifted_by_one():
    content = np.random.default_rng(0).permutation(3000)
    place = {int(token): position for position, token in enumerate(content)}
    for step, batches in enumerate(windows(token_files(content), seed=3).training(epoch=2, first=0), start=2 * 5):
        ((tokens, targets),) = batches
        assert tokens.dtype == targets.dtype == torch.int64 and tokens.shape == targets.shape == (8, 7)
        starts = [place[int(row[0])] for row in tokens]
        assert starts == torch.randint(3000 - 7, (8,), generator=generator_for(3, "windows", step)).tolist()
        for start, row, following in zip(starts, tokens, targets, strict=True):
            assert row.tolist() == content[start : start + 7].tolist()
            assert following.tolist() == content[start + 1 : start + 8].tolist()


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 2), (2, 1), (2, 2), (4, 2)])
def test_a_step_has_the_same_windows_however_it_is_shared(processes, accumulation):
    content = token_files(range(1000))
    whole = [step[0] for step in drawn(windows(content))]
    for process in range(processes):
        torch.manual_seed(process)
        made = windows(content, process=process, processes=processes, accumulation=accumulation)
        each = 8 // processes // accumulation
        for step, batches in zip(whole, drawn(made), strict=True):
            dealt = step[process::processes]
            assert batches == [dealt[first : first + each] for first in range(0, len(dealt), each)]


def test_windows_differ_between_seeds_and_steps():
    content = token_files(range(1000))
    steps = [step for seed in range(4) for epoch in range(3) for step in drawn(windows(content, seed=seed), epoch)]
    assert len({str(step) for step in steps}) == 4 * 3 * 5


def test_windows_do_not_depend_on_how_often_is_evaluated():
    content = token_files(range(1000))
    often = [step for epoch in range(3) for step in drawn(windows(content, steps=2), epoch)]
    assert often == drawn(windows(content, steps=6))


@pytest.mark.parametrize("first", [0, 1, 4, 5])
def test_going_on_within_an_epoch_gives_the_same_windows(first):
    content = token_files(range(1000))
    assert drawn(windows(content), 3, first) == drawn(windows(content), 3)[first:]


def test_windows_reach_both_ends_of_the_text():
    starts = {row[0] for step in drawn(windows(token_files(range(12)), steps=50)) for row in step[0]}
    assert starts == {0, 1, 2, 3, 4}


def test_a_token_beyond_the_vocabulary_names_its_file():
    good, bad = [1] * 20, [1] * 19 + [61]
    with pytest.raises(UserError, match=r"train\.bin holds the token 61, but its vocabulary has 61"):
        list(windows(token_files(bad, good, 61), block_size=19).training(0, 0))
    with pytest.raises(UserError, match=r"val\.bin holds the token 61, but its vocabulary has 61"):
        list(windows(token_files(good, bad, 61)).validation(3))
    assert list(windows(token_files(bad, bad, 62)).validation(3))


def validated(made, count):
    return [row for tokens, _ in made.validation(count) for row in tokens.tolist()]


@pytest.mark.parametrize(
    ("length", "count", "expected"), [(1000, 10, 10), (1000, 142, 142), (1000, 999, 142), (29, 9, 4)]
)
def test_validation_is_spread_evenly_over_the_text(length, count, expected):
    content = token_files(range(5), range(length)) if length < 5 else token_files(range(length))
    found = validated(windows(content), count)
    starts = [row[0] for row in found]
    assert found == [list(range(start, start + 7)) for start in starts]
    assert len(starts) == expected
    assert (starts[0], starts[-1]) == (0, length - 1 - 7)
    gaps = [after - before for before, after in pairwise(starts)]
    assert min(gaps) >= 7 and max(gaps) - min(gaps) <= 1
    assert validated(windows(content, seed=5, batch_size=4), count) == found
    for tokens, targets in windows(content).validation(count):
        assert torch.equal(tokens + 1, targets) and len(tokens) <= 8


@pytest.mark.parametrize("processes", [2, 4])
def test_validation_over_all_processes_is_the_whole(processes):
    content = token_files(range(1000))
    parts = [validated(windows(content, process=each, processes=processes), 11) for each in range(processes)]
    assert sorted(row for part in parts for row in part) == validated(windows(content), 11)
    assert max(map(len, parts)) - min(map(len, parts)) == 1


def test_validation_with_more_processes_than_sequences():
    content = token_files(range(8))
    parts = [validated(windows(content, process=each, processes=2), 5) for each in range(2)]
    assert parts == [[list(range(7))], []]


def test_the_shortest_text_is_one_sequence():
    content = token_files(range(8))
    assert validated(windows(content), 100) == [list(range(7))]
    assert drawn(windows(content, steps=1)) == [[[list(range(7))] * 8]]


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_text_too_short_is_named(split):
    lengths = {"train": 100, "val": 100} | {split: 7}
    with pytest.raises(UserError, match=rf"{split}\.bin has 7 tokens, too few for a context of 7") as refused:
        windows(token_files(range(lengths["train"]), range(lengths["val"])))
    assert "\n" not in str(refused.value)


# Evaluation


def ragged():
    content = some_tokens(9, 7, known=5)
    return [(part[:, :-1], part[:, 1:]) for part in content.split([4, 4, 1])]


def table(std):
    """A model whose logits are a row for each token."""
    model = nn.Embedding(5, 5).requires_grad_(False)
    nn.init.normal_(model.weight, std=std, generator=torch.Generator().manual_seed(3))
    return model


def test_evaluation_counts_every_token_once():
    model = table(2)
    losses, hits = [], []
    for tokens, targets in ragged():
        for token, target in zip(tokens.flatten().tolist(), targets.flatten().tolist(), strict=True):
            logits = model.weight[token].double()
            losses.append(float(torch.logsumexp(logits, 0) - logits[target]))
            hits.append(int(logits.argmax()) == target)
    assert len(losses) == 54 and 0 < sum(hits) < 54
    with launched("cpu") as accelerator, torch.inference_mode():
        found = evaluate(model, ragged(), accelerator)
    assert found["val_loss"] == pytest.approx(sum(losses) / 54, rel=1e-6)
    assert found["val_perplexity"] == pytest.approx(math.exp(sum(losses) / 54), rel=1e-6)
    assert found["val_token_accuracy"] == pytest.approx(100 * sum(hits) / 54)


def test_a_huge_loss_has_a_perplexity():
    with launched("cpu") as accelerator, torch.inference_mode():
        found = evaluate(table(1e6), ragged(), accelerator)
    assert found["val_loss"] > 1e5
    assert found["val_perplexity"] == pytest.approx(math.exp(100))


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
        ({"lr_decay_iters": 60}, 2e-4, 60),
        ({"lr_decay_iters": 1000}, 2e-4, 1000),
        ({"min_lr": 1e-5, "lr_decay_iters": 50}, 1e-5, 50),
        ({"min_lr": 0.0}, 0.0, 100),
        ({"warmup_iters": 0}, 2e-4, 100),
    ],
)
def test_rates_rise_along_a_line_and_fall_along_a_cosine(changes, lowest, decay):
    settings = Settings(**{"max_iters": 100, "learning_rate": 2e-3, "warmup_iters": 10} | changes)
    rates = step_rates(settings)
    assert len(rates) == 100
    warmup = settings.warmup_iters
    assert rates == pytest.approx([expected_rate(step, 2e-3, lowest, warmup, decay) for step in range(100)])
    assert rates[warmup] == max(rates) == pytest.approx(2e-3)
    if decay < 100:
        assert set(rates[decay:]) == {lowest}


def test_rates_are_those_of_torch_after_the_warm_up():
    from torch.optim.lr_scheduler import CosineAnnealingLR

    optimizer = torch.optim.SGD([torch.zeros(())], 2e-3)
    scheduler = CosineAnnealingLR(optimizer, 80, eta_min=2e-4)
    rates = step_rates(Settings(max_iters=90, learning_rate=2e-3, warmup_iters=10))
    for rate in rates[10:]:
        assert rate == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


def test_rates_that_do_not_fall():
    assert step_rates(Settings(max_iters=7, learning_rate=0.5, warmup_iters=3, decay_lr=False)) == [0.5] * 7


def test_a_warm_up_longer_than_the_run_only_rises():
    rates = step_rates(Settings(max_iters=20, learning_rate=1.0, warmup_iters=99))
    assert rates == pytest.approx([(step + 1) / 100 for step in range(20)])
    rates = step_rates(Settings(max_iters=20, learning_rate=1.0, warmup_iters=10, lr_decay_iters=5))
    assert rates == pytest.approx([(step + 1) / 11 for step in range(10)] + [0.1] * 10)
    assert rates == step_rates(Settings(max_iters=20, learning_rate=1.0, warmup_iters=10, lr_decay_iters=10))


# Training


@pytest.fixture
def double():
    """Numbers so exact that no rounding grows into a difference."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def trained(settings, tokens, activation="GoLU", seed=0):
    """The model, the loss of every batch, and what the loop returns."""
    losses = []
    with launched("cpu") as accelerator:
        seed_everything(seed)
        made = make_experiment(settings, tokens, activation, seed, accelerator)
        loss_of = made.loss

        def recorded(model, batch):
            loss = loss_of(model, batch)
            losses.append(loss.item())
            return loss

        made.loss = recorded
        return made, losses, run_loop(made, accelerator, after_step=lambda: None)


def test_fifty_steps_are_those_of_a_plain_loop(text, double):
    settings = replace(SMALL, max_iters=50, eval_interval=20, bias=True, vocab_multiple=64, learning_rate=1e-2)
    tokens = open_tokens(text)
    seed_everything(5)
    reference = with_gompertz(in_transformers(build_model(settings, tokens.vocabulary_size, "GoLU")))
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
    made, losses, outcome = trained(settings, tokens, seed=5)
    assert losses == pytest.approx(expected, rel=1e-9)
    assert losses[-1] < 0.9 * losses[0]
    theirs = dict(reference.named_parameters())
    for name, value in made.model.named_parameters():
        assert torch.allclose(turned(name, value), theirs[counterpart(name)], atol=1e-9), name
    assert [entry["lr"] for entry in outcome["epochs"]] == pytest.approx(
        [expected_rate(step, 1e-2, 1e-3, 4, 50) for step in (19, 39, 49)]
    )


@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulated_batches_are_one(text, accumulation, double):
    tokens = open_tokens(text)
    whole, _, one = trained(replace(SMALL, batch_size=16), tokens)
    smaller = replace(SMALL, batch_size=16 // accumulation, gradient_accumulation_steps=accumulation, eval_iters=12)
    parts, losses, two = trained(smaller, tokens)
    assert len(losses) == 12 * accumulation
    assert [entry["train_loss"] for entry in one["epochs"]] == pytest.approx(
        [entry["train_loss"] for entry in two["epochs"]], rel=1e-9
    )
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-9)


@pytest.mark.parametrize(("processes", "expected"), [(1, 40), (2, 20), (3, 16), (4, 10), (8, 5), (16, 3)])
def test_a_step_has_as_many_sequences_in_any_number_of_processes(processes, expected, text):
    accumulation = _accumulation(RECIPES["gpt2s"], processes)
    assert accumulation == expected
    assert 480 % (processes * accumulation) == 0
    assert 480 // (processes * accumulation) <= 12
    settings = replace(SMALL, batch_size=12, gradient_accumulation_steps=40)
    accelerator = SimpleNamespace(process_index=processes - 1, num_processes=processes, device=CPU)
    made = make_experiment(settings, open_tokens(text), "GoLU", 0, accelerator)
    assert made.samples_per_step == 480 * 16
    batches = next(made.batches(0, 0))
    assert [len(tokens) for tokens, _ in batches] == [480 // (processes * accumulation)] * accumulation


@pytest.mark.parametrize("processes", [3, 7, 1000])
def test_a_number_of_processes_that_does_not_divide_a_step(processes, text, program, tmp_path, monkeypatch):
    @contextmanager
    def several(device):
        yield SimpleNamespace(process_index=0, num_processes=processes, is_main_process=True, device=CPU)

    monkeypatch.setattr("workbench.training.program.launched", several)
    code, _, err = program(train, *arguments_of(text, tmp_path / "results"))
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert f"an overall batch of 4 cannot be shared evenly by {processes} processes" in err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("max_iters", "interval", "steps"), [(12, 5, [5, 10, 12]), (10, 5, [5, 10]), (3, 5, [3]), (3, 1, [1, 2, 3])]
)
def test_the_last_part_may_be_shorter(max_iters, interval, steps, text):
    made, losses, outcome = trained(replace(SMALL, max_iters=max_iters, eval_interval=interval), open_tokens(text))
    assert [next(iter(entry.items())) for entry in outcome["epochs"]] == [("step", step) for step in steps]
    assert len(losses) == max_iters
    assert {float(each["step"]) for each in made.optimizer.state.values()} == {max_iters}
    for entry, (first, last) in zip(outcome["epochs"], pairwise([0, *steps]), strict=True):
        assert entry["train_loss"] == pytest.approx(np.mean(losses[first:last]), rel=1e-6)
    assert outcome["final"]["step"] == max_iters


def test_the_evaluation_is_that_of_the_whole_model(text):
    """By hand, on windows cut out here, with the padded vocabulary and without dropout."""
    tokens = open_tokens(text)
    made, _, outcome = trained(replace(SMALL, dropout=0.3, vocab_multiple=64), tokens)
    last = len(tokens.val) - 17
    content = torch.from_numpy(tokens.val.astype(np.int64))
    losses, hits = [], []
    made.model.eval()
    with torch.no_grad():
        for number in range(12):  # 3 batches of 4
            start = number * last // 11
            logits = made.model(content[None, start : start + 16])[0].double()
            following = content[start + 1 : start + 17]
            losses += (torch.logsumexp(logits, 1) - logits[range(16), following]).tolist()
            hits += (logits.argmax(1) == following).tolist()
    assert outcome["final"]["val_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert outcome["final"]["val_token_accuracy"] == pytest.approx(100 * np.mean(hits))


def test_what_is_random_in_a_step_depends_on_seed_and_step_alone(text, monkeypatch):
    forward, seeds = GPT.forward, []

    def recorded(self, tokens, targets=None):
        if targets is not None:
            seeds.append(torch.initial_seed())
        return forward(self, tokens, targets)

    monkeypatch.setattr(GPT, "forward", recorded)
    trained(SMALL, open_tokens(text), seed=3)
    assert seeds == [derived_seed(3, "step", step, 0) for step in range(12)]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_types_of_number(dtype, text):
    tokens = open_tokens(text)
    _, losses, _ = trained(replace(SMALL, dtype=dtype), tokens)
    _, expected, _ = trained(SMALL, tokens)
    assert losses == pytest.approx(expected, rel=0.02) and losses != pytest.approx(expected, rel=1e-7)


def test_utilisation_is_the_part_of_the_peak(text, monkeypatch):
    tokens = open_tokens(text)
    assert not any("mfu" in entry for entry in trained(SMALL, tokens)[2]["epochs"])
    monkeypatch.setattr("workbench.training.loop.peak_flops", lambda device: 1e12)
    made, _, outcome = trained(SMALL, tokens)
    flops = made.model.flops_per_token()
    for entry in outcome["epochs"]:
        assert entry["mfu"] == pytest.approx(entry["tokens_per_second"] * flops / 1e12)


# The program


def arguments_of(text, results, *more):
    return ("--dataset", text.name, "--dataset_path", text.parent, "--results_path", results, *FLAGS, *more)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stored(results, seed=0, place="text/tiny/GoLU"):
    folder = results / place
    names = ["checkpoint_{}.pth", "opt_trace_{}.json", "plot_{}.png", "results_{}.json", "tensorboard_{}"]
    assert sorted(each.name for each in folder.iterdir()) == [name.format(seed) for name in names]
    assert (folder / f"plot_{seed}.png").read_bytes().startswith(b"\x89PNG")
    return (
        json.loads((folder / f"results_{seed}.json").read_text()),
        json.loads((folder / f"opt_trace_{seed}.json").read_text()),
        torch.load(folder / f"checkpoint_{seed}.pth", weights_only=True),
    )


def numbers(trace):
    times = ("seconds", "tokens_per_second")
    return [{name: value for name, value in entry.items() if name not in times} for entry in trace]


def same(one, other):
    """Bit for bit, whatever holds the tensors."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_a_run_of_the_documented_command(text, program, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    shutil.copytree(text, tmp_path / "data/tiny_stories")
    command = (
        f"--model_name baby_gpt --dataset tiny_stories --dataset_path {tmp_path}/data --seed 3 --activation GELU "
        f"--results_path {tmp_path}/results --init_from scratch --max_iters 12 --lr_decay_iters 8"
    )
    small = "--n_layer 2 --n_head 2 --n_embd 32 --block_size 16 --batch_size 4 --gradient_accumulation_steps 3"
    often = "--warmup_iters 4 --eval_interval 5 --eval_iters 3 --device cpu"
    code, out, err = program(train, *shlex.split(f"{command} {small} {often}"))
    assert (code, err) == (0, "")
    results, trace, state = stored(tmp_path / "results", 3, "tiny_stories/baby_gpt/GELU")
    tokens = open_tokens(text)
    assert results["parameters"] == closed_form(64, 16, 2, 32, False)
    assert f"tiny_stories, baby_gpt ({results['parameters']:,} parameters), GELU, seed 3" in out
    assert "12 steps with 192 tokens each, on cpu in 1 processes" in out
    identity = {"dataset": "tiny_stories", "model": "baby_gpt", "activation": "GELU", "seed": 3}
    assert {name: results[name] for name in identity} == identity and results["diverged_at"] is None
    assert results["tokens_per_second"] == pytest.approx(12 * 192 / (60 * results["train_minutes"]))
    configuration = results["configuration"]
    assert configuration.items() >= (identity | {"beta2": 0.99, "learning_rate": 1e-3, "lr_decay_iters": 8}).items()
    assert configuration["train_tokens"] == len(tokens.train) and configuration["dtype"] == "float32"
    assert [next(iter(entry)) for entry in trace] == ["step"] * 3
    assert [entry["step"] for entry in trace] == [5, 10, 12]
    assert [entry["lr"] for entry in trace] == pytest.approx([1e-3, 1e-4, 1e-4])
    for entry in trace:
        assert entry["val_perplexity"] == pytest.approx(math.exp(entry["val_loss"]))
        assert 0 <= entry["val_token_accuracy"] <= 100 and entry["tokens_per_second"] > 0
    assert results["final"] == trace[-1] and results["best"] == min(trace, key=lambda entry: entry["val_loss"])
    assert state["step"] == 12 and state["carried"] == {"vocabulary": tokens.vocabulary}
    events = EventAccumulator(str(tmp_path / "results/tiny_stories/baby_gpt/GELU/tensorboard_3")).Reload()
    for name in ("val_loss", "val_perplexity", "train_loss", "lr"):
        read = [(event.step, event.value) for event in events.Scalars(name)]
        assert read == [(entry["step"], pytest.approx(entry[name], rel=1e-5)) for entry in trace]


def test_every_value_of_a_recipe_has_a_flag(text, program, tmp_path):
    given = {
        "n_layer": 1, "n_head": 8, "n_embd": 16, "block_size": 8, "dropout": 0.1, "bias": True, "vocab_multiple": 7,
        "batch_size": 3, "gradient_accumulation_steps": 2, "max_iters": 5, "learning_rate": 0.5, "warmup_iters": 1,
        "lr_decay_iters": 2, "min_lr": 0.25, "decay_lr": False, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.7,
        "grad_clip": 0.4, "eval_interval": 3, "eval_iters": 2, "dtype": "bfloat16",
    }  # fmt: skip
    assert given.keys() == {each.name for each in fields(Settings)}
    assert all(given[name] != value for name, value in asdict(RECIPES["tiny"]).items())
    for hyphens in (False, True):
        flags = []
        for name, value in given.items():
            name = name.replace("_", "-") if hyphens else name
            flags += [f"--{name}"] * (value is True) + [f"--no-{name}"] * (value is False)
            flags += [f"--{name}", value] * (not isinstance(value, bool))
        code, _, err = program(train, *arguments_of(text, tmp_path / str(hyphens), *flags))
        assert (code, err) == (0, "")
        results, trace, state = stored(tmp_path / str(hyphens))
        assert results["configuration"].items() >= given.items()
    assert {entry["lr"] for entry in trace} == {0.5}
    assert [(group["weight_decay"], group["betas"]) for group in state["optimizer"]["param_groups"]] == [
        (0.3, (0.8, 0.7)), (0.0, (0.8, 0.7))
    ]  # fmt: skip
    known = open_tokens(text).vocabulary_size
    assert state["model"]["token_embedding.weight"].shape == (-(-known // 7) * 7, 16)
    assert results["parameters"] == closed_form(-(-known // 7) * 7, 8, 1, 16, True)


def test_a_recipe_holds_where_no_flag_is_given(monkeypatch):
    for name, recipe in RECIPES.items():
        monkeypatch.setattr(sys, "argv", ["train", "--model_name", name, "--beta2", "0.5", "--device", "cpu"])
        assert train.choose_settings(train.parse_arguments()) == replace(recipe, beta2=0.5, dtype="float32")


def test_a_compiled_run_has_the_numbers_of_another(text, program, tmp_path, monkeypatch):
    calls = []

    def compiled(self):
        calls.append(self)
        nn.Module.compile(self, fullgraph=True, backend="aot_eager")

    torch._dynamo.reset()
    monkeypatch.setattr(GPT, "compile", compiled)
    for name, flags in (("plain", ()), ("compiled", ("--compile",))):
        assert program(train, *arguments_of(text, tmp_path / name, "--dropout", 0, *flags))[0] == 0
    assert len(calls) == 1
    (_, plain, state), (_, other, compiled_state) = stored(tmp_path / "plain"), stored(tmp_path / "compiled")
    assert state["model"].keys() == compiled_state["model"].keys()
    for a, b in zip(numbers(plain), numbers(other), strict=True):
        assert a == pytest.approx(b, rel=1e-4)


# Stopped and going on


def stop_after(patch, batches):
    """Ctrl-C after so many batches of a training."""
    forward, left = GPT.forward, batches

    def counted(self, tokens, targets=None):
        nonlocal left
        if targets is not None:
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
        return forward(self, tokens, targets)

    patch.setattr(GPT, "forward", counted)


@pytest.fixture(scope="module")
def finished(text, tmp_path_factory):
    """The results of a run that was never stopped."""
    results = tmp_path_factory.mktemp("finished")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train", *map(str, arguments_of(text, results))])
        train.main()
    torch.set_num_threads(threads)
    return results


@pytest.mark.parametrize("flags", [(), ("--init_from", "resume")], ids=["", "resume"])
@pytest.mark.parametrize("stops", [[3], [5], [7, 2, 2], [10], [11]], ids=str)
def test_a_stopped_run_ends_as_if_never_stopped(stops, flags, text, finished, program, tmp_path, monkeypatch):
    arguments = arguments_of(text, tmp_path)
    for number, batches in enumerate(stops):
        with monkeypatch.context() as patch:
            stop_after(patch, batches)
            code, _, err = program(train, *arguments, *(flags if number else ()))
        assert code == 130 and err.startswith("stopped: the same command goes on from ")
    assert not list(tmp_path.rglob("results_0.json"))
    code, out, _ = program(train, *arguments, *flags)
    assert code == 0 and re.search(r"going on from step \d+ of 12", out)
    (_, trace, state), (_, expected, whole) = stored(tmp_path), stored(finished)
    assert numbers(trace) == numbers(expected)
    for part in ("model", "optimizer", "step", "carried"):
        assert same(state[part], whole[part])


def test_a_run_stopped_before_its_first_checkpoint_begins_again(text, finished, program, tmp_path, monkeypatch):
    arguments = arguments_of(text, tmp_path, "--init_from", "scratch")
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert program(train, *arguments)[0] == 130
    assert program(train, *arguments)[0] == 0
    assert same(stored(tmp_path)[2]["model"], stored(finished)[2]["model"])


def test_a_seed_gives_the_same_run_again_and_another_does_not(text, finished, program, tmp_path):
    assert program(train, *arguments_of(text, tmp_path))[0] == 0
    assert same(stored(tmp_path)[2]["model"], stored(finished)[2]["model"])
    assert program(train, *arguments_of(text, tmp_path / "other", "--seed", 1))[0] == 0
    assert not same(stored(tmp_path / "other", 1)[2]["model"], stored(finished)[2]["model"])


@pytest.mark.parametrize("flags", [(), ("--init_from", "scratch"), ("--init_from", "resume")], ids=str)
def test_a_finished_run_says_its_results_again(flags, text, finished, program):
    before = contents(finished)
    code, out, err = program(train, *arguments_of(text, finished, *flags))
    assert (code, err) == (0, "")
    final = stored(finished)[0]["final"]
    assert "has ended already" in out
    assert f"final: val_loss {final['val_loss']:.4g}, val_perplexity {final['val_perplexity']:.4g}" in out
    assert contents(finished) == before


@pytest.fixture
def half(finished, tmp_path):
    """As if it had been stopped."""
    shutil.copytree(finished, tmp_path / "half")
    (tmp_path / "half/text/tiny/GoLU/results_0.json").unlink()
    return tmp_path / "half"


def test_scratch_does_not_overwrite_a_checkpoint(text, half, program):
    before = contents(half)
    code, _, err = program(train, *arguments_of(text, half, "--init_from", "scratch"))
    assert code == 2 and err.count("\n") == 1
    assert re.match(r"error: .*checkpoint_0.pth is there already: --init-from resume goes on from it", err)
    assert contents(half) == before
    checkpoint = half / "text/tiny/GoLU/checkpoint_0.pth"
    checkpoint.rename(checkpoint.with_name("checkpoint_0.previous.pth"))  # as a kill between two renames leaves it
    assert program(train, *arguments_of(text, half, "--init_from", "scratch"))[0] == 2
    assert program(train, *arguments_of(text, half, "--init_from", "resume"))[0] == 0


def test_there_must_be_a_checkpoint_to_resume_from(text, program, tmp_path):
    code, _, err = program(train, *arguments_of(text, tmp_path / "results", "--init_from", "resume"))
    assert code == 2 and err.count("\n") == 1
    assert re.match(r"error: there is no .*checkpoint_0.pth to resume from: begin with --init-from scratch", err)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("part", ["results", "checkpoint"])
@pytest.mark.parametrize(
    ("other", "said"),
    [
        (("--learning_rate", 0.5), "learning_rate=0.002, not learning_rate=0.5"),
        (("--max_iters", 13), "max_iters=12, not max_iters=13"),
        (("--dropout", 0), "dropout=0.2, not dropout=0.0"),
        (("--bias",), "bias=False, not bias=True"),
        (("--dtype", "bfloat16"), "dtype=float32, not dtype=bfloat16"),
        ("vocabulary", r"vocabulary=characters-[0-9a-f]{8}, not vocabulary=bpe-[0-9a-f]{8}"),
        ("text", r"train_crc32=[0-9a-f]{8}, not train_crc32=[0-9a-f]{8}"),
    ],
    ids=str,
)
def test_a_run_of_another_configuration_is_kept(part, other, said, text, finished, half, program, tmp_path):
    results = finished if part == "results" else half
    if other == "vocabulary":
        text, other = prepared(tmp_path / "data", words(0), "bpe", size=300), ()
    elif other == "text":
        text, other = prepared(tmp_path / "data", words(0)[::-1]), ()
    before = contents(results)
    code, _, err = program(train, *arguments_of(text, results, *other))
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert re.search(said, err)
    assert contents(results) == before


# Mistakes: one line, and no folder


@pytest.fixture
def refused(text, program, tmp_path):
    """Calls the program, which has to refuse; gives the line that it says."""

    def call(*arguments, folder=text):
        results = tmp_path / "results"
        code, out, err = program(train, *arguments_of(folder, results, *arguments))
        assert (code, out) == (2, "")
        assert err.startswith("error: ") and err.count("\n") == 1
        assert not results.exists()
        return err

    return call


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--max_iter", 3), "unrecognized arguments: --max-iter 3"),
        (("--model_name", "gpt2"), "unknown model 'gpt2': did you mean gpt2s? choose from baby_gpt, gpt2s, tiny"),
        (("--activation", "Golu"), "unknown activation 'Golu': did you mean GoLU?"),
        (("--init_from", "resum"), "unknown beginning 'resum': did you mean resume?"),
        (("--n-head", 3), "--n-embd 32 is no multiple of --n-head 3"),
        (("--dtype", "float8"), "unknown dtype 'float8': did you mean float"),
        (("--dropout", 2), "argument --dropout: must be a number from 0 to 1, not '2'"),
        (("--max_iters", 0), "argument --max-iters: must be a whole number of at least 1, not '0'"),
        (("--max_iters", 2.5), "argument --max-iters: must be a whole number of at least 1, not '2.5'"),
        (("--beta1", 1), "--beta1 1.0 and --beta2 0.99 must be below 1"),
        (("--beta2", 1), "--beta1 0.9 and --beta2 1.0 must be below 1"),
        (("--learning_rate", "nan"), "argument --learning-rate: must be a number above 0"),
        (("--grad_clip", -1), "argument --grad-clip"),
        (("--eval_iters", 0), "argument --eval-iters"),
        (("--warmup_iters", -1), "argument --warmup-iters"),
        (("--seed", 2**32), "argument --seed"),
        (("--device", "tpu"), "unknown device 'tpu'"),
        (("--checkpoint_steps", 0), "argument --checkpoint-steps"),
        (("--block_size", 10**6), "tokens, too few for a context of 1000000 and the token after it"),
        (("--dataset", "nothing"), "nothing: python -m tasks.gpt.prepare_text makes it"),
        (("--dataset", "tiny_stories"), "tiny_stories: python -m tasks.gpt.prepare_tiny_stories makes it"),
        (("--dataset", "open_web_text"), "open_web_text: python -m tasks.gpt.prepare_owt makes it"),
    ],
    ids=str,
)
def test_a_wrong_value(wrong, said, refused):
    assert said in refused(*wrong)


def test_a_gpu_where_there_is_none(refused, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "--device cuda: torch finds no CUDA device here" in refused("--device", "cuda")


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b""), ".bin is empty: prepare the text again"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "an odd number, and so is no file of uint16"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2]), "but meta.json says"),
        (lambda path: path.unlink(), ".bin is missing: python -m tasks.gpt.prepare_text makes it"),
        (lambda path: path.write_bytes(b"\xff" * path.stat().st_size), "holds the token 65535, but its vocabulary has"),
    ],
    ids=["empty", "odd", "short", "missing", "unknown tokens"],
)
def test_a_damaged_text(split, damage, said, text, program, tmp_path):
    folder = shutil.copytree(text, tmp_path / "data/text")
    damage(folder / f"{split}.bin")
    code, _, err = program(train, *arguments_of(folder, tmp_path / "results"))
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert said in err and f"{split}.bin" in err
    if "token 65535" not in said:  # which is seen when it is drawn
        assert not (tmp_path / "results").exists()


# Sampling


def knowing(logits, block_size=8):
    """A model that predicts the same after every text."""

    def model(tokens):
        assert tokens.shape[1] <= block_size
        return torch.tensor(logits).expand(*tokens.shape, -1)

    model.block_size = block_size
    return model


def test_without_temperature_each_token_is_the_most_probable():
    model = scrambled(False).eval()
    with torch.no_grad():
        for parameter in model.blocks.parameters():
            parameter *= 4  # or all texts end in repetitions
    tokens = some_tokens(3, 4)
    found = sample.generate(model, tokens, 30, 50, temperature=0)
    assert found.shape == (3, 34) and all(len(row.unique()) > 5 for row in found[:, 20:])
    for row, start in zip(found.tolist(), tokens.tolist(), strict=True):
        chain = list(start)
        while len(chain) < 34:  # beyond the 16 tokens of context
            logits = model(torch.tensor([chain[-16:]]))[0, -1].tolist()
            chain.append(max(range(50), key=logits.__getitem__))
        assert row == chain
    assert torch.equal(sample.generate(model, tokens, 30, 50, temperature=0.7, top_k=1), found)
    assert torch.equal(sample.generate(model, tokens, 30, 50, temperature=1e-40), found)


def test_no_temperature_is_too_low():
    found = sample.generate(knowing([0.0, 2.0, 1.0]), torch.zeros(2, 1, dtype=torch.int64), 3, 3, temperature=1e-50)
    assert found[:, 1:].unique().tolist() == [1]


@pytest.mark.parametrize("top_k", [None, 3, 100])
@pytest.mark.parametrize("temperature", [0.0, 1.0, 5.0])
def test_tokens_that_no_text_has_are_never_drawn(temperature, top_k):
    model = knowing([0.0, 1.0, 0.5, 1e9, 1e9, 1e9])
    seed_everything(0)
    found = sample.generate(model, torch.zeros(200, 1, dtype=torch.int64), 10, 3, temperature, top_k)
    assert found.unique().tolist() == ([0, 1] if temperature == 0 else [0, 1, 2])
    assert found.max() < 3


@pytest.mark.parametrize(
    ("temperature", "top_k"), [(1.0, None), (0.5, None), (3.0, None), (1.0, 2), (2.0, 3), (1.0, 9)]
)
def test_draws_have_the_probabilities_of_the_model(temperature, top_k):
    logits = [1.0, -2.0, 0.0, 1.5, 0.7]
    weights = [math.exp(each / temperature) for each in logits]
    kept = sorted(range(5), key=logits.__getitem__, reverse=True)[:top_k]
    expected = [weights[each] / sum(weights[place] for place in kept) if each in kept else 0 for each in range(5)]
    seed_everything(0)
    found = sample.generate(knowing(logits), torch.zeros(40_000, 1, dtype=torch.int64), 1, 5, temperature, top_k)
    shares = torch.bincount(found[:, 1], minlength=5) / 40_000
    assert shares.tolist() == pytest.approx(expected, abs=0.01)
    assert all(share == 0 for each, share in enumerate(shares.tolist()) if each not in kept)


def sampled(program, results, *arguments):
    return program(sample, "--checkpoint", results / "text/tiny/GoLU/checkpoint_0.pth", "--device", "cpu", *arguments)


def test_texts_begin_as_asked_and_depend_on_the_seed(finished, program):
    flags = ("--start", "the quick", "--num_samples", 3, "--max_new_tokens", 40, "--temperature", 1000)
    code, out, err = sampled(program, finished, *flags)
    assert (code, err) == (0, "")
    empty, *texts = re.split(r"--- [123]\n", out)
    assert empty == "" and len(set(texts)) == 3
    for each in texts:
        assert each.startswith("the quick") and each.endswith("\n") and len(each) == len("the quick") + 40 + 1
    assert sampled(program, finished, *flags)[1] == out
    assert sampled(program, finished, *flags, "--seed", 1)[1] != out


def test_a_text_of_the_checkpoint_is_that_of_its_weights(text, finished, program):
    """Whatever the length, with the most probable token each time."""
    tokens, state = open_tokens(text), stored(finished)[2]
    model = GPT(64, 16, n_layer=2, n_head=2, n_embd=32, bias=False)
    model.load_state_dict(state["model"])
    model.eval()
    characters = tokens.vocabulary["characters"]
    chain = [characters.index(each) for each in "a lazy dog and the quick brown"]
    for _ in range(20):
        logits = model(torch.tensor([chain[-16:]]))[0, -1, : len(characters)]
        chain.append(int(logits.argmax()))
    flags = ("--start", "a lazy dog and the quick brown", "--max-new-tokens", 20, "--temperature", 0)
    code, out, err = sampled(program, finished, *flags)
    assert (code, err) == (0, "")
    assert out == "".join(characters[each] for each in chain) + "\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--start", ""), "--start is empty: give it at least a character"),
        (("--start", "the Ω"), "the character 'Ω' is not in the vocabulary of"),
        (("--temperature", -1), "argument --temperature: must be a number of at least 0"),
        (("--temperature", "nan"), "argument --temperature"),
        (("--top_k", 0), "argument --top-k: must be a whole number of at least 1"),
        (("--num_samples", 0), "argument --num-samples"),
        (("--max_new_tokens", 0), "argument --max-new-tokens"),
        (("--length", 3), "unrecognized arguments: --length 3"),
        (("--start", "\udcff"), "no text in UTF-8"),
    ],
    ids=ascii,
)
def test_a_sample_that_cannot_be_drawn(arguments, said, finished, program):
    code, out, err = sampled(program, finished, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and said in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no checkpoint"),
        (b"no checkpoint", "is broken"),
        ({"model": {}, "configuration": {}}, "is no checkpoint of tasks.gpt.train"),
        ({"model": {}, "configuration": None}, "is no checkpoint of tasks.gpt.train"),
        ({"weights": {}}, "is no checkpoint of a training run"),
    ],
    ids=str,
)
def test_a_checkpoint_that_cannot_be_sampled_from(content, said, program, tmp_path):
    path = tmp_path / "checkpoint_0.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    code, out, err = program(sample, "--checkpoint", path, "--device", "cpu")
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and said in err and str(path) in err


def test_a_run_that_diverged_cannot_be_sampled_from(text, program, tmp_path):
    code, out, _ = program(train, *arguments_of(text, tmp_path, "--learning_rate", 1e30))
    assert code == 0 and "diverged at step 5" in out
    code, _, err = sampled(program, tmp_path)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
