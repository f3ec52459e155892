"""Writing results so that a file is either the old one or the new one, never half of one."""

import json
import os
from pathlib import Path
from typing import Any

from workbench.cli.errors import UserError


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a temporary file beside `path`, then rename it: a reader, or a killed program, sees no half file.

    Raises:
        UserError: the file cannot be written; the old one is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary.exists():  # only after an error or Ctrl-C
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """As `write_bytes`. NaN is refused, as JSON has none: store None instead."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def require_same(holder: str, stored: dict[str, Any], wanted: dict[str, Any], place: str) -> None:
    """Only numbers of one configuration belong together.

    Args:
        holder: what holds the stored ones, as "results/x holds runs".
        place: what to choose another of, as "--output".

    Raises:
        UserError: a setting in `wanted` was another one; it is named with both values.
    """
    for name, value in wanted.items():
        if stored.get(name) != value:
            raise UserError(
                f"{holder} with {name}={stored.get(name)}, not {name}={value}: "
                f"choose another {place}, or that setting again"
            )


def prepare_folder(path: Path) -> None:
    """Make the folder and show that it can be written to, before hours of work rely on it.

    Raises:
        UserError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"cannot use {path} as a folder: it is a file") from error
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror or error}") from error
    probe = path / ".probe"
    write_bytes(probe, b"")
    probe.unlink(missing_ok=True)
