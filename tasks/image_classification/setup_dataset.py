"""python -m tasks.image_classification.setup_dataset: ImageNet-1K from its archives. `--help` explains every flag."""

import hashlib
import io
import json
import re
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from tasks.image_classification.unpacked import UNPACKED, archives_in, complete, count, summary
from workbench.cli.arguments import Parser, positive_int
from workbench.cli.errors import UserError, resumable, run
from workbench.cli.flags import REQUIRED
from workbench.cli.progress import Progress
from workbench.output.environment import cores
from workbench.output.storage import write_bytes, write_json
from workbench.vision.files import UNPACKING

DESCRIPTION = """\
Unpack the archives of ImageNet-1K in DIR/imagenet_1k, so that torchvision.datasets.ImageNet can open that folder.

  python -m tasks.image_classification.setup_dataset --data DIR

It takes 160 GB beside the archives. Stopped and started again, it resumes."""

FOLDER = "imagenet_1k"
URL = "https://image-net.org/challenges/LSVRC/2012/2012-downloads.php"


class Part(NamedTuple):
    """What is unpacked at once: the images of one class, or all those for validation."""

    folder: Path  # where they belong
    archive: Path
    inner: tarfile.TarInfo | None = None  # the class's own archive within the archive
    labels: dict[str, str] | None = None  # the class of each file for validation


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser("python -m tasks.image_classification.setup_dataset", DESCRIPTION)
    purpose = f"the folder in which {FOLDER}/ has the archives (required)"
    parser.add_argument("--data", "--dataset-path", dest="data", type=Path, metavar="DIR", help=purpose, **REQUIRED)
    purpose = "classes unpacked at a time (default: the number of cores)"
    parser.add_argument("--workers", type=positive_int, default=cores(), metavar="N", help=purpose)
    purpose = "do not compare the archives with the official MD5 sums: for archives of one's own with the same layout"
    parser.add_argument("--skip-checksum", action="store_true", help=purpose)
    options = parser.parse_args(arguments)
    with resumable():
        set_up(options.data / FOLDER, options.workers, options.skip_checksum)


def set_up(folder: Path, workers: int, skip_checksum: bool) -> None:
    """Unpack and verify what is not there yet."""
    start = time.monotonic()
    if images := complete(folder):
        print(f"{FOLDER}: {summary(images)}; complete already")
        return
    devkit, val, train = archives = find_archives(folder)
    verified = begin(folder)
    if not skip_checksum:
        compare_checksums(archives, verified)
    words, labels, expected = read_devkit(devkit)
    inner = class_archives(train, set(words))
    write_meta(folder, words, list(labels.values()))
    (folder / "train").mkdir(exist_ok=True)
    parts = [Part(folder / "val", val, labels=labels)]  # first, as it takes longest
    parts += [Part(folder / "train" / wnid, train, inner=member) for wnid, member in inner.items()]
    images = unpack_all(folder, parts, workers, expected)
    if changed := sorted(dict(images.items() ^ count(folder).items())):
        raise UserError(f"{folder}: {changed[0]} has changed since it was unpacked: delete it, and run this again")
    write_json(folder / UNPACKED, {"images": images})
    (folder / UNPACKING).unlink()
    took = time.monotonic() - start
    print(f"{FOLDER}: {summary(images)}, in {f'{took / 60:.0f} min' if took >= 100 else f'{took:.0f} s'}")


def begin(folder: Path) -> dict[str, list[int]]:
    """Mark the folder as half unpacked, and remove what a killed program left half done.

    Returns:
        Of the archives whose MD5 sum was right when last compared: name -> size and time of the last change in ns.
    """
    try:
        verified = dict(json.loads((folder / UNPACKING).read_text())["verified"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none, or changed by hand
        verified = {}
    write_json(folder / UNPACKING, {"verified": verified})
    for partial in folder.glob(".partial-*"):
        shutil.rmtree(partial)
    for written in (UNPACKING, UNPACKED, "meta.bin"):
        for temporary in folder.glob(f".{written}.*.tmp"):  # of write_bytes
            temporary.unlink()
    return verified


def write_meta(folder: Path, words: dict[str, tuple[str, ...]], labels: list[str]) -> None:
    """Write torchvision's meta.bin."""
    content = io.BytesIO()
    torch.save((words, labels), content)
    write_bytes(folder / "meta.bin", content.getvalue())


# Reading the archives


def find_archives(folder: Path) -> list[Path]:
    """The archives: devkit, validation, training."""
    archives = archives_in(folder)
    if missing := ", ".join(each.name for each in archives if not each.is_file()):
        lacks = f"{folder} lacks" if folder.is_dir() else f"there is no folder {folder}, and so no"
        raise UserError(f"{lacks} {missing}: download from {URL} after registering, and put them, unopened, there")
    return archives


def compare_checksums(archives: list[Path], verified: dict[str, list[int]]) -> None:
    """Compare with the official MD5 sums; an archive that was right, and not changed since, is not read again."""
    from torchvision.datasets.imagenet import ARCHIVE_META

    official = dict(ARCHIVE_META.values())
    marks = {each: [each.stat().st_size, each.stat().st_mtime_ns] for each in archives}
    unknown = [each for each in archives if verified.get(each.name) != marks[each]]
    read, total = 0, sum(marks[each][0] for each in unknown)
    with Progress(max(total // 10**6, 1), "MB") as progress:
        for archive in unknown:
            progress.doing(f"MD5 of {archive.name}")
            md5 = hashlib.md5(usedforsecurity=False)
            with archive.open("rb") as file:
                while chunk := file.read(2**23):
                    md5.update(chunk)
                    read += len(chunk)
                    progress.reach(read // 10**6)
            if md5.hexdigest() != official[archive.name]:
                raise UserError(
                    f"the MD5 sum of {archive} is not the official one, so it is broken or another archive: "
                    "download it again, or give --skip-checksum if it is one of your own"
                )
            verified[archive.name] = marks[archive]
            write_json(archive.with_name(UNPACKING), {"verified": verified})
            progress.report(f"the MD5 sum of {archive.name} is right")


def read_devkit(archive: Path) -> tuple[dict[str, tuple[str, ...]], dict[str, str], int]:
    """Class -> words; file name -> class for validation, in order; how many images there should be in all."""
    from scipy.io import loadmat

    try:
        with tarfile.open(archive, "r:gz") as tar:
            files = {Path(each.name).name: tar.extractfile(each) for each in tar if each.isfile()}
            meta = io.BytesIO(files["meta.mat"].read())
            truth = files["ILSVRC2012_validation_ground_truth.txt"].read().split()
        synsets = loadmat(meta, squeeze_me=True)["synsets"]
        leaves = synsets[synsets["num_children"] == 0]  # the others are above the classes
        words = {wnid: tuple(each.split(", ")) for wnid, each in leaves[["WNID", "words"]].tolist()}
        by_id = dict(leaves[["ILSVRC2012_ID", "WNID"]].tolist())
        labels = {f"ILSVRC2012_val_{n:08}.JPEG": by_id[int(each)] for n, each in enumerate(truth, start=1)}
        if not labels:
            raise ValueError("no labels")
        return words, labels, len(labels) + sum(leaves["num_train_images"].tolist())
    except Exception as error:  # gzip, tarfile and scipy raise whatever they meet in a broken file
        raise UserError(f"{archive} is broken, or another archive ({error!r}): download it again") from error


@contextmanager
def opened(archive: Path, inner: tarfile.TarInfo | None = None) -> Iterator[tarfile.TarFile]:
    """An archive, or one that lies uncompressed within it and is read there; the caller reads it to its end.

    Raises:
        UserError: it is broken. tarfile takes many a broken archive for a short one; hence the look at the end mark.
    """
    try:
        with archive.open("rb") as file:
            file.seek(inner.offset_data if inner else 0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                yield tar
                file.seek(tar.offset)
                marked = file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
                if not marked or (inner and tar.offset >= inner.offset_data + inner.size):
                    raise tarfile.ReadError("it is cut off or damaged")
    except tarfile.TarError as error:
        name = f"{inner.name} in {archive}" if inner else archive
        raise UserError(f"{name} is broken, or another archive ({error}): download the archive again") from error


def members(tar: tarfile.TarFile, suffix: str) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Name and member of each file. Only plain names pass: no link, and nothing that leads out of a folder."""
    seen = set()
    for member in tar:
        name = member.name.removeprefix("./")  # as `tar -c .` writes it, after an entry for the folder itself
        if name == "." and member.isdir():
            continue
        if not member.isfile() or not re.fullmatch(r"[A-Za-z0-9_-]+" + re.escape(suffix), name) or name in seen:
            raise tarfile.ReadError(f"{member.name!r} in it is not a file <name>{suffix}, or there twice")
        seen.add(name)
        yield name, member


def class_archives(archive: Path, wnids: set[str]) -> dict[str, tarfile.TarInfo]:
    """Class -> its own archive within the training archive."""
    with opened(archive) as tar:
        inner = {name.removesuffix(".tar"): member for name, member in members(tar, ".tar")}
        if different := sorted(inner.keys() ^ wnids):
            raise tarfile.ReadError(f"{different[0]} is a class in it or in the devkit, but not in both")
    return inner


# Unpacking


def unpack_all(folder: Path, parts: list[Part], workers: int, expected: int) -> dict[str, int]:
    """Unpack every part; returns how many images each has. In threads, as reading and writing take most of the time."""
    partial = tempfile.TemporaryDirectory(prefix=".partial-", dir=folder, ignore_cleanup_errors=True)
    stop = threading.Event()
    with partial, ThreadPoolExecutor(workers) as pool, Progress(expected, "image") as progress:
        try:
            jobs = {pool.submit(unpack, each, Path(partial.name), stop): each.folder.name for each in parts}
            for done, job in enumerate(as_completed(jobs), start=1):
                progress.advance(job.result())
                if done % 50 == 0 or done == len(jobs):
                    progress.report(f"{done} of {len(jobs)} folders are complete")
        except BaseException:  # Ctrl-C too
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return {name: job.result() for job, name in jobs.items()}


def unpack(part: Part, beside: Path, stop: threading.Event) -> int:
    """Unpack into a folder in `beside` and put it in its place when it is complete; if that is there, only compare."""
    new, partial = not part.folder.exists(), beside / part.folder.name
    for wnid in {*part.labels.values()} if part.labels else {""}:
        (partial / wnid).mkdir(parents=True)
    sizes = {}
    with opened(part.archive, part.inner) as tar:
        for name, member in members(tar, ".JPEG"):
            if stop.is_set():
                raise CancelledError
            if part.labels and name not in part.labels:
                raise tarfile.ReadError(f"the devkit has no class for {name}")
            path = Path(part.labels[name] if part.labels else "", name)
            sizes[path] = member.size
            if new:
                with (partial / path).open("wb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file, 2**20)
        if not sizes or len(sizes) < len(part.labels or ()):
            raise tarfile.ReadError(f"it holds {len(sizes)} images only")
    folder = partial if new else part.folder
    if sizes != {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*.JPEG")}:
        raise UserError(f"{part.folder} is not what {part.archive.name} holds: delete it to have it unpacked again")
    if new:
        partial.rename(part.folder)
    return len(sizes)


if __name__ == "__main__":
    run(main)
