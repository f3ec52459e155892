"""Everything that needs a GPU, in one command: the tests marked gpu, then the benchmarks on CUDA.

    python -m benchmarks.gpu

Writes ops_cuda, compiled_cuda, accuracy_cuda, training_cuda, dense_prediction_cuda, diffusion_cuda, language_cuda and
gpu_tests.txt to benchmarks/results.
"""

import subprocess
import sys
from collections.abc import Sequence

import torch

from benchmarks import report
from workbench.cli.errors import UserError, run
from workbench.output import environment, storage

STEPS = [
    ["benchmarks.ops", "--device", "cuda", "--largest", "28"],
    ["benchmarks.compiled", "--device", "cuda", "--width", "1024", "--batch", "8192"],
    ["benchmarks.accuracy", "--device", "cuda"],
    ["benchmarks.training", "--device", "cuda", "--steps", "50"],
    ["benchmarks.dense_prediction", "--device", "cuda", "--steps", "20"],
    ["benchmarks.diffusion", "--device", "cuda"],
    ["benchmarks.language", "--device", "cuda"],
    ["benchmarks.language", "--device", "cuda", "--compile"],
    ["benchmarks.step_time", "--device", "cuda", "--all"],
]


def main(arguments: Sequence[str] | None = None) -> None:
    options = report.parse(report.parser("gpu", __doc__, device=False), arguments)
    if not torch.cuda.is_available():
        raise UserError(
            "torch sees no CUDA device here; the CPU benchmarks are benchmarks.ops, .accuracy, .memory, .compiled"
        )
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "gpu", "tests", "-q"], capture_output=True, text=True, check=False
    )
    where = "\n".join(f"{key}: {value}" for key, value in environment.describe("cuda").items())
    storage.write_text(options.output / "gpu_tests.txt", f"{where}\n\n{tests.stdout}{tests.stderr}")
    print(tests.stdout)
    failed = ["the tests marked gpu"] if tests.returncode else []
    for module, *flags in STEPS:
        command = [sys.executable, "-m", module, *flags, "--output", str(options.output)]
        if subprocess.run(command, check=False).returncode:
            failed.append(module)
    if failed:
        raise UserError(f"failed: {', '.join(failed)}; see the output above and {options.output / 'gpu_tests.txt'}")


if __name__ == "__main__":
    run(main)
