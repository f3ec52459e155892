"""Build the wheel for arm64 with Debian's cross compiler, and run it with torch in an emulated Debian."""

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

from release import build
from release.build import run
from release.environments import VALUES, Row, compared, failed, row, verdict

NEEDED = [build.CROSS, "qemu-aarch64-static", "apt-get", "dpkg"]
# apt with lists, cache and a status of its own: neither the machine's packages nor its architectures change
APT = """APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
"""
PACKAGES = ["python3", "libstdc++6", "libgcc-s1", "libatomic1"]


def check(archive: Path, programs: Path, folder: Path, torch: str) -> Row:
    """Cross-build the wheel, run it, and hold its values against those of the same source compiled for this machine."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return Row("wheel, arm64", "", "", "", "", f"skipped: no {', '.join(missing)}", "", True)
    try:
        wheel = build.wheel(archive, programs, folder, arm64=True)
        print(f"built {wheel.name}", flush=True)
        root = debian(folder / "debian")
        python = ["qemu-aarch64-static", "-L", root, root / "usr/bin/python3"]
        version = run([*python, "-c", "import platform; print(platform.python_version())"]).strip()
        site = site_packages(folder / "site", wheel, programs, version, torch)
        environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
        script = shutil.copy(Path(__file__).with_name(VALUES), root)
        report = json.loads(run([*python, "-W", "ignore", script], environment, root))
        checked = verdict(run([*python, "-W", "ignore", "-m", "golu"], environment, root))
        bits = compared({"portable": report["values"].get("portable")}, with_fused_multiply_adds(archive, folder))
    except RuntimeError as error:
        return failed("wheel, arm64", "", torch, error)
    return row("wheel, arm64", f"{version}, emulated", report, checked, bits, kernel=True)


def debian(folder: Path) -> Path:
    """Unpack Python for arm64 and the libraries that it needs, from the release that this machine runs."""
    for name in ("lists/partial", "cache/archives/partial", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "conf").write_text(APT.format(folder=folder))
    environment = {**os.environ, "APT_CONFIG": str(folder / "conf")}
    run(["apt-get", "update"], environment)
    run(["apt-get", "install", "--yes", "--no-install-recommends", "--download-only", *PACKAGES], environment)
    for package in sorted((folder / "cache/archives").glob("*.deb")):
        run(["dpkg", "--extract", package, folder / "root"])
    return folder / "root"


def site_packages(folder: Path, wheel: Path, programs: Path, python: str, torch: str) -> Path:
    """Unpack torch, the wheel, and the packages in plain Python that torch imports."""
    version = ".".join(python.split(".")[:2])
    platforms = [f"--platform=manylinux_{glibc}_aarch64" for glibc in ("2_17", "2_28")]
    chosen = [*platforms, "--python-version", version, "--only-binary=:all:", "--quiet"]
    # pip takes conditions on the machine for this one, so that it would ask for torch's packages for another
    names = ["typing_extensions", "sympy", "networkx", "jinja2", "filelock", "fsspec", "mpmath", "markupsafe"]
    pip = [programs / "python", "-m", "pip", "download", "--no-deps", "--dest", folder / "wheels", *chosen]
    run([*pip, f"torch=={torch}", *names])
    for path in (*(folder / "wheels").iterdir(), wheel):
        zipfile.ZipFile(path).extractall(folder / "packages")
        path.unlink() if path != wheel else None
    return folder / "packages"


def with_fused_multiply_adds(archive: Path, folder: Path) -> dict[str, object]:
    """Return what the portable C computes here where it may fuse, as it always may on arm64: the same bits."""
    shutil.unpack_archive(archive, folder / "fused")
    (source,) = (folder / "fused").iterdir()
    environment = {**os.environ, "CC": "cc -march=haswell", "PYTHONPATH": str(source)}
    run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], environment, source)
    script = shutil.copy(Path(__file__).with_name(VALUES), folder / "fused")
    report = json.loads(run([sys.executable, "-W", "ignore", script], environment, source))
    return {"portable": report["values"]["portable"]}
