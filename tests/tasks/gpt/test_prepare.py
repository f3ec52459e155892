"""Hugging Face's data sets to tokens, by prepare_tiny_stories and prepare_owt, stopped and started again."""

import json
import re

import numpy as np
import pytest

from tasks.gpt import prepare, prepare_owt, prepare_tiny_stories
from tasks.gpt.prepare import write_tokens
from tasks.gpt.tokens import JOURNAL
from tasks.gpt.vocabularies import GPT2
from tests.tasks.gpt.examples import assert_meta, files_of, line_of, touched
from workbench.cli.errors import Stopped, UserError

STORIES = [f"Once upon a time, there were {number} foxes.\n\nThe end." for number in range(37)]
STORIES[3:7] = ["", "Zoë 漢字 👩‍👧", "a literal <|endoftext|> within", "ends with lines\n\n\n"]
HELD_OUT = ["One <|endoftext|> two.", "Größe\r\n", ""]


@pytest.fixture
def hub(gpt2_vocabulary):
    """Hugging Face's library, which is to say nothing on stderr."""
    import datasets

    verbosity = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(50)
    datasets.disable_progress_bars()
    yield datasets
    datasets.enable_progress_bars()
    datasets.logging.set_verbosity(verbosity)


def write_parquet(folder, shards=1, **splits):
    """A data set in files as the hub has them: of each split a list of texts, or its columns."""
    import pyarrow
    from pyarrow import parquet

    (folder / "data").mkdir(parents=True)
    for split, columns in splits.items():
        table = pyarrow.table({"text": columns} if isinstance(columns, list) else columns)
        rows = -(-len(table) // shards)
        for shard in range(shards):
            path = folder / "data" / f"{split}-{shard:05}-of-{shards:05}.parquet"
            parquet.write_table(table.slice(shard * rows, rows), path)
    return folder


def documents(path):
    """The texts between the separators, the last of which ends the file."""
    tokens = np.fromfile(path, "<u2")
    ends = np.flatnonzero(tokens == 50256)
    assert ends[-1] == len(tokens) - 1
    return [GPT2().decode(part[:-1]) for part in np.split(tokens, ends[:-1] + 1)]


def test_tiny_stories(hub, program, tmp_path):
    source = write_parquet(tmp_path / "stories", train=STORIES, validation=HELD_OUT)
    folder = tmp_path / "tiny_stories"
    command = (prepare_tiny_stories, "--source", source, "--cache_dir", folder, "--num_workers", 1)
    code, out, err = program(*command)
    assert (code, err) == (0, "")
    assert documents(folder / "train.bin") == STORIES
    assert documents(folder / "val.bin") == HELD_OUT
    assert_meta(folder, {"dataset": str(source)})
    meta = json.loads((folder / "meta.json").read_text())
    assert [meta[split]["texts"] for split in ("train", "val")] == [len(STORIES), len(HELD_OUT)]
    assert out.endswith(f"{folder}/meta.json: a vocabulary of 50,257 tokens\n")
    before = touched(folder)
    assert program(*command) == (0, f"{folder} is complete already\n", "")
    err = line_of(program(prepare_tiny_stories, "--source", "another", "--cache-dir", folder))
    assert err == f"error: {folder} holds another text or vocabulary: choose another folder, or delete it\n"
    assert touched(folder) == before


def test_the_number_of_workers_does_not_change_the_files(hub, program, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_BATCH", 10)
    source = write_parquet(tmp_path / "stories", shards=2, train=STORIES * 3, validation=HELD_OUT)
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        command = ("--source", source, "--cache_dir", folder, "--num_workers", workers)
        assert program(prepare_tiny_stories, *command)[::2] == (0, "")
    assert documents(tmp_path / "2" / "train.bin") == STORIES * 3
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")


def test_open_web_text(hub, program, tmp_path):
    pages = [f"page {number}" for number in range(4001)]
    source = write_parquet(tmp_path / "pages", train=pages)
    folder = tmp_path / "data/open_web_text"
    command = ("--source", source, "--data", tmp_path / "data", "--workers", 1)
    assert program(prepare_owt, *command)[::2] == (0, "")
    parts = hub.Dataset.from_dict({"text": pages}).train_test_split(test_size=0.0005, seed=2357, shuffle=True)
    assert documents(folder / "train.bin") == parts["train"]["text"][:]
    assert documents(folder / "val.bin") == parts["test"]["text"][:]
    assert len(parts["test"]) == 3
    assert_meta(folder, {"dataset": str(source)})
    assert program(prepare_owt, *command) == (0, f"{folder} is complete already\n", "")


def test_a_data_set_that_is_not_downloaded(hub, program, tmp_path, monkeypatch):
    def load(source, **_):
        raise ConnectionError(f"Couldn't reach {source!r} on the Hub\nthe second line")

    def stop(source, **_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    for module, name in ((prepare_tiny_stories, "roneneldan/TinyStories"), (prepare_owt, "Skylion007/openwebtext")):
        monkeypatch.setattr(hub, "load_dataset", load)
        assert line_of(program(module)) == (
            f"error: cannot load the data set {name} (ConnectionError: Couldn't reach '{name}' on the Hub): "
            "is there a network? --source takes a folder with its parquet files too\n"
        )
        monkeypatch.setattr(hub, "load_dataset", stop)
        assert program(module) == (130, "", "stopped: the same command resumes the download\n")
    assert not list(tmp_path.rglob("*.bin*")) and not list(tmp_path.rglob("*.json"))


BAD_DATA = {
    "no texts": (prepare_tiny_stories, {"train": {"story": STORIES}, "validation": {"story": [""]}}, "has no column"),
    "no pages": (prepare_owt, {"train": {"page": STORIES}}, 'has no column "text", but page'),
    "no validation": (prepare_tiny_stories, {"train": STORIES}, "has no split validation, but train"),
    "no training": (prepare_tiny_stories, {"validation": STORIES}, "has no split train, but validation"),
    "neither": (prepare_tiny_stories, {"test": STORIES}, "has no split train and validation, but test"),
    "no pages to split": (prepare_owt, {"test": STORIES}, "has no split train of at least two pages"),
    "a single page": (prepare_owt, {"train": ["page"]}, "has no split train of at least two pages"),
    "empty": (prepare_tiny_stories, {"train": [], "validation": []}, "(cannot load the data set|there is no text)"),
    "a page that is none": (prepare_tiny_stories, {"train": ["a", None], "validation": ["b"]}, ": row 1 holds no text"),
    "numbers": (prepare_tiny_stories, {"train": [1, 2], "validation": [3]}, ": row 0 holds no text, but 1"),
    "no files": (prepare_tiny_stories, {}, r"cannot load the data set .* \(EmptyDatasetError: .*any data files"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_data_sets_that_are_refused(hub, program, tmp_path, name):
    module, splits, message = BAD_DATA[name]
    source = write_parquet(tmp_path / "source", **splits)
    folder = tmp_path / "out"
    err = line_of(program(module, "--source", source, "--cache_dir", folder, "--num_workers", 1))
    assert re.match(rf"error: .*{re.escape(str(source))}.*{message}|error: {message}", err), err
    assert not folder.exists() or not {"train.bin", "val.bin", "meta.json"} & set(files_of(folder))


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_splits_without_text(gpt2_vocabulary, tmp_path, texts):
    with pytest.raises(UserError, match=r"^there is no text for val\.bin$"):
        write_tokens(tmp_path, {}, GPT2(), {"train": ["text"], "val": texts}, documents=False)
    assert not (tmp_path / "train.bin").exists() and not (tmp_path / "meta.json").exists()


# Stopped and started again


@pytest.fixture
def encoded(monkeypatch):
    """Sees every text that GPT-2's vocabulary encodes; returns them, and stops at one of them if asked."""
    true = GPT2.encode

    def watch(stop=None):
        texts = []

        def encode(self, text):
            if len(texts) == stop:
                raise KeyboardInterrupt
            texts.append(text)
            return true(self, text)

        monkeypatch.setattr(GPT2, "encode", encode)
        return texts

    return watch


@pytest.fixture
def tokenise(gpt2_vocabulary):
    """Writes the stories as a prepare program does; returns the files."""

    def write(folder, workers=1, source="stories"):
        splits = {"train": STORIES[:11], "val": HELD_OUT}
        write_tokens(folder, {"dataset": source}, GPT2(), splits, documents=True, workers=workers)
        return files_of(folder)

    return write


@pytest.fixture
def whole(tokenise, tmp_path):
    """The files of a run that was not stopped."""
    return tokenise(tmp_path / "whole")


@pytest.fixture
def stopped(tokenise, journalled, encoded, tmp_path):
    """The folder of a run that was stopped at the sixth text."""
    encoded(5)
    with pytest.raises(Stopped):
        tokenise(tmp_path / "out")
    encoded()
    return tmp_path / "out"


@pytest.mark.parametrize(("stop", "left"), [(0, 0), (5, 4), (10, 10), (12, 11), (13, 13)])
def test_only_what_is_left_is_encoded(tokenise, whole, journalled, encoded, tmp_path, capsys, stop, left):
    folder = tmp_path / "out"
    encoded(stop)
    with pytest.raises(Stopped, match=f"^stopped: the same command resumes in {re.escape(str(folder))}$"):
        tokenise(folder)
    assert not {"train.bin", "val.bin", "meta.json"} & set(files_of(folder))
    capsys.readouterr()
    again = encoded()
    assert tokenise(folder) == whole
    assert again == (STORIES[:11] + HELD_OUT)[left:]
    assert capsys.readouterr().out.startswith(f"resuming in {folder}\n")
    assert_meta(folder, {"dataset": "stories"})


def test_the_program_goes_on(hub, program, journalled, encoded, tmp_path):
    source = write_parquet(tmp_path / "stories", train=STORIES, validation=HELD_OUT)
    command = (prepare_tiny_stories, "--source", source, "--num_workers", 1, "--cache_dir")
    program(*command, tmp_path / "whole")
    encoded(21)
    code, out, err = program(*command, tmp_path / "out")
    assert (code, err) == (130, f"stopped: the same command resumes in {tmp_path / 'out'}\n")
    assert re.fullmatch(r"\[ 54%, [\d:]+ left\] train.bin: 20 texts, [\d,]+ tokens", out.splitlines()[-1])
    again = encoded()
    assert program(*command, tmp_path / "out")[::2] == (0, "")
    assert again == STORIES[20:] + HELD_OUT
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("change", [lambda content: content + b"more than noted", lambda content: content[:-2], None])
def test_a_part_is_not_as_long_as_the_journal_says(tokenise, whole, stopped, workers, change):
    part = stopped / "train.bin.part"
    part.unlink() if change is None else part.write_bytes(change(part.read_bytes()))
    assert tokenise(stopped, workers) == whole


@pytest.mark.parametrize("renamed", ["train and val", "train", ""])
def test_killed_before_or_between_the_last_steps(tokenise, whole, encoded, tmp_path, monkeypatch, renamed):
    folder = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(TypeError):
        patch.setattr(prepare, "write_meta", None)
        tokenise(folder)
    assert set(files_of(folder)) == {"train.bin", "val.bin", JOURNAL}
    for split in ("train", "val"):
        if split not in renamed:
            (folder / f"{split}.bin").rename(folder / f"{split}.bin.part")
    again = encoded()
    assert (tokenise(folder), again) == (whole, [])


@pytest.mark.parametrize("journal", [None, "{"])
def test_a_journal_that_is_not_gone_on_with(tokenise, stopped, journal):
    if journal:
        (stopped / JOURNAL).write_text(journal)
    before = touched(stopped)
    said = f"{JOURNAL} cannot be read" if journal else "holds a part of another text or vocabulary: choose another fol"
    with pytest.raises(UserError, match=said):
        tokenise(stopped, source="other stories")
    assert touched(stopped) == before


# Command lines


@pytest.mark.parametrize("module", [prepare_tiny_stories, prepare_owt])
def test_bad_command_lines_of_the_data_sets(program, tmp_path, monkeypatch, module):
    monkeypatch.chdir(tmp_path)
    assert "error: unrecognized arguments: --cache x (" in line_of(program(module, "--cache", "x"))
    assert "workers: must be a whole number of at least 1, not '0' (" in line_of(program(module, "--num_workers", 0))
    assert list(tmp_path.iterdir()) == []


def test_a_cache_folder_that_is_a_file(gpt2_vocabulary, program, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    err = line_of(program(prepare_tiny_stories, "--source", tmp_path, "--cache_dir", file, "--workers", 1))
    assert err == f"error: cannot use {file} as a folder: it is a file\n" and file.read_text() == "mine"
