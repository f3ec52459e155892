"""Peak memory of a training step of whole models, by activation: how much more than before the step is in use at most.

python -m benchmarks.peaks

Read from the process's resident memory, so on Linux only. Weights, gradients and what the optimiser keeps are there
before the step and not counted. Nothing is compiled.
"""

import gc
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks import report
from golu.activations import unknown_name
from workbench.cli.arguments import positive_int
from workbench.cli.errors import UserError, run
from workbench.output import storage
from workbench.output.style import figure_style, line_of, save_figure
from workbench.vision.models import timm_classifier

MODELS = {  # of timm: its name, batch, and side of the images
    "ResNet-50, 64 px": ("resnet50", 64, 64),
    "ViT-S": ("vit_small_patch16_224", 8, 224),
    "ConvNeXt-T": ("convnext_tiny", 8, 160),
    "EfficientNet-B0": ("efficientnet_b0", 16, 128),
    "MLP-Mixer-S": ("mixer_s16_224", 8, 224),
}
NAMES = {"Swish": "SiLU", "GoLU_output": 'GoLU(keep="output")'}
ACTIVATIONS = ("ReLU", "Swish", "GELU", "GoLU", "GoLU_output")


def peak_of(name: str, activation: str) -> float:
    """Return the MiB that a step takes at most beyond what is there before it."""
    model_name, batch, side = MODELS[name]
    torch.manual_seed(0)
    model = timm_classifier(model_name, 1000, activation, None)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    x, y = torch.randn(batch, 3, side, side), torch.arange(batch)

    def step() -> None:
        nn.functional.cross_entropy(model(x), y).backward()

    step()  # makes the gradients
    optimizer.step()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is in use now
    before = _resident("VmRSS")
    step()
    return (_resident("VmHWM") - before) / 1024


def _resident(which: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(which)))


def measured(name: str, activation: str) -> float:
    """Return `peak_of` in a process of its own, that gives freed memory back at once."""
    command = [sys.executable, "-m", "benchmarks.peaks", "--one", name, activation]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{name} with {activation}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


def table(numbers: dict) -> str:
    """Make the table of docs/forms.md: MiB, and in brackets over ReLU's."""
    rows = [
        [name, *(f"{row[each]:.0f} ({row[each] / row['ReLU']:.2f})" for each in ACTIVATIONS)]
        for name, row in numbers.items()
    ]
    return report.table(["MiB (over ReLU)", *(NAMES.get(each, each) for each in ACTIVATIONS)], rows)


def draw(numbers: dict, path: Path) -> None:
    """Draw the table as bars."""
    from matplotlib.figure import Figure

    with figure_style():
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        axes = figure.subplots()
        width = 0.8 / len(ACTIVATIONS)
        for i, activation in enumerate(ACTIVATIONS):
            colour, dash = line_of(activation)
            places = [place + (i - (len(ACTIVATIONS) - 1) / 2) * width for place in range(len(numbers))]
            hatch = "" if dash == "-" else "////"  # another way to compute the same
            axes.bar(
                places, [row[activation] for row in numbers.values()], 0.9 * width, color=colour, hatch=hatch,
                edgecolor="white", linewidth=0, label=NAMES.get(activation, activation),
            )  # fmt: skip
        axes.set_xticks(range(len(numbers)), list(numbers))
        axes.set_ylabel("peak memory of a step (MiB)")
        axes.grid(axis="x", visible=False)
        axes.set_ylim(0, 1.25 * max(max(row.values()) for row in numbers.values()))
        axes.legend(ncols=len(ACTIVATIONS), loc="upper center")
        save_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every model with every activation, the median of a few processes each."""
    parser = report.parser("peaks", __doc__, device=False)
    parser.add_argument("--processes", type=positive_int, default=3, metavar="N", help="processes for each number")
    parser.add_argument(
        "--picture", type=Path, default=Path("assets/peak_memory.png"), metavar="FILE", help="where it is drawn"
    )
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "ACTIVATION"), help="print one number, measured here")
    options = report.parse(parser, arguments)
    if not Path("/proc/self/clear_refs").exists():
        raise UserError("the peak of a process's memory can be read on Linux only")
    if options.one:
        for kind, given, known in zip(("model", "activation"), options.one, (MODELS, ACTIVATIONS), strict=True):
            if given not in known:
                raise UserError(unknown_name(kind, given, known))
        print(peak_of(*options.one))
        return
    numbers: dict[str, dict[str, float]] = {}
    for name in MODELS:
        numbers[name] = {}
        for activation in ACTIVATIONS:
            samples = sorted(measured(name, activation) for _ in range(options.processes))
            numbers[name][activation] = samples[len(samples) // 2]
            print(f"{name}, {activation}: {numbers[name][activation]:.0f} MiB", flush=True)
    text = table(numbers)
    print(text)
    report.write(
        "peaks", options, "Peak memory of a training step",
        f"Resident memory at most in a step beyond that before it, eager, fp32; medians of "
        f"{options.processes} processes.",
        {"Whole models": text}, numbers,
    )  # fmt: skip
    storage.prepare_folder(options.picture.parent)
    draw(numbers, options.picture)


if __name__ == "__main__":
    run(main)
