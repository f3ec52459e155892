"""The model of tasks/gpt against transformers' GPT-2, and its evaluation."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from golu import available_activations
from tasks.gpt.config import RECIPES
from tasks.gpt.evaluation import evaluate
from tasks.gpt.model import GPT
from tasks.gpt.task import build_model
from tests.tasks.gpt.examples import SMALL, closed_form, counterpart, in_transformers, scrambled, some_tokens, turned
from workbench.training.launch import launched
from workbench.training.seeding import seed_everything

LEARNED = {"PReLU", "xIELU", "AGLU", "TrainableGoLU"}  # activations with parameters


@pytest.mark.parametrize("activation", ["Swish", "GoLU", "GoLU_output", "TrainableGoLU"])
def test_gated_mlps_are_the_formula(activation):
    seed_everything(0)
    model = GPT(64, 8, n_layer=1, n_head=2, n_embd=24, bias=True, activation=activation, gated=True).double()
    mlp, x = model.blocks[0].mlp, torch.randn(3, 5, 24, dtype=torch.float64)
    gate, up = F.linear(x, mlp.fc.weight, mlp.fc.bias).split(64, -1)
    value = gate * torch.sigmoid(gate) if activation == "Swish" else gate * torch.exp(-torch.exp(-gate))
    wanted = F.linear(value * up, mlp.proj.weight, mlp.proj.bias)
    assert torch.allclose(mlp(x), wanted, atol=1e-12)
    plain = GPT(64, 8, n_layer=1, n_head=2, n_embd=24, bias=False, activation="GoLU")
    gated = GPT(64, 8, n_layer=1, n_head=2, n_embd=24, bias=False, activation="GoLU", gated=True)
    assert sum(each.numel() for each in plain.parameters()) == sum(each.numel() for each in gated.parameters())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("activation", "theirs"), [("GELU", "gelu"), ("GELU_tanh", "gelu_new"), ("GoLU", None)])
def test_logits_loss_and_gradients_are_those_of_transformers(activation, theirs, bias):
    model = scrambled(bias, activation)
    reference = in_transformers(model, theirs, tied=False)
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


def test_no_token_sees_a_later_one():
    model = scrambled(True)
    tokens = some_tokens(1, 16)
    before = model(tokens)
    assert torch.allclose(model(tokens[:, :5]), before[:, :5], atol=1e-4)  # a shorter text has the first positions
    for place in (0, 7, 15):
        changed = tokens.clone()
        changed[0, place] = (tokens[0, place] + 1) % 61
        after = model(changed)
        assert torch.allclose(after[:, :place], before[:, :place], atol=1e-5)
        assert ((after - before)[0, place:].abs().amax(1) > 1e-3).all()


@pytest.mark.parametrize(
    ("recipe", "changes", "known", "expected"),
    [
        ("gpt2s", {"bias": True, "vocab_multiple": 1}, 50257, 124_439_808),
        ("gpt2s", {}, 50257, closed_form(50304, 1024, 12, 768, False)),
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


def test_steps_of_the_recipes_have_the_tokens_of_the_paper():
    steps = [(RECIPES[name].step_sequences, RECIPES[name].block_size) for name in ("baby_gpt", "gpt2s")]
    assert steps == [(640, 256), (480, 1024)]


def test_initial_weights():
    seed_everything(0)
    model = build_model(replace(RECIPES["tiny"], bias=True), 1000, "GoLU")
    for name, value in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            assert (value == (not name.endswith("bias"))).all(), name
        else:
            std = 0.02 / math.sqrt(2 * 4) if name.endswith("proj.weight") else 0.02
            assert value.std().item() == pytest.approx(std, rel=0.03), name
            assert abs(value.mean().item()) < 5 * std / math.sqrt(value.numel()), name


def test_initial_weights_are_the_same_whatever_the_activation():
    def weights(activation, seed=7):
        seed_everything(seed)
        return build_model(SMALL, 61, activation).state_dict()

    first = weights("GoLU")
    for activation in available_activations():
        found = weights(activation)
        assert all(torch.equal(found[name], value) for name, value in first.items()), activation
        assert (found.keys() == first.keys()) == (activation not in LEARNED)
    assert not torch.equal(weights("GoLU", 8)["token_embedding.weight"], first["token_embedding.weight"])


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


# Evaluation


RAGGED = [(part[:, :-1], part[:, 1:]) for part in some_tokens(9, 7, known=5).split([4, 4, 1])]


def table(std):
    """A model whose logits are a row for each token."""
    model = nn.Embedding(5, 5).requires_grad_(False)
    nn.init.normal_(model.weight, std=std, generator=torch.Generator().manual_seed(3))
    return model


def test_evaluation_counts_every_token_once():
    model = table(2)
    losses, hits = [], []
    for tokens, targets in RAGGED:
        logits = model.weight[tokens].double()
        losses += (logits.logsumexp(-1) - logits.gather(-1, targets[..., None])[..., 0]).flatten().tolist()
        hits += (logits.argmax(-1) == targets).flatten().tolist()
    assert len(losses) == 54 and 0 < sum(hits) < 54
    with launched("cpu") as accelerator, torch.inference_mode():
        found = evaluate(model, RAGGED, accelerator)
    assert found["val_loss"] == pytest.approx(sum(losses) / 54, rel=1e-6)
    assert found["val_perplexity"] == pytest.approx(math.exp(sum(losses) / 54), rel=1e-6)
    assert found["val_token_accuracy"] == pytest.approx(100 * sum(hits) / 54)


def test_a_huge_loss_has_a_perplexity():
    with launched("cpu") as accelerator, torch.inference_mode():
        found = evaluate(table(1e6), RAGGED, accelerator)
    assert found["val_loss"] > 1e5
    assert found["val_perplexity"] == pytest.approx(math.exp(100))
