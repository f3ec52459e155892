"""Long texts, also without line ends or spaces: cut where no token goes on, learned from in linear time, stoppable."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from tasks.gpt import patience, prepare, prepare_text, vocabularies
from tasks.gpt.patience import patiently
from tasks.gpt.vocabularies import BPE, GPT2, LONGEST
from tests.tasks.forked import forked
from tests.tasks.gpt.examples import BOOK, ENGLISH, text_of

GENOME = "".join(random.Random(0).choices("ACGT", k=3 * LONGEST + 700))
CHINESE = "".join(random.Random(1).choice("吾輩は猫である名前はまだ無い漢字한국어") for _ in range(1500))
MARKED = re.sub(r"(.{7})(.{5})", r"\1、\2。", CHINESE)  # with marks between phrases
TEXTS_IN_PIECES = {
    "English": ENGLISH,
    "English on one line": ENGLISH.replace("\n", " "),
    "Windows line ends": BOOK * 2,
    "a book on one line": BOOK.replace("\r\n", " ") * 3,
    "lines that end in spaces": "a line that ends  \n\n\n  and another \n\t\tindented\n" * 30,
    "Chinese with marks": MARKED,
    "code": "if (x_1<=y[i]){a+=b*3.14;}else{don't();}" * 40,
    "accents": "Ça coûte 3 € à la crémière; Łódź, naïve, e\u0301 beside é. " * 20,
    "only words": "the quick brown fox jumps over the lazy dog and sleeps " * 20,
    "many spaces": "the  quick   brown    fox     jumps      over " * 20,
    "marks that belong together": "f_(x)_(y)_{i}__{j}_" * 60,
    "numbers": "1²,½+Ⅷ_x!__9 " * 60,
}


# Where a text is cut into pieces


@pytest.mark.parametrize("size", [40, 333])
@pytest.mark.parametrize("name", TEXTS_IN_PIECES)
def test_a_text_is_cut_where_no_token_goes_on(name, size, monkeypatch, gpt2_vocabulary):
    monkeypatch.setattr(prepare_text, "_PIECE", size)
    text = TEXTS_IN_PIECES[name]
    parts = prepare_text.pieces(text)
    assert "".join(parts) == text and len(parts) >= len(text) // (2 * size)
    assert all(size <= len(part) <= 2 * size for part in parts[:-1]) and len(parts[-1]) <= 2 * size
    for vocabulary in (GPT2(), BPE.trained([ENGLISH, text], 600)):
        assert [token for part in parts for token in vocabulary.encode(part)] == vocabulary.encode(text).tolist()


def test_a_word_that_is_longer_than_a_piece_is_cut(monkeypatch):
    monkeypatch.setattr(prepare_text, "_PIECE", 500)
    assert list(map(len, prepare_text.pieces(GENOME))) == [1000] * (len(GENOME) // 1000) + [len(GENOME) % 1000]
    assert "".join(prepare_text.pieces(GENOME)) == GENOME


# What is learned


def learned_by(texts, size):
    """What the library itself learns."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


@pytest.mark.parametrize(
    "text", [ENGLISH, BOOK, MARKED, *TEXTS_IN_PIECES.values(), "ab" * (LONGEST // 2), " x" * 2000 + " " * LONGEST]
)
def test_of_an_ordinary_text_the_librarys_own_vocabulary_is_learned(text):
    library = learned_by([text], 300)
    vocabulary = BPE.trained([text], 300)
    assert vocabulary.description()["tokenizer"] == json.loads(library.to_str())
    assert vocabulary.encode(text).tolist() == library.encode(text).ids


@pytest.mark.parametrize(
    "word", [GENOME, CHINESE, " " * 5000, "=" * 5000, "7" * 5000, "Ⅷ1" * 1700, "🙂" * 600, "_" * 2049], ids=range(8)
)
def test_a_long_word_is_several(word):
    """As if the words that are learned from had been cut before; each is encoded for itself."""
    text = f"two words\n{word}"
    vocabulary = BPE.trained([text], 300)
    assert vocabulary.description()["tokenizer"]["pre_tokenizer"]["type"] == "Sequence"
    assert vocabulary.decode(vocabulary.encode(text)) == text
    if word.isascii() and not word.isspace():  # else a cut is within a character, or the line's end is of the word
        parts = [word[start : start + LONGEST] for start in range(0, len(word), LONGEST)]
        library = learned_by(["two words\n", *parts], 300)
        assert vocabulary.encode("two words\n").tolist() == library.encode("two words\n").ids
        together = [token for part in parts for token in library.encode(part).ids]
        assert vocabulary.encode(word).tolist() == together


def test_reading_is_counted():
    seen = []
    BPE.trained(["one\n", "two\n", "three\n"], 260, lambda: seen.append(1))
    assert len(seen) == 3


def test_a_text_of_one_word(program, tmp_path):
    (tmp_path / "genome").write_text(GENOME)
    flags = ("--input", tmp_path / "genome", "--output", tmp_path / "out", "--vocabulary-size", 300)
    assert program(prepare_text, *flags)[::2] == (0, "")
    assert "".join(text_of(tmp_path / "out")) == GENOME


# What is shown, and stopped


def test_what_takes_long_says_so(program, tmp_path, monkeypatch, book):
    true = BPE.trained

    def slowly(texts, size, read):
        time.sleep(0.1)
        return true(texts, size, read)

    monkeypatch.setattr(vocabularies.BPE, "trained", slowly)
    monkeypatch.setattr(patience, "_SECONDS", 0.01)
    code, out, err = program(prepare_text, "--input", book, "--output", tmp_path / "out")
    assert (code, err) == (0, "") and "learning a vocabulary of 1,024 tokens\n" in out


def test_each_piece_is_progress(program, tmp_path, monkeypatch, book):
    monkeypatch.setattr(prepare_text, "_PIECE", 100)
    monkeypatch.setattr(prepare, "_SECONDS", -1)
    parts = [prepare_text.pieces(each) for each in (BOOK[: round(0.9 * len(BOOK))], BOOK[round(0.9 * len(BOOK)) :])]
    code, out, _ = program(prepare_text, "--input", book, "--output", tmp_path / "out", "--vocabulary", "characters")
    lines = re.findall(r"^\[.* left\] (train|val)\.bin: (\d+) texts, [\d,]+ tokens$", out, re.MULTILINE)
    counts = {split: [int(count) for name, count in lines if name == split] for split in ("train", "val")}
    assert code == 0
    assert counts == {name: list(range(1, len(part) + 1)) for name, part in zip(("train", "val"), parts, strict=True)}


def test_work_gives_what_it_returns_or_raises():
    assert patiently(lambda: 7, lambda: None) == 7
    with pytest.raises(TimeoutError, match=r"^its own$"):
        patiently(lambda: (_ for _ in ()).throw(TimeoutError("its own")), lambda: None)


def test_work_that_hears_nothing_is_left_behind(monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(patience, "_SECONDS", 0.01)
    goes_on = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        patiently(goes_on.wait, interrupt)
    assert not goes_on.is_set()
    goes_on.set()


def test_ctrl_c_while_the_vocabulary_is_learned(book, tmp_path):
    """The work of the library would take minutes."""

    def unheard(*_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(300)

    command = (prepare_text.main, "--input", book, "--output", tmp_path / "out")
    assert forked(lambda: setattr(vocabularies.BPE, "trained", unheard), *command, output=tmp_path / "said") == 130
    assert (tmp_path / "said").read_text() == "stopped\n"


LEAVE = """
import atexit, time
from tasks.gpt import patience
from workbench.cli.errors import run

def interrupt():
    raise KeyboardInterrupt

atexit.register(print, "Python is taken down")
patience._SECONDS = 0.01
run(lambda: patience.patiently(lambda: time.sleep({}), interrupt))
"""


@pytest.mark.parametrize(("seconds", "said"), [(300, ""), (0.02, "Python is taken down\n")])
def test_work_that_goes_on_does_not_come_back_to_a_python_that_is_taken_down(seconds, said):
    program = LEAVE.format(seconds) if seconds > 1 else LEAVE.format(seconds).replace("interrupt)", "lambda: None)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130 if seconds > 1 else 0, said)
    assert done.stderr == ("stopped\n" if seconds > 1 else "")
