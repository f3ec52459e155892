"""Text to tokens and back, in each kind of vocabulary."""

import json
import random
import re
from types import SimpleNamespace

import numpy as np
import pytest
import requests
import tiktoken

from tasks.gpt import prepare_owt, prepare_text, prepare_tiny_stories
from tasks.gpt.vocabularies import BPE, GPT2, KINDS, LARGEST, Characters, described, make, name_of
from tests.tasks.gpt.examples import ENGLISH, TEXTS, line_of
from workbench.cli.errors import UserError


@pytest.fixture(params=KINDS)
def made(request):
    """Makes the vocabulary of each kind for a text; bpe is trained on English, whatever the text is."""
    if request.param == "gpt2":
        request.getfixturevalue("gpt2_vocabulary")
    return lambda text: make(request.param, [text], [ENGLISH], 300)


def assert_round_trip(vocabulary, text):
    tokens = vocabulary.encode(text)
    assert (tokens.dtype, tokens.ndim) == (np.uint16, 1) and tokens.max() < vocabulary.size
    assert vocabulary.decode(tokens) == vocabulary.decode(tokens.tolist()) == text


# Vocabularies


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_comes_back(made, name):
    assert_round_trip(made(TEXTS[name]), TEXTS[name])


def test_random_texts_come_back(made):
    rng = random.Random(0)
    ranges = [(0, 127), (0, 0x2FF), (0x300, 0x36F), (0x590, 0x6FF), (0x2000, 0x2FFF), (0x4E00, 0x9FFF)]
    ranges += [(0xE000, 0xFFFF), (0x1F300, 0x1FAFF), (0x10000, 0x10FFFF)]
    for _ in range(300):
        text = "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(1, 60)))
        assert_round_trip(made(text), text)
    assert made("abc").encode("").tolist() == [] and made("abc").decode([]) == ""


def test_a_description_gives_the_same_encoding(made):
    text = "".join(TEXTS.values())
    vocabulary = made(text)
    again = described(json.loads(json.dumps(vocabulary.description())))
    assert (type(again), again.size, again.start) == (type(vocabulary), vocabulary.size, vocabulary.start)
    assert again.encode(text).tolist() == vocabulary.encode(text).tolist()
    assert again.decode(vocabulary.encode(text)) == text
    assert again.description() == vocabulary.description()


def test_names_tell_vocabularies_apart():
    ab, reordered = {"kind": "characters", "characters": "ab"}, {"characters": "ab", "kind": "characters"}
    assert name_of(ab) == name_of(reordered) == "characters-d80c8daa"
    assert name_of({"kind": "gpt2"}) == "gpt2"
    names = [name_of(BPE.trained([ENGLISH], size).description()) for size in (256, 257, 300)]
    names += [name_of(BPE.trained([ENGLISH.upper()], 300).description()), name_of(ab), "gpt2"]
    names += [name_of({"kind": "characters", "characters": each}) for each in ("abc", "ba")]
    assert len(set(names)) == 8
    assert [name.partition("-")[0] for name in names] == ["bpe"] * 4 + ["characters", "gpt2", *["characters"] * 2]


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, r"the description of a vocabulary is broken \('kind'\)"),
        ([], "the description of a vocabulary is broken"),
        ({"kind": "gpt3"}, "unknown vocabulary 'gpt3': did you mean gpt2"),
        ({"kind": "bpe"}, r"is broken \('tokenizer'\)"),
        ({"kind": "bpe", "tokenizer": {}}, "is broken"),
        ({"kind": "characters"}, r"is broken \('characters'\)"),
        ({"kind": "characters", "characters": 3}, "is broken"),
        ({"kind": "characters", "characters": ["ab"]}, "is broken"),
    ],
)
def test_a_broken_description_is_one_line(description, message):
    with pytest.raises(UserError, match=f"^[^\n]*{message}[^\n]*$"):
        described(description)


def test_an_unknown_vocabulary_names_the_closest():
    with pytest.raises(UserError, match="unknown vocabulary 'character': did you mean characters"):
        make("character", ["x"], ["x"], 300)


# GPT-2's


def test_gpt2_has_its_known_tokens(gpt2_vocabulary):
    vocabulary = GPT2()
    assert (vocabulary.size, vocabulary.start) == (50257, 50256)
    assert vocabulary.encode("hello world").tolist() == [31373, 995]
    assert vocabulary.encode("Hello, I'm a language model,").tolist() == [15496, 11, 314, 1101, 257, 3303, 2746, 11]
    assert vocabulary.decode([50256]) == "<|endoftext|>"
    assert vocabulary.description() == {"kind": "gpt2"}


def test_gpt2_agrees_with_two_other_implementations(gpt2_vocabulary):
    from tokenizers import Tokenizer
    from tokenizers.models import BPE as Model
    from tokenizers.pre_tokenizers import ByteLevel

    other = Tokenizer(Model.from_file(str(gpt2_vocabulary["encoder.json"]), str(gpt2_vocabulary["vocab.bpe"])))
    other.pre_tokenizer = ByteLevel(add_prefix_space=False)
    for text in ["\n".join(TEXTS.values()), prepare_text.embedded()[:50_000]]:
        tokens = GPT2().encode(text).tolist()
        assert tokens == tiktoken.get_encoding("gpt2").encode(text, disallowed_special=())
        assert tokens == other.encode(text).ids


def no_network(*_, **__):
    raise requests.exceptions.ConnectionError("no route\nto host")


def another_page(*_, **__):
    return SimpleNamespace(content=b"<html>", raise_for_status=lambda: None)


@pytest.mark.parametrize(("download", "reason"), [(no_network, "ConnectionError"), (another_page, "ValueError")])
def test_gpt2_that_cannot_be_downloaded(program, tmp_path, monkeypatch, download, reason):
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "no cache"))
    monkeypatch.setattr(requests, "get", download)
    monkeypatch.chdir(tmp_path)
    message = f"GPT-2's vocabulary cannot be downloaded ({reason}): on a machine without network, let TIKTOKEN_CACHE"
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        described({"kind": "gpt2"})
    before = set(tmp_path.rglob("*"))
    for command in ((prepare_text, "--vocabulary", "gpt2"), (prepare_owt,), (prepare_tiny_stories,)):
        assert line_of(program(*command)).startswith(f"error: {message}")
    assert set(tmp_path.rglob("*")) == before


# Byte pairs


def test_bpe_is_as_large_as_asked():
    text = prepare_text.embedded()
    vocabulary = BPE.trained(prepare_text.pieces(text), 1024)
    assert (vocabulary.size, vocabulary.start) == (1024, None)
    assert len(vocabulary.encode(text)) < len(text) / 2
    assert_round_trip(vocabulary, text)


def test_bpe_of_a_tiny_text_is_smaller_but_has_every_byte():
    assert BPE.trained(["ab\nab\n"], 1024).size == 257
    vocabulary, text = BPE.trained(["xyz"], 256), "".join(map(chr, range(0x800)))
    assert (vocabulary.size, len(vocabulary.encode(text))) == (256, len(text.encode()))
    assert_round_trip(vocabulary, text)


def test_bpe_merges_the_most_frequent_pair_first():
    text = "ab\n" * 5 + "cd\n" * 9 + "cde\n" * 2
    tokens = {size: [BPE.trained([text], size).decode([token]) for token in range(256, size)] for size in (257, 259)}
    assert tokens == {257: ["cd"], 259: ["cd", "ab", "cde"]}
    assert BPE.trained([text], 1024).size == 259
    assert BPE.trained([text], 259).encode("cde\ncd\nab\n").tolist()[::2] == [258, 256, 257]


# Characters


def test_characters_are_sorted_or_in_the_order_of_their_description():
    vocabulary = Characters.of(["hello", " wörld🙂\n"])
    assert vocabulary.description() == {"kind": "characters", "characters": "\n dehlorwö🙂"}
    assert (vocabulary.size, vocabulary.start) == (11, None)
    assert vocabulary.encode("hold🙂\n").tolist() == [4, 6, 5, 2, 10, 0]
    assert Characters("cab").encode("abc").tolist() == [1, 2, 0]
    assert Characters("cab").decode([0, 1, 2]) == "cab"


@pytest.mark.parametrize(("text", "shown"), [("abz", "'z'"), ("a\nb", r"'\\n'"), ("A", "'A'"), ("ab🙂", "'🙂'")])
def test_a_character_that_is_not_in_the_vocabulary(text, shown):
    with pytest.raises(UserError, match=f"the character {shown} is not in the vocabulary of 3 characters"):
        Characters("abc").encode(text)


def test_as_many_characters_as_uint16_can_tell_apart():
    characters = "".join(map(chr, [*range(0xD800), *range(0xE000, LARGEST + 0x800)]))
    vocabulary = make("characters", [characters], [""], 300)
    assert vocabulary.size == LARGEST == 65536
    assert vocabulary.encode(characters).tolist() == list(range(LARGEST))
