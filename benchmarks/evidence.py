"""Compare seven activations, each at its own learning rate, on small tasks, and keep what was measured.

python -m benchmarks.evidence digits       200 images of digits, a small convolutional network; ten minutes
python -m benchmarks.evidence clothes      5000 images of Fashion-MNIST, a multilayer perceptron; a quarter of an hour
python -m benchmarks.evidence blocks       3000 images, perceptrons of one to four blocks; half an hour
python -m benchmarks.evidence resnet20     2000 images, ResNet-20; three quarters of an hour
python -m benchmarks.evidence vit          5000 images, a small vision transformer; an hour
python -m benchmarks.evidence diffusion    digits, a small UNet; an hour
python -m benchmarks.evidence texts        Python's help texts, a small GPT; an hour and a half
python -m benchmarks.evidence scenes       digits on photographs, a small Faster R-CNN; two hours

The runs are stored in --results, where the same command resumes; their numbers are copied to --output, from which
python -m tasks.report makes its tables. The stored ones are of ReLU² and TeLU as a user had registered them,
relu(x).square() and x * tanh(exp(x)); golu.neighbours has them since.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from tasks.compare.__main__ import main as compare
from workbench.cli.arguments import one_of, positive_int
from workbench.cli.errors import run

KEPT = ("results_*.json", "results.json", "tuning.json", "table.md")


ACTIVATIONS = ["ReLU", "GELU", "Swish", "Mish", "GoLU", "ReLU2", "TeLU"]
_CLOTHES = "--dataset fashion_mnist --limit-val 2000"
COMPARISONS = {
    "digits": "--dataset digits --lr tune 0.0004 0.0012 0.004 0.012 0.04 0.12 --tuning-seeds 3 --seeds 10",
    "clothes": f"{_CLOTHES} --model mlp --limit-train 5000 --lr tune 0.0001 0.0003 0.001 0.003 0.01 --tuning-seeds 2 "
    "--seeds 5",
    "blocks": f"{_CLOTHES} --models mlp_1 mlp_2 mlp_3 mlp_4 --limit-train 3000 --epochs 8 "
    "--lr tune 0.0001 0.0003 0.001 0.003 0.01 --tuning-seeds 1 --seeds 5",
    "resnet20": f"{_CLOTHES} --model resnet20 --limit-train 2000 --epochs 4 --lr tune 0.001 0.003 0.01 0.03 "
    "--tuning-seeds 1 --seeds 3",
    "vit": f"{_CLOTHES} --task train_vit --model test_vit --img-size 64 --limit-train 5000 --epochs 6 "
    "--warmup-epochs 1 --batch-size 64 --mixup 0 --cutmix 0 --reprob 0 --lr tune 0.0002 0.0006 0.002 --tuning-seeds 1 "
    "--seeds 3",
    "diffusion": "--task diffusion --dataset digits --model tiny_unet --epochs 4 --limit-val 200 "
    "--lr tune 0.0005 0.001 0.002 --tuning-seeds 1 --seeds 3",
    "texts": "--dataset pydoc_topics --epochs 3 --lr tune 0.002 0.004 0.008 --tuning-seeds 1 --seeds 3",
    "scenes": "--dataset scenes --lr tune 0.00125 0.0025 0.005 0.01 0.02 --tuning-seeds 1 --seeds 3",
}


def keep(source: Path, output: Path) -> int:
    """Copy numbers and tables of comparisons that have ended, without weights and figures; return how many files."""
    ended = [table.parents[1] for table in source.rglob("tuned/table.md")]
    found = [path for folder in ended for pattern in KEPT for path in folder.rglob(pattern)]
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
    flags = [*COMPARISONS[options.comparison].split(), "--activations", *ACTIVATIONS, "--threads", "1"]
    compare([*flags, "--results", str(options.results), "--jobs", str(options.jobs)])
    print(f"{keep(options.results, options.output)} files are in {options.output}")


if __name__ == "__main__":
    run(main)
