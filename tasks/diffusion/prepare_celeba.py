"""python -m tasks.diffusion.prepare_celeba puts CelebA where it is learnt from; `--help` explains every flag."""

import errno
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from tasks.diffusion.celeba import ARCHIVE, FOLDER, IMAGES, PARTITION, absent, by_hand, read_partition, summary
from workbench.cli import flags
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError, resumable, run
from workbench.cli.progress import Progress
from workbench.output.lock import held
from workbench.output.storage import prepare_folder

DESCRIPTION = f"""\
Download CelebA (Liu et al., 2015: 202,599 aligned faces, 1.4 GB) and unpack it, into DIR/{FOLDER}, where torchvision
has it too. {ARCHIVE} and {PARTITION} are not downloaded if they are there already.
Started again, it does what is left to do; where all is there, nothing.

  python -m tasks.diffusion.prepare_celeba --data data"""

PARTIAL, LOCK = ".celeba-partial-", ".preparing.lock"
REPORT_EVERY = 20_000  # images
# what zipfile and its decompressors raise when an archive is damaged, or encrypted
BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)


class Damaged(UserError):
    """Report an archive that cannot be unpacked."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the data set."""
    parser = Parser("python -m tasks.diffusion.prepare_celeba", DESCRIPTION)
    flags.add_data_flag(parser, f"folder of data sets; this one is DIR/{FOLDER}")
    folder = parser.parse_args(arguments).data / FOLDER
    with resumable():
        if not complete(folder):
            prepare_folder(folder)
            with held(folder / LOCK, f"{folder} is being prepared"):
                prepare(folder)
        print(f"{folder} is complete: {summary(read_partition(folder / PARTITION))}")


def complete(folder: Path) -> bool:
    """Tell whether all images are there, and nothing is left of a program that was killed."""
    partition = folder / PARTITION
    if not partition.is_file() or leftovers(folder):
        return False
    return not absent(folder / IMAGES, chain(*read_partition(partition)))


def leftovers(folder: Path) -> list[Path]:
    """Find what a program was writing."""
    places = {folder, beside(folder / IMAGES)}
    return [each for place in places for each in place.glob(f"{PARTIAL}*")]


def prepare(folder: Path) -> None:
    """Download and unpack what is not there.

    Raises:
        UserError: that cannot be done; nothing is half there.
    """
    images, archive = folder / IMAGES, folder / ARCHIVE
    if images.exists() and not images.is_dir():
        raise UserError(f"{images} is no folder: move it away")
    for partial in leftovers(folder):
        shutil.rmtree(partial)
    if not (folder / PARTITION).is_file():
        download(folder, PARTITION)
    names = set(chain(*read_partition(folder / PARTITION)))
    if not absent(images, names):
        return
    if not archive.is_file():
        download(folder, ARCHIVE)
    try:
        unpack(archive, names)
    except Damaged as error:
        download_again(archive, error)
        unpack(archive, names)


# Downloading


def download(folder: Path, name: str, why: str = "the data are missing") -> None:
    """Download one of CelebA's files, as torchvision does, compare its MD5 sum, and put it in its place.

    Raises:
        UserError: that failed; the message says what to put where.
    """
    from torchvision.datasets import CelebA
    from torchvision.datasets.utils import download_file_from_google_drive

    file_id, md5 = next((file_id, md5) for file_id, md5, each in CelebA.file_list if each == name)
    print(f"downloading {name}", flush=True)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=folder, ignore_cleanup_errors=True) as partial:
        try:
            download_file_from_google_drive(file_id, partial, name, md5)
        except Exception as error:  # of gdown, and of what it downloads with
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            reason = " ".join(str(error).split())[:300].rstrip(". ") or type(error).__name__
            needed = [each for each in (ARCHIVE, PARTITION) if each == name or not (folder / each).is_file()]
            raise UserError(f"{why}, and downloading {name} failed ({reason}): {by_hand(folder, needed)}") from error
        Path(partial, name).replace(folder / name)


def download_again(archive: Path, error: Damaged) -> None:
    """Replace an archive that is damaged, or was downloaded in part.

    Raises:
        UserError: it is what it should be, so that the machine is at fault; or the download failed.
    """
    from torchvision.datasets import CelebA
    from torchvision.datasets.utils import check_integrity

    (md5,) = (md5 for _, md5, name in CelebA.file_list if name == ARCHIVE)
    if check_integrity(archive, md5):
        raise UserError(f"{error}, though its MD5 sum is right: try again") from error
    why = f"{error}, and its MD5 sum is not the official one"
    print(f"{why}: it was changed, or downloaded in part", flush=True)
    download(archive.parent, ARCHIVE, why)


# Unpacking


def unpack(archive: Path, names: set[str]) -> None:
    """Unpack the images that are not there in a folder beside, and put them in their place when all are there.

    Raises:
        Damaged: the archive cannot be unpacked.
        UserError: it holds other images, or another image of the same name is there.
    """
    images = archive.with_name(IMAGES)
    try:
        with (
            zipfile.ZipFile(archive) as file,
            tempfile.TemporaryDirectory(prefix=PARTIAL, dir=beside(images), ignore_cleanup_errors=True) as partial,
        ):
            members = images_of(file, archive, names)
            missing = sorted(name for name, member in members.items() if lacking(file, member, images / name))
            new = Path(partial, IMAGES)
            new.mkdir()
            with Progress(len(missing), "image") as progress:
                for done, name in enumerate(missing, start=1):
                    with file.open(members[name]) as source, (new / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
                    progress.advance()
                    if done % REPORT_EVERY == 0 or done == len(missing):
                        progress.report(f"{done:,} of {len(missing):,} images are unpacked")
            put(new, images)
    except BROKEN as error:
        raise Damaged(f"{archive} cannot be unpacked ({error})") from error


def beside(images: Path) -> Path:
    """Return the folder beside which images are unpacked: where `images` is, or if it is a link where that leads."""
    return images.resolve().parent


def images_of(file: zipfile.ZipFile, archive: Path, names: set[str]) -> dict[str, zipfile.ZipInfo]:
    """Find the images in the archive by their names, which have to be those of the partition.

    Raises:
        UserError: it holds something else, as what would be unpacked elsewhere, or lacks an image.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for member in file.infolist():
        if member.filename == f"{IMAGES}/":
            continue
        folder, _, name = member.filename.rpartition("/")
        named = folder == IMAGES and name in names
        if not named or name in members or not member.file_size:
            wrong = "twice" if name in members and named else "which is empty" if named else "which is none of these"
            raise UserError(
                f"{archive} has to hold {IMAGES}/ with the images that {PARTITION} names, but it holds "
                f"{member.filename[:100]!r}, {wrong}: delete the one that is wrong to have it downloaded again"
            )
        members[name] = member
    if lacks := sorted(names - members.keys()):
        raise UserError(
            f"{archive} lacks {len(lacks):,} of the {len(names):,} images that {PARTITION} names, as {lacks[0]}: "
            "delete the one that is wrong to have it downloaded again"
        )
    return members


def lacking(file: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> bool:
    """Tell whether an image has to be unpacked: it is not there, or only its beginning is.

    Raises:
        UserError: another image is there.
    """
    if not path.is_file():
        return True
    if path.stat().st_size == member.file_size:
        return False
    if not file.read(member).startswith(path.read_bytes()):
        raise UserError(f"{path} is not the image that {ARCHIVE} holds: move {path.parent} away to have all unpacked")
    return True


def put(new: Path, images: Path) -> None:
    """Move new images to where they belong: all at once, or if some are there already one by one."""
    if images.is_dir():
        for each in new.iterdir():
            each.replace(images / each.name)
    else:
        new.rename(images.resolve())


if __name__ == "__main__":
    run(main)
