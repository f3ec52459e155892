"""What is distributed: the files of the source distribution and of wheels, and what the library asks a system for."""

import platform
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest

from golu.kernels import cpu

ROOT = Path(__file__).parents[2]
LIBRARY = Path(cpu.__file__).with_name("_cpu.so")
HEADERS = ("gate", "simd", "output", "gated", "learned", "forms")
KERNEL = {f"golu/kernels/{name}" for name in ("cpu.c", "extension.c", *(f"{each}.h" for each in HEADERS))}


def build(tmp_path: Path, kind: str, compiler: str) -> Path:
    """Build a "wheel" or an "sdist" from a copy of the sources, in which an import of torch fails."""
    for name in ("golu", "tests/golu", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    (tmp_path / "golu/kernels/_cpu.so").write_bytes(b"of an earlier build")
    (tmp_path / "tests/test_architecture.py").touch()
    program = f"""
        import os, sys
        sys.modules["torch"] = None
        from setuptools import build_meta
        print(build_meta.build_{kind}(sys.argv[1]))
    """
    environment = {"PATH": "/usr/bin:/bin", "CC": compiler}
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "dist")]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    (built,) = (tmp_path / "dist").iterdir()
    return built


def test_the_source_distribution(tmp_path: Path) -> None:
    with tarfile.open(build(tmp_path, "sdist", "/nonexistent/cc")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*KERNEL, "LICENSE", "README.md", "setup.py", "pyproject.toml", "golu/py.typed"} <= names
    assert not {name for name in names if name.endswith(".so") or name.startswith(("tests", "tasks", "release"))}


def test_a_wheel_without_a_compiler(tmp_path: Path) -> None:
    """Its name says that it holds no kernel, although the folder has the library of an earlier build."""
    wheel = build(tmp_path, "wheel", "/nonexistent/cc")
    assert re.fullmatch(r"golu_torch-[\d.]+-py3-none-any\.whl", wheel.name)
    files = zipfile.ZipFile(wheel).namelist()
    assert "golu/formula.py" in files and not any(name.endswith(".so") or ".data/" in name for name in files)


@pytest.mark.parametrize("compiler", ["cc", "gcc", "clang"])
def test_a_wheel_with_a_compiler(tmp_path: Path, compiler: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    wheel = build(tmp_path, "wheel", compiler)
    assert re.fullmatch(r"golu_torch-[\d.]+-py3-none-(linux|macosx)\w+\.whl", wheel.name)
    archive = zipfile.ZipFile(wheel)
    files = archive.namelist()
    assert {*KERNEL, "golu/kernels/_cpu.so", "golu/py.typed"} <= set(files)
    assert archive.getinfo("golu/kernels/_cpu.so").file_size > 20_000
    assert not any(name.startswith(("tasks", "tests", "benchmarks", "visualizations", "release")) for name in files)
    assert any(name.endswith("licenses/LICENSE") for name in files)


# ---- the library of this tree ----

needs_the_library = pytest.mark.skipif(not LIBRARY.exists(), reason="the C kernel is not built")
needs_nm = pytest.mark.skipif(shutil.which("nm") is None or sys.platform != "linux", reason="no nm, or not Linux")


def asked_for() -> list[str]:
    """The symbols that the library leaves to others, with their versions."""
    printed = subprocess.run(["nm", "-D", "--undefined-only", LIBRARY], capture_output=True, text=True, check=True)
    return [line.split()[-1] for line in printed.stdout.splitlines()]


@needs_the_library
@needs_nm
def test_the_library_asks_for_python_and_an_old_libc_alone() -> None:
    """Neither torch nor OpenMP, whose names and places differ, and no symbol that an old Linux lacks."""
    weak = {"__gmon_start__", "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable"}
    others = [name for name in asked_for() if not re.match(r"_?Py", name) and name not in weak]
    versions = [re.fullmatch(r"\w+@+GLIBC_([\d.]+)", name) for name in others]
    assert others and all(versions), others
    oldest = (2, 5) if platform.machine() == "x86_64" else (2, 17)  # as the wheels' names say
    assert max(tuple(map(int, found[1].split("."))) for found in versions) <= oldest, others


@needs_the_library
@needs_nm
def test_the_library_keeps_to_the_limited_api() -> None:
    abi3info = pytest.importorskip("abi3info")
    known = {symbol.name: each for table in (abi3info.FUNCTIONS, abi3info.DATAS) for symbol, each in table.items()}
    names = [name for name in asked_for() if re.match(r"_?Py", name)]
    assert "PyArg_ParseTuple" in names
    for name in names:
        added = known[name].added
        assert (added.major, added.minor) <= (3, 10), name


@needs_the_library
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
@pytest.mark.parametrize("library", ["torch's own", "libm.so.6"])
def test_threads_are_torchs_or_none(library: str) -> None:
    """Where torch's library does not lead to OpenMP, as libm here, a call runs on one thread and gives the same."""
    program = f"""
        import os, torch
        from golu import formula, golu, kernels
        if {library!r} == "libm.so.6":
            torch._C.__file__ = {library!r}
        torch.set_num_threads(1)
        x = torch.linspace(-8, 8, 2**20)
        expected = formula.golu(x, 1.0, 1.0, 1.0)
        counts = [len(os.listdir("/proc/self/task"))]
        torch.set_num_threads(3)
        for function in golu, torch.nn.functional.silu:
            y = function(x)
            counts.append(len(os.listdir("/proc/self/task")) - counts[0])
            if function is golu:
                torch.testing.assert_close(y, expected)
        print(*counts[1:], kernels.kernel_for("cpu").reason, sep=";")
    """
    environment = {"OMP_NUM_THREADS": "3", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    run = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    of_golu, of_both, reason = run.stdout.strip().split(";")
    if library == "libm.so.6":
        assert (of_golu, of_both) == ("0", "2") and "on one thread, since this torch has no OpenMP" in reason
    else:
        assert (of_golu, of_both) == ("2", "2") and "on torch's threads" in reason
