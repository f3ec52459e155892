"""Tokenise texts and stream them to disk, to be resumed after a stop: what the prepare programs share."""

from __future__ import annotations

import os
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tasks.gpt.tokens import JOURNAL, META, is_prepared, read_json, write_meta
from tasks.gpt.vocabularies import GPT2, Tokens, Vocabulary
from workbench.cli import flags
from workbench.cli.arguments import Parser, positive_int
from workbench.cli.errors import Stopped, UserError
from workbench.cli.progress import Progress
from workbench.output.environment import cores
from workbench.output.storage import prepare_folder, write_json

Splitting = Callable[[Any, str], dict[str, Any]]  # of a data set and the name of its source: train and val

_BATCH = 500  # documents that are tokenised between two looks at the clock; a part of a text is as long as many
_SECONDS = 5.0  # between two entries in the journal, which is what a stop can lose


class Texts(Protocol):
    """Hold texts on disk or in memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> list[str]: ...


def write_tokens(
    folder: Path,
    source: dict[str, Any],
    vocabulary: Vocabulary,
    splits: Mapping[str, Texts],
    documents: bool,
    workers: int = 1,
) -> None:
    """Tokenise the texts of each split into <split>.bin; meta.json, written last, makes the folder complete.

    Args:
        source: what the texts are; a journal of another source is not resumed.
        documents: each text stands for itself, and GPT-2's <|endoftext|> comes after it; else they are parts of one.
        workers: threads that tokenise.

    Raises:
        UserError: a split has no tokens, or the disk is full.
        Stopped: Ctrl-C.
    """
    _require_content({split: len(texts) for split, texts in splits.items()})
    done = _journal(folder, source)
    try:
        with ThreadPoolExecutor(workers) as pool:
            for split, texts in splits.items():
                _write_split(folder, split, texts, source, done, vocabulary, documents, pool)
        _require_content({split: done[split]["tokens"] for split in splits})
        for split in splits:
            part = _part(folder, split)
            if part.exists():  # else renamed already, before a kill
                part.replace(folder / f"{split}.bin")
    except KeyboardInterrupt:
        raise Stopped(f"stopped: the same command resumes in {folder}") from None
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}; the same command resumes") from error
    counts = {
        split: {"tokens": each["tokens"], "texts": each["texts"], "crc32": f"{each['crc32']:08x}"}
        for split, each in done.items()
    }
    write_meta(folder, vocabulary, source, counts)
    (folder / JOURNAL).unlink(missing_ok=True)
    for split, each in counts.items():
        print(f"{folder / f'{split}.bin'}: {each['tokens']:,} tokens")
    print(f"{folder / META}: a vocabulary of {vocabulary.size:,} tokens")


def _require_content(amounts: Mapping[str, int]) -> None:
    for split, amount in amounts.items():
        if not amount:
            raise UserError(f"there is no text for {split}.bin")


def _write_split(
    folder: Path,
    split: str,
    texts: Texts,
    source: dict[str, Any],
    done: dict[str, dict[str, int]],
    vocabulary: Vocabulary,
    documents: bool,
    pool: ThreadPoolExecutor,
) -> None:
    nothing = {"texts": 0, "tokens": 0, "crc32": 0, "of": len(texts)}
    reached = done.setdefault(split, dict(nothing))
    if reached["of"] != len(texts):
        raise UserError(
            f"{folder} holds a part of {reached['of']} texts, but there are {len(texts)} now: delete it to begin again"
        )
    if (folder / f"{split}.bin").exists():
        return
    end = np.array([vocabulary.start] if documents and vocabulary.start is not None else [], np.uint16)

    def encoded(text: str) -> Tokens:
        return np.concatenate([vocabulary.encode(text), end])

    path, last = _part(folder, split), time.monotonic()
    with path.open("ab") as file, Progress(len(texts), "text", done=reached["texts"]) as progress:
        if file.seek(0, os.SEEK_END) < 2 * reached["tokens"]:  # a power cut took what the journal counts
            reached.update(nothing)
        file.truncate(2 * reached["tokens"])  # what was written after the last entry in the journal comes again
        progress.doing(f"{split}.bin")
        while reached["texts"] < len(texts):
            batch = texts[reached["texts"] : reached["texts"] + (_BATCH if documents else 1)]
            content = np.concatenate(list(pool.map(encoded, batch))).astype("<u2").tobytes()
            file.write(content)
            reached["texts"] += len(batch)
            reached["tokens"] += len(content) // 2
            reached["crc32"] = zlib.crc32(content, reached["crc32"])
            progress.advance(len(batch))
            if time.monotonic() > last + _SECONDS:
                file.flush()
                write_json(folder / JOURNAL, {"source": source, "splits": done})
                progress.report(f"{split}.bin: {reached['texts']:,} texts, {reached['tokens']:,} tokens")
                last = time.monotonic()
    write_json(folder / JOURNAL, {"source": source, "splits": done})


def _part(folder: Path, split: str) -> Path:
    return folder / f"{split}.bin.part"


def _journal(folder: Path, source: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Read how far each split is."""
    prepare_folder(folder)
    path = folder / JOURNAL
    if path.exists():
        journal = read_json(path)
        if journal.get("source") == source and isinstance(journal.get("splits"), dict):
            print(f"resuming in {folder}")
            return journal["splits"]
        raise UserError(f"{folder} holds a part of another text or vocabulary: choose another folder, or delete it")
    write_json(path, {"source": source, "splits": {}})
    return {}


# Hugging Face's data sets


def prepare_dataset(
    parser: Parser, name: str, source: str, splits_of: Splitting, arguments: Sequence[str] | None
) -> None:
    """Run a program that prepares one of Hugging Face's data sets, in GPT-2's vocabulary.

    Args:
        name: of the folder below --data.
        source: where the data set is on the hub.
        splits_of: finds the documents of train and val in what is loaded.
    """
    flags.add_data_flag(parser, f"folder of data sets; this one goes to DIR/{name}")
    parser.add_argument(
        "--cache-dir", type=Path, metavar="DIR",
        help=f"folder to write train.bin and val.bin to, with downloads in DIR/download (default: {name} in --data)",
    )  # fmt: skip
    workers = "number of parallel downloads, and of tokenising threads"
    parser.add_argument(
        "--workers", "--num-workers", dest="workers", type=positive_int, default=cores(), metavar="N", help=workers
    )
    where = "name of the data set on the Hugging Face hub, or a folder with its parquet files"
    parser.add_argument("--source", default=source, metavar="NAME", help=where)
    options = parser.parse_args(arguments)
    folder = options.cache_dir or options.data / name
    source = str(Path(options.source).resolve()) if Path(options.source).is_dir() else options.source
    if is_prepared(folder, {"dataset": source}):
        print(f"{folder} is complete already")
        return
    vocabulary = GPT2()
    splits = splits_of(load_dataset(source, folder, options.workers), source)
    columns = {split: Column(documents, source) for split, documents in splits.items()}
    write_tokens(folder, {"dataset": source}, vocabulary, columns, documents=True, workers=options.workers)


def load_dataset(source: str, folder: Path, workers: int) -> Any:
    """Load a data set with a column of texts, by split.

    Raises:
        UserError: it cannot be loaded.
    """
    import datasets

    prepare_folder(folder / "download")
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what goes wrong is said below
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        processes = workers if workers > 1 else None  # None: in this one; the library starts another for 1
        return datasets.load_dataset(source, cache_dir=str(folder / "download"), num_proc=processes)
    except KeyboardInterrupt:
        raise Stopped("stopped: the same command resumes the download") from None
    except Exception as error:  # whatever goes wrong in a download
        cause = error.__cause__ or error
        reason = f"{type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else 'no reason given'}"
        hint = "is there a network? --source takes a folder with its parquet files too"
        if Path(source).is_dir():
            hint = "are these its parquet files?"
        raise UserError(f"cannot load the data set {source} ({reason}): {hint}") from error


class Column:
    """Read the texts of a data set when they are asked for.

    Raises:
        UserError: it has none.
    """

    def __init__(self, dataset: Any, source: str) -> None:
        if "text" not in dataset.column_names:
            raise UserError(f'{source} has no column "text", but {", ".join(dataset.column_names)}')
        self._dataset, self._source = dataset, source

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, part: slice) -> list[str]:
        texts = list(self._dataset[part]["text"])
        for number, text in enumerate(texts, start=part.start or 0):
            if not isinstance(text, str):
                raise UserError(f"{self._source}: row {number} holds no text, but {text!r}")
        return texts
