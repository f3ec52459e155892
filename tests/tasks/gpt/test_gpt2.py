"""A GPT goes to transformers' GPT-2 and comes back: with its logits, its activation and its vocabulary."""

import re

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.activations import ACT2CLS, ACT2FN
from transformers.utils import logging

from tasks.gpt import export, sample, train
from tests.tasks.gpt.examples import ENGLISH, arguments_of, line_of, prepared, some_tokens


@pytest.fixture(autouse=True)
def no_bars():
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("text") / "data", ENGLISH, "bpe", size=300)


def trained(program, text, folder, *more):
    assert program(train, *arguments_of(text, folder, *more))[0] == 0
    (path,) = folder.rglob("checkpoint_0.pth")
    return path


@pytest.mark.parametrize("activation", ["GoLU", "GELU", "ReLU2"])
def test_exported_it_gives_the_same_logits_and_tokens(program, text, tmp_path, activation):
    path = trained(program, text, tmp_path / "results", "--activation", activation)
    code, out, err = program(export, path, "--output", tmp_path / "exported")
    assert (code, err) == (0, "") and "README.md says how to load" in out
    model, vocabulary = sample.load(path)
    (lines,) = re.findall(r"```python\n(.*?)```", (tmp_path / "exported" / "README.md").read_text(), re.DOTALL)
    found: dict = {}
    exec(lines.replace('"."', repr(str(tmp_path / "exported"))), found)
    for table in (ACT2CLS, ACT2FN):
        assert ("golu" in table) == (activation == "GoLU")
        if "golu" in table:
            del table["golu"]
    theirs, tokenizer = found["model"].eval(), found["tokenizer"]
    tokens = some_tokens(3, 16, known=vocabulary.size)
    with torch.inference_mode():
        assert torch.allclose(theirs(tokens).logits, model(tokens), atol=1e-5)
    assert tokenizer(ENGLISH[:200])["input_ids"] == vocabulary.encode(ENGLISH[:200]).tolist()
    if activation == "GoLU":
        assert {type(each.mlp.act).__name__ for each in theirs.transformer.h} == {"GoLU"}


def small_gpt2(folder, bias=0.0, activation="gelu_new"):
    """A folder of transformers with GPT-2's layout, for the same tokens and a longer context."""
    torch.manual_seed(5)
    config = GPT2Config(
        vocab_size=300, n_positions=24, n_embd=32, n_layer=2, n_head=2, activation_function=activation,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    for name, each in model.named_parameters():
        if name.endswith("bias"):
            each.data.fill_(bias)
    model.save_pretrained(folder)
    return model


def test_a_training_starts_from_a_gpt2(program, text, tmp_path):
    """Its first evaluation at a learning rate of nearly nothing is that of the other model, on the same tokens."""
    theirs = small_gpt2(tmp_path / "gpt2", bias=0.1)
    flags = ("--bias", "--activation", "GELU_tanh", "--init-from", tmp_path / "gpt2", "--learning-rate", 1e-12)
    path = trained(program, text, tmp_path / "results", *flags)
    ours, vocabulary = sample.load(path)
    tokens = some_tokens(3, 16, known=vocabulary.size)
    with torch.inference_mode():
        found, expected = ours(tokens), theirs(tokens).logits
    assert found.shape[-1] == 320 and torch.allclose(found[..., :300], expected, atol=1e-4)


def test_biases_are_dropped_only_where_they_are_zero(program, text, tmp_path):
    small_gpt2(tmp_path / "without")
    assert program(train, *arguments_of(text, tmp_path / "results", "--init-from", tmp_path / "without"))[0] == 0
    small_gpt2(tmp_path / "with", bias=0.1)
    answer = program(train, *arguments_of(text, tmp_path / "other", "--init-from", tmp_path / "with"))
    assert "has biases: give --bias" in line_of(answer)


def test_what_is_not_there(program, text, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    answer = program(train, *arguments_of(text, tmp_path / "results", "--init-from", "gpt3-tiny"))
    assert re.match(r"error: --init-from: there is no file gpt3-tiny; no GPT-2 of that name", line_of(answer))


def test_what_gpt2_has_not_is_refused(program, text, tmp_path):
    path = trained(program, text, tmp_path / "results", "--activation", "LeakyReLU")
    assert "transformers has no LeakyReLU" in line_of(program(export, path, "--output", tmp_path / "exported"))
    gated = trained(program, text, tmp_path / "gated", "--gated")
    assert "GPT-2 has no gated MLPs" in line_of(program(export, gated, "--output", tmp_path / "exported"))
    (tmp_path / "there").mkdir()
    assert "is there already" in line_of(program(export, path, "--output", tmp_path / "there"))
    assert "no checkpoint" in line_of(program(export, tmp_path / "none.pth"))
