"""Builds golu/kernels/_cpu.so with whatever C compiler is there; without one the install succeeds all the same."""

import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

# -ffp-contract=fast: fused multiply-adds. No -ffast-math: NaN and infinity have to survive.
FLAGS = ["-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC"]
# interleaves the vectors of a block: a sixth faster; and takes `omp simd`, without OpenMP's runtime
GCC = ["-fschedule-insns", "-fopenmp-simd"]
INCLUDE = Path(sysconfig.get_paths()["include"])


class BuildKernel(build_ext):
    """Build one library for every Python and torch version: plain C, and an extension on Python's limited API."""

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CC", "cc").split()
        for sources, outcome in (
            (ext.sources, "calls of GoLU go through ctypes, which costs microseconds"),
            (ext.sources[:1], "no C kernel, GoLU runs as a plain formula on the CPU"),
        ):
            try:
                return compile_kernel(compiler, sources, target)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"warning: {outcome}: {getattr(error, 'stderr', None) or error}", file=sys.stderr)
        target.unlink(missing_ok=True)  # of an earlier build


def compile_kernel(compiler: list[str], sources: list[str], target: Path) -> None:
    """Compile what can be, and link it. Python's functions are left open; OpenMP's are handed over at run time."""
    clang = "clang" in run([*compiler, "--version"])
    mac = sys.platform == "darwin"
    flags = [*FLAGS, *([] if clang else GCC), f"-I{INCLUDE}"]
    objects = [target.with_name(f"{Path(source).stem}.o") for source in sources]
    try:
        for source, compiled in zip(sources, objects, strict=True):
            run([*compiler, *flags, "-c", source, "-o", str(compiled)])
        undefined = ["-undefined", "dynamic_lookup"] if mac else []
        linked = target.with_suffix(".new")
        run([*compiler, "-shared", *undefined, *map(str, objects), "-lm", "-o", str(linked)])
        linked.replace(target)  # at once: a process that has loaded the old one goes on with it
    finally:
        for compiled in objects:
            compiled.unlink(missing_ok=True)


def run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class KernelWheel(bdist_wheel):
    """Tag the wheel for any Python 3 of this platform; where no kernel was built, for any platform.

    Not abi3, although the library keeps to the limited API: such a wheel would not install on a Python without the
    global lock, where the library serves too, through ctypes.
    """

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def run(self) -> None:
        self.run_command("build")
        build = self.get_finalized_command("build")
        if not list(Path(build.build_lib).glob("golu/kernels/*.so")):
            self.distribution.ext_modules = []
            self.root_is_pure = True
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


# Where Python's header is missing, or has no limited API, calls go through ctypes.
limited = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
extension = ["golu/kernels/extension.c"] if limited and (INCLUDE / "Python.h").exists() else []
kernel = Extension(
    "golu.kernels._cpu",
    sources=["golu/kernels/cpu.c", *extension],
    depends=[f"golu/kernels/{name}.h" for name in ("gate", "simd", "output", "gated", "learned", "forms")],
    optional=True,
)
setup(
    ext_modules=[] if platform.system() == "Windows" else [kernel],
    cmdclass={"build_ext": BuildKernel, "bdist_wheel": KernelWheel},
)
