"""Builds golu/kernels/_cpu.so with whatever C compiler is there; without one the install succeeds and the formula serves."""

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
GCC_FLAGS = ["-fschedule-insns"]  # interleaves the vectors of a block: a sixth faster


class BuildKernel(build_ext):
    """One plain C library, not a Python extension: it serves every Python and torch version."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CC", "cc").split()
        # OpenMP's functions are left open on purpose (linked without -fopenmp): they resolve to the
        # runtime that torch has loaded, so that there is one pool of threads.
        undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        errors = []
        for flags in (["-fopenmp", *GCC_FLAGS], ["-fopenmp"], []):
            object_file = target.with_suffix(".o")
            commands = [
                [*compiler, *FLAGS, *flags, "-c", *ext.sources, "-o", str(object_file)],
                [*compiler, "-shared", *undefined, str(object_file), "-lm", "-o", str(target)],
            ]
            try:
                for command in commands:
                    subprocess.run(command, check=True, capture_output=True, text=True)
                return
            except OSError as error:
                errors.append(str(error))
            except subprocess.CalledProcessError as error:
                errors.append(error.stderr.strip())
            finally:
                object_file.unlink(missing_ok=True)
        print(f"warning: the C kernel was not built, GoLU runs as a plain formula on the CPU: {errors[0]}", file=sys.stderr)
        target.unlink(missing_ok=True)


class PlatformWheel(bdist_wheel):
    """Tagged for any Python 3 of this platform."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


windows = platform.system() == "Windows"
setup(
    ext_modules=[] if windows else [Extension("golu.kernels._cpu", ["golu/kernels/cpu.c"], depends=["golu/kernels/gate.h", "golu/kernels/simd.h"], optional=True)],
    cmdclass={"build_ext": BuildKernel, "bdist_wheel": PlatformWheel},
)
