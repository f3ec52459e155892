"""Folders that nanoGPT's programs have made: their vocabulary, and how wide their tokens are."""

import os
import pickle
import re

import numpy as np
import pytest

from tasks.gpt import sample, train
from tasks.gpt import tokens as tokens_module
from tasks.gpt.tokens import open_tokens
from tests.tasks.gpt.examples import arguments_of, contents, line_of, words
from workbench.cli.errors import UserError

TEXT = words(1)
CHARACTERS = "".join(sorted(set(TEXT)))


def written(folder, dtype="<u2", meta=None, train_tokens=None, val_tokens=None):
    """A folder as nanoGPT's data/shakespeare_char/prepare.py writes it, but for the text."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = np.array([CHARACTERS.index(each) for each in TEXT])
    cut = int(0.9 * len(tokens))
    for split, part in (("train", tokens[:cut]), ("val", tokens[cut:])):
        given = {"train": train_tokens, "val": val_tokens}[split]
        np.asarray(part if given is None else given).astype(dtype).tofile(folder / f"{split}.bin")
    (folder / "meta.pkl").write_bytes(pickle.dumps(described_as() if meta is None else meta))
    return folder


def described_as(characters=CHARACTERS):
    itos, stoi = dict(enumerate(characters)), {each: number for number, each in enumerate(characters)}
    return {"vocab_size": len(characters), "itos": itos, "stoi": stoi}


def refusal(folder):
    """What is said of a folder whose text is read."""
    with pytest.raises(UserError, match=r"^[^\n]*$") as refused:
        open_tokens(folder).fingerprint()
    return str(refused.value)


def test_a_text_in_characters(tmp_path):
    tokens = open_tokens(written(tmp_path))
    assert tokens.vocabulary == {"kind": "characters", "characters": CHARACTERS}
    assert tokens.vocabulary_size == len(CHARACTERS) < 65
    both = [*tokens.train.tolist(), *tokens.val.tolist()]
    assert "".join(CHARACTERS[each] for each in both) == TEXT


def test_a_text_is_trained_on_and_sampled_from(program, tmp_path):
    folder = written(tmp_path / "shakespeare")
    few = ("--max_iters", 2, "--warmup_iters", 1, "--eval_interval", 2)
    code, out, err = program(train, *arguments_of(folder, tmp_path, *few))
    assert (code, err) == (0, "") and f"vocabulary_size={len(CHARACTERS)}" in out
    checkpoint = tmp_path / "shakespeare/tiny/GoLU/checkpoint_0.pth"
    answer = program(sample, "--checkpoint", checkpoint, "--device", "cpu", "--start", "fox", "--max-new-tokens", 9)
    assert answer[::2] == (0, "") and re.fullmatch(rf"(?s)fox[{re.escape(CHARACTERS)}]{{9}}\n", answer[1])


@pytest.mark.parametrize("meta", [{"vocab_size": 40}, {"vocab_size": 40, "itos": [f"w{each}" for each in range(40)]}])
def test_a_text_whose_tokens_are_no_characters_is_trained_on(meta, program, tmp_path):
    folder = written(tmp_path / "text", meta=meta)
    assert open_tokens(folder).identity["vocabulary_size"] == 40
    few = ("--max_iters", 1, "--warmup_iters", 1, "--eval_interval", 1)
    assert program(train, *arguments_of(folder, tmp_path, *few))[0] == 0
    err = line_of(program(sample, "--checkpoint", tmp_path / "text/tiny/GoLU/checkpoint_0.pth", "--device", "cpu"))
    assert err == "error: nothing says what text the 40 tokens of this model stand for: it can only be trained\n"


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_nothing_is_run_that_a_meta_pkl_names(tmp_path):
    folder = written(tmp_path, meta=described_as() | {"more": Evil(f"touch {tmp_path / 'evil'}")})
    said = refusal(folder)
    assert said.startswith(f"{folder / 'meta.pkl'} is no description of a vocabulary (it holds ")
    assert "system, and only dicts, lists, strings and numbers are read" in said
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({}, "it has no 'vocab_size'"),
        ([], "list indices must be integers"),
        ({"vocab_size": "65"}, "its vocab_size is '65'"),
        ({"vocab_size": 0}, "its vocab_size is 0"),
        ({"vocab_size": True}, "its vocab_size is True"),
        ({"vocab_size": np.int64(65)}, "and only dicts, lists, strings and numbers are read"),
        (described_as() | {"vocab_size": 99}, "its vocab_size is 99, but its itos has"),
        ({"vocab_size": 2, "itos": {0: "a", 2: "b"}}, "it has no 1"),
        ({"vocab_size": 2, "itos": {0: "a", 1: "a"}}, "its itos has not another string for each token"),
        ({"vocab_size": 2, "itos": [0, 1]}, "its itos has not another string for each token"),
        (described_as() | {"stoi": {"a": 0}}, "its stoi is not the reverse of its itos"),
    ],
    ids=range(11),
)
def test_a_meta_pkl_that_does_not_fit(meta, said, tmp_path):
    folder = written(tmp_path, meta=meta)
    found = refusal(folder)
    assert found.startswith(f"{folder / 'meta.pkl'} is no description of a vocabulary (") and said in found


@pytest.mark.parametrize("content", [b"", b"\x80", b"text", pickle.dumps(described_as())[:-9]])
def test_a_broken_meta_pkl(content, tmp_path):
    folder = written(tmp_path)
    (folder / "meta.pkl").write_bytes(content)
    assert refusal(folder).startswith(f"{folder / 'meta.pkl'} is no description of a vocabulary (")


# How wide tokens are


@pytest.mark.parametrize("dtype", ["<u2", "<i2", "<u4", "<i4", "<i8", "<u8"])
def test_tokens_of_any_width_are_the_same_text(dtype, tmp_path):
    expected = open_tokens(written(tmp_path / "16"))
    for meta in ("meta.pkl", None):  # of GPT-2's vocabulary without
        folder = written(tmp_path / "other", dtype)
        if meta is None:
            (folder / "meta.pkl").unlink()
        tokens = open_tokens(folder)
        assert tokens.train.tolist() == expected.train.tolist() and tokens.val.tolist() == expected.val.tolist()
        assert tokens.fingerprint().startswith(f"{len(expected.train)}+{len(expected.val)} tokens ")
    assert tokens.identity == {"vocabulary": "gpt2", "vocabulary_size": 50257}


@pytest.mark.parametrize("dtype", ["<u4", "<i8"])
def test_a_vocabulary_beyond_16_bits(dtype, tmp_path):
    tokens = np.random.default_rng(0).integers(0, 128256, 300)
    folder = written(tmp_path, dtype, {"vocab_size": 128256}, tokens, tokens[:50])
    assert open_tokens(folder).train.tolist() == tokens.tolist()
    (folder / "meta.pkl").unlink()  # then they are taken for GPT-2's
    assert "but its vocabulary (gpt2) has only 50257: are these tokens of another" in refusal(folder)


def test_a_text_that_16_bits_cannot_hold(tmp_path):
    folder = written(tmp_path, "<u2", {"vocab_size": 128256}, np.arange(1, 4), np.arange(1, 3))
    assert refusal(folder).startswith(f"{folder / 'train.bin'} is no file of tokens with 32 bits")


@pytest.mark.parametrize(("split", "place"), [("train", 3), ("train", -1), ("val", 0), ("val", -7)])
def test_a_token_beyond_the_vocabulary_is_found_wherever_it_is(split, place, tmp_path, monkeypatch):
    monkeypatch.setattr(tokens_module, "_CHUNK", 100)
    folder = written(tmp_path)
    path = folder / f"{split}.bin"
    tokens = np.fromfile(path, "<u2")
    tokens[place] = len(CHARACTERS)
    tokens.tofile(path)
    said = rf"^{path} holds the token {len(CHARACTERS)}, but its vocabulary \(characters-\w+\) has only "
    assert re.match(said, refusal(folder))


def test_files_that_differ_in_width(tmp_path):
    folder = written(tmp_path, "<u4")
    path = folder / "val.bin"
    np.fromfile(path, "<u4").astype("<u2").tofile(path)
    said = f"{folder / 'train.bin'} has tokens of 32 bits, but {path} of 16: write both with the same width"
    assert refusal(folder) == said


def test_what_holds_no_tokens(tmp_path):
    folder = written(tmp_path, train_tokens=np.zeros(640))
    (folder / "val.bin").write_bytes(bytes(64))
    assert refusal(folder).startswith(f"{folder / 'train.bin'} holds nothing but zeros, as a file that was not cop")
    with (folder / "train.bin").open("wb") as file:
        np.save(file, np.arange(60, dtype=np.uint16))
    assert refusal(folder).startswith(f"{folder / 'train.bin'} is a file of numpy.save, with a header: write the")


def test_nothing_is_written_into_the_folder(tmp_path):
    folder = written(tmp_path)
    before = contents(folder)
    open_tokens(folder).fingerprint()
    assert contents(folder) == before
