"""End every program well: a user's mistake is one line on stderr and exit code 2, never a traceback."""

import atexit
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn


class UserError(Exception):
    """Report something that the user can mend; the message is one line that says how."""

    exit_code = 2


class Diverged(UserError):
    """Report a training whose loss became infinite or NaN: it is stored, and the program fails."""

    exit_code = 1


class Stopped(UserError):
    """Report Ctrl-C; the message says how to resume."""

    exit_code = 130


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its kind where it has none, for a line that says what went wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def run(main: Callable[[], None]) -> NoReturn:
    """Run a program and leave Python with its exit code.

    0; 2 after a user's mistake; 1 after a training that diverged; 130 after Ctrl-C.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):  # a folder's name need not be UTF-8
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except UserError as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        _end("stopped", Stopped.exit_code)
    except BrokenPipeError:  # whoever read the output, as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except ModuleNotFoundError as error:
        _end(
            f"the package {error.name} is missing: pip install -e '.[tasks]' installs what the tasks need",
            UserError.exit_code,
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # threads of torch's processes that wake up while Python is taken down abort it, in one of ten runs under load
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    sys.exit(0)


@contextmanager
def resumable() -> Iterator[None]:
    """Say of Ctrl-C, and of a disk that is full or the like, that the same command resumes what the block does.

    Raises:
        Stopped: after Ctrl-C.
        UserError: a file cannot be read or written.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped("stopped: the same command resumes") from None
    except OSError as error:
        reason = ": ".join(str(each) for each in (error.filename, error.strerror or error) if each)
        raise UserError(f"{reason}; when that is mended, the same command resumes") from error


def stop_quietly_while_importing() -> None:
    """Have Ctrl-C end a program that is still importing torch with one word, not with a traceback.

    A package of programs calls this first of all. It does nothing unless `python -m` is starting one of them.
    """
    if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"stopped\n"), os._exit(Stopped.exit_code)))


def _end(message: str, exit_code: int) -> NoReturn:
    line = " ".join(message.split())
    said = f"error: {line}" if exit_code == UserError.exit_code else line
    report = os.environ.get("TORCHELASTIC_ERROR_FILE")  # what torchrun shows last, below its own traceback
    if int(os.environ.get("RANK", "0")) > 0:
        time.sleep(1)  # an error of all processes is the first one's; torchrun then ends the others
    if report:
        about = {"message": said, "extraInfo": {"py_callstack": said, "timestamp": str(int(time.time()))}}
        with suppress(OSError):
            Path(report).write_text(json.dumps({"message": about}))
    if not report or os.environ.get("RANK") == "0":
        print(said, file=sys.stderr)
    sys.exit(exit_code)
