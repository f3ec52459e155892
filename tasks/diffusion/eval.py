"""python -m tasks.diffusion.eval scores the samples of a trained model; `--help` explains every flag."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from tasks.diffusion.classifier import NUM_FEATURES, classifier_judge, shared_folder
from tasks.diffusion.features import INCEPTION_FEATURES, inception_judge
from tasks.diffusion.judgement import compare, record, require_enough, table
from tasks.diffusion.pictures import DATA_HELP
from tasks.diffusion.real import open_same, read_images
from tasks.diffusion.sampling import (
    Sampler,
    Trained,
    add_sampling_flags,
    draw,
    first_noise,
    load,
    sampler_of,
    to_pixels,
)
from workbench.cli import flags
from workbench.cli.arguments import Parser, one_of, positive_int
from workbench.cli.errors import UserError, run
from workbench.cli.progress import Progress
from workbench.output.pictures import grid, save_picture
from workbench.output.storage import prepare_folder, write_json
from workbench.training.launch import check_device
from workbench.training.memory import keep_freed_memory

NUMBER_OF_FEATURES = {"classifier": NUM_FEATURES, "inception": INCEPTION_FEATURES}
SHOWN = 64  # samples in the picture
DESCRIPTION = """\
Score samples of a trained model against validation images, which it has not seen: FID, KID and inception score.

  python -m tasks.diffusion.eval --checkpoint results/digits/small_unet/GoLU/checkpoint_0.pth

Beside the samples the table has two marks: pure noise, and one half of the real images against the other, which is as
good as it gets. Images are compared by features of a small classifier, trained on the training images in half a minute
and kept for the next model; --features inception takes those of papers. Scores by other features, or of other numbers
of images, cannot be compared."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    check_device(options.device)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        keep_freed_memory()
    trained = load(options.checkpoint, options.average)
    sampler = sampler_of(options, trained.settings)
    split, data = open_same(trained.configuration, options.data)
    require_enough(NUMBER_OF_FEATURES[options.features], options.samples, len(split.val))
    judge = inception_judge(options.weights) if options.features == "inception" else None
    seed = options.checkpoint.stem.removeprefix("checkpoint_")
    output = options.output or options.checkpoint.with_name(f"scores_{seed}.json")
    picture = output.with_suffix(".png")
    prepare_folder(output.parent)
    skip = trained.configuration.get("bad_images") == "skip"
    channels, size, _ = trained.shape
    if judge is None:
        folder = options.classifiers or shared_folder(options.checkpoint, trained.configuration)
        judge = classifier_judge(split, data, channels, size, folder, skip)
    if judge.warning:
        print(f"warning: {judge.warning}", file=sys.stderr)
    real, _ = read_images(split.val, 2 * options.samples, channels, size, skip)
    require_enough(judge.num_features, options.samples, len(real))
    trained.model.to(device)
    samples = draw_all(trained, sampler, options.samples, options.batch_size, options.seed)
    save_picture(picture, grid(samples[:SHOWN]))
    noise = to_pixels(first_noise(options.seed, range(options.samples), trained.shape))
    with Progress(2 * len(samples) + len(real), unit="image") as progress:
        rows = compare(judge, samples, noise, real, device, progress.advance)
    average = bool(trained.settings.ema_decay) if options.average is None else options.average
    drawn = {"averaged": average, "sampler": sampler.name, "steps": sampler.steps, "seed": options.seed}
    made_of = {"checkpoint": str(options.checkpoint), "configuration": trained.configuration}
    write_json(output, drawn | record(judge, rows, device) | made_of)
    print(f"{table(judge, rows)}\nstored in {output}, with samples in {picture}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser("python -m tasks.diffusion.eval", DESCRIPTION)
    add_sampling_flags(parser)
    flags.add_data_flag(parser, f"{DATA_HELP}, as it was given to the training", ["--data-dir"])
    parser.add_argument("--samples", type=positive_int, default=1000, metavar="N", help="number of samples to draw")
    parser.add_argument(
        "--batch-size", type=positive_int, default=50, metavar="N", help="samples that are drawn at once"
    )
    parser.add_argument(
        "--features", type=one_of("features", NUMBER_OF_FEATURES), default="classifier", metavar="NAME",
        help=f"what images are compared by: classifier ({NUM_FEATURES} features of a classifier of these images) or "
        f"inception (the {INCEPTION_FEATURES} of papers; needs torch-fidelity, --weights, and more images than that)",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights of Inception, for --features inception (default: none)"
    )
    parser.add_argument(
        "--classifiers", type=Path, metavar="DIR",
        help="folder where the classifier is kept (default: that of the data set among the stored runs)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FILE",
        help="file to write scores to, a .json; the samples are shown in the .png beside it (default: "
        "scores_<seed>.json beside the checkpoint, by the seed of the training)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.output and options.output.suffix != ".json":
        raise UserError(f"--output {options.output} has to end with .json")
    if options.weights and options.features != "inception":
        raise UserError("--weights are Inception's: add --features inception")
    return options


def draw_all(trained: Trained, sampler: Sampler, count: int, batch_size: int, seed: int) -> Tensor:
    """Draw so many samples, uint8 (N, C, H, W), in batches."""
    samples = []
    with Progress(count, unit="sample") as progress:
        for first in range(0, count, batch_size):
            numbers = range(first, min(first + batch_size, count))
            noise = first_noise(seed, numbers, trained.shape).to(trained.device)
            samples.append(draw(trained.model, noise, trained.settings, sampler, numbers, seed))
            progress.advance(len(numbers))
            if 10 * numbers.stop // count > 10 * first // count:  # ten lines where there is no bar
                progress.report(f"{numbers.stop} samples drawn")
    return torch.cat(samples)


if __name__ == "__main__":
    run(main)
