"""Text to tokens: the vocabularies, the token files and the programs python -m tasks.gpt.prepare_*."""

import errno
import json
import os
import random
import re
import signal
import socket
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tasks.gpt import prepare, prepare_owt, prepare_text, prepare_tiny_stories
from tasks.gpt import tokens as tokens_module
from tasks.gpt.prepare import write_tokens
from tasks.gpt.tokens import JOURNAL, open_tokens
from tasks.gpt.vocabularies import BPE, GPT2, KINDS, LARGEST, Characters, described, make, name_of
from workbench.cli.errors import Stopped, UserError, run

ENGLISH = "The quick brown fox jumps over the lazy dog, and the dog does not mind.\n" * 20
TEXTS = {
    "ASCII": "".join(map(chr, range(32, 127))),
    "English": ENGLISH,
    "one character": "x",
    "accents": "Ça coûte 3 € à la crémière; Łódź, naïve, Ångström, e\u0301 beside é",
    "CJK": "吾輩は猫である。名前はまだ無い。한국어와 漢字",
    "emoji with joiners": "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪",
    "right to left": "שלום עולם, مرحبا بالعالم \u202eabc\u202c",
    "an empty line at the end": "the end\n\n",
    "only newlines": "\n" * 17,
    "only spaces": " " * 33,
    "Windows line ends": "one\r\ntwo\r\n\r\n\rthree\n\r",
    "tabs and spaces": "\tif x:\t\t  y   =  1 \n    \t \n  ",
    "control characters": "a\0b\0\0" + "".join(map(chr, range(32))) + "\x7f\x80\x85\x9f\u2028\u2029",
    "GPT-2's separator": "one<|endoftext|>two <|endoftext|>\n<|endoftext|>",
    "beyond 16 bits": "𐍃𐍄𐌰𐌽 \U0001f600 \U0010ffff 𐍈",
    "a byte order mark": "\ufeffbegin \ufeff end\ufffe\uffff\ufffd",
    "contractions and digits": "I'll've don't 'S 1234567 x2y  3.14",
}


@pytest.fixture(autouse=True)
def no_look_ups(monkeypatch):
    """No name of a machine is resolved, so that what would reach for the network fails at once."""

    def refuse(host, *_, **__):
        raise socket.gaierror(f"{host} is looked up")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(params=KINDS)
def made(request):
    """Makes the vocabulary of each kind for a text; bpe is trained on English, whatever the text is."""
    if request.param == "gpt2":
        request.getfixturevalue("gpt2_vocabulary")
    return lambda text: make(request.param, [text], [ENGLISH], 300)


def assert_round_trip(vocabulary, text):
    tokens = vocabulary.encode(text)
    assert (tokens.dtype, tokens.ndim) == (np.uint16, 1)
    assert len(tokens) and tokens.max() < vocabulary.size
    assert vocabulary.decode(tokens) == text
    assert vocabulary.decode(tokens.tolist()) == text


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


def test_no_text_is_no_tokens(made):
    vocabulary = made("abc")
    assert vocabulary.encode("").tolist() == []
    assert vocabulary.decode([]) == ""


def test_a_description_gives_the_same_encoding(made):
    text = "".join(TEXTS.values())
    vocabulary = made(text)
    again = described(json.loads(json.dumps(vocabulary.description())))
    assert type(again) is type(vocabulary)
    assert (again.size, again.start) == (vocabulary.size, vocabulary.start)
    assert again.encode(text).tolist() == vocabulary.encode(text).tolist()
    assert again.decode(vocabulary.encode(text)) == text
    assert again.description() == vocabulary.description()
    assert name_of(again.description()) == name_of(vocabulary.description())


def test_names_tell_vocabularies_apart():
    ab, reordered = {"kind": "characters", "characters": "ab"}, {"characters": "ab", "kind": "characters"}
    assert name_of(ab) == name_of(reordered) == "characters-d80c8daa"
    assert name_of({"kind": "gpt2"}) == "gpt2"
    names = [name_of(BPE.trained([ENGLISH], size).description()) for size in (256, 257, 300)]
    names += [name_of(BPE.trained([ENGLISH.upper()], 300).description()), name_of(ab), "gpt2"]
    names += [name_of({"kind": "characters", "characters": "abc"})]
    assert len(set(names)) == 7
    assert [name.partition("-")[0] for name in names] == ["bpe"] * 4 + ["characters", "gpt2", "characters"]


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, r"the description of a vocabulary is broken \('kind'\)"),
        ([], "the description of a vocabulary is broken"),
        ({"kind": None}, "unknown vocabulary None"),
        ({"kind": "gpt3"}, "unknown vocabulary 'gpt3': did you mean gpt2"),
        ({"kind": "bpe"}, r"is broken \('tokenizer'\)"),
        ({"kind": "bpe", "tokenizer": {}}, "is broken"),
        ({"kind": "bpe", "tokenizer": {"model": {"type": "BPE"}}}, "is broken"),
        ({"kind": "bpe", "tokenizer": "x"}, "is broken"),
        ({"kind": "characters"}, r"is broken \('characters'\)"),
        ({"kind": "characters", "characters": 3}, "is broken"),
        ({"kind": "characters", "characters": ["ab"]}, "is broken"),
    ],
)
def test_a_broken_description_is_one_line(description, message):
    with pytest.raises(UserError, match=message) as raised:
        described(description)
    assert len(str(raised.value).splitlines()) == 1


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
    import tiktoken
    from tokenizers import Tokenizer
    from tokenizers.models import BPE as Model
    from tokenizers.pre_tokenizers import ByteLevel

    other = Tokenizer(Model.from_file(str(gpt2_vocabulary["encoder.json"]), str(gpt2_vocabulary["vocab.bpe"])))
    other.pre_tokenizer = ByteLevel(add_prefix_space=False)
    for text in ["\n".join(TEXTS.values()), prepare_text.embedded()[:50_000]]:
        tokens = GPT2().encode(text).tolist()
        assert tokens == tiktoken.get_encoding("gpt2").encode(text, disallowed_special=())
        assert tokens == other.encode(text).ids


def test_gpt2_never_takes_text_for_its_separator(gpt2_vocabulary):
    assert 50256 not in GPT2().encode(TEXTS["GPT-2's separator"])


def no_network(*_, **__):
    import requests

    raise requests.exceptions.ConnectionError("no route\nto host")


def another_page(*_, **__):
    return SimpleNamespace(content=b"<html>", raise_for_status=lambda: None)


@pytest.fixture
def nothing_stored(tmp_path, monkeypatch):
    """GPT-2's vocabulary is not on this machine; given is what a download answers."""

    def answer(download):
        import requests
        import tiktoken

        monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "no cache"))
        monkeypatch.setattr(requests, "get", download)

    return answer


@pytest.mark.parametrize(("download", "reason"), [(no_network, "ConnectionError"), (another_page, "ValueError")])
def test_gpt2_that_cannot_be_downloaded(nothing_stored, program, tmp_path, monkeypatch, download, reason):
    nothing_stored(download)
    message = (
        f"GPT-2's vocabulary cannot be downloaded ({reason}): on a machine without network, let TIKTOKEN_CACHE_DIR"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        described({"kind": "gpt2"})
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    commands = [(prepare_text, "--vocabulary", "gpt2"), (prepare_owt,), (prepare_tiny_stories,)]
    for command in commands:
        code, out, err = program(*command)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(f"error: {message}")
    assert set(tmp_path.rglob("*")) == before


# Byte pairs


def test_bpe_is_as_large_as_asked():
    text = prepare_text.embedded()
    vocabulary = BPE.trained(prepare_text.pieces(text), 1024)
    assert (vocabulary.size, vocabulary.start) == (1024, None)
    assert len(vocabulary.encode(text)) < len(text) / 2
    assert_round_trip(vocabulary, text)


def test_bpe_of_a_tiny_text_is_smaller():
    assert BPE.trained(["ab\nab\n"], 1024).size == 257
    assert BPE.trained(["xyz"], 256).size == 256


def test_bpe_has_every_byte():
    vocabulary = BPE.trained(["x"], 256)
    text = "".join(map(chr, range(0x800)))
    assert len(vocabulary.encode(text)) == len(text.encode())
    assert_round_trip(vocabulary, text)


def test_bpe_merges_the_most_frequent_pair_first():
    text = "ab\n" * 5 + "cd\n" * 9 + "cde\n" * 2
    tokens = {size: [BPE.trained([text], size).decode([token]) for token in range(256, size)] for size in (257, 259)}
    assert tokens == {257: ["cd"], 259: ["cd", "ab", "cde"]}
    assert BPE.trained([text], 1024).size == 259
    assert BPE.trained([text], 259).encode("cde\ncd\nab\n").tolist()[::2] == [258, 256, 257]


def test_bpe_is_trained_to_the_same_every_time():
    texts = prepare_text.pieces(prepare_text.embedded()[:100_000])
    assert BPE.trained(texts, 600).description() == BPE.trained(iter(texts), 600).description()


def test_bpe_learns_from_the_training_part_only():
    one, two = (make("bpe", [ENGLISH, val], [ENGLISH], 300) for val in ("zebra zebra zebra", "xylophones"))
    assert one.description() == two.description() == BPE.trained([ENGLISH], 300).description()
    assert_round_trip(one, "zebra zebra zebra")


@pytest.mark.parametrize("size", [0, 255, LARGEST + 1])
def test_bpe_of_a_size_that_cannot_be(size):
    with pytest.raises(UserError, match=f"a vocabulary over bytes has 256 to 65536 tokens, not {size}"):
        make("bpe", [ENGLISH], [ENGLISH], size)


# Characters


def test_characters_are_sorted():
    vocabulary = Characters.of(["hello", " wörld🙂\n"])
    assert vocabulary.description() == {"kind": "characters", "characters": "\n dehlorwö🙂"}
    assert (vocabulary.size, vocabulary.start) == (11, None)
    assert vocabulary.encode("hold🙂\n").tolist() == [4, 6, 5, 2, 10, 0]


def test_characters_in_the_order_of_their_description():
    vocabulary = Characters("cab")
    assert vocabulary.encode("abc").tolist() == [1, 2, 0]
    assert vocabulary.decode([0, 1, 2]) == "cab"


@pytest.mark.parametrize(("text", "shown"), [("abz", "'z'"), ("a\nb", r"'\\n'"), ("A", "'A'"), ("ab🙂", "'🙂'")])
def test_a_character_that_is_not_in_the_vocabulary(text, shown):
    with pytest.raises(UserError, match=f"the character {shown} is not in the vocabulary of 3 characters"):
        Characters("abc").encode(text)


def test_characters_of_training_and_validation_are_known():
    assert make("characters", ["abc", "abd"], ["abc"], 300).encode("dcba").tolist() == [3, 2, 1, 0]


def test_as_many_characters_as_uint16_can_tell_apart():
    characters = "".join(map(chr, [*range(0xD800), *range(0xE000, LARGEST + 0x800)]))
    vocabulary = make("characters", [characters], [""], 300)
    assert vocabulary.size == LARGEST == 65536
    assert vocabulary.encode(characters).tolist() == list(range(LARGEST))
    with pytest.raises(UserError, match="the text has 65537 different characters, more than 65536: take bpe"):
        make("characters", [characters, "\U0010ffff"], [""], 300)


# Token files


def stored(folder):
    """The files of a folder, but for what was downloaded: name -> content."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def touched(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def text_of(folder):
    """The text of each split, decoded with the vocabulary beside it."""
    tokens = open_tokens(folder)
    vocabulary = described(json.loads((folder / "vocabulary.json").read_text()))
    return vocabulary.decode(tokens.train), vocabulary.decode(tokens.val)


def assert_meta(folder, source):
    """meta.json says what the other files hold."""
    meta = json.loads((folder / "meta.json").read_text())
    vocabulary = json.loads((folder / "vocabulary.json").read_text())
    assert meta.pop("source") == source
    assert meta.pop("vocabulary") == name_of(vocabulary)
    assert meta.pop("vocabulary_size") == described(vocabulary).size
    assert meta.pop("dtype") == "uint16"
    assert set(meta) == {"train", "val"}
    for split, counts in meta.items():
        content = (folder / f"{split}.bin").read_bytes()
        texts = counts.pop("texts")
        assert texts >= 1
        assert counts == {"tokens": len(content) // 2, "crc32": f"{zlib.crc32(content):08x}"}
    assert {path.name for path in folder.iterdir()} - {"download"} == {
        "train.bin", "val.bin", "meta.json", "vocabulary.json",
    }  # fmt: skip


BOOK = "".join(f"line {number}: Zoë said “{number * 7919 % 1000}”\r\n" for number in range(60)) + "\n"


@pytest.fixture
def book(tmp_path):
    """A text file."""
    path = tmp_path / "book.txt"
    path.write_bytes(BOOK.encode())
    return path


@pytest.fixture
def prepared(book, tmp_path, program):
    """A folder with the book, in characters."""
    folder = tmp_path / "prepared"
    assert program(prepare_text, "--input", book, "--output", folder, "--vocabulary", "characters")[0] == 0
    return folder


def test_a_prepared_folder_is_opened(prepared):
    tokens = open_tokens(prepared)
    assert tokens.folder == prepared
    for split, array in (("train", tokens.train), ("val", tokens.val)):
        content = (prepared / f"{split}.bin").read_bytes()
        assert isinstance(array, np.memmap) and array.dtype == np.uint16
        assert array.tobytes() == content
        assert tokens.crc32[split] == f"{zlib.crc32(content):08x}"
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert tokens.vocabulary == {"kind": "characters", "characters": "".join(sorted(set(BOOK)))}
    assert tokens.vocabulary_size == len(set(BOOK))
    assert tokens.identity == {
        "vocabulary": name_of(tokens.vocabulary),
        "vocabulary_size": len(set(BOOK)),
        "train_tokens": round(0.9 * len(BOOK)),
        "val_tokens": len(BOOK) - round(0.9 * len(BOOK)),
        "train_crc32": tokens.crc32["train"],
        "val_crc32": tokens.crc32["val"],
    }


def test_a_folder_of_nanogpt(tmp_path):
    np.array([31373, 995, 50256], "<u2").tofile(tmp_path / "train.bin")
    np.array([995], "<u2").tofile(tmp_path / "val.bin")
    tokens = open_tokens(tmp_path)
    assert (tokens.train.tolist(), tokens.val.tolist()) == ([31373, 995, 50256], [995])
    assert (tokens.vocabulary, tokens.vocabulary_size) == ({"kind": "gpt2"}, 50257)
    assert tokens.crc32 == {"train": None, "val": None}
    assert tokens.identity["vocabulary"] == "gpt2"


@pytest.mark.parametrize(
    ("name", "maker"),
    [("tiny_stories", "prepare_tiny_stories"), ("open_web_text", "prepare_owt"), ("book", "prepare_text")],
)
def test_what_is_missing_names_its_program(tmp_path, name, maker):
    folder = tmp_path / name
    message = f"there is no folder {folder}: python -m tasks.gpt.{maker} makes it"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        open_tokens(folder)
    folder.mkdir()
    message = f"{folder / 'train.bin'} is missing: python -m tasks.gpt.{maker} makes it"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        open_tokens(folder)


def deleted(name):
    return lambda folder: (folder / name).unlink()


def replaced(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def cut_off(name, count):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-count])


def with_meta(**changes):
    def change(folder):
        meta = json.loads((folder / "meta.json").read_text())
        (folder / "meta.json").write_text(json.dumps(meta | changes))

    return change


OTHER = json.dumps({"kind": "characters", "characters": "xyz"}).encode()
# what -> how to damage a prepared folder, the file that the error names, and what it says
DAMAGED = {
    "no val.bin": (deleted("val.bin"), "val.bin", "is missing: python -m tasks.gpt.prepare_text makes it"),
    "no train.bin": (deleted("train.bin"), "train.bin", "is missing: python -m tasks.gpt.prepare_text makes it"),
    "empty": (replaced("val.bin", b""), "val.bin", "is empty: prepare the text again"),
    "odd": (replaced("train.bin", b"abc"), "train.bin", "has 3 bytes, an odd number, and so is no file of uint16"),
    "cut off": (cut_off("train.bin", 2), "train.bin", r"has \d+ tokens, but meta.json says \d+: prepare the text"),
    "too long": (replaced("val.bin", bytes(9000)), "val.bin", "has 4500 tokens, but meta.json says"),
    "no JSON": (replaced("meta.json", b"{"), "meta.json", "cannot be read .*: prepare the text again"),
    "no UTF-8": (replaced("meta.json", b'{"\xff": 1}'), "meta.json", "cannot be read .*: prepare the text again"),
    "a list": (replaced("meta.json", b"[]"), "meta.json", "is damaged: prepare the text again"),
    "nothing in it": (replaced("meta.json", b"{}"), "meta.json", "prepare the text again"),
    "no split": (with_meta(train=None), "meta.json", "is damaged: prepare the text again"),
    "no count": (with_meta(val={}), "meta.json", "is damaged: prepare the text again"),
    "a wrong count": (with_meta(val={"tokens": 1}), "val.bin", r"has \d+ tokens, but meta.json says 1: prepare"),
    "a size in words": (with_meta(vocabulary_size="ten"), "meta.json", "is damaged: prepare the text again"),
    "no vocabulary": (deleted("vocabulary.json"), "vocabulary.json", "cannot be read .*: prepare the text again"),
    "another vocabulary": (replaced("vocabulary.json", OTHER), "vocabulary.json", "is not the vocabulary of .*meta.js"),
    "a damaged vocabulary": (cut_off("vocabulary.json", 5), "vocabulary.json", "cannot be read .*: prepare the text"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_folders(prepared, name):
    damage, file, message = DAMAGED[name]
    damage(prepared)
    with pytest.raises(UserError, match=message) as raised:
        open_tokens(prepared)
    assert str(prepared / file) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


# python -m tasks.gpt.prepare_text


def test_the_embedded_text(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = program(prepare_text)
    assert (code, err) == (0, "")
    folder, text = Path("data/pydoc_topics"), prepare_text.embedded()
    train, val = text_of(folder)
    assert train + val == text
    assert len(val) == round(0.1 * len(text))
    crc32 = f"{zlib.crc32(text.encode()):08x}"
    source = {"files": ["pydoc_topics"], "crc32": crc32, "vocabulary": "bpe", "val_fraction": 0.1}
    assert_meta(folder, {**source, "vocabulary_size": 1024})
    tokens = open_tokens(folder)
    assert tokens.vocabulary_size == 1024
    assert out == (
        f"{folder}/train.bin: {len(tokens.train):,} tokens\n"
        f"{folder}/val.bin: {len(tokens.val):,} tokens\n"
        f"{folder}/meta.json: a vocabulary of 1,024 tokens\n"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_joined_as_they_are(program, tmp_path, monkeypatch, request, kind):
    if kind == "gpt2":
        request.getfixturevalue("gpt2_vocabulary")
    monkeypatch.chdir(tmp_path)
    texts = ["\ufeffSecond,\r\nnot ended", "<|endoftext|> First: naïve 漢字 👩‍👧\0\t\n" * 9 + "\n\n", "x"]
    for name, text in zip(("b.txt", "a.txt", "c.txt"), texts, strict=True):
        Path(name).write_bytes(text.encode())
    command = ("--input", "b.txt", "a.txt", "c.txt", "--vocabulary", kind, "--vocabulary-size", 300)
    code, out, err = program(prepare_text, *command)
    assert (code, err) == (0, "")
    folder, text = Path("data/b"), "".join(texts)
    assert "".join(text_of(folder)) == text
    size = {"gpt2": 50257, "characters": len(set(text))}.get(kind) or open_tokens(folder).vocabulary_size
    assert f"meta.json: a vocabulary of {size:,} tokens" in out
    crc32 = f"{zlib.crc32(text.encode()):08x}"
    source = {"files": ["b.txt", "a.txt", "c.txt"], "crc32": crc32, "vocabulary": kind, "val_fraction": 0.1}
    assert_meta(folder, source | ({"vocabulary_size": 300} if kind == "bpe" else {}))
    if kind == "gpt2":
        assert 50256 not in open_tokens(folder).train and 50256 not in open_tokens(folder).val
    before = touched(folder)
    assert program(prepare_text, *command) == (0, f"{folder} is complete already\n", "")
    assert touched(folder) == before


@pytest.mark.parametrize("fraction", ["0.5", "0.25", "0.001"])
def test_the_validation_part_is_counted_in_characters(program, tmp_path, fraction):
    text = "é" * 700 + "abcdefghij" * 30
    (tmp_path / "text").write_text(text, encoding="utf-8")
    for kind in ("characters", "bpe"):
        folder = tmp_path / kind
        command = ("--input", tmp_path / "text", "--output", folder, "--vocabulary", kind)
        assert program(prepare_text, *command, "--val_fraction", fraction)[0] == 0
        cut = len(text) - round(len(text) * float(fraction))
        assert text_of(folder) == (text[:cut], text[cut:])


def test_what_is_learned_does_not_depend_on_the_validation_part(program, tmp_path):
    for name in ("zebra ", "yucca "):
        (tmp_path / name).write_text(ENGLISH[:900] + name * 16 + "!!!!")
        command = ("--input", tmp_path / name, "--output", tmp_path / f"{name}out")
        assert program(prepare_text, *command, "--vocabulary-size", 300)[0] == 0
    one, two = (stored(tmp_path / f"{name}out") for name in ("zebra ", "yucca "))
    assert one["vocabulary.json"] == two["vocabulary.json"]
    assert one["train.bin"] == two["train.bin"] and one["val.bin"] != two["val.bin"]


@pytest.mark.parametrize("size", [1, 7, 20, 10_000])
def test_pieces_joined_are_the_text(monkeypatch, size):
    monkeypatch.setattr(prepare_text, "_PIECE", size)
    for text in [BOOK, BOOK.replace("\n", " "), *TEXTS.values()]:
        parts = prepare_text.pieces(text)
        assert "".join(parts) == text
        assert all(part.endswith("\n") and len(part) > size for part in parts[:-1])
        assert len(parts) == 1 or all(len(part) <= size + 73 for part in parts[:-1])
    assert prepare_text.pieces("") == []


def test_pieces_of_more_than_a_mebibyte():
    line = "x" * 1023 + "\n"
    assert list(map(len, prepare_text.pieces(line * 2500))) == [2**20 + 1024, 2**20 + 1024, 450 * 1024]
    assert list(map(len, prepare_text.pieces("x" * 2**21))) == [2**21]


@pytest.mark.parametrize("kind", ["bpe", "characters"])
def test_the_size_of_the_pieces_does_not_change_the_text(program, tmp_path, book, monkeypatch, kind):
    monkeypatch.setattr(prepare_text, "_PIECE", 50)
    monkeypatch.setattr(prepare, "_BATCH", 3)
    folder = tmp_path / "out"
    assert program(prepare_text, "--input", book, "--output", folder, "--vocabulary", kind)[0] == 0
    assert "".join(text_of(folder)) == BOOK
    assert json.loads((folder / "meta.json").read_text())["train"]["texts"] > 10


@pytest.mark.parametrize("chunk", [7, 2**24])
def test_again_when_all_is_there(program, prepared, book, monkeypatch, chunk):
    monkeypatch.setattr(tokens_module, "_CHUNK", chunk)
    before = touched(prepared)
    answer = program(prepare_text, "--input", book, "--output", prepared, "--vocabulary", "characters")
    assert answer == (0, f"{prepared} is complete already\n", "")
    assert touched(prepared) == before


@pytest.mark.parametrize(
    "change",
    [
        ("--vocabulary", "bpe"),
        ("--vocabulary", "bpe", "--vocabulary-size", "512"),
        ("--vocabulary", "characters", "--val-fraction", "0.2"),
        "another text",
        "another file",
    ],
)
def test_another_text_or_vocabulary_is_refused(program, prepared, book, tmp_path, change):
    before = touched(prepared)
    files, flags = [book], ("--vocabulary", "characters")
    if change == "another text":
        book.write_text(BOOK + ".")
    elif change == "another file":
        (tmp_path / "more").write_text("more")
        files.append(tmp_path / "more")
    else:
        flags = change
    code, out, err = program(prepare_text, "--output", prepared, *flags, "--input", *files)
    assert (code, out) == (2, "")
    assert err == f"error: {prepared} holds another text or vocabulary: choose another folder, or delete it\n"
    assert touched(prepared) == before


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_changed_file_is_found(program, prepared, book, split):
    path = prepared / f"{split}.bin"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    before = touched(prepared)
    code, out, err = program(prepare_text, "--input", book, "--output", prepared, "--vocabulary", "characters")
    assert (code, out) == (2, "")
    assert err == f"error: {path} has changed since it was written: delete {prepared} to prepare it again\n"
    assert touched(prepared) == before


@pytest.mark.parametrize("name", ["train.bin", "val.bin"])
def test_files_of_another_program_are_not_overwritten(program, book, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"mine")
    code, out, err = program(prepare_text, "--input", book, "--output", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err == (
        f"error: {tmp_path / 'out' / name} is there already, without meta.json: choose another folder, or delete it\n"
    )
    assert stored(tmp_path / "out") == {name: b"mine"}


# Hugging Face's data sets

STORIES = [f"Once upon a time, there were {number} foxes.\n\nThe end." for number in range(37)]
STORIES[3:7] = ["", "Zoë 漢字 👩‍👧", "a literal <|endoftext|> within", "ends with lines\n\n\n"]
HELD_OUT = ["One <|endoftext|> two.", "Größe\r\n", ""]
END = "<|endoftext|>"


@pytest.fixture
def hub(gpt2_vocabulary):
    """Hugging Face's library, which is to say nothing on stderr."""
    import datasets

    verbosity = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(50)
    datasets.disable_progress_bars()
    yield datasets
    datasets.enable_progress_bars()
    datasets.logging.set_verbosity(verbosity)


def write_parquet(folder, shards=1, **splits):
    """A data set in files as the hub has them: of each split a list of texts, or its columns."""
    import pyarrow
    from pyarrow import parquet

    (folder / "data").mkdir(parents=True)
    for split, columns in splits.items():
        table = pyarrow.table({"text": columns} if isinstance(columns, list) else columns)
        rows = -(-len(table) // shards)
        for shard in range(shards):
            path = folder / "data" / f"{split}-{shard:05}-of-{shards:05}.parquet"
            parquet.write_table(table.slice(shard * rows, rows), path)
    return folder


def decoded(path):
    import tiktoken

    return tiktoken.get_encoding("gpt2").decode(np.fromfile(path, "<u2").tolist())


def documents(path):
    """The texts between the separators, the last of which ends the file."""
    tokens = np.fromfile(path, "<u2")
    ends = np.flatnonzero(tokens == 50256)
    assert ends[-1] == len(tokens) - 1
    return [GPT2().decode(part[:-1]) for part in np.split(tokens, ends[:-1] + 1)]


def test_tiny_stories(hub, program, tmp_path):
    source = write_parquet(tmp_path / "stories", train=STORIES, validation=HELD_OUT)
    folder = tmp_path / "tiny_stories"
    command = (prepare_tiny_stories, "--source", source, "--cache_dir", folder, "--num_workers", 1)
    code, out, err = program(*command)
    assert (code, err) == (0, "")
    assert decoded(folder / "train.bin") == "".join(story + END for story in STORIES)
    assert decoded(folder / "val.bin") == "".join(story + END for story in HELD_OUT)
    assert documents(folder / "train.bin") == STORIES
    assert documents(folder / "val.bin") == HELD_OUT
    assert_meta(folder, {"dataset": str(source)})
    meta = json.loads((folder / "meta.json").read_text())
    assert [meta[split]["texts"] for split in ("train", "val")] == [len(STORIES), len(HELD_OUT)]
    assert (meta["vocabulary"], meta["vocabulary_size"]) == ("gpt2", 50257)
    assert out == (
        f"{folder}/train.bin: {meta['train']['tokens']:,} tokens\n{folder}/val.bin: {meta['val']['tokens']:,} tokens\n"
        f"{folder}/meta.json: a vocabulary of 50,257 tokens\n"
    )
    before = touched(folder)
    assert program(*command) == (0, f"{folder} is complete already\n", "")
    answer = program(prepare_tiny_stories, "--source", "another", "--cache-dir", folder)
    error = f"error: {folder} holds another text or vocabulary: choose another folder, or delete it\n"
    assert answer == (2, "", error)
    assert touched(folder) == before


def test_the_number_of_workers_does_not_change_the_files(hub, program, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_BATCH", 10)
    source = write_parquet(tmp_path / "stories", shards=2, train=STORIES * 3, validation=HELD_OUT)
    for workers in (1, 2):
        command = ("--source", source, "--cache_dir", tmp_path / str(workers), "--num_workers", workers)
        code, _, err = program(prepare_tiny_stories, *command)
        assert (code, err) == (0, "")
    assert documents(tmp_path / "2" / "train.bin") == STORIES * 3
    assert stored(tmp_path / "1") == stored(tmp_path / "2")


def test_open_web_text(hub, program, tmp_path):
    pages = [f"page {number}" for number in range(4001)]
    source = write_parquet(tmp_path / "pages", train=pages)
    folder = tmp_path / "open_web_text"
    command = ("--source", source, "--cache_dir", folder, "--num_workers", 1)
    code, _, err = program(prepare_owt, *command)
    assert (code, err) == (0, "")
    parts = hub.Dataset.from_dict({"text": pages}).train_test_split(test_size=0.0005, seed=2357, shuffle=True)
    assert documents(folder / "train.bin") == parts["train"]["text"][:]
    assert documents(folder / "val.bin") == parts["test"]["text"][:]
    assert len(parts["test"]) == 3
    assert sorted(documents(folder / "train.bin") + documents(folder / "val.bin")) == sorted(pages)
    assert_meta(folder, {"dataset": str(source)})
    assert program(prepare_owt, *command) == (0, f"{folder} is complete already\n", "")


def test_a_data_set_that_cannot_be_downloaded(hub, program, tmp_path, monkeypatch):
    def load(source, **_):
        raise ConnectionError(f"Couldn't reach {source!r} on the Hub\nthe second line")

    monkeypatch.setattr(hub, "load_dataset", load)
    monkeypatch.chdir(tmp_path)
    for module, name in ((prepare_tiny_stories, "roneneldan/TinyStories"), (prepare_owt, "Skylion007/openwebtext")):
        code, out, err = program(module)
        assert (code, out) == (2, "")
        assert err == (
            f"error: cannot load the data set {name} (ConnectionError: Couldn't reach '{name}' on the Hub): "
            "is there a network? --source takes a folder with its parquet files too\n"
        )
    assert not list(tmp_path.rglob("*.bin*")) and not list(tmp_path.rglob("*.json"))


def test_ctrl_c_while_downloading(hub, program, tmp_path, monkeypatch):
    def load(source, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(hub, "load_dataset", load)
    answer = program(prepare_tiny_stories, "--cache_dir", tmp_path / "out")
    assert answer == (130, "", "stopped: the same command goes on with the download\n")


BAD_DATA = {
    "no texts": (
        prepare_tiny_stories,
        {s: {"story": STORIES} for s in ("train", "validation")},
        'has no column "text"',
    ),
    "no pages": (prepare_owt, {"train": {"page": STORIES}}, 'has no column "text", but page'),
    "no validation": (prepare_tiny_stories, {"train": STORIES}, "has no split validation, but train"),
    "no training": (prepare_tiny_stories, {"validation": STORIES}, "has no split train, but validation"),
    "neither": (prepare_tiny_stories, {"test": STORIES}, "has no split train and validation, but test"),
    "no pages to split": (prepare_owt, {"test": STORIES}, "has no split train of at least two pages"),
    "a single page": (prepare_owt, {"train": ["page"]}, "has no split train of at least two pages"),
    "empty": (prepare_tiny_stories, {"train": [], "validation": []}, "(cannot load the data set|there is no text)"),
    "no files": (prepare_tiny_stories, {}, r"cannot load the data set .* \(EmptyDatasetError: .*any data files"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_data_sets_that_are_refused(hub, program, tmp_path, name):
    module, splits, message = BAD_DATA[name]
    source = write_parquet(tmp_path / "source", **splits)
    folder = tmp_path / "out"
    code, out, err = program(module, "--source", source, "--cache_dir", folder, "--num_workers", 1)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(rf"error: .*{re.escape(str(source))}.*{message}|error: {message}", err), err
    assert not folder.exists() or not {"train.bin", "val.bin", "meta.json"} & set(stored(folder))


def test_splits_without_rows(program, hub, tmp_path, monkeypatch):
    none = hub.Dataset.from_dict({"text": []}, features=hub.Features(text=hub.Value("string")))
    empty = hub.DatasetDict(train=none, validation=none)
    monkeypatch.setattr(hub, "load_dataset", lambda *_, **__: empty)
    code, out, err = program(prepare_tiny_stories, "--cache_dir", tmp_path / "out", "--num_workers", 1)
    assert (code, out, err) == (2, "", "error: there is no text for train.bin\n")
    assert not (tmp_path / "out" / "train.bin").exists() and not (tmp_path / "out" / "meta.json").exists()


@pytest.mark.parametrize("texts", [["one", None, "two"], [1, 2]])
def test_texts_that_are_none(hub, program, tmp_path, texts):
    source = write_parquet(tmp_path / "source", train=texts, validation=texts)
    code, _, err = program(prepare_tiny_stories, "--source", source, "--cache_dir", tmp_path / "out")
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1


# Stopped and started again


@pytest.fixture
def journalled(monkeypatch):
    """The journal is written after every second text."""
    monkeypatch.setattr(prepare, "_BATCH", 2)
    monkeypatch.setattr(prepare, "_SECONDS", -1)


@pytest.fixture
def encoded(monkeypatch):
    """Sees every text that GPT-2's vocabulary encodes; returns them, and stops at one of them if asked."""

    true = GPT2.encode

    def watch(stop=None):
        texts = []

        def encode(self, text):
            if len(texts) == stop:
                raise KeyboardInterrupt
            texts.append(text)
            return true(self, text)

        monkeypatch.setattr(GPT2, "encode", encode)
        return texts

    return watch


@pytest.fixture
def tokenise(gpt2_vocabulary):
    """Writes the stories as a prepare program does; returns the files."""

    def write(folder, workers=1, source="stories"):
        splits = {"train": STORIES[:11], "val": HELD_OUT}
        write_tokens(folder, {"dataset": source}, GPT2(), splits, documents=True, workers=workers)
        return stored(folder)

    return write


@pytest.fixture
def whole(tokenise, tmp_path):
    """The files of a run that was not stopped."""
    return tokenise(tmp_path / "whole")


@pytest.mark.parametrize(
    ("stop", "texts", "left"),
    [
        (0, None, STORIES[:11] + HELD_OUT),
        (5, 4, STORIES[4:11] + HELD_OUT),
        (10, 10, STORIES[10:11] + HELD_OUT),
        (11, 11, HELD_OUT),
        (12, 11, HELD_OUT),
        (13, 11, HELD_OUT[2:]),
    ],
)
def test_only_what_is_left_is_encoded(tokenise, whole, journalled, encoded, tmp_path, capsys, stop, texts, left):
    folder = tmp_path / "out"
    encoded(stop)
    with pytest.raises(Stopped, match=f"^stopped: the same command goes on in {re.escape(str(folder))}$"):
        tokenise(folder)
    assert not {"train.bin", "val.bin", "meta.json"} & set(stored(folder))
    journal = json.loads((folder / JOURNAL).read_text())
    assert journal["source"] == {"dataset": "stories"}
    assert journal["splits"].get("train", {}).get("texts") == texts
    capsys.readouterr()
    again = encoded()
    assert tokenise(folder) == whole
    assert again == left
    assert capsys.readouterr().out.startswith(f"going on in {folder}\n")
    assert_meta(folder, {"dataset": "stories"})


def test_the_program_goes_on(hub, program, journalled, encoded, tmp_path):
    source = write_parquet(tmp_path / "stories", train=STORIES, validation=HELD_OUT)
    command = (prepare_tiny_stories, "--source", source, "--num_workers", 1, "--cache_dir")
    program(*command, tmp_path / "whole")
    encoded(21)
    code, out, err = program(*command, tmp_path / "out")
    assert (code, err) == (130, f"stopped: the same command goes on in {tmp_path / 'out'}\n")
    assert re.fullmatch(r"\[ 54%, 0:\d\d left\] train.bin: 20 texts, [\d,]+ tokens", out.splitlines()[-1])
    again = encoded()
    code, out, err = program(*command, tmp_path / "out")
    assert (code, err) == (0, "")
    assert again == STORIES[20:] + HELD_OUT
    assert stored(tmp_path / "out") == stored(tmp_path / "whole")


def test_stopped_time_and_again(tokenise, whole, journalled, encoded, tmp_path):
    for _ in range(7):
        encoded(2)
        with pytest.raises(Stopped):
            tokenise(tmp_path / "out")
    encoded()
    assert tokenise(tmp_path / "out") == whole


@pytest.mark.parametrize("workers", [1, 3])
def test_what_came_after_the_last_entry_of_the_journal_is_cut_off(
    tokenise, whole, journalled, encoded, tmp_path, workers
):
    encoded(5)
    with pytest.raises(Stopped):
        tokenise(tmp_path / "out")
    with (tmp_path / "out" / "train.bin.part").open("ab") as file:
        file.write(b"more than was noted")
    encoded()
    assert tokenise(tmp_path / "out", workers) == whole


@pytest.mark.parametrize("lost", [2, "all"])
def test_a_part_that_is_shorter_than_the_journal_says(tokenise, whole, journalled, encoded, tmp_path, lost):
    encoded(5)
    with pytest.raises(Stopped):
        tokenise(tmp_path / "out")
    part = tmp_path / "out" / "train.bin.part"
    part.unlink() if lost == "all" else cut_off(part.name, lost)(part.parent)
    encoded()
    try:
        files = tokenise(tmp_path / "out")
    except UserError as error:
        assert str(part) in str(error)
    else:
        assert files == whole


@pytest.fixture
def killed_before_meta(tokenise, tmp_path, monkeypatch):
    """A folder whose token files have their final names, while meta.json is not written yet."""

    def write_meta(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "write_meta", write_meta)
        with pytest.raises(KeyboardInterrupt):
            tokenise(tmp_path / "out")
    assert set(stored(tmp_path / "out")) == {"train.bin", "val.bin", JOURNAL}
    return tmp_path / "out"


@pytest.mark.parametrize("renamed", [["train", "val"], ["train"], []])
def test_killed_before_or_between_the_last_steps(tokenise, whole, encoded, killed_before_meta, renamed):
    folder = killed_before_meta
    for split in {"train", "val"} - set(renamed):
        (folder / f"{split}.bin").rename(folder / f"{split}.bin.part")
    again = encoded()
    assert tokenise(folder) == whole
    assert again == []


def test_killed_before_the_journal_was_deleted(tokenise, whole, encoded, killed_before_meta):
    journal = (killed_before_meta / JOURNAL).read_bytes()
    tokenise(killed_before_meta)
    (killed_before_meta / JOURNAL).write_bytes(journal)
    again = encoded()
    assert tokenise(killed_before_meta) == whole
    assert again == []


def test_a_preparation_that_has_not_ended_is_not_opened(prepared, book, program, monkeypatch, tmp_path):
    def write_meta(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "write_meta", write_meta)
    folder = tmp_path / "out"
    assert program(prepare_text, "--input", book, "--output", folder, "--vocabulary", "characters")[0] == 130
    with pytest.raises(UserError, match=re.escape(str(folder))):
        open_tokens(folder)


def test_a_journal_of_another_source_is_refused(tokenise, journalled, encoded, tmp_path):
    folder = tmp_path / "out"
    encoded(5)
    with pytest.raises(Stopped):
        tokenise(folder)
    before = touched(folder)
    encoded()
    with pytest.raises(UserError, match="holds a part of another text or vocabulary: choose another folder, or delete"):
        tokenise(folder, source="other stories")
    assert touched(folder) == before


def test_a_damaged_journal_is_one_line(tokenise, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / JOURNAL).write_text("{")
    with pytest.raises(UserError, match=f"{JOURNAL} cannot be read"):
        tokenise(tmp_path / "out")


@pytest.mark.parametrize("writes", [0, 3])
def test_the_disk_is_full(program, book, prepared, tmp_path, monkeypatch, journalled, writes):
    """It holds so many batches."""

    def opened(path, mode="r", *arguments, true=Path.open, **more):
        file = true(path, mode, *arguments, **more)
        if mode == "ab":
            left = iter(range(writes))

            def write(content, true=file.write):
                if next(left, None) is None:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return true(content)

            file.write = write
        return file

    monkeypatch.setattr(prepare_text, "_PIECE", 100)
    folder = tmp_path / "out"
    command = (prepare_text, "--input", book, "--output", folder, "--vocabulary", "characters")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        code, _, err = program(*command)
    assert code == 2
    assert err == f"error: cannot write to {folder}: No space left on device; the same command goes on\n"
    assert set(stored(folder)) == {"train.bin.part", JOURNAL}
    assert program(*command)[0] == 0
    assert text_of(folder) == text_of(prepared)
    assert [stored(folder)[name] for name in ("train.bin", "val.bin")] == [
        stored(prepared)[name] for name in ("train.bin", "val.bin")
    ]


def killed_at(step, folder, arguments):
    """The program in a process that kills itself before the step-th time that it opens, makes or renames a file."""
    child = os.fork()
    if not child:
        code = 99
        try:
            steps = iter(range(step + 1))

            def watch(event, given):
                changes = event in ("open", "os.mkdir", "os.rename", "os.remove")
                if changes and str(folder) in str(given[0]) and next(steps, None) == step:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(watch)
            sys.argv = ["prepare_text", *map(str, arguments)]
            run(prepare_text.main)
        except SystemExit as ended:
            code = ended.code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_killed_at_every_step(program, tmp_path, monkeypatch, journalled, kind):
    """The next run makes of what is there what one without a kill makes."""
    monkeypatch.setattr(prepare_text, "_PIECE", 60)
    (tmp_path / "text").write_text(ENGLISH[:600], encoding="utf-8")
    flags = ("--input", tmp_path / "text", "--vocabulary", kind, "--vocabulary-size", 260, "--val-fraction", 0.3)
    program(prepare_text, *flags, "--output", tmp_path / "whole")
    whole, ends, code = stored(tmp_path / "whole"), set(), None
    for step in range(100):
        folder = tmp_path / f"step {step}"
        command = (*flags, "--output", folder)
        code = killed_at(step, folder, command)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        ends.add(tuple(sorted(path.name for path in folder.glob("[!.]*"))))
        if (folder / "meta.json").exists():
            assert "".join(text_of(folder)) == ENGLISH[:600]
        assert program(prepare_text, *command)[0] == 0
        assert {name: content for name, content in stored(folder).items() if name[0] != "."} == whole
    assert code == 0
    assert ends >= {
        (),
        (JOURNAL,),
        (JOURNAL, "train.bin.part"),
        (JOURNAL, "train.bin.part", "val.bin.part"),
        (JOURNAL, "train.bin", "val.bin.part"),
        (JOURNAL, "train.bin", "val.bin"),
        (JOURNAL, "train.bin", "val.bin", "vocabulary.json"),
        ("meta.json", JOURNAL, "train.bin", "val.bin", "vocabulary.json"),
    }


# Command lines

NUMBER = "must be a whole number of at least 1, not"
BAD_TEXT = [
    (("--flag",), "unrecognized arguments: --flag"),
    (("book.txt",), "unrecognized arguments: book.txt"),
    (("--vocabulary", "gpt3"), "argument --vocabulary: unknown vocabulary 'gpt3': did you mean gpt2?"),
    (("--vocabulary-size", 100), "a vocabulary over bytes has 256 to 65536 tokens, not 100"),
    (("--vocabulary-size", 70000), "a vocabulary over bytes has 256 to 65536 tokens, not 70000"),
    (("--vocabulary-size", 0), f"argument --vocabulary-size: {NUMBER} '0'"),
    (("--val-fraction", 2), "argument --val-fraction: must be a number from 0 to 1, not '2'"),
    (("--val-fraction", "nan"), "argument --val-fraction: must be a number from 0 to 1, not 'nan'"),
    (
        ("--val-fraction", 0, "--input", "book.txt"),
        "nothing is left for val.bin of 12 characters with --val-fraction 0",
    ),
    (
        ("--val-fraction", 1, "--input", "book.txt"),
        "nothing is left for train.bin of 12 characters with --val-fraction",
    ),
    (("--val-fraction", 0.01, "--input", "book.txt"), "nothing is left for val.bin of 12 characters"),
    (("--input",), "argument --input: expected at least one argument"),
    (("--input", "book.txt", "no.txt"), "cannot read no.txt: No such file or directory"),
    (("--input", "empty.txt"), "empty.txt is empty"),
    (("--input", "book.txt", "latin.txt"), "latin.txt is no text in UTF-8: byte 3 is 0xe9"),
    (("--input", "folder"), "cannot read folder: Is a directory"),
    (("--input", "many.txt", "--vocabulary", "characters"), "the text has 65537 different characters, more than 65536"),
    (("--output", "book.txt"), "cannot use book.txt as a folder: it is a file"),
    (("--output", "book.txt/out"), "cannot make the folder book.txt/out: Not a directory"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_TEXT)
def test_bad_command_lines_of_prepare_text(program, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text("twelve bytes")
    Path("empty.txt").touch()
    Path("latin.txt").write_bytes("café".encode("latin-1"))
    Path("many.txt").write_text("".join(map(chr, [*range(0xD800), *range(0xE000, 0x10801)])), "utf-8", newline="")
    Path("folder").mkdir()
    before = touched(tmp_path)
    code, out, err = program(prepare_text, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {message}")
    assert touched(tmp_path) == before and not Path("data").exists()


@pytest.mark.parametrize("module", [prepare_tiny_stories, prepare_owt])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--flag",), "unrecognized arguments: --flag"),
        (("--cache", "x"), "unrecognized arguments: --cache x"),
        (("--num_workers", 0), f"argument --num-workers: {NUMBER} '0'"),
        (("--num-workers", "two"), f"argument --num-workers: {NUMBER} 'two'"),
        (("--source",), "argument --source: expected one argument"),
        (("--vocabulary", "gpt2"), "unrecognized arguments: --vocabulary gpt2"),
    ],
)
def test_bad_command_lines_of_the_data_sets(program, tmp_path, monkeypatch, module, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = program(module, *arguments)
    assert (code, out, err) == (2, "", f"error: {message} (--help explains every flag)\n")
    assert list(tmp_path.iterdir()) == []


def test_a_cache_folder_that_is_a_file(hub, program, tmp_path):
    source = write_parquet(tmp_path / "stories", train=STORIES, validation=HELD_OUT)
    (tmp_path / "file").write_text("mine")
    command = ("--source", source, "--cache_dir", tmp_path / "file", "--num_workers", 1)
    code, out, err = program(prepare_tiny_stories, *command)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ") and str(tmp_path / "file") in err
    assert (tmp_path / "file").read_text() == "mine"
