"""python -m tasks.gpt.sample: what is drawn from a model, and from a checkpoint."""

import math
import re

import pytest
import torch

from tasks.gpt import sample, train
from tasks.gpt.model import GPT
from tasks.gpt.tokens import open_tokens
from tasks.gpt.vocabularies import BPE
from tests.tasks.gpt.examples import arguments_of, line_of, prepared, scrambled, some_tokens, stored
from workbench.training.seeding import seed_everything


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


@pytest.mark.parametrize("top_k", [None, 3, 100])
@pytest.mark.parametrize("temperature", [0.0, 1e-50, 1.0, 5.0])
def test_tokens_that_no_text_has_are_never_drawn(temperature, top_k):
    model = knowing([0.0, 1.0, 0.5, 1e9, 1e9, 1e9])
    seed_everything(0)
    found = sample.generate(model, torch.zeros(200, 1, dtype=torch.int64), 10, 3, temperature, top_k)
    assert found.unique().tolist() == ([0, 1] if temperature < 1 else [0, 1, 2])


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (3.0, None), (1.0, 2), (2.0, 3), (1, 9)])
def test_draws_have_the_probabilities_of_the_model(temperature, top_k):
    logits = [1.0, -2.0, 0.0, 1.5, 0.7]
    weights = [math.exp(each / temperature) for each in logits]
    kept = sorted(range(5), key=logits.__getitem__, reverse=True)[:top_k]
    expected = [weights[each] / sum(weights[place] for place in kept) if each in kept else 0 for each in range(5)]
    seed_everything(0)
    found = sample.generate(knowing(logits), torch.zeros(40_000, 1, dtype=torch.int64), 1, 5, temperature, top_k)
    shares = (torch.bincount(found[:, 1], minlength=5) / 40_000).tolist()
    assert shares == pytest.approx(expected, abs=0.01)
    assert all(share == 0 for each, share in enumerate(shares) if each not in kept)


def sampled(program, results, *arguments):
    return program(sample, "--checkpoint", results / "text/tiny/GoLU/checkpoint_0.pth", "--device", "cpu", *arguments)


def test_texts_begin_as_asked_and_depend_on_the_seed(finished, program):
    flags = ("--start", "the quick", "--num_samples", 3, "--max_new_tokens", 40, "--temperature", 1000)
    code, out, err = sampled(program, finished, *flags)
    assert (code, err) == (0, "")
    empty, *texts = re.split(r"--- [123]\n", out)
    assert empty == "" and len(set(texts)) == 3
    assert all(re.fullmatch(r"(?s)the quick.{40}\n", each) for each in texts)
    assert sampled(program, finished, *flags)[1] == out
    assert sampled(program, finished, *flags, "--seed", 1)[1] != out


def test_a_text_of_the_checkpoint_is_that_of_its_weights(text, finished, program):
    """Whatever the length, with the most probable token each time."""
    characters, start = open_tokens(text).vocabulary["characters"], "a lazy dog and the quick brown"
    model = GPT(64, 16, n_layer=2, n_head=2, n_embd=32, bias=False)
    model.load_state_dict(stored(finished)[2]["model"])
    chain = list(map(characters.index, start))
    for _ in range(20):
        chain.append(int(model(torch.tensor([chain[-16:]]))[0, -1, : len(characters)].argmax()))
    answer = sampled(program, finished, "--start", start, "--max-new-tokens", 20, "--temperature", 0)
    assert answer == (0, "".join(characters[each] for each in chain) + "\n", "")


@pytest.mark.parametrize(("characters", "start"), [("ab\n ", "\n"), ("ab c", " "), ("GACT", "A")])
def test_a_text_begins_with_what_the_vocabulary_has(characters, start, program, tmp_path):
    folder = prepared(tmp_path / "data", characters * 200, val_fraction=0.2)
    few = ("--max_iters", 1, "--warmup_iters", 1, "--eval_interval", 1)
    assert program(train, *arguments_of(folder, tmp_path, *few))[0] == 0
    code, out, err = sampled(program, tmp_path, "--max-new-tokens", 5)
    assert (code, err, len(out)) == (0, "", 7) and out[0] == start and set(out[:-1]) <= set(characters)


@pytest.mark.parametrize("start", [None, "\n"])
def test_a_vocabulary_over_bytes_begins_with_a_line_end(start):
    vocabulary = BPE.trained(["two words"], 256)
    assert vocabulary.decode(sample.start_of(vocabulary, start)) == "\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--start", ""), "--start is empty: give it at least a character"),
        (("--start", "the Ω"), "the character 'Ω' is not in the vocabulary of"),
        (("--temperature", -1), "argument --temperature: must be a number of at least 0"),
        (("--top_k", 0), "argument --top-k: must be a whole number of at least 1"),
        (("--num_samples", 0), "argument --num-samples"),
        (("--max_new_tokens", 0), "argument --max-new-tokens"),
        (("--start", "\udcff"), "no text in UTF-8"),
    ],
    ids=ascii,
)
def test_a_sample_that_cannot_be_drawn(arguments, said, finished, program):
    assert said in line_of(sampled(program, finished, *arguments))


EMPTY = {"model": {}, "configuration": {}, "extras": {}, "source": {}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no checkpoint"),
        ({"model": {}, "configuration": {}}, "does not say which program trained it"),
        (
            {"model": {}, "configuration": {}, "extras": {}, "source": {}, "program": "tasks.gpt.train"},
            "is no checkpoint",
        ),
        ({"model": {}, "configuration": {}, "extras": {}, "source": {}, "program": "x"}, "x has written it"),
    ],
)
def test_a_checkpoint_that_cannot_be_sampled_from(content, said, program, tmp_path):
    path = tmp_path / "checkpoint_0.pth"
    if content:
        torch.save(content, path)
    err = line_of(program(sample, "--checkpoint", path, "--device", "cpu"))
    assert said in err and str(path) in err


def test_a_run_that_diverged_cannot_be_sampled_from(text, program, tmp_path):
    code, _, err = program(train, *arguments_of(text, tmp_path, "--lr", 1e30))
    assert code == 1 and err.startswith("diverged at step 5: ")
    assert "is of a training that diverged: its weights are no numbers" in line_of(sampled(program, tmp_path))
