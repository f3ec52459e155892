"""Read folders in nanoGPT's format: raw train.bin and val.bin, and meta.pkl unless the vocabulary is GPT-2's."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tasks.gpt.vocabularies import LARGEST
from workbench.cli.errors import UserError

META_PICKLE = "meta.pkl"
_GPT2_SIZE = 50257
_NUMPY = b"\x93NUMPY"  # begins a .npy file
_ITEMS = 2**22  # tokens that are looked at at once


class _Plain(pickle.Unpickler):
    """Read dicts, lists, strings and numbers: whatever names a class or function could run any code."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it holds {module}.{name}, and only dicts, lists, strings and numbers are read")


def read_vocabulary(folder: Path) -> tuple[int, dict[str, Any]]:
    """Return the number of tokens of a folder's vocabulary, and its description, as `vocabularies.described` takes it.

    A vocabulary whose tokens are not single characters can be trained on, but not be sampled from.

    Raises:
        UserError: meta.pkl cannot be read, holds more than plain values, or does not fit itself.
    """
    path = folder / META_PICKLE
    if not path.exists():
        return _GPT2_SIZE, {"kind": "gpt2"}
    try:
        meta = _Plain(io.BytesIO(path.read_bytes())).load()
        size, names = meta["vocab_size"], meta.get("itos")
        if type(size) is not int or size < 1:
            raise ValueError(f"its vocab_size is {size!r}")
        if names is None:
            return size, {"kind": "numbers", "size": size}
        if len(names) != size:
            raise ValueError(f"its vocab_size is {size}, but its itos has {len(names)} entries")
        tokens = [names[number] for number in range(size)]
        if not all(isinstance(each, str) for each in tokens) or len(set(tokens)) < size:
            raise ValueError("its itos has not another string for each token")
        if meta.get("stoi", {}) not in ({}, {each: number for number, each in enumerate(tokens)}):
            raise ValueError("its stoi is not the reverse of its itos")
    except Exception as error:  # a broken pickle raises whatever it meets
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is no description of a vocabulary ({reason}): make it again, or remove it") from error
    if all(len(each) == 1 for each in tokens):
        return size, {"kind": "characters", "characters": "".join(tokens)}
    return size, {"kind": "numbers", "size": size}


def dtype_of(folder: Path, vocabulary_size: int) -> np.dtype[Any]:
    """Return the type of the raw tokens in both files of a folder: unsigned, with 16, 32 or 64 bits.

    Nothing says how wide they are. nanoGPT's have 16 bits. Of tokens with 32 or 64 the upper half is zero, where a text
    would have the token 0 at every second place; a vocabulary of more than 2^16 tokens has at least 32.

    Raises:
        UserError: the files differ in width, are cut off, begin with NumPy's header, or train.bin holds only zeros.
    """
    train, val = (folder / f"{split}.bin" for split in ("train", "val"))
    for path in (train, val):
        with path.open("rb") as file:
            if file.read(len(_NUMPY)) == _NUMPY:
                raise UserError(
                    f"{path} is a file of numpy.save, with a header: write the tokens alone, with array.tofile"
                )
    bits, other = (_bits(path, 16 if vocabulary_size <= LARGEST else 32) for path in (train, val))
    if bits != other:
        raise UserError(f"{train} has tokens of {bits} bits, but {val} of {other}: write both with the same width")
    dtype = np.dtype(f"<u{bits // 8}")
    for path in (train, val):
        if path.stat().st_size % dtype.itemsize:
            raise UserError(f"{path} is no file of tokens with {bits} bits, which its vocabulary takes")
    if not any(part.any() for part in _parts(train, dtype)):
        raise UserError(f"{train} holds nothing but zeros, as a file that was not copied whole: copy it again")
    return dtype


def _bits(path: Path, least: int) -> int:
    """Find the largest width in which every upper half is zero; `least`, if there is none."""
    for bits in (64, 32):
        dtype = np.dtype(f"<u{bits // 8}")
        whole = path.stat().st_size % dtype.itemsize == 0
        if whole and all(part.max() < 2 ** (bits // 2) for part in _parts(path, dtype)):
            return bits
    return least


def _parts(path: Path, dtype: np.dtype[Any]) -> Any:
    tokens = np.memmap(path, dtype, mode="r")
    return (tokens[start : start + _ITEMS] for start in range(0, len(tokens), _ITEMS))
