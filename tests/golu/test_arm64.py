"""The kernel compiled for arm64 and run in emulation: the bits of x86's where both fuse multiplication and addition."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from release.values import inputs

KERNELS = Path(__file__).parents[2] / "golu/kernels"
CROSS, SYSTEM = "aarch64-linux-gnu-gcc", "/usr/aarch64-linux-gnu"
FLAGS = ["-std=c11", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fopenmp-simd"]
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64}
# from values to values and gradients, as bytes
DRIVER = """
#include <stdio.h>
#include "cpu.c"
static double x[1 << 21], y[1 << 21];
#define RUN(dtype, type)                                                           \\
  if (!strcmp(names[1], #dtype))                                                   \\
    for (int own = 0; own < 2; own++) {                                            \\
      golu_forward_##dtype(x, y, bytes / sizeof(type), own ? parameters : NULL, 1); \\
      fwrite(y, 1, bytes, stdout);                                                 \\
      golu_backward_##dtype(x, x, y, bytes / sizeof(type), own ? parameters : NULL, 1); \\
      fwrite(y, 1, bytes, stdout);                                                 \\
    }
int main(int count, char **names) {
  const double parameters[] = {0.8, 1.2, 0.9};
  const size_t bytes = count == 2 ? fread(x, 1, sizeof x, stdin) : 0;
  RUN(f16, uint16_t) RUN(bf16, uint16_t) RUN(f32, float) RUN(f64, double)
  return !bytes;
}
"""

needs_the_compiler = pytest.mark.skipif(shutil.which(CROSS) is None, reason="no cross compiler for arm64")
needs_emulation = pytest.mark.skipif(
    shutil.which("qemu-aarch64-static") is None or not Path(SYSTEM).exists(), reason="no emulation of arm64"
)
needs_fma = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="no x86 with fused multiply-adds"
)


@needs_the_compiler
def test_it_compiles_for_arm64_without_a_warning(tmp_path: Path) -> None:
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([CROSS, *FLAGS, *warnings, "-c", KERNELS / "cpu.c", "-o", tmp_path / "cpu.o"], check=True)


@needs_the_compiler
@needs_emulation
@needs_fma
def test_arm64_has_the_bits_of_x86(tmp_path: Path) -> None:
    (tmp_path / "driver.c").write_text(DRIVER)
    emulated, own = tmp_path / "emulated", tmp_path / "own"
    for command, program in (([CROSS], emulated), (["cc", "-march=haswell"], own)):
        subprocess.run(
            [*command, *FLAGS, f"-I{KERNELS}", tmp_path / "driver.c", "-o", program, "-lm"],
            check=True,
        )
    for name, dtype in DTYPES.items():
        x = inputs(dtype)[:: 1 if dtype.itemsize == 2 else 8].clone()
        given = bytes(x.view(torch.uint8).tolist())
        results = []
        for command in (["qemu-aarch64-static", "-L", SYSTEM, emulated], [own]):
            printed = subprocess.run([*command, name], input=given, capture_output=True, check=True).stdout
            y = torch.frombuffer(bytearray(printed), dtype=dtype)
            assert len(y) == 4 * len(x)
            results.append(
                torch.where(y.isnan(), torch.nan, y).view(torch.uint8)
            )  # which NaN is the processor's matter
        assert torch.equal(*results), name
