"""python -m tasks.image_classification.setup_dataset."""

import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder, ImageNet
from torchvision.datasets import imagenet as torchvision_imagenet

from tasks.image_classification import setup_dataset
from tasks.image_classification.unpacked import UNPACKED
from tests.imagenet_miniature import DEVKIT, META, TRAIN, VAL, jpeg, pack, train_names, val_names, write_archives
from tests.tasks.forked import disk_full_after, forked, kill_at

ROOT = Path(__file__).parents[2]
OWN = "--skip-checksum"
GROUND_TRUTH = META.replace("meta.mat", "ILSVRC2012_validation_ground_truth.txt")
FIRST, SECOND, THIRD = "n01440764", "n01440769", "n01440774"


@pytest.fixture
def folder(tmp_path):
    """Where the program expects the archives; they are there."""
    write_archives(tmp_path / "imagenet_1k")
    return tmp_path / "imagenet_1k"


@pytest.fixture
def call(folder, program):
    """The program in this process; returns (exit code, stdout, stderr)."""
    return lambda *arguments: program(setup_dataset, "--dataset-path", folder.parent, *arguments)


@pytest.fixture
def official(folder, monkeypatch):
    """Makes the sums of the archives as they are now the official ones."""

    def declare():
        archives = {
            split: (name, hashlib.md5((folder / name).read_bytes()).hexdigest())
            for split, (name, _) in torchvision_imagenet.ARCHIVE_META.items()
        }
        monkeypatch.setattr(torchvision_imagenet, "ARCHIVE_META", archives)

    return declare


@pytest.fixture
def resumes(folder, call):
    """The same command makes what one that was not stopped makes."""

    def resumes():
        assert call(OWN)[0] == 0
        assert images(folder) == expected()

    return resumes


def tree(folder):
    """Every file but the archives: its path and its content."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in (TRAIN, VAL, DEVKIT)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def expected(wnids=(FIRST, SECOND, THIRD), train_per_class=4, val=5):
    """The images that should be there. By ID, and so in the validation labels, the classes are in reverse order."""
    train = {f"train/{wnid}/{name}": jpeg(name) for wnid in wnids for name in train_names(wnid, train_per_class)}
    labels = [wnids[-1 - number % len(wnids)] for number in range(val)]
    return train | {f"val/{wnid}/{name}": jpeg(name) for wnid, name in zip(labels, val_names(val), strict=True)}


def images(folder):
    """As `tree`, of the images only; asserts that there is nothing else but meta.bin, and a note of this program."""
    files = tree(folder)
    assert files.pop("meta.bin")
    files.pop(UNPACKED, None)
    return files


# What it makes


@pytest.mark.parametrize("workers", [1, 4])
def test_the_folder_holds_what_was_packed_and_nothing_else(folder, call, workers):
    code, out, err = call(OWN, "--workers", workers)
    assert (code, err) == (0, "")
    said = "[100%, 0:00 left] 4 of 4 folders are complete\nimagenet_1k: 3 classes, 12 training and 5 validation images"
    assert re.fullmatch(re.escape(said) + r", in \d+ s\n", out)
    assert images(folder) == expected()
    assert {each.name for each in folder.iterdir()} == {TRAIN, VAL, DEVKIT, UNPACKED, "meta.bin", "train", "val"}


def test_torchvision_opens_both_splits(folder, call):
    call(OWN)
    train, val = ImageNet(folder, split="train"), ImageNet(folder, split="val")
    for split, dataset in (("train", train), ("val", val)):
        assert dataset.wnids == [FIRST, SECOND, THIRD]
        assert dataset.classes == [("thing 3", "Res 3"), ("thing 2", "Res 2"), ("thing 1", "Res 1")]
        assert dataset.samples == ImageFolder(folder / split).samples
    assert train.targets == [0] * 4 + [1] * 4 + [2] * 4
    labels = {Path(path).name: label for path, label in val.samples}
    assert labels == dict(zip(val_names(5), [2, 1, 0, 2, 1], strict=True))


def test_it_is_what_torchvision_itself_unpacks(folder, call, official, tmp_path):
    official()
    theirs = shutil.copytree(folder, tmp_path / "theirs")
    for split in ("train", "val"):
        ImageNet(theirs, split=split)
    code, out, err = call()
    assert (code, err) == (0, "")
    assert all(f"the MD5 sum of {name} is right" in out for name in (DEVKIT, VAL, TRAIN))
    assert images(folder) == images(theirs)
    assert torchvision_imagenet.load_meta_file(folder) == torchvision_imagenet.load_meta_file(theirs)


def test_again_when_all_is_done(folder, call):
    call(OWN)
    for name in (TRAIN, VAL, DEVKIT):
        (folder / name).unlink()
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    line = "imagenet_1k: 3 classes, 12 training and 5 validation images; complete already\n"
    assert call() == (0, line, "")
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]} == before


def without_archives(folder):
    for name in (TRAIN, VAL, DEVKIT):
        (folder / name).unlink()


CLASS = f"train/{SECOND}"
# what is deleted -> a pattern, how many that match it, and the line: where, how many there are, how many there were
LOST = {
    "an image": (f"{CLASS}/*", 1, CLASS, 3, 4),
    "a class's images": (f"{CLASS}/*", 4, CLASS, 0, 4),
    "a class": (CLASS, 1, CLASS, 0, 4),
    "an image for validation": ("val/*/*", 1, "val", 4, 5),
    "a class for validation": (f"val/{SECOND}", 1, "val", 3, 5),
}


@pytest.mark.parametrize("name", LOST)
def test_a_folder_that_lacks_images_is_not_complete(folder, call, name):
    pattern, lost, place, found, had = LOST[name]
    call(OWN)
    for path in sorted(folder.glob(pattern))[:lost]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    without_archives(folder)
    before = tree(folder)
    advice = f"delete it, put {DEVKIT}, {VAL}, {TRAIN} into {folder}, and run this again"
    line = f"error: {folder / place} has {found} images, but had {had} when it was unpacked: {advice}\n"
    assert call(OWN) == (2, "", line)
    assert tree(folder) == before


def test_a_hidden_folder_is_no_class(folder, call):
    (folder / "train/.ipynb_checkpoints").mkdir(parents=True)
    assert call(OWN)[0] == 0
    without_archives(folder)
    assert "3 classes, 12 training and 5 validation images; complete already" in call(OWN)[1]


def test_what_the_line_says_makes_it_whole(folder, call):
    call(OWN)
    next((folder / "train" / SECOND).iterdir()).unlink()
    code, out, err = call(OWN)  # the archives are there
    assert (code, out) == (2, "")
    assert err == f"error: {folder}/train/{SECOND} is not what {TRAIN} holds: delete it to have it unpacked again\n"
    shutil.rmtree(folder / "train" / SECOND)
    assert call(OWN)[0] == 0 and images(folder) == expected()
    assert "complete already" in call(OWN)[1]


@pytest.mark.parametrize("note", [None, "", "{}", '{"images": 3}'])
def test_without_a_note_the_archives_tell_how_many_images_there_are(folder, call, note):
    """As in a folder that torchvision, or an earlier version, has unpacked."""
    call(OWN)
    (folder / UNPACKED).unlink() if note is None else (folder / UNPACKED).write_text(note)
    lost = next((folder / "train" / SECOND).iterdir())
    content = lost.read_bytes()
    lost.unlink()
    assert f"{SECOND} is not what {TRAIN} holds" in call(OWN)[2]
    lost.write_bytes(content)
    code, out, _ = call(OWN)
    assert code == 0 and "complete already" not in out
    assert "complete already" in call(OWN)[1]
    (folder / UNPACKED).unlink()
    without_archives(folder)
    assert "complete already" in call(OWN)[1]  # nothing tells
    lost.parent.rename(lost.parent.with_name("elsewhere"))
    assert f"imagenet_1k lacks {DEVKIT}, {VAL}, {TRAIN}: download" in call(OWN)[2]


@pytest.mark.parametrize("lost", ["meta.bin", f"train/{SECOND}", "val"])
def test_only_what_was_lost_since_is_made_again(folder, call, lost):
    call(OWN)
    whole = tree(folder)
    (folder / lost).unlink() if lost == "meta.bin" else shutil.rmtree(folder / lost)
    left = {path: path.stat().st_mtime_ns for path in folder.rglob("*.JPEG")}
    assert call(OWN)[0] == 0
    assert tree(folder) == whole
    assert left == {path: path.stat().st_mtime_ns for path in left}


def test_an_archive_as_tar_writes_that_of_a_folder(folder, call, resumes):
    """`tar -c .` puts ./ before every name, and an entry for the folder first."""
    with tarfile.open(folder / TRAIN) as tar:
        inner = {member.name: tar.extractfile(member).read() for member in tar}
    with tarfile.open(folder / TRAIN, "w") as tar:
        add(tar, ".", type=tarfile.DIRTYPE)
        for name, content in inner.items():
            add(tar, f"./{name}", content)
    resumes()


# Sums


def test_a_wrong_sum(folder, call, resumes):
    said = "is not the official one, so it is broken or another archive: download it again, or give --skip-checksum if "
    assert call() == (2, "", f"error: the MD5 sum of {folder / DEVKIT} {said}it is one of your own\n")
    resumes()


def test_an_archive_is_not_read_for_its_sum_twice(folder, call, official, monkeypatch):
    (folder / VAL).write_bytes((folder / VAL).read_bytes()[:3000])
    official()
    assert call()[0] == 2  # it is broken, though its sum is right
    read = []
    monkeypatch.setattr(hashlib, "md5", lambda *given, true=hashlib.md5, **more: read.append(1) or true(*given, **more))
    assert (call()[0], len(read)) == (2, 0)
    os.utime(folder / VAL)
    assert (call()[0], len(read)) == (2, 1)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"verified": 3}', '{"verified": {"a": 3}}'])
def test_a_note_that_was_changed_by_hand_counts_as_none(folder, call, official, content):
    official()
    (folder / setup_dataset.UNPACKING).write_text(content)
    assert "the MD5 sum of" in call()[1]
    assert images(folder) == expected()


# Interrupted


@pytest.fixture
def killed(tmp_path):
    """The program in a process of its own, which calls `prepare` first; returns its exit code, or minus its signal."""

    def killed(folder, prepare):
        arguments = ("--dataset-path", folder.parent, OWN, "--workers", 1)
        return forked(prepare, setup_dataset.main, *arguments, output=tmp_path / "output")

    return killed


def test_killed_at_every_step(killed, tmp_path, capsys):
    """Whatever is there under its final name is whole; the next run makes of it what one without a kill makes."""
    archives, ends, code = tmp_path / "archives", set(), None
    wnids, _ = write_archives(archives, classes=2, train_per_class=1, val=2)
    whole = expected(wnids, 1, 2)
    for step in range(200):
        folder = shutil.copytree(archives, tmp_path / str(step) / "imagenet_1k")
        code = killed(folder, lambda step=step, folder=folder: kill_at(step, folder))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        files = tree(folder)
        parts = {path: content for path, content in files.items() if path.startswith(("train/", "val/"))}
        ends.add((len(parts), setup_dataset.UNPACKING in files))
        assert parts.items() <= whole.items()
        assert "val" not in {path.partition("/")[0] for path in parts} or sum(path[0] == "v" for path in parts) == 2
        assert setup_dataset.UNPACKING in files or not parts
        setup_dataset.main(["--dataset-path", str(folder.parent), OWN])
        assert capsys.readouterr().err == ""
        assert images(folder) == whole
    assert code == 0
    assert {(0, False), (0, True), (2, True), (3, True), (4, True)} <= ends


def test_killed_within_a_file(folder, killed, resumes):
    def half(source, target, _):
        target.write(source.read()[:1000])
        target.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    assert killed(folder, lambda: setattr(shutil, "copyfileobj", half)) == -signal.SIGKILL
    assert 1000 in map(len, tree(folder).values())
    assert not any(path.startswith(("train/", "val/")) for path in tree(folder))
    resumes()


def test_ctrl_c(folder, killed, resumes, tmp_path):
    def interrupted(part, partial, stop, true=setup_dataset.unpack):
        if part.folder.name == SECOND:
            os.kill(os.getpid(), signal.SIGINT)
            stop.wait(5)
        return true(part, partial, stop)

    assert killed(folder, lambda: setattr(setup_dataset, "unpack", interrupted)) == 130
    assert (tmp_path / "output").read_text() == "stopped: the same command resumes\n"
    assert not list(folder.glob(".partial-*")) and (folder / setup_dataset.UNPACKING).exists()
    assert (folder / "val").is_dir() and not (folder / "train" / SECOND).exists()
    resumes()


def test_the_disk_is_full(folder, call, resumes):
    with disk_full_after(11):
        code, _, err = call(OWN, "--workers", 1)
    assert (code, err) == (2, "error: No space left on device; when that is mended, the same command resumes\n")
    assert not list(folder.glob(".partial-*")) and (folder / setup_dataset.UNPACKING).exists()
    assert len([path for path in tree(folder) if path.startswith("train/")]) == 4
    resumes()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(folder, call):
    folder.chmod(0o500)
    code, out, err = call(OWN)
    folder.chmod(0o700)
    assert (code, out, err) == (2, "", f"error: cannot write {folder / setup_dataset.UNPACKING}: Permission denied\n")


# What is refused


def add(tar, name, content=b"", **more):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for attribute, value in more.items():
        setattr(member, attribute, value)
    tar.addfile(member, io.BytesIO(content))


def repack(path, change):
    """Write the uncompressed archive anew: `change` gets its files, name -> content, to change them."""
    with tarfile.open(path) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    change(files)
    path.write_bytes(pack(files, "w:gz" if path.name == DEVKIT else "w"))


def in_class(change):
    """Changes the archive of the second class: `change` gets its bytes and returns others."""

    def damage(folder):
        repack(folder / TRAIN, lambda files: files.update({f"{SECOND}.tar": change(files[f"{SECOND}.tar"])}))

    return damage


def with_member(name, content=b"", **more):
    """A change for `in_class`: one more member."""

    def change(archive):
        file = io.BytesIO(archive)
        with tarfile.open(fileobj=file, mode="a") as tar:
            add(tar, name, content, **more)
        return file.getvalue()

    return change


def without_end_mark(archive):
    """The next member of the outer archive follows at once."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        last = tar.getmembers()[-1]
    return archive[: last.offset_data + -(-last.size // 512) * 512]


def damaged(archive):
    """One letter of the second member's header is another: its checksum is wrong."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        start = tar.getmembers()[1].offset
    return archive[:start] + b"X" + archive[start + 1 :]


def exchange(folder):
    (folder / TRAIN).rename(folder / "x")
    (folder / VAL).rename(folder / TRAIN)
    (folder / "x").rename(folder / VAL)


def in_archive(name, change):
    return lambda folder: repack(folder / name, change)


def lacking(archive, name):
    return in_archive(archive, lambda files: files.pop(name))


def having(archive, name, content):
    return in_archive(archive, lambda files: files.update({name: content}))


JPEG, TAR = "in it is not a file <name>.JPEG, or there twice", "in it is not a file <name>.tar, or there twice"
BROKEN = "is broken, or another archive"
LINK = {"linkname": "/etc/passwd"}
# what -> how to make it of good archives, and what the error says
BAD = {
    "no folder": (
        lambda folder: folder.rename(folder.parent / "x"),
        f"there is no folder .*, and so no {DEVKIT}, {VAL}, {TRAIN}: download from https://image-net.org/.* after",
    ),
    "no archive": (lambda folder: (folder / TRAIN).unlink(), f"imagenet_1k lacks {TRAIN}: download from https://"),
    "no tar": (lambda folder: (folder / TRAIN).write_bytes(b"<html>" * 500), f"{TRAIN} {BROKEN}"),
    "empty": (lambda folder: (folder / VAL).write_bytes(b""), f"{VAL} {BROKEN} .empty file"),
    "exchanged": (exchange, f"{TRAIN} {BROKEN} .'ILSVRC2012_val_0000000..JPEG' {TAR}"),
    "training twice": (lambda folder: shutil.copy(folder / TRAIN, folder / VAL), f"{VAL} {BROKEN} .*.tar' {JPEG}"),
    "a class too many": (having(TRAIN, "n09.tar", b""), f"{TRAIN} {BROKEN} .n09 is a class in it or"),
    "a class too few": (lacking(TRAIN, f"{THIRD}.tar"), f"{TRAIN} {BROKEN} .{THIRD} is a class in it or"),
    "an image between": (having(TRAIN, "n1.JPEG", b"x"), f"'n1.JPEG' {TAR}"),
    "no class's tar": (in_class(lambda _: b"x" * 2000), f"{SECOND}.tar in .*{TRAIN} {BROKEN}"),
    "a class's tar cut off": (in_class(lambda archive: archive[:3000]), f"{SECOND}.tar in .*{TRAIN} {BROKEN}"),
    "no end mark": (in_class(without_end_mark), f"{SECOND}.tar in .*{TRAIN} {BROKEN}"),
    "a damaged header": (in_class(damaged), f"{SECOND}.tar in .*{TRAIN} {BROKEN} .it is cut off or damaged"),
    "an empty class": (in_class(lambda _: pack({})), f"{SECOND}.tar in .*it holds 0 images only"),
    "up": (in_class(with_member("../up.JPEG")), f"'../up.JPEG' {JPEG}"),
    "absolute": (in_class(with_member("/tmp/up.JPEG")), f"'/tmp/up.JPEG' {JPEG}"),
    "symbolic link": (in_class(with_member("a.JPEG", type=tarfile.SYMTYPE, **LINK)), f"'a.JPEG' {JPEG}"),
    "hard link": (in_class(with_member("a.JPEG", type=tarfile.LNKTYPE, **LINK)), f"'a.JPEG' {JPEG}"),
    "a folder": (in_class(with_member("a", type=tarfile.DIRTYPE)), f"'a' {JPEG}"),
    "an image twice": (in_class(with_member(train_names(SECOND, 1)[0], b"x")), f"{SECOND}_3.JPEG' {JPEG}"),
    "validation: up": (having(VAL, "../up.JPEG", b"x"), f"'../up.JPEG' {JPEG}"),
    "validation: too few": (lacking(VAL, val_names(3)[2]), f"{VAL} {BROKEN} .it holds 4 images only"),
    "validation: another": (having(VAL, "a.JPEG", b""), "the devkit has no class for a.JPEG"),
    "an unknown label": (having(DEVKIT, GROUND_TRUTH, b"1\n4\n"), f"{DEVKIT} {BROKEN} .KeyError.4"),
    "no labels": (having(DEVKIT, GROUND_TRUTH, b"\n"), f"{DEVKIT} {BROKEN} .ValueError.'no labels'"),
    "no meta.mat": (lacking(DEVKIT, META), f"{DEVKIT} {BROKEN} .KeyError.'meta.mat'"),
    "a broken meta.mat": (having(DEVKIT, META, b"x" * 700), f"{DEVKIT} {BROKEN}"),
    "a broken devkit": (lambda folder: os.truncate(folder / DEVKIT, 500), f"{DEVKIT} {BROKEN}"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_archives(folder, call, resumes, tmp_path, name):
    """One line, nothing outside, nothing incomplete; with good archives the same command resumes."""
    damage, message = BAD[name]
    damage(folder)
    before = set(tmp_path.rglob("*"))
    code, _, err = call(OWN)
    assert (code, err.count("\n")) == (2, 1)
    assert re.search(message, err), err
    assert not [path for path in set(tmp_path.rglob("*")) - before if folder not in path.parents]
    assert not list(folder.glob(".partial-*")) and not (folder / "train" / SECOND / "up.JPEG").exists()
    if name != "no folder":
        assert all(content in (None, expected().get(path)) for path, content in tree(folder).items() if "/" in path)
        write_archives(folder)
        resumes()


@pytest.mark.parametrize("name", [TRAIN, VAL])
def test_cut_off_anywhere(folder, call, name):
    """tarfile takes an archive that ends between two members for a whole one."""
    content = (folder / name).read_bytes()
    end = len(content.rstrip(b"\0"))
    for length in [*range(0, end, 3 * 512), end - 1, -(-end // 512) * 512]:
        (folder / name).write_bytes(content[:length])
        code, _, err = call(OWN)
        assert code == 2 and f"{name} is broken, or another archive" in err, length
    (folder / name).write_bytes(content)
    assert call(OWN)[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / train_names(FIRST, 1)[0]).unlink(),
        lambda folder: (folder / train_names(FIRST, 1)[0]).write_bytes(b"x"),
        lambda folder: (folder / "more.JPEG").touch(),
    ],
)
def test_a_class_that_is_not_the_archives_is_left_alone(folder, call, resumes, change):
    call(OWN)
    change(folder / "train" / FIRST)
    (folder / setup_dataset.UNPACKING).touch()
    before = {path: content for path, content in tree(folder).items() if "/" in path}
    code, _, err = call(OWN)
    assert code == 2
    assert err == f"error: {folder}/train/{FIRST} is not what {TRAIN} holds: delete it to have it unpacked again\n"
    assert {path: content for path, content in tree(folder).items() if "/" in path} == before
    shutil.rmtree(folder / "train" / FIRST)
    resumes()


def test_a_folder_among_the_classes(folder, call):
    (folder / "train" / "mine").mkdir(parents=True)
    code, _, err = call(OWN)
    assert code == 2 and "mine" in err and (folder / "train" / "mine").is_dir()
    assert (folder / setup_dataset.UNPACKING).exists()
    (folder / "train" / "mine").rmdir()
    assert call(OWN)[0] == 0


def test_bad_flags(call):
    assert "--workers: must be a whole number of at least 1, not '0'" in call("--workers", 0)[2]
    assert "unrecognized arguments: --dataset x" in call("--dataset", "x")[2]


def test_the_command(tmp_path):
    """Underscores, and an error's exit code, as the shell sees them."""
    command = [sys.executable, "-m", "tasks.image_classification.setup_dataset", f"--dataset_path={tmp_path}"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith(f"error: there is no folder {tmp_path / 'imagenet_1k'}, and so no {DEVKIT}, {VAL}")
