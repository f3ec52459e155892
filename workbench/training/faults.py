"""Explain what goes wrong around a program, but not in it: a compiler that is missing, a process that was killed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from workbench.cli.errors import UserError, first_line


@contextmanager
def explained() -> Iterator[None]:
    """Say within the block what the user can mend, in a line.

    Raises:
        UserError: torch.compile failed, or a process that reads data was killed.
    """
    try:
        yield
    except RuntimeError as error:
        if _of_a_killed_worker(error):
            raise _killed(error) from error
        from torch._dynamo.exc import BackendCompilerFailed

        if not isinstance(error, BackendCompilerFailed):
            raise
        raise UserError(
            f"torch.compile failed ({first_line(error)}): it takes a C++ compiler, as g++, and on a GPU Triton; "
            "without --compile the same command trains too"
        ) from error


def batches_of(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield the batches of a loader.

    Raises:
        UserError: a process of the loader was killed; it is noticed within seconds, when a batch is waited for.
    """
    try:
        with _no_handler_of_children():
            batches = iter(loader)
        yield from batches
    except (RuntimeError, ConnectionError, EOFError, FileNotFoundError) as error:
        broken = not isinstance(error, RuntimeError) and not str(error).startswith("Caught ")  # as its own errors do
        if _of_a_killed_worker(error) or (loader.num_workers and broken):
            raise _killed(error) from error
        raise


@contextmanager
def _no_handler_of_children() -> Iterator[None]:
    """Keep torch from listening to the end of its processes: its handler raises an error wherever the program is."""
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _of_a_killed_worker(error: Exception) -> bool:
    return str(error).startswith("DataLoader worker")  # torch has no class for it


def _killed(error: Exception) -> UserError:
    return UserError(
        f"a process that reads data was killed, perhaps for want of memory ({first_line(error)}): "
        "the same command with fewer --workers resumes"
    )
