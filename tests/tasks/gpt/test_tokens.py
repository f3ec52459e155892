"""The files of a prepared text: what is read of them, and what is refused."""

import json
import re
import zlib

import numpy as np
import pytest

from tasks.gpt.tokens import JOURNAL, open_tokens, read_json
from tasks.gpt.vocabularies import name_of
from tests.tasks.gpt.examples import BOOK
from workbench.cli.errors import UserError
from workbench.output.storage import write_json


def test_a_prepared_folder_is_opened(prepared_book):
    tokens = open_tokens(prepared_book)
    assert tokens.folder == prepared_book
    for split, array in (("train", tokens.train), ("val", tokens.val)):
        content = (prepared_book / f"{split}.bin").read_bytes()
        assert isinstance(array, np.memmap) and array.dtype == np.uint16
        assert array.tobytes() == content
        assert tokens.crc32[split] == f"{zlib.crc32(content):08x}"
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert tokens.vocabulary == {"kind": "characters", "characters": "".join(sorted(set(BOOK)))}
    assert tokens.identity == {"vocabulary": name_of(tokens.vocabulary), "vocabulary_size": len(set(BOOK))}
    train, crc32 = round(0.9 * len(BOOK)), tokens.crc32
    assert tokens.fingerprint() == f"{train}+{len(BOOK) - train} tokens {crc32['train']}-{crc32['val']}"


def test_a_folder_of_nanogpt(tmp_path):
    np.array([31373, 995, 50256], "<u2").tofile(tmp_path / "train.bin")
    np.array([995], "<u2").tofile(tmp_path / "val.bin")
    tokens = open_tokens(tmp_path)
    assert (tokens.train.tolist(), tokens.val.tolist()) == ([31373, 995, 50256], [995])
    assert tokens.vocabulary == {"kind": "gpt2"}
    assert tokens.identity == {"vocabulary": "gpt2", "vocabulary_size": 50257}
    content = [(tmp_path / f"{split}.bin").read_bytes() for split in ("train", "val")]
    assert tokens.fingerprint() == "3+1 tokens " + "-".join(f"{zlib.crc32(each):08x}" for each in content)


@pytest.mark.parametrize(
    ("name", "maker"),
    [("tiny_stories", "prepare_tiny_stories"), ("open_web_text", "prepare_owt"), ("book", "prepare_text")],
)
def test_what_is_missing_names_its_program(tmp_path, name, maker):
    folder = tmp_path / name
    for message in (f"there is no folder {folder}", f"{folder / 'train.bin'} is missing"):
        with pytest.raises(UserError, match=f"^{re.escape(message)}: python -m tasks.gpt.{maker} makes it$"):
            open_tokens(folder)
        folder.mkdir(exist_ok=True)


def replaced(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def cut_off(name, count):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-count])


def with_meta(**changes):
    return lambda folder: write_json(folder / "meta.json", read_json(folder / "meta.json") | changes)


OTHER = json.dumps({"kind": "characters", "characters": "xyz"}).encode()
# what -> how to damage a prepared folder, the file that the error names, and what it says
DAMAGED = {
    "no val.bin": (lambda folder: (folder / "val.bin").unlink(), "val.bin", "is missing: python -m tasks.gpt.prep"),
    "not ended": (lambda folder: (folder / "meta.json").rename(folder / JOURNAL), "", "has not ended: the same com"),
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
    "a size in words": (with_meta(vocabulary_size="ten"), "meta.json", "is damaged: prepare the text again"),
    "no vocabulary": (lambda folder: (folder / "vocabulary.json").unlink(), "vocabulary.json", "cannot be read"),
    "another vocabulary": (replaced("vocabulary.json", OTHER), "vocabulary.json", "is not the vocabulary of .*meta.js"),
    "a damaged vocabulary": (cut_off("vocabulary.json", 5), "vocabulary.json", "cannot be read .*: prepare the text"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_folders(prepared_book, name):
    damage, file, message = DAMAGED[name]
    damage(prepared_book)
    with pytest.raises(UserError, match=rf"^[^\n]*{message}[^\n]*$") as raised:
        open_tokens(prepared_book)
    assert str(prepared_book / file) in str(raised.value)
