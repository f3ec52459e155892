"""python -m tasks.diffusion.eval scores the samples of a trained model; `--help` explains every flag."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.diffusion.classifier import NUM_FEATURES, classifier_extractor, shared_folder
from tasks.diffusion.comparison import compare, record, require_enough, table
from tasks.diffusion.features import INCEPTION_FEATURES, inception_extractor
from tasks.diffusion.pictures import DATA_HELP
from tasks.diffusion.real import open_same, read_images
from tasks.diffusion.sampling import BATCH, draw, first_noise, to_pixels
from tasks.diffusion.trained import add_sampling_flags, load, sampler_of
from workbench.cli import flags
from workbench.cli.arguments import Parser, one_of, positive_int
from workbench.cli.errors import UserError, run
from workbench.cli.progress import Progress
from workbench.output.pictures import grid, save_picture
from workbench.output.storage import prepare_folder, write_json
from workbench.training.launch import chosen_device, to_device
from workbench.training.memory import keep_freed_memory

NUMBER_OF_FEATURES = {"classifier": NUM_FEATURES, "inception": INCEPTION_FEATURES}
SHOWN = 64  # samples in the picture
DESCRIPTION = """\
Score samples of a trained model against validation images, which it has not seen: FID, KID and inception score.

  python -m tasks.diffusion.eval --checkpoint results/digits/tiny_unet/GoLU/checkpoint_0.pth

Beside the samples the table has two marks: pure noise, and one half of the real images against the other, which samples
that are as good as real would have. Images are compared by features of a small classifier, trained on the training
images in half a minute and kept for the next model; --features inception takes those of papers. Scores by other
features, or of other numbers of images, cannot be compared."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    device = chosen_device(options.device)
    if device == "cpu":
        keep_freed_memory()
    trained = load(options.checkpoint, options.average)
    sampler = sampler_of(options, trained.settings)
    split = open_same(trained.configuration, options.data)
    require_enough(NUMBER_OF_FEATURES[options.features], options.samples, len(split.val))
    extractor = inception_extractor(options.weights) if options.features == "inception" else None
    seed = options.checkpoint.stem.removeprefix("checkpoint_")
    features = "" if extractor is None else f"_{options.features}"
    output = options.output or options.checkpoint.with_name(f"scores_{seed}{features}.json")
    picture = output.with_suffix(".png")
    prepare_folder(output.parent)
    skip = trained.configuration.get("bad_images") == "skip"
    channels, size, _ = trained.shape
    if extractor is None:
        folder = options.classifiers or shared_folder(options.checkpoint, trained.configuration)
        extractor = classifier_extractor(split, trained.configuration["data"], channels, size, folder, skip)
    if extractor.warning:
        print(f"warning: {extractor.warning}", file=sys.stderr)
    real, _ = read_images(split.val, 2 * options.samples, channels, size, skip)
    require_enough(extractor.num_features, options.samples, len(real))
    noise, model = first_noise(options.seed, range(options.samples), trained.shape), to_device(trained.model, device)
    with Progress(-(-options.samples // options.batch_size) * sampler.steps) as progress:
        (samples,) = draw(
            model, noise, trained.settings, sampler, options.seed, (), options.batch_size, progress.advance
        )
    save_picture(picture, grid(samples[:SHOWN]))
    with Progress(2 * len(samples) + len(real), unit="image") as progress:
        rows = compare(extractor, samples, to_pixels(noise), real, device, progress.advance)
    drawn = {"averaged": trained.averaged, "sampler": sampler.name, "steps": sampler.steps, "seed": options.seed}
    made_of = {"checkpoint": str(options.checkpoint), "configuration": trained.configuration}
    write_json(output, drawn | record(extractor, rows, device) | made_of)
    print(f"{table(extractor, rows)}\nstored in {output}, with samples in {picture}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser("python -m tasks.diffusion.eval", DESCRIPTION)
    add_sampling_flags(parser)
    flags.add_data_flag(parser, f"{DATA_HELP}, as it was given to the training", ["--data-dir"])
    parser.add_argument("--samples", type=positive_int, default=1000, metavar="N", help="number of samples to draw")
    parser.add_argument(
        "--batch-size", type=positive_int, default=BATCH, metavar="N", help="samples that are drawn at once"
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
        "scores_<seed>.json beside the checkpoint, by the seed of the training, or scores_<seed>_inception.json)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.output and options.output.suffix != ".json":
        raise UserError(f"--output {options.output} has to end with .json")
    if options.weights and options.features != "inception":
        raise UserError("--weights are Inception's: add --features inception")
    return options


if __name__ == "__main__":
    run(main)
