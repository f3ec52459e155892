"""workbench/training/workers.py: other processes' mistakes, and Ctrl-C."""

import signal
from concurrent.futures import Future

import pytest

from workbench.cli.errors import UserError
from workbench.training import workers


def refuse(number):
    raise UserError(f"{number} is too many")


def test_a_mistake_in_a_process_is_one_here():
    results = []
    with pytest.raises(UserError, match="7 is too many"):
        workers.in_processes(refuse, [(7,)], 1, results.append)
    assert results == []


def test_new_processes_ignore_ctrl_c_from_their_first_moment(monkeypatch):
    """They inherit it; until their own code runs, they could not do so themselves."""
    seen = []

    class Pool:
        def __init__(self, *_):
            pass

        def submit(self, function, *arguments):
            seen.append(signal.getsignal(signal.SIGINT))
            future = Future()
            future.set_result(function(*arguments))
            return future

        def shutdown(self, **_):
            seen.append("shut down")

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool)
    ours, results = signal.default_int_handler, []
    before = signal.signal(signal.SIGINT, ours)  # tests that were started in the background ignore it
    try:
        workers.in_processes(lambda number: number, [(5,)], 1, results.append)
        assert signal.getsignal(signal.SIGINT) == ours
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIG_IGN, "shut down"] and results == [5]
