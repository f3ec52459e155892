"""python -m tasks.diffusion.prepare_celeba, without a network: its downloads come from a folder."""

import errno
import hashlib
import os
import shutil
import signal
import sys
import types
import zipfile

import pytest
from torchvision.datasets import CelebA

from tasks.diffusion import prepare_celeba
from tests import celeba_miniature
from tests.celeba_miniature import ARCHIVE, IMAGES, PARTITION, images, pack
from tests.tasks.forked import disk_full_after, forked, kill_at
from workbench.output.lock import held

PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
AGAIN = "; when that is mended, the same command resumes\n"
COUNTS = "36 images (24 training, 8 validation, 4 test)"
FIRST = "000001.jpg"
LOCK = ".preparing.lock"  # locks nothing where it was left by a program that was killed


@pytest.fixture
def folder(tmp_path):
    """Where the program finds the archive and the partition."""
    return celeba_miniature.write_archive(tmp_path / "data")


@pytest.fixture
def call(program, tmp_path):
    return lambda *arguments: program(prepare_celeba, "--data", tmp_path / "data", *arguments)


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """A Google Drive with the two files, whose sums are the official ones; holds the names that were downloaded."""
    source = celeba_miniature.write_archive(tmp_path / "drive")
    md5 = {name: hashlib.md5((source / name).read_bytes()).hexdigest() for name in (ARCHIVE, PARTITION)}
    monkeypatch.setattr(CelebA, "file_list", [(f"id of {name}", md5[name], name) for name in md5])
    gdown = types.ModuleType("gdown")
    gdown.downloaded, gdown.source, gdown.error = [], source, None

    def download(id, output, **_):
        name = id.removeprefix("id of ")
        gdown.downloaded.append(name)
        if gdown.error is not None:
            raise gdown.error
        shutil.copy(source / name, output)

    gdown.download = download
    monkeypatch.setitem(sys.modules, "gdown", gdown)
    return gdown


def tree(folder):
    """Every file's content, by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unpacked(folder):
    """The images, by name; asserts that there is nothing but what is downloaded beside them."""
    assert {each.name for each in folder.iterdir()} <= {IMAGES, ARCHIVE, PARTITION, LOCK}
    return {path.name: path.read_bytes() for path in (folder / IMAGES).iterdir()}


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


# What it makes


def test_archives_that_are_there_are_unpacked(folder, call, drive):
    code, out, err = call()
    assert (code, err) == (0, "")
    assert out == f"[100%, 0:00 left] 36 of 36 images are unpacked\n{folder} is complete: {COUNTS}\n"
    assert unpacked(folder) == images() and drive.downloaded == []
    assert oct((folder / IMAGES).stat().st_mode)[-3:] == oct(folder.stat().st_mode)[-3:]  # others may read it


def test_a_complete_folder_is_left_alone(folder, call, drive):
    celeba_miniature.write(folder.parent)
    (folder / ARCHIVE).write_bytes(b"")
    before = stamps(folder.parent)
    assert call() == (0, f"{folder} is complete: {COUNTS}\n", "")
    assert stamps(folder.parent) == before and drive.downloaded == []


def test_what_is_not_there_is_downloaded(tmp_path, call, drive):
    folder = tmp_path / "data/celeba"
    code, out, err = call()
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"downloading {PARTITION}",
        f"downloading {ARCHIVE}",
        "[100%, 0:00 left] 36 of 36 images are unpacked",
        f"{folder} is complete: {COUNTS}",
    ]
    assert unpacked(folder) == images() and drive.downloaded == [PARTITION, ARCHIVE]
    (folder / PARTITION).unlink()
    (folder / ARCHIVE).unlink()
    assert call() == (0, f"downloading {PARTITION}\n{folder} is complete: {COUNTS}\n", "")
    assert drive.downloaded == [PARTITION, ARCHIVE, PARTITION]


def test_half_a_folder_is_completed(folder, call):
    whole = images()
    (folder / IMAGES).mkdir()
    for name in list(whole)[:20]:
        (folder / IMAGES / name).write_bytes(whole[name])
    cut, empty = list(whole)[:2]
    (folder / IMAGES / cut).write_bytes(whole[cut][:500])
    (folder / IMAGES / empty).write_bytes(b"")
    (folder / IMAGES / "mine.jpg").write_bytes(b"mine")
    before = stamps(folder / IMAGES)
    code, out, _ = call()
    assert code == 0 and out.startswith("[100%, 0:00 left] 18 of 18 images are unpacked\n")
    assert unpacked(folder) == whole | {"mine.jpg": b"mine"}
    after = stamps(folder / IMAGES)
    assert all(after[folder / IMAGES / name] == before[folder / IMAGES / name] for name in list(whole)[2:20])


def test_an_image_that_is_another_is_not_overwritten(folder, call):
    (folder / IMAGES).mkdir()
    (folder / IMAGES / FIRST).write_bytes(b"mine")
    before = tree(folder)
    said = f"{folder / IMAGES / FIRST} is not the image that {ARCHIVE} holds: move {folder / IMAGES} away to have all "
    assert call() == (2, "", f"error: {said}unpacked\n")
    assert tree(folder) == before


def test_images_may_be_on_another_disk(folder, call, tmp_path):
    (tmp_path / "disk").mkdir()
    (folder / IMAGES).symlink_to(tmp_path / "disk/faces")
    (tmp_path / "disk/.celeba-partial-old").mkdir()
    assert call()[0] == 0
    assert (folder / IMAGES).is_symlink() and unpacked(folder) == images()
    assert [each.name for each in (tmp_path / "disk").iterdir()] == ["faces"]
    (tmp_path / "disk/faces" / FIRST).unlink()
    assert call()[0] == 0 and unpacked(folder) == images()


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_compressed_archive(folder, call, compression):
    (folder / ARCHIVE).write_bytes(pack(images(), compression))
    assert call()[0] == 0 and unpacked(folder) == images()


# Downloads


def test_a_download_that_fails_says_what_to_put_where(tmp_path, call, drive):
    folder = tmp_path / "data/celeba"
    drive.error = Exception("Failed to retrieve file url:\n\n\tToo many users have viewed this file.\n")
    reason = "Failed to retrieve file url: Too many users have viewed this file"
    failed = f"error: the data are missing, and downloading {PARTITION} failed ({reason})"
    both = f"download {ARCHIVE} and {PARTITION} from {PAGE}, and put them, unopened, into {folder}\n"
    assert call() == (2, f"downloading {PARTITION}\n", f"{failed}: {both}")
    assert list(folder.iterdir()) == []
    celeba_miniature.write_partition(tmp_path / "data")
    failed = f"error: the data are missing, and downloading {ARCHIVE} failed ({reason})"
    one = f"download {ARCHIVE} from {PAGE}, and put them, unopened, into {folder}\n"
    assert call() == (2, f"downloading {ARCHIVE}\n", f"{failed}: {one}")


def test_a_download_of_something_else_is_refused(tmp_path, call, drive):
    (drive.source / PARTITION).write_text("<html>quota exceeded</html>")
    code, _, err = call()
    assert code == 2 and err.startswith(
        f"error: the data are missing, and downloading {PARTITION} failed (File not found or corrupted): download "
    )
    assert list((tmp_path / "data/celeba").iterdir()) == []


def test_without_gdown(tmp_path, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    code, _, err = call()
    assert code == 2 and err.count("\n") == 1
    assert "'gdown' is required. You can install it with 'pip install gdown'): download img_align_celeba.zip" in err


@pytest.mark.parametrize("length", [0, 100, 40_000, -1])
def test_an_archive_downloaded_in_part_is_downloaded_again(folder, call, drive, length):
    (folder / ARCHIVE).write_bytes((folder / ARCHIVE).read_bytes()[:length])
    code, out, err = call()
    assert (code, err) == (0, "")
    assert out.startswith(
        f"{folder / ARCHIVE} cannot be unpacked (File is not a zip file), and its MD5 sum is not the "
    )
    assert f"official one: it was changed, or downloaded in part\ndownloading {ARCHIVE}\n" in out
    assert unpacked(folder) == images() and drive.downloaded == [ARCHIVE]


def test_an_image_damaged_within_the_archive(folder, call, drive):
    content = bytearray((folder / ARCHIVE).read_bytes())
    content[content.index(images()["000030.jpg"]) + 700] ^= 1
    (folder / ARCHIVE).write_bytes(content)
    drive.error = ConnectionError("no network")
    broken = (
        f"{folder / ARCHIVE} cannot be unpacked (Bad CRC-32 for file '{IMAGES}/000030.jpg'), and its MD5 sum is not"
    )
    code, _, err = call()
    assert code == 2 and err == (
        f"error: {broken} the official one, and downloading {ARCHIVE} failed (no network): download {ARCHIVE} from "
        f"{PAGE}, and put them, unopened, into {folder}\n"
    )
    assert (folder / ARCHIVE).read_bytes() == content and not (folder / IMAGES).exists()
    drive.error = None
    assert call()[0] == 0 and unpacked(folder) == images()


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_compressed_image_damaged_within_the_archive(folder, call, drive, compression):
    content = pack(images(), compression)
    at = content.index(FIRST.encode()) + 100
    (folder / ARCHIVE).write_bytes(content[:at] + b"\xff" * 300 + content[at + 300 :])
    code, out, err = call()
    assert (code, err) == (0, "") and f"{folder / ARCHIVE} cannot be unpacked (" in out
    assert unpacked(folder) == images() and drive.downloaded == [ARCHIVE]


def test_an_archive_whose_sum_is_right_is_not_downloaded_again(folder, call, drive, monkeypatch):
    content = (folder / ARCHIVE).read_bytes()[:-1]
    (folder / ARCHIVE).write_bytes(content)
    monkeypatch.setattr(CelebA, "file_list", [("id", hashlib.md5(content).hexdigest(), ARCHIVE)])
    said = "cannot be unpacked (File is not a zip file), though its MD5 sum is right: try again"
    assert call() == (2, "", f"error: {folder / ARCHIVE} {said}\n")
    assert drive.downloaded == []


# Interrupted


@pytest.fixture
def killed(tmp_path):
    """The program in a process of its own, which calls `prepare` first; returns its exit code, or minus its signal."""

    def killed(prepare, data=tmp_path / "data"):
        return forked(prepare, prepare_celeba.main, "--data", data, output=tmp_path / "output")

    return killed


@pytest.mark.parametrize("half", [False, True])
def test_killed_at_every_step(half, killed, tmp_path, capsys):
    """There is nothing or all, or what was there before and more; the next run makes it whole."""
    counts, ends, code = {"train": 2, "val": 1, "test": 1}, set(), None
    whole = images(**counts)
    for step in range(100):
        data = tmp_path / str(step)
        folder = celeba_miniature.write_archive(data, **counts)
        if half:
            (folder / IMAGES).mkdir()
            (folder / IMAGES / FIRST).write_bytes(whole[FIRST])
        code = killed(lambda step=step, folder=folder: kill_at(step, folder), data)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        found = tree(folder / IMAGES) if (folder / IMAGES).exists() else {}
        assert found.items() <= whole.items()
        ends.add(len(found))
        prepare_celeba.main(["--data", str(data)])
        assert capsys.readouterr().err == ""
        assert unpacked(folder) == whole
    assert code == 0
    assert ends == ({1, 2, 3, 4} if half else {0, 4})


def test_killed_within_an_image(folder, killed, call):
    def half(source, target, *_):
        target.write(source.read()[:1000])
        target.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    assert killed(lambda: setattr(shutil, "copyfileobj", half)) == -signal.SIGKILL
    assert 1000 in map(len, tree(folder).values()) and not (folder / IMAGES).exists()
    assert call()[0] == 0 and unpacked(folder) == images()


def test_ctrl_c(folder, killed, call, tmp_path):
    def interrupted(source, target, *_):
        os.kill(os.getpid(), signal.SIGINT)

    assert killed(lambda: setattr(shutil, "copyfileobj", interrupted)) == 130
    assert (tmp_path / "output").read_text() == "stopped: the same command resumes\n"
    assert {each.name for each in folder.iterdir()} == {ARCHIVE, PARTITION}
    assert call()[0] == 0 and unpacked(folder) == images()


def test_the_disk_is_full(folder, call):
    with disk_full_after(11):
        assert call() == (2, "", f"error: No space left on device{AGAIN}")
    assert {each.name for each in folder.iterdir()} == {ARCHIVE, PARTITION}
    assert call()[0] == 0 and unpacked(folder) == images()


def test_the_disk_is_full_of_a_download(tmp_path, call, drive):
    drive.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert call() == (2, f"downloading {PARTITION}\n", f"error: No space left on device{AGAIN}")
    assert list((tmp_path / "data/celeba").iterdir()) == []


def test_two_at_once(folder, call, killed, tmp_path):
    with held(folder / ".preparing.lock", "held"):
        assert killed(lambda: None) == 2
    said = (tmp_path / "output").read_text()
    assert said.startswith(f"error: {folder} is being prepared by process {os.getpid()} on ")
    assert said.endswith(": wait for it, or stop it\n")
    assert call()[0] == 0 and unpacked(folder) == images()


# What is refused


def with_member(name, content=b"x"):
    return lambda: pack([*images().items(), (name, content)])


def without(*names):
    return lambda: pack({name: content for name, content in images().items() if name not in names})


HOLDS = f"has to hold {IMAGES}/ with the images that {PARTITION} names, but it holds"
DELETE = "delete the one that is wrong to have it downloaded again"
# what -> the archive, and what the error says of it
BAD = {
    "up": (with_member("../up.jpg"), f"{HOLDS} '../up.jpg', which is none of these: {DELETE}"),
    "up and down": (
        with_member(f"../{IMAGES}/{FIRST}"),
        f"{HOLDS} '../{IMAGES}/{FIRST}', which is none of these: {DELETE}",
    ),
    "absolute": (with_member("/tmp/up.jpg"), f"{HOLDS} '/tmp/up.jpg', which is none of these: {DELETE}"),
    "deeper": (
        with_member(f"{IMAGES}/a/{FIRST}"),
        f"{HOLDS} '{IMAGES}/a/{FIRST}', which is none of these: {DELETE}",
    ),
    "a folder": (with_member(f"{IMAGES}/a/", b""), f"{HOLDS} '{IMAGES}/a/', which is none of these: {DELETE}"),
    "an unknown image": (
        with_member("000037.jpg"),
        f"{HOLDS} '{IMAGES}/000037.jpg', which is none of these: {DELETE}",
    ),
    "an empty image": (
        lambda: pack(images() | {FIRST: b""}),
        f"{HOLDS} '{IMAGES}/{FIRST}', which is empty: {DELETE}",
    ),
    "an image twice": (with_member(FIRST), f"{HOLDS} '{IMAGES}/{FIRST}', twice: {DELETE}"),
    "too few": (
        without("000004.jpg", "000036.jpg"),
        f"lacks 2 of the 36 images that {PARTITION} names, as 000004.jpg: {DELETE}",
    ),
    "nothing": (lambda: pack({}), f"lacks 36 of the 36 images that {PARTITION} names, as {FIRST}: {DELETE}"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", BAD)
def test_an_archive_of_something_else_is_refused(name, folder, call, tmp_path, drive):
    archive, said = BAD[name]
    (folder / ARCHIVE).write_bytes(archive())
    before = tree(tmp_path)
    assert call() == (2, "", f"error: {folder / ARCHIVE} {said}\n")
    assert tree(tmp_path) == before and not (folder / IMAGES).exists() and drive.downloaded == []
    celeba_miniature.write_archive(folder.parent)
    assert call()[0] == 0 and unpacked(folder) == images()


@pytest.mark.parametrize(
    ("flag", "name", "said"),
    [
        (1, FIRST, "is encrypted, password required"),
        (2**11, "\xff" + FIRST[1:], "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_an_archive_that_zipfile_cannot_read_is_refused(flag, name, said, folder, call, drive):
    content = bytearray((folder / ARCHIVE).read_bytes())
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the flags of each entry, at its beginning and at the end
        at = content.index(mark, content.index(mark) + 1)
        content[at + place : at + place + 2] = flag.to_bytes(2, "little")
    (folder / ARCHIVE).write_bytes(content.replace(FIRST.encode(), name.encode("latin-1")))
    drive.error = ConnectionError("no network")
    code, _, err = call()
    assert code == 2 and err.count("\n") == 1
    assert f"{ARCHIVE} cannot be unpacked (" in err and said in err


def test_no_byte_that_is_wrong_passes_or_ends_in_a_traceback(tmp_path, program, drive):
    """Whatever byte of the archive's own words is another: one line, or images that are right."""
    drive.error = ConnectionError("no network")
    counts = {"train": 1, "val": 1, "test": 0}
    folder = celeba_miniature.write_archive(tmp_path / "data", **counts)
    whole, content = images(**counts), (folder / ARCHIVE).read_bytes()
    places = [*range(content.index(b"PK\1\2"), len(content)), *range(content.index(whole[FIRST]))]
    refused = 0
    for place in places[::7]:
        (folder / ARCHIVE).write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        code, _, err = program(prepare_celeba, "--data", folder.parent)
        if code:
            assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
            assert not (folder / IMAGES).exists()
            refused += 1
        else:
            assert unpacked(folder) == whole
            shutil.rmtree(folder / IMAGES)
    assert refused > len(places[::7]) / 4


def test_a_broken_partition_is_refused(folder, call):
    (folder / PARTITION).write_text("000001.jpg train\n")
    said = "is broken, line 1 has to be like \"000001.jpg 0\", with 0, 1 or 2, not '000001.jpg train': delete it, and "
    program = "python -m tasks.diffusion.prepare_celeba downloads it again"
    assert call() == (2, "", f"error: {folder / PARTITION} {said}{program}\n")


def test_files_where_folders_belong(tmp_path, folder, call, program):
    (folder / IMAGES).write_text("a file")
    assert call() == (2, "", f"error: {folder / IMAGES} is no folder: move it away\n")
    file = tmp_path / "file"
    file.write_text("")
    for data in (file, file / "data"):
        said = f"error: cannot use {file} as a folder: it is a file\n"
        assert program(prepare_celeba, "--data", data) == (2, "", said)


def test_bad_flags(call):
    assert call("--dat", "x") == (2, "", "error: unrecognized arguments: --dat x (--help explains every flag)\n")
