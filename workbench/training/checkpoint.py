"""Store the state of a run: written whole or not at all, the previous one kept, read without running code."""

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch

from workbench.cli.errors import UserError
from workbench.output.storage import write_bytes

State = dict[str, Any]


def previous(path: Path) -> Path:
    """Return where the checkpoint before the one in `path` is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save(path: Path, state: State) -> None:
    """Write the state; the checkpoint that was there becomes the previous one.

    Raises:
        UserError: it cannot be written (a full disk); the old checkpoints are untouched.
    """
    unfinished = path.with_name(f"{path.stem}.next{path.suffix}")
    write(unfinished, state)
    if path.exists():
        path.replace(previous(path))
    unfinished.replace(path)  # killed just before this line, a run resumes from the previous one


def write(path: Path, state: State) -> None:
    """Write the state, in the place of what was there, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    content = io.BytesIO()
    torch.save(state, content)
    write_bytes(path, content.getvalue())


def load(path: Path) -> State | None:
    """Return the newest good checkpoint, on the CPU: `path` or, if that is missing or broken, the previous one.

    A broken one is named on stderr and kept under the name *.broken. Returns None if there is no checkpoint at all.

    Raises:
        UserError: there are only broken ones.
    """
    broken = []
    for candidate in (path, previous(path)):
        if not candidate.exists():
            continue
        try:
            state = read(candidate)
        except UserError as error:
            aside = candidate.with_name(f"{candidate.name}.broken")
            candidate.replace(aside)
            broken.append(f"{error} (kept as {aside.name})")
            continue
        if broken:
            print(f"warning: {broken[0]}: resuming from {candidate.name}", file=sys.stderr)
        return state
    if broken:
        raise UserError(f"{'; '.join(broken)}, and there is no other: the same command now starts from the beginning")
    return None


def read(path: Path, weights: bool = True) -> State:
    """Read the checkpoint in `path` to the CPU: tensors and plain values only, nothing in it is executed.

    Args:
        weights: False: they are not read, however large, but mapped into memory; what is altered is not noticed.

    Raises:
        UserError: it is missing, cut short, altered, or no checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() if weights else None  # torch itself does not compare the checksums
        if damaged:
            raise ValueError(f"damaged at {damaged}")
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=not weights)
    except FileNotFoundError as error:
        raise UserError(f"there is no checkpoint {path}") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder: give a checkpoint in it") from error
    except Exception as error:  # the many ways in which reading goes wrong
        raise UserError(f"the checkpoint {path} is broken ({str(error).splitlines()[0]})") from error
    if not isinstance(state, dict) or "model" not in state:
        raise UserError(f"{path} is no checkpoint of a training run")
    return state


def read_trained(path: Path) -> State:
    """Read a checkpoint whose weights are to be used.

    Raises:
        UserError: as `read`, or the training diverged.
    """
    state = read(path)
    both = dict(state["model"]) | {f"ema {name}": each for name, each in (state.get("ema") or {}).items()}
    weights = [each for each in both.values() if isinstance(each, torch.Tensor)]
    if not all(bool(torch.isfinite(each).all()) for each in weights):
        raise UserError(f"{path} is of a training that diverged: its weights are no numbers")
    return state
