"""Builds golu/kernels/_cpu.so with whatever C compiler is there; without one the install succeeds all the same."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

# -ffp-contract=fast: fused multiply-adds. No -ffast-math: NaN and infinity have to survive.
FLAGS = ["-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC"]
GCC = ["-fschedule-insns"]  # interleaves the vectors of a block: a sixth faster
OPENMP = ["-fopenmp"]


class BuildKernel(build_ext):
    """One plain C library, not a Python extension: it serves every Python and torch version."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            compile_kernel(os.environ.get("CC", "cc").split(), ext.sources, target)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", None) or error
            print(f"warning: no C kernel, GoLU runs as a plain formula on the CPU: {reason}", file=sys.stderr)


def compile_kernel(compiler: list[str], sources: list[str], target: Path) -> None:
    """OpenMP's functions are left open (linked without -fopenmp): they resolve to the runtime that torch has
    loaded, so that there is one pool of threads. On Linux that is GCC's runtime, which clang does not call."""
    clang = "clang" in run([*compiler, "--version"])
    mac = sys.platform == "darwin"
    flags = [*FLAGS, *([] if clang else GCC + OPENMP)]
    object_file = target.with_suffix(".o")
    try:
        run([*compiler, *flags, "-c", *sources, "-o", str(object_file)])
        undefined = ["-undefined", "dynamic_lookup"] if mac else []
        run([*compiler, "-shared", *undefined, str(object_file), "-lm", "-o", str(target)])
    finally:
        object_file.unlink(missing_ok=True)


def run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class PlatformWheel(bdist_wheel):
    """Tagged for any Python 3 of this platform."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


kernel = Extension(
    "golu.kernels._cpu",
    sources=["golu/kernels/cpu.c"],
    depends=["golu/kernels/gate.h", "golu/kernels/simd.h"],
    optional=True,
)
setup(
    ext_modules=[] if platform.system() == "Windows" else [kernel],
    cmdclass={"build_ext": BuildKernel, "bdist_wheel": PlatformWheel},
)
