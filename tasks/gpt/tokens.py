"""Read and check tokenised text: train.bin and val.bin, with meta.json and vocabulary.json, or as nanoGPT has them."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.gpt import nanogpt
from tasks.gpt.vocabularies import Vocabulary, name_of
from workbench.cli.errors import UserError
from workbench.output.storage import write_json

SPLITS = ("train", "val")
META, VOCABULARY = "meta.json", "vocabulary.json"
JOURNAL = "preparation.json"  # there as long as the preparation has not ended
Tokens = NDArray[np.unsignedinteger[Any]]
_CHUNK = 2**23  # tokens that are read at once for a checksum


@dataclass(frozen=True)
class TokenFiles:
    """Hold a prepared text, its tokens, unsigned (N,), left on disk until they are needed."""

    folder: Path
    train: Tokens
    val: Tokens
    vocabulary_size: int
    vocabulary: dict[str, Any]  # its description
    crc32: dict[str, str | None]  # of each split, as meta.json has it

    @property
    def identity(self) -> dict[str, Any]:
        """Return the vocabulary's name and size, for a run's configuration."""
        return {"vocabulary": name_of(self.vocabulary), "vocabulary_size": self.vocabulary_size}

    def fingerprint(self) -> str:
        """Tell this text from others: how many tokens, and their checksum, which every token is read for.

        Raises:
            UserError: a file is not what was recorded when it was written, or a token is not in the vocabulary.
        """
        both = []
        for split, tokens in zip(SPLITS, (self.train, self.val), strict=True):
            path = self.folder / f"{split}.bin"
            found, largest = checksum(tokens)
            if self.crc32[split] not in (None, found):
                raise UserError(f"{path} has changed since it was written: delete {self.folder} to prepare it again")
            if largest >= self.vocabulary_size:
                raise UserError(
                    f"{path} holds the token {largest}, but its vocabulary ({name_of(self.vocabulary)}) has only "
                    f"{self.vocabulary_size}: are these tokens of another vocabulary, or of another width?"
                )
            both.append(found)
        return f"{len(self.train)}+{len(self.val)} tokens {'-'.join(both)}"


def dataset_folder(root: Path, name: str) -> Path:
    """Return the folder of the text of this name.

    Raises:
        UserError: it is a path, which would put results elsewhere too.
    """
    if Path(name).name != name:
        raise UserError(f"--dataset {name} is no name: give the folder that it is in by itself")
    return root / name


def open_tokens(folder: Path) -> TokenFiles:
    """Open the prepared text in a folder; one without meta.json is read as nanoGPT's.

    Raises:
        UserError: a file is missing, empty, of odd size, or not as long as meta.json says; or as `tasks.gpt.nanogpt`.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: python -m tasks.gpt.{_maker(folder)} makes it")
    if (folder / JOURNAL).exists() and not (folder / META).exists():
        raise UserError(f"the preparation of {folder} has not ended: the same command resumes it")
    meta: dict[str, Any] = {}
    if (folder / META).exists():
        meta, vocabulary = read_json(folder / META), read_json(folder / VOCABULARY)
        if meta.get("vocabulary") != name_of(vocabulary):
            raise UserError(f"{folder / VOCABULARY} is not the vocabulary of {folder / META}: prepare the text again")
        _require_splits(folder)
        size, dtype = meta.get("vocabulary_size"), np.dtype("<u2")
        if not isinstance(size, int) or meta.get("dtype", "uint16") != "uint16":
            raise UserError(f"{folder / META} is damaged: prepare the text again")
    else:
        _require_splits(folder)
        size, vocabulary = nanogpt.read_vocabulary(folder)
        dtype = nanogpt.dtype_of(folder, size)
    train, val = (_read_split(folder, split, dtype, meta) for split in SPLITS)
    crc32 = {split: meta.get(split, {}).get("crc32") for split in SPLITS}
    return TokenFiles(folder, train, val, size, vocabulary, crc32)


def _require_splits(folder: Path) -> None:
    for path in (folder / f"{split}.bin" for split in SPLITS):
        if not path.is_file():
            raise UserError(f"{path} is missing: python -m tasks.gpt.{_maker(folder)} makes it")
        size = path.stat().st_size
        if size == 0:
            raise UserError(f"{path} is empty: prepare the text again")
        if size % 2:
            wrong = f"{size} bytes, an odd number, and so is no file of uint16"
            raise UserError(f"{path} has {wrong}: prepare the text again")


def _read_split(folder: Path, split: str, dtype: np.dtype[Any], meta: dict[str, Any]) -> Tokens:
    path = folder / f"{split}.bin"
    count = path.stat().st_size // dtype.itemsize
    if meta:
        try:
            tokens = meta[split]["tokens"]
        except (KeyError, TypeError) as error:
            raise UserError(f"{folder / META} is damaged: prepare the text again") from error
        if tokens != count:
            raise UserError(f"{path} has {count} tokens, but {META} says {tokens}: prepare the text again")
    return np.memmap(path, dtype, mode="r")


def _maker(folder: Path) -> str:
    return {"tiny_stories": "prepare_tiny_stories", "open_web_text": "prepare_owt"}.get(folder.name, "prepare_text")


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the files beside the tokens."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): prepare the text again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: prepare the text again")
    return value


def checksum(tokens: Tokens) -> tuple[str, int]:
    """Return the CRC-32 of tokens, as meta.json has it, and the largest of them; every one is read."""
    crc = largest = 0
    for start in range(0, len(tokens), _CHUNK):
        part = np.ascontiguousarray(tokens[start : start + _CHUNK])
        crc, largest = zlib.crc32(part.data, crc), max(largest, int(part.max()))
    return f"{crc:08x}", largest


def is_prepared(folder: Path, source: dict[str, Any]) -> bool:
    """Tell whether the folder holds this source, whole; every byte is read.

    Raises:
        UserError: it holds another one, or its files have changed since they were written.
    """
    if (folder / JOURNAL).exists():
        return False
    if not (folder / META).exists():
        taken = [folder / f"{split}.bin" for split in SPLITS if (folder / f"{split}.bin").exists()]
        if taken:
            raise UserError(f"{taken[0]} is there already, without {META}: choose another folder, or delete it")
        return False
    meta = read_json(folder / META)
    if meta.get("source") != source:
        raise UserError(f"{folder} holds another text or vocabulary: choose another folder, or delete it")
    open_tokens(folder).fingerprint()
    return True


def write_meta(folder: Path, vocabulary: Vocabulary, source: dict[str, Any], splits: dict[str, dict[str, Any]]) -> None:
    """Write what makes the files of a folder complete: their vocabulary, then meta.json."""
    description = vocabulary.description()
    write_json(folder / VOCABULARY, description)
    meta = {"vocabulary": name_of(description), "vocabulary_size": vocabulary.size, "dtype": "uint16"}
    write_json(folder / META, meta | splits | {"source": source})
