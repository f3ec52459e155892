"""Share work out over processes, one thread each, which end when the program does, however that ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import torch

from workbench.cli.errors import UserError

R = TypeVar("R")


def in_processes(
    work: Callable[..., R], arguments: Iterable[tuple[Any, ...]], jobs: int, finished: Callable[[R], None]
) -> None:
    """Call `finished` in this process with what `work(*each)` returns in others, in the order in which they end.

    Args:
        work, arguments: picklable.
        jobs: how many processes at once.

    Raises:
        UserError: a process was killed from outside; what was finished was handed over.
    """
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _start_worker)
    try:
        listening = signal.signal(signal.SIGINT, signal.SIG_IGN)  # new processes inherit it: Ctrl-C is the parent's
        try:
            futures = [pool.submit(work, *each) for each in arguments]
        finally:
            signal.signal(signal.SIGINT, listening)
        for future in as_completed(futures):
            finished(future.result())
    except BaseException as error:
        for worker in multiprocessing.active_children():
            worker.kill()
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "a process of this program was killed, perhaps for want of memory: "
                "what was finished is stored, and the same command with fewer --jobs resumes"
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Use one thread, and end when the parent does, even if it was killed."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
