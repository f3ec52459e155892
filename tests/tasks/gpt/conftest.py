import socket

import pytest
import torch

from tasks.gpt import prepare, prepare_text, train
from tests.tasks.gpt.examples import BOOK, arguments_of, prepared, words


@pytest.fixture(autouse=True)
def no_look_ups(monkeypatch):
    """No name of a machine is resolved, so that what would reach for the network fails at once."""

    def refuse(host, *_, **__):
        raise socket.gaierror(f"{host} is looked up")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """The folder of a small text, its characters tokenised."""
    return prepared(tmp_path_factory.mktemp("data") / "whole", words(0))


@pytest.fixture(scope="session")
def finished(text, tmp_path_factory):
    """The results of a run that was never stopped."""
    results = tmp_path_factory.mktemp("finished")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train.main([*map(str, arguments_of(text, results))])
    torch.set_num_threads(threads)
    return results


@pytest.fixture
def book(tmp_path):
    """A text file."""
    path = tmp_path / "book.txt"
    path.write_bytes(BOOK.encode())
    return path


@pytest.fixture
def prepared_book(book, tmp_path, program):
    """A folder with the book, in characters."""
    folder = tmp_path / "prepared"
    assert program(prepare_text, "--input", book, "--output", folder, "--vocabulary", "characters")[0] == 0
    return folder


@pytest.fixture
def journalled(monkeypatch):
    """The journal is written after every second text."""
    monkeypatch.setattr(prepare, "_BATCH", 2)
    monkeypatch.setattr(prepare, "_SECONDS", -1)
