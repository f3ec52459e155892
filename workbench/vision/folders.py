"""Find the images in folders, and count what else is there, so that nothing is left out without a word."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.cli.errors import UserError

# A file with one of these endings is an image: where Pillow cannot read its format, as .heic, reading it names it.
ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".ppm", ".pgm", ".pbm", ".pnm", ".bmp", ".dib", ".tif", ".tiff", ".webp",
    ".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".tga",
)  # fmt: skip
OF_SYSTEMS = ("__MACOSX", "@eaDir", "lost+found")  # folders that operating systems make, with thumbnails or nothing
LINK = "links to folders that are there already"
SHOWN = 5  # kinds of files that are told by name


@dataclass(frozen=True)
class Listing:
    """Hold the images below a folder.

    Args:
        names: relative to the folder, with "/" between parts, in no order that means anything.
        left_out: how many files of each other ending there are, as {".txt": 3}, and how many `LINK`s.
    """

    names: Sequence[str]
    left_out: Mapping[str, int]


def find_images(root: Path, folders: Sequence[str] = ("",)) -> Listing:
    """Find the images in some folders in `root`, or in `root` itself, at any depth.

    Hidden files and folders, as .ipynb_checkpoints, are passed over. Links are followed, but no folder is entered
    twice: a link to a folder above would lead round and round.

    Raises:
        UserError: a folder cannot be read, or two of `folders` are the same.
    """
    try:
        return _find_images(root, folders)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or root}: {error.strerror or error}") from error


def contents(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the files in a folder, sorted; `find_images` passes over the same ones.

    Raises:
        UserError: it cannot be read.
    """
    try:
        entries = _visible(folder)
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror or error}") from error
    return [name for name, inner in entries if inner], [name for name, inner in entries if not inner]


def told(left_out: Mapping[str, int]) -> str:
    """Say what was left out, as "; left out: 3 .txt, 1 .csv", or nothing."""
    most = sorted(left_out.items(), key=lambda each: (-each[1], each[0]))
    parts = [f"{count} {what}" for what, count in most[:SHOWN]]
    if others := sum(count for _, count in most[SHOWN:]):
        parts.append(f"{others} others")
    return f"; left out: {', '.join(parts)}" if parts else ""


def _find_images(root: Path, folders: Sequence[str]) -> Listing:
    names, left_out = list[str](), Counter[str]()
    entered = {_place(root): ""}
    for folder in filter(None, folders):
        if (same := entered.setdefault(_place(root / folder), folder)) != folder:
            raise UserError(f"{root / folder} is the same folder as {root / same}: it can be one class only")
    waiting = [f"{folder}/" if folder else "" for folder in folders]
    for folder in waiting:  # which grows
        for name, inner in _visible(root / folder):
            if inner and (place := _place(root / folder / name)) not in entered:
                entered[place] = folder
                waiting.append(f"{folder}{name}/")
            elif not inner and name.lower().endswith(ENDINGS):
                names.append(folder + name)
            else:
                left_out[LINK if inner else Path(name).suffix.lower() or "without an ending"] += 1
    return Listing(names, left_out)


def _visible(folder: Path) -> list[tuple[str, bool]]:
    """Return the names in a folder, sorted, each with whether it is a folder."""
    with os.scandir(folder) as entries:
        return sorted(
            (each.name, _is_folder(each))
            for each in entries
            if not each.name.startswith(".") and each.name not in OF_SYSTEMS
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return Path(entry).is_dir() if entry.is_symlink() else entry.is_dir()  # which raises an error for a link to itself


def _place(folder: Path) -> tuple[int, int]:
    there = folder.stat()
    return there.st_dev, there.st_ino
