"""Turn text into tokens and back, without loss: by GPT-2's vocabulary, one trained on the text, or its characters."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from golu.activations import unknown_name
from tasks.gpt.patience import patiently
from workbench.cli.errors import UserError
from workbench.cli.progress import Progress

Tokens = NDArray[np.uint16]
LARGEST = 2**16  # tokens that uint16 can tell apart
KINDS = ("gpt2", "bpe", "characters")
_SMALLEST_BPE = 256  # the bytes
LONGEST = 2048  # bytes of a word from which a vocabulary is learned
_MAY_BE_LONG = re.compile(r"[^\W_]{512}|(?:[^\w\s]|_){512}|\s{512}")  # a longer word has as many characters of a kind


class Vocabulary(Protocol):
    """Turn text into tokens and back: `decode(encode(text))` is the text, whatever it holds."""

    size: int
    start: int | None  # the token that stands before a text, if there is one

    def encode(self, text: str) -> Tokens: ...

    def decode(self, tokens: Sequence[int]) -> str: ...

    def description(self) -> dict[str, Any]:
        """Return all that `described` needs to make it again, for JSON."""
        ...


class GPT2:
    """Use the byte-pair encoding of GPT-2, through tiktoken, which downloads it once.

    Raises:
        UserError: it is not on this machine, and cannot be downloaded.
    """

    def __init__(self) -> None:
        import tiktoken

        try:
            self._encoding = tiktoken.get_encoding("gpt2")
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            raise UserError(
                f"GPT-2's vocabulary cannot be downloaded ({type(error).__name__}): on a machine without network, let "
                "TIKTOKEN_CACHE_DIR name a folder in which tiktoken has stored it, or take another --vocabulary"
            ) from error
        self.size = self._encoding.n_vocab
        self.start: int | None = self._encoding.eot_token

    def encode(self, text: str) -> Tokens:
        return np.array(self._encoding.encode_ordinary(text), np.uint16)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._encoding.decode(list(map(int, tokens)))

    def description(self) -> dict[str, Any]:
        return {"kind": "gpt2"}


class BPE:
    """Use byte-pair encoding over bytes (Sennrich et al. 2016, Radford et al. 2019), through tokenizers.

    Args:
        tokenizer: as the library stores it: the content of a tokenizer.json.
    """

    start = None

    def __init__(self, tokenizer: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        self._description = tokenizer
        self._tokenizer = Tokenizer.from_str(json.dumps(tokenizer))
        self.size = self._tokenizer.get_vocab_size()

    @classmethod
    def trained(cls, texts: Sequence[str], size: int, read: Callable[[], object] = lambda: None) -> BPE:
        """Learn the merges that are most frequent in the texts; fewer than `size` tokens if there are no more pairs.

        A word (a run of letters, of digits, of spaces, or of others) of more than 2,048 bytes is several: the time that
        the library takes to learn from a word grows with the square of its length.

        Args:
            read: called for each text that has been read.
        """
        from tokenizers import Regex, Tokenizer
        from tokenizers.decoders import ByteLevel as Decoder
        from tokenizers.models import BPE as Model
        from tokenizers.pre_tokenizers import ByteLevel, Split
        from tokenizers.pre_tokenizers import Sequence as Both
        from tokenizers.trainers import BpeTrainer

        tokenizer = Tokenizer(Model())
        words = ByteLevel(add_prefix_space=False)
        shorter = Both([words, Split(Regex(f".{{1,{LONGEST}}}"), "isolated")])
        doubtful = (text for text in texts if _MAY_BE_LONG.search(text))
        long = any(len(word) > LONGEST for text in doubtful for word, _ in words.pre_tokenize_str(text))
        tokenizer.pre_tokenizer = shorter if long else words
        tokenizer.decoder = Decoder()
        trainer = BpeTrainer(vocab_size=size, initial_alphabet=ByteLevel.alphabet(), show_progress=False)

        def counted() -> Iterator[str]:
            for text in texts:
                yield text
                read()

        tokenizer.train_from_iterator(counted(), trainer)
        return cls(json.loads(tokenizer.to_str()))

    def encode(self, text: str) -> Tokens:
        (encoding,) = self._tokenizer.encode_batch_fast([text])  # alone it would keep the interpreter's lock
        return np.array(encoding.ids, np.uint16)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(list(map(int, tokens)))

    def description(self) -> dict[str, Any]:
        return {"kind": "bpe", "tokenizer": self._description}


class Characters:
    """Make each character that occurs a token.

    Args:
        characters: all of them, in the order of their tokens.
    """

    start = None

    def __init__(self, characters: str) -> None:
        self._characters = np.array([ord(each) for each in characters], np.uint32)
        self._sorted = np.argsort(self._characters)
        self.size = len(characters)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Characters:
        found: set[str] = set()
        for text in texts:
            found.update(text)
        return cls("".join(sorted(found)))

    def encode(self, text: str) -> Tokens:
        """Encode each character; raise a UserError at one that is not in the vocabulary."""
        codes = _codes(text)
        places = np.searchsorted(self._characters, codes, sorter=self._sorted)
        found = self._sorted[np.minimum(places, self.size - 1)]
        unknown = np.flatnonzero(self._characters[found] != codes)
        if len(unknown):
            raise UserError(f"the character {text[unknown[0]]!r} is not in the vocabulary of {self.size} characters")
        return found.astype(np.uint16)

    def decode(self, tokens: Sequence[int]) -> str:
        return _text(self._characters[np.asarray(tokens, np.int64)])

    def description(self) -> dict[str, Any]:
        return {"kind": "characters", "characters": _text(self._characters)}


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _text(codes: NDArray[np.uint32]) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le")


def make(kind: str, texts: Sequence[str], train: Sequence[str], size: int) -> Vocabulary:
    """Make the vocabulary of a kind for the texts.

    Args:
        texts: all that it has to encode.
        train: what of it may be learned from.
        size: of a vocabulary that is trained.

    Raises:
        UserError: it cannot be made, or has more tokens than uint16 can tell apart.
    """
    if kind == "gpt2":
        return GPT2()
    if kind == "characters":
        characters = Characters.of(texts)
        if characters.size > LARGEST:
            raise UserError(f"the text has {characters.size} different characters, more than {LARGEST}: take bpe")
        return characters
    if kind != "bpe":
        raise UserError(unknown_name("vocabulary", kind, KINDS))
    if not _SMALLEST_BPE <= size <= LARGEST:
        raise UserError(f"a vocabulary over bytes has {_SMALLEST_BPE} to {LARGEST} tokens, not {size}")
    with Progress(len(train), "piece") as progress:
        progress.doing("learning the vocabulary")
        doing = f"learning a vocabulary of {size:,} tokens"
        return patiently(lambda: BPE.trained(train, size, progress.advance), lambda: progress.report(doing))


def described(description: dict[str, Any]) -> Vocabulary:
    """Make the vocabulary that has this description.

    Raises:
        UserError: there is none.
    """
    try:
        kind = description["kind"]
        if kind == "gpt2":
            return GPT2()
        if kind == "bpe":
            return BPE(description["tokenizer"])
        if kind == "characters":
            characters = description["characters"]
            if not characters or len(set(characters)) < len(characters):
                raise ValueError("not each character once")
            return Characters(characters)
        if kind == "numbers":  # of nanoGPT's meta.pkl
            size = description["size"]
            raise UserError(f"nothing says what text the {size} tokens of this model stand for: it can only be trained")
    except UserError:
        raise
    except Exception as error:  # tokenizers raises plain Exceptions
        raise UserError(f"the description of a vocabulary is broken ({str(error).splitlines()[0]})") from error
    raise UserError(unknown_name("vocabulary", kind, KINDS))


def name_of(description: dict[str, Any]) -> str:
    """Return a short name that tells vocabularies apart, as bpe-1c291ca3."""
    if description.get("kind") == "gpt2":
        return "gpt2"
    content = json.dumps(description, sort_keys=True).encode()
    return f"{description.get('kind')}-{zlib.crc32(content):08x}"
