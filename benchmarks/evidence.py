"""Compare seven activations, each at its own learning rate, on small tasks, and keep what was measured.

python -m benchmarks.evidence digits           200 images of digits, a small convolutional network; ten minutes
python -m benchmarks.evidence fashion_mnist    5000 images of clothes, a multilayer perceptron; a quarter of an hour
python -m benchmarks.evidence pydoc_topics     Python's help texts, a small GPT; two to three hours

The runs are stored in --results, where the same command resumes; their numbers are copied to --output, from which
python -m tasks.report makes its tables. ReLU² and TeLU are registered here as a user would register them.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import report
from golu import register
from tasks.compare.__main__ import main as compare
from workbench.cli.arguments import one_of, positive_int
from workbench.cli.errors import run

KEPT = ("results_*.json", "results.json", "tuning.json", "table.md")


class ReLU2(nn.Module):
    """Compute the square of ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x).square()


class TeLU(nn.Module):
    """Compute x * tanh(exp(x))."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.tanh(torch.exp(x))


if __name__ in ("__main__", "__mp_main__"):  # the second is a process of --jobs; who imports this gets no new names
    register("ReLU2", ReLU2, paper="arXiv 2109.08668")
    register("TeLU", TeLU, paper="arXiv 2412.20269")

ACTIVATIONS = ["ReLU", "GELU", "Swish", "Mish", "GoLU", "ReLU2", "TeLU"]
COMPARISONS = {
    "digits": "--lr tune 0.0004 0.0012 0.004 0.012 0.04 0.12 --tuning-seeds 3 --seeds 10",
    "fashion_mnist": "--model mlp --lr tune 0.0001 0.0003 0.001 0.003 0.01 --tuning-seeds 2 --seeds 5 "
    "--limit-train 5000 --limit-val 2000",
    "pydoc_topics": "--lr tune 0.001 0.002 0.004 0.008 --tuning-seeds 1 --seeds 3",
}


def keep(source: Path, output: Path) -> int:
    """Copy numbers and tables of comparisons, without weights and figures, and return how many files there are."""
    found = [path for pattern in KEPT for path in source.rglob(pattern)]
    for path in found:
        target = output / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return len(found)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = report.parser("evidence", __doc__, device=False)
    parser.set_defaults(output=report.RESULTS / "tuned")
    parser.add_argument(
        "comparison", type=one_of("comparison", COMPARISONS), help=f"what is compared: {', '.join(COMPARISONS)}"
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results/evidence"), metavar="DIR", help="folder of the stored runs"
    )
    parser.add_argument("--jobs", type=positive_int, default=1, metavar="N", help="runs at once, each with one thread")
    return report.parse(parser, arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, or go on with a comparison, and copy its numbers."""
    options = parse(arguments)
    flags = ["--dataset", options.comparison, *COMPARISONS[options.comparison].split(), "--threads", "1"]
    compare([*flags, "--activations", *ACTIVATIONS, "--results", str(options.results), "--jobs", str(options.jobs)])
    count = keep(options.results / options.comparison, options.output / options.comparison)
    print(f"{options.output / options.comparison} has {count} files")


if __name__ == "__main__":
    run(main)
