"""Write results so that a file is either the old one or the new one, never half of one."""

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.cli.errors import UserError


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a temporary file beside `path`, then rename it: a reader, or a killed program, sees no half file.

    Raises:
        UserError: the file cannot be written; the old one is untouched.
    """
    temporary = path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary.exists():  # only after an error or Ctrl-C
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON as `write_bytes` does; NaN is refused, as JSON has none: store None instead."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read what `write_json` wrote.

    Raises:
        ValueError: it is no JSON, or has a NaN or an infinity, which JSON has not.
        OSError: it cannot be read.
    """

    def refuse(name: str) -> None:
        raise ValueError(f"it holds {name}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def require_same(holder: str, stored: Mapping[str, Any], wanted: Mapping[str, Any], place: str) -> None:
    """Refuse a stored configuration that is not the wanted one.

    Args:
        holder: what holds the stored one, as "results/x holds a run".
        place: the flag that names another place, as "--results".

    Raises:
        UserError: a setting was another one, or only one of them has it; it is named with both values.
    """
    for name in dict.fromkeys([*wanted, *stored]):
        old, new = stored.get(name), wanted.get(name)
        if old != new:
            advice = "its data have changed since, or are others" if name == "data" else "take that setting again"
            raise UserError(f"{holder} with {name}={old}, not {name}={new}: {advice}, or choose another {place}")


def prepare_folder(path: Path) -> None:
    """Make the folder and show that it can be written to, before hours of work rely on it.

    Raises:
        UserError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        there = (each for each in (path, *path.parents) if each.exists() or each.is_symlink())
        file = next(each for each in there if not each.is_dir())
        what = "a file" if file.exists() else "a link that leads nowhere"
        raise UserError(f"cannot use {file} as a folder: it is {what}") from error
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror or error}") from error
    probe = path / ".probe"
    write_bytes(probe, b"")
    probe.unlink(missing_ok=True)
    _remove_unfinished(path)


def _remove_unfinished(folder: Path) -> None:
    """Remove what killed programs of this machine were writing."""
    for temporary in folder.glob(f".*.{platform.node()}-*.tmp"):
        process = temporary.name.removesuffix(".tmp").rpartition("-")[2]
        if process.isdecimal() and not _is_running(int(process)):
            temporary.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Have the block write a folder, which takes its place when it is whole; of a block that fails nothing stays.

    Raises:
        UserError: it cannot be written.
    """
    prepare_folder(folder.parent)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        yield unfinished
        unfinished.replace(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
