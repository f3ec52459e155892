"""Tell what of ImageNet-1K is unpacked in a folder."""

from __future__ import annotations

import json
from pathlib import Path

from workbench.cli.errors import UserError
from workbench.vision.files import UNPACKING

UNPACKED = ".unpacked.json"  # there once all is unpacked and verified: how many images each class has


def complete(folder: Path) -> dict[str, int] | None:
    """Return what `count` does, if all is unpacked, by setup_dataset or by torchvision; else None.

    Where setup_dataset has left no note of how many images there should be, the archives tell it: None, if they are
    there; without them too, each class has to have an image, and that is all that can be told.

    Raises:
        UserError: images are missing, and so are the archives.
    """
    from torchvision.datasets.imagenet import load_meta_file

    needed = [folder / "meta.bin", folder / "train", folder / "val"]
    if (folder / UNPACKING).exists() or not all(each.exists() for each in needed):
        return None
    try:
        words, labels = load_meta_file(folder)
    except Exception:  # torch.load raises whatever it meets in a broken file, which will be written anew
        return None
    images, noted = count(folder), noted_images(folder)
    archives = all(each.is_file() for each in archives_in(folder))
    if noted is None:
        whole = images.keys() == {*words, "val"} and all(images.values()) and images["val"] == len(labels)
        return images if whole and not archives else None
    changed = sorted(name for name in {*noted, *images} if noted.get(name, 0) != images.get(name, 0))
    if changed and not archives:
        place = folder / "val" if changed[0] == "val" else folder / "train" / changed[0]
        raise UserError(
            f"{place} has {images.get(changed[0], 0)} images, but had {noted.get(changed[0], 0)} when it was unpacked: "
            f"delete it, put {', '.join(each.name for each in archives_in(folder))} into {folder}, and run this again"
        )
    return None if changed else images


def count(folder: Path) -> dict[str, int]:
    """Count the images of each class for training, and of all classes for validation as "val"."""
    classes = [each for each in (folder / "train").iterdir() if each.is_dir() and not each.name.startswith(".")]
    train = {each.name: sum(1 for _ in each.glob("*.JPEG")) for each in classes}
    return train | {"val": sum(1 for _ in (folder / "val").glob("*/*.JPEG"))}


def noted_images(folder: Path) -> dict[str, int] | None:
    """Read what `count` gave when all was unpacked; None: there is no note of it."""
    try:
        return dict(json.loads((folder / UNPACKED).read_text())["images"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none, or changed by hand
        return None


def summary(images: dict[str, int]) -> str:
    """Say how many images there are."""
    train = sum(images.values()) - images["val"]
    return f"{len(images) - 1} classes, {train} training and {images['val']} validation images"


def archives_in(folder: Path) -> list[Path]:
    """Return where the archives have to be: devkit, validation, training."""
    from torchvision.datasets.imagenet import ARCHIVE_META

    return [folder / ARCHIVE_META[each][0] for each in ("devkit", "val", "train")]
