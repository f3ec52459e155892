"""Find CelebA in the layout that torchvision gives it: aligned images of faces, and a list of which split has which."""

import os
from collections.abc import Iterable
from pathlib import Path

from workbench.cli.errors import UserError

FOLDER = "celeba"  # below --data
IMAGES, ARCHIVE, PARTITION = "img_align_celeba", "img_align_celeba.zip", "list_eval_partition.txt"
SPLITS = ("training", "validation", "test")  # by their numbers in the partition
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
PROGRAM = "python -m tasks.diffusion.prepare_celeba"


def read_partition(path: Path) -> tuple[list[str], list[str], list[str]]:
    """Read the names of the images for training, validation and test, a line each: "000001.jpg 0".

    Raises:
        UserError: a line is another.
    """
    splits: tuple[list[str], list[str], list[str]] = [], [], []
    seen = set[str]()
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not (words := line.split()):
                continue
            if len(words) != 2 or words[1] not in ("0", "1", "2"):
                raise ValueError(f'line {number} has to be like "000001.jpg 0", with 0, 1 or 2, not {line[:60]!r}')
            name = words[0]
            if name in seen or name.startswith(".") or set(name) & set("/\\\0"):
                wrong = "is there twice" if name in seen else "is no plain name of a file"
                raise ValueError(f"{name[:60]!r} in line {number} {wrong}")
            seen.add(name)
            splits[int(words[1])].append(name)
        for number in (0, 1):
            if not splits[number]:
                raise ValueError(f"no line ends in {number}: no image is for {SPLITS[number]}")
    except ValueError as error:
        reason = "it is no text" if isinstance(error, UnicodeDecodeError) else error
        raise UserError(f"{path} is broken, {reason}: delete it, and {PROGRAM} downloads it again") from error
    return splits


def absent(folder: Path, names: Iterable[str]) -> list[str]:
    """Return those of the names that are no file in the folder, or an empty one."""
    try:
        with os.scandir(folder) as entries:
            there = {each.name for each in entries if each.is_file() and each.stat().st_size}
    except (FileNotFoundError, NotADirectoryError):
        there = set()
    return [each for each in names if each not in there]


def summary(splits: Iterable[list[str]]) -> str:
    """Say how many images there are, in all and of each split."""
    counts = [len(each) for each in splits]
    parts = [f"{count:,} {split}" for count, split in zip(counts, SPLITS, strict=True)]
    return f"{sum(counts):,} images ({', '.join(parts)})"


def by_hand(folder: Path, files: Iterable[str]) -> str:
    """Say how to get files without the program."""
    return f"download {' and '.join(files)} from {PAGE}, and put them, unopened, into {folder}"
