"""Read and check tokenised text: train.bin and val.bin, uint16, with meta.json and vocabulary.json beside them."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.gpt.vocabularies import Vocabulary, name_of
from workbench.cli.errors import UserError
from workbench.output.storage import write_json

SPLITS = ("train", "val")
META, VOCABULARY = "meta.json", "vocabulary.json"
JOURNAL = "preparation.json"  # there as long as the preparation has not ended
_GPT2_SIZE = 50257
_CHUNK = 2**24  # bytes that are read at once for a checksum


@dataclass(frozen=True)
class TokenFiles:
    """Hold a prepared text, its tokens left on disk until they are needed."""

    folder: Path
    train: NDArray[np.uint16]
    val: NDArray[np.uint16]
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
            UserError: a file is not what was recorded when it was written.
        """
        both = []
        for split in SPLITS:
            path = self.folder / f"{split}.bin"
            found, recorded = checksum(path), self.crc32[split]
            if recorded is not None and found != recorded:
                raise UserError(f"{path} has changed since it was written: delete {self.folder} to prepare it again")
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
    """Open the prepared text in a folder; one without meta.json, as nanoGPT's, is taken to be in GPT-2's vocabulary.

    Raises:
        UserError: a file is missing, empty, of odd size, or not as long as meta.json says.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: python -m tasks.gpt.{_maker(folder)} makes it")
    meta, vocabulary, size = {}, {"kind": "gpt2"}, _GPT2_SIZE
    if (folder / JOURNAL).exists() and not (folder / META).exists():
        raise UserError(f"the preparation of {folder} has not ended: the same command resumes it")
    if (folder / META).exists():
        meta, vocabulary = read_json(folder / META), read_json(folder / VOCABULARY)
        if meta.get("vocabulary") != name_of(vocabulary):
            raise UserError(f"{folder / VOCABULARY} is not the vocabulary of {folder / META}: prepare the text again")
        size = meta.get("vocabulary_size")
    train, val = (_read_split(folder, split, meta) for split in SPLITS)
    if not isinstance(size, int):
        raise UserError(f"{folder / META} is damaged: prepare the text again")
    crc32 = {split: meta.get(split, {}).get("crc32") for split in SPLITS}
    return TokenFiles(folder, train, val, size, vocabulary, crc32)


def _read_split(folder: Path, split: str, meta: dict[str, Any]) -> NDArray[np.uint16]:
    path = folder / f"{split}.bin"
    if not path.is_file():
        raise UserError(f"{path} is missing: python -m tasks.gpt.{_maker(folder)} makes it")
    size = path.stat().st_size
    if size == 0:
        raise UserError(f"{path} is empty: prepare the text again")
    if size % 2:
        raise UserError(f"{path} has {size} bytes, an odd number, and so is no file of uint16: prepare the text again")
    if meta:
        try:
            tokens = meta[split]["tokens"]
        except (KeyError, TypeError) as error:
            raise UserError(f"{folder / META} is damaged: prepare the text again") from error
        if tokens != size // 2:
            raise UserError(f"{path} has {size // 2} tokens, but {META} says {tokens}: prepare the text again")
    return np.memmap(path, np.uint16, mode="r")


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


def checksum(path: Path) -> str:
    """Return the CRC-32 of a file, as meta.json has it."""
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return f"{crc:08x}"


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
