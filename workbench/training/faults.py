"""Explain what goes wrong around a program, but not in it: a compiler that is missing, a process that was killed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

from workbench.cli.errors import UserError, first_line


@contextmanager
def explained() -> Iterator[None]:
    """Say within the block what the user can mend, in a line.

    Raises:
        UserError: torch.compile failed, a process that reads data was killed, or memory does not suffice.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and _of_a_killed_worker(error):
            raise _killed(error) from error
        if of_memory(error):
            raise UserError(
                f"memory does not suffice ({first_line(error)}): a smaller batch or smaller images need less, and "
                "GPUs need less with mixed precision"
            ) from error
        from torch._dynamo.exc import BackendCompilerFailed

        if not isinstance(error, BackendCompilerFailed):
            raise
        raise UserError(
            f"torch.compile failed ({first_line(error)}): it takes a C++ compiler, as g++, and on a GPU Triton; "
            "without --compile the same command trains too"
        ) from error


def of_memory(error: Exception) -> bool:
    """Tell whether there is no memory left, on a GPU or for torch on the CPU, which has no class of its own for it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


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
