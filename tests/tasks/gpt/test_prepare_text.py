"""python -m tasks.gpt.prepare_text: any text to tokens, whatever happens on the way."""

import errno
import json
import os
import re
import signal
import zlib
from pathlib import Path

import pytest

from tasks.gpt import prepare_text
from tasks.gpt import tokens as tokens_module
from tasks.gpt.tokens import JOURNAL, open_tokens
from tasks.gpt.vocabularies import KINDS
from tests.tasks.forked import forked, kill_at
from tests.tasks.gpt.examples import BOOK, ENGLISH, TEXTS, assert_meta, files_of, line_of, text_of, touched


def test_the_embedded_text(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = program(prepare_text)
    folder, text = Path("data/pydoc_topics"), prepare_text.embedded()
    train, val = text_of(folder)
    assert train + val == text
    assert len(val) == round(0.1 * len(text))
    crc32 = f"{zlib.crc32(text.encode()):08x}"
    source = {"files": ["pydoc_topics"], "crc32": crc32, "vocabulary": "bpe", "val_fraction": 0.1}
    assert_meta(folder, {**source, "vocabulary_size": 1024})
    tokens = open_tokens(folder)
    assert (code, out, err) == (
        0,
        f"{folder}/train.bin: {len(tokens.train):,} tokens\n{folder}/val.bin: {len(tokens.val):,} tokens\n"
        f"{folder}/meta.json: a vocabulary of 1,024 tokens\n",
        "",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_joined_as_they_are(program, tmp_path, monkeypatch, request, kind):
    if kind == "gpt2":
        request.getfixturevalue("gpt2_vocabulary")
    monkeypatch.chdir(tmp_path)
    texts = ["\ufeffSecond,\r\nnot ended", "<|endoftext|> First: naïve 漢字 👩‍👧\0\t\n" * 9 + "\n\n", "x"]
    names = ["b.txt", "a.txt", "c.txt"]
    for name, text in zip(names, texts, strict=True):
        Path(name).write_bytes(text.encode())
    command = ("--input", *names, "--vocabulary", kind, "--vocabulary-size", 300)
    assert program(prepare_text, *command)[::2] == (0, "")
    folder, text = Path("data/b"), "".join(texts)
    assert "".join(text_of(folder)) == text
    crc32 = f"{zlib.crc32(text.encode()):08x}"
    source = {"files": names, "crc32": crc32, "vocabulary": kind, "val_fraction": 0.1}
    assert_meta(folder, source | ({"vocabulary_size": 300} if kind == "bpe" else {}))
    if kind == "gpt2":
        assert 50256 not in open_tokens(folder).train and 50256 not in open_tokens(folder).val
    before = touched(folder)
    monkeypatch.setattr(tokens_module, "_CHUNK", 7)
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
    one, two = (files_of(tmp_path / f"{name}out") for name in ("zebra ", "yucca "))
    assert one["vocabulary.json"] == two["vocabulary.json"]
    assert one["train.bin"] == two["train.bin"] and one["val.bin"] != two["val.bin"]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_pieces_joined_are_the_text(monkeypatch, size):
    monkeypatch.setattr(prepare_text, "_PIECE", size)
    for text in [BOOK, BOOK.replace("\n", " "), *TEXTS.values()]:
        parts = prepare_text.pieces(text)
        assert "".join(parts) == text
        assert all(size <= len(part) <= 2 * size for part in parts[:-1])
        if text == BOOK and size >= 7:  # its words are shorter than that
            assert all(re.match(r"\s\S", part) and len(part) <= size + 15 for part in parts[1:-1])


def test_pieces_of_more_than_a_mebibyte():
    line = "x" * 1023 + "\n"
    assert list(map(len, prepare_text.pieces(line * 3100))) == [2**20 + 1023, 2**20, 1051 * 1024 + 1]
    assert list(map(len, prepare_text.pieces("x" * 2**21))) == [2**21]


@pytest.mark.parametrize(
    ("more", "flags"),
    [
        ("", ("--vocabulary", "bpe")),
        ("", ("--vocabulary", "characters", "--val-fraction", "0.2")),
        (".", ("--vocabulary", "characters")),
    ],
)
def test_another_text_or_vocabulary_is_refused(program, prepared_book, book, more, flags):
    before = touched(prepared_book)
    book.write_bytes(book.read_bytes() + more.encode())
    err = line_of(program(prepare_text, "--output", prepared_book, *flags, "--input", book))
    assert err == f"error: {prepared_book} holds another text or vocabulary: choose another folder, or delete it\n"
    assert touched(prepared_book) == before


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_changed_file_is_found(program, prepared_book, book, split):
    path = prepared_book / f"{split}.bin"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    before = touched(prepared_book)
    err = line_of(program(prepare_text, "--input", book, "--output", prepared_book, "--vocabulary", "characters"))
    assert err == f"error: {path} has changed since it was written: delete {prepared_book} to prepare it again\n"
    assert touched(prepared_book) == before


@pytest.mark.parametrize("name", ["train.bin", "val.bin"])
def test_files_of_another_program_are_not_overwritten(program, book, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"mine")
    err = line_of(program(prepare_text, "--input", book, "--output", tmp_path / "out"))
    path = tmp_path / "out" / name
    assert err == f"error: {path} is there already, without meta.json: choose another folder, or delete it\n"
    assert files_of(tmp_path / "out") == {name: b"mine"}


# Stopped and started again


@pytest.mark.parametrize("writes", [0, 3])
def test_the_disk_is_full(program, book, prepared_book, tmp_path, monkeypatch, journalled, writes):
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
    assert (code, err) == (2, f"error: cannot write to {folder}: No space left on device; the same command resumes\n")
    assert set(files_of(folder)) == {"train.bin.part", JOURNAL}
    assert program(*command)[0] == 0
    for name in ("train.bin", "val.bin", "vocabulary.json"):
        assert files_of(folder)[name] == files_of(prepared_book)[name]
    assert json.loads((folder / "meta.json").read_text())["train"]["texts"] > 10 and "".join(text_of(folder)) == BOOK


@pytest.mark.parametrize("kind", ["characters", "bpe"])
def test_killed_at_every_step(program, tmp_path, monkeypatch, journalled, kind):
    """The next run makes of what is there what one without a kill makes."""
    monkeypatch.setattr(prepare_text, "_PIECE", 60)
    (tmp_path / "text").write_text(ENGLISH[:600], encoding="utf-8")
    flags = ("--input", tmp_path / "text", "--vocabulary", kind, "--vocabulary-size", 260, "--val-fraction", 0.3)
    program(prepare_text, *flags, "--output", tmp_path / "whole")
    whole, ends, code = files_of(tmp_path / "whole"), set(), None
    for step in range(100):
        folder = tmp_path / f"step {step}"
        command = (*flags, "--output", folder)
        code = forked(lambda step=step, folder=folder: kill_at(step, folder), prepare_text.main, *command)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        ends.add(tuple(sorted(path.name for path in folder.glob("[!.]*"))))
        if (folder / "meta.json").exists():
            assert "".join(text_of(folder)) == ENGLISH[:600]
        assert program(prepare_text, *command)[0] == 0
        assert {name: content for name, content in files_of(folder).items() if name[0] != "."} == whole
    assert code == 0
    parts = ("", "train.bin.part", "train.bin.part val.bin.part", "train.bin val.bin.part", "train.bin val.bin")
    last = ("train.bin val.bin vocabulary.json",)
    assert ends >= {(), *((JOURNAL, *each.split()) for each in parts + last), ("meta.json", JOURNAL, *last[0].split())}


BAD_TEXT = [
    (("book.txt",), "unrecognized arguments: book.txt"),
    (("--vocabulary", "gpt3"), "argument --vocabulary: unknown vocabulary 'gpt3': did you mean gpt2?"),
    (("--vocabulary-size", 255), "a vocabulary over bytes has 256 to 65536 tokens, not 255"),
    (("--vocabulary-size", 65537), "a vocabulary over bytes has 256 to 65536 tokens, not 65537"),
    (("--val-fraction", 2), "argument --val-fraction: must be a number from 0 to 1, not '2'"),
    (("--input", "book.txt", "--val-fraction", 0), "nothing is left for val.bin of 12 characters with --val-fraction"),
    (("--input", "book.txt", "--val-fraction", 1), "nothing is left for train.bin of 12 characters with --val-fract"),
    (("--input",), "argument --input: expected at least one argument"),
    (("--input", "book.txt", "no.txt"), "cannot read no.txt: No such file or directory"),
    (("--input", "empty.txt"), "empty.txt is empty"),
    (("--input", "book.txt", "latin.txt"), "latin.txt is no text in UTF-8: byte 3 is 0xe9"),
    (("--input", "folder"), "cannot read folder: Is a directory"),
    (("--input", "many.txt", "--vocabulary", "characters"), "the text has 65537 different characters, more than 65536"),
    (("--output", "book.txt"), "cannot use book.txt as a folder: it is a file"),
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
    assert line_of(program(prepare_text, *arguments)).startswith(f"error: {message}")
    assert touched(tmp_path) == before and not Path("data").exists()
