"""Programs that are killed or interrupted at a step, in a process of their own, or whose disk is full."""

import errno
import functools
import os
import shutil
import signal
import sys
from contextlib import contextmanager
from unittest import mock

from workbench.cli.errors import run


def forked(prepare, main, *arguments, output=os.devnull):
    """A program in a fork of this process, which calls `prepare` first; returns its exit code, or minus its signal."""
    child = os.fork()
    if not child:
        code = 99
        try:
            descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1), os.dup2(descriptor, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            prepare()
            run(functools.partial(main, list(map(str, arguments))))
        except SystemExit as ended:
            code = ended.code
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(step, folder):
    """Kills this process before the step-th time that something in the folder is opened, made, renamed or removed."""
    steps = iter(range(step + 1))

    def watch(event, arguments):
        changes = event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")
        if changes and str(folder) in str(arguments[0]) and next(steps, None) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


@contextmanager
def disk_full_after(files):
    """Within the block so many files are copied, and then the disk is full."""
    left = iter(range(files))

    def copy(source, target, *more, true=shutil.copyfileobj):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        true(source, target, *more)

    with mock.patch.object(shutil, "copyfileobj", copy):
        yield
