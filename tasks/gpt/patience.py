"""Wait for work in libraries that hear no Ctrl-C, and say now and then that it goes on."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from workbench.cli.errors import Stopped

R = TypeVar("R")

_SECONDS = 5.0  # between two signs of life


def patiently(work: Callable[[], R], sign: Callable[[], object]) -> R:
    """Return what `work` returns, which runs in a thread of its own and must release the interpreter's lock.

    At Ctrl-C it is left behind, and ends with the program.

    Args:
        sign: called every few seconds meanwhile.
    """
    found: Future[R] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as error:
            found.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while not wait([found], _SECONDS).done:
            sign()
    except KeyboardInterrupt:
        atexit.register(_leave, thread)
        raise
    return found.result()


def _leave(thread: threading.Thread) -> None:
    """End at once: a thread that came back from a library while Python is taken down would abort it."""
    if thread.is_alive():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(Stopped.exit_code)
