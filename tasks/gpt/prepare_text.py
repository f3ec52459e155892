"""python -m tasks.gpt.prepare_text tokenises any text; `--help` explains every flag."""

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.gpt.prepare import write_tokens
from tasks.gpt.tokens import is_prepared
from tasks.gpt.vocabularies import KINDS, make
from workbench.cli import flags
from workbench.cli.arguments import Parser, one_of, positive_int, unit_float
from workbench.cli.errors import UserError, run

EMBEDDED = "pydoc_topics"
DESCRIPTION = """\
Tokenise text files, joined as they are, into train.bin and val.bin, the last part of the text.

  python -m tasks.gpt.prepare_text                                  # Python's own help texts, 465 KB of English
  python -m tasks.gpt.prepare_text --input book.txt other.txt --output data/books"""

_PIECE = 2**20  # characters that are tokenised at once, at least
_PLACES = [  # where a text may be cut: the tokens of the parts are those of the whole, in each kind of vocabulary
    re.compile(r"(?=\s\S)"),  # a space or line end that a word comes after: it begins the word, or is a word of its own
    re.compile(r"(?<=[^\W_])(?=[^\w\s])"),  # a letter or digit before a mark
]
VOCABULARY, VOCABULARY_SIZE, VAL_FRACTION = "bpe", 1024, 0.1


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser("python -m tasks.gpt.prepare_text", DESCRIPTION)
    parser.add_argument(
        "--input", type=Path, nargs="+", default=[], metavar="FILE",
        help="text files in UTF-8 to tokenise (default: the text in Python's pydoc_data.topics)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="DIR",
        help=f"folder to write train.bin and val.bin to (default: in --data, the first file's name or {EMBEDDED})",
    )  # fmt: skip
    parser.add_argument(
        "--vocabulary", type=one_of("vocabulary", KINDS), default=VOCABULARY, metavar="NAME",
        help="vocabulary: gpt2 (downloaded once), bpe (byte pairs, trained on the text), or characters",
    )  # fmt: skip
    parser.add_argument(
        "--vocabulary-size", type=positive_int, default=VOCABULARY_SIZE, metavar="N",
        help="number of tokens of a bpe vocabulary, 256 to 65536",
    )  # fmt: skip
    parser.add_argument(
        "--val-fraction", type=unit_float, default=VAL_FRACTION, metavar="X", help="fraction of the text for validation"
    )
    flags.add_data_flag(parser, "folder of data sets")
    options = parser.parse_args(arguments)
    default = options.input[0].stem if options.input else EMBEDDED
    folder = options.output or options.data / default
    if not prepare_text(folder, options.input, options.vocabulary, options.vocabulary_size, options.val_fraction):
        print(f"{folder} is complete already")


def prepare_text(
    folder: Path,
    files: list[Path],
    kind: str = VOCABULARY,
    size: int = VOCABULARY_SIZE,
    val_fraction: float = VAL_FRACTION,
) -> bool:
    """Tokenise the files, or the embedded text if there are none, into a folder; return False if it is there already.

    Raises:
        UserError: a file is missing, empty, no UTF-8, or too short to be split; or the folder holds something else.
    """
    text = "".join(map(read, files)) if files else embedded()
    source: dict[str, Any] = {
        "files": [each.name for each in files] or [EMBEDDED],
        "crc32": f"{zlib.crc32(text.encode()):08x}",
        "vocabulary": kind,
        "val_fraction": val_fraction,
    }
    if kind == "bpe":
        source["vocabulary_size"] = size
    if is_prepared(folder, source):
        return False
    cut = round(len(text) * (1 - val_fraction))
    splits = {"train": pieces(text[:cut]), "val": pieces(text[cut:])}
    for split, parts in splits.items():
        if not parts:
            of = f"{len(text)} characters with --val-fraction {val_fraction}"
            raise UserError(f"nothing is left for {split}.bin of {of}")
    vocabulary = make(kind, splits["train"] + splits["val"], splits["train"], size)
    write_tokens(folder, source, vocabulary, splits, documents=False)
    return True


def read(path: Path) -> str:
    """Read the text of a file, every character and line end as it is."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if not content:
        raise UserError(f"{path} is empty")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: byte {error.start} is {content[error.start]:#04x}") from error


def embedded() -> str:
    """Return Python's help on its own language: English prose with examples, and part of every Python."""
    from pydoc_data.topics import topics

    return "\n".join(topics.values())


def pieces(text: str) -> list[str]:
    """Split the text into pieces of one to two mebibytes; joined they are the text.

    They end where a word does or, if there is no space near, before a mark; a word that is longer than that is cut.
    """
    parts, start = [], 0
    while start < len(text):
        end = _end_of_piece(text, start + _PIECE, start + 2 * _PIECE)
        parts.append(text[start:end])
        start = end
    return parts


def _end_of_piece(text: str, least: int, most: int) -> int:
    if len(text) <= most:
        return len(text)
    found = (place.search(text, least, most) for place in _PLACES)
    return next((each.start() for each in found if each), most)


if __name__ == "__main__":
    run(main)
