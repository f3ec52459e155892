"""Lock a folder: whoever comes second is told who holds it, and a killed process holds nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from workbench.cli.errors import UserError


@contextlib.contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Hold the lock in the file `path` within the block. It ends with the process, however that ends.

    Where the system or its file system has no such locks (Windows, some network drives), nothing is held.

    Args:
        what: what is done meanwhile, for the message, as "results/x: seed 0 is being trained".

    Raises:
        UserError: another process holds it; the message names process, machine and time.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        yield
        return
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:  # a lock of the process, which its workers do not inherit: they may live a little longer than it
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                yield
                return
            raise UserError(f"{what} by {holder or 'another process'}: wait for it, or stop it") from None
        with contextlib.suppress(FileNotFoundError):  # whoever held it before may just have removed it
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                break
        os.close(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()} since {time.ctime()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Tell whether another process holds the lock in the file `path`, without touching it.

    Where the system or its file system has no such locks, none is held.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        return False
    # struct flock: type, whence, start, length and process on Linux; macOS and BSD have type and whence last
    if sys.platform == "linux":
        layout, asked, kind = "hhqqi", (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0), 0
    else:
        layout, asked, kind = "qqihh", (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET), 3
    try:
        with path.open("rb") as file:
            answer = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(layout, *asked))
    except OSError:  # the file is gone, or its file system has no locks
        return False
    return bool(struct.unpack(layout, answer)[kind] != fcntl.F_UNLCK)
