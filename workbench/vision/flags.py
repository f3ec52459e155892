"""The flags that every classification program has, each explained in one place."""

import argparse
from pathlib import Path

from workbench.cli import flags as run_flags
from workbench.cli.arguments import Parser, non_negative_int, one_of, positive_int
from workbench.training.launch import cores
from workbench.vision.where import Where


def add_run_flags(parser: Parser, results: list[str], activation: list[str]) -> None:
    """What every run needs; the names of the flags for results and activation are the program's."""
    run_flags.add_run_flags(parser, results, activation)
    for split, what in (("train", "training"), ("val", "validation")):
        parser.add_argument(
            f"--limit-{split}", type=positive_int, metavar="N",
            help=f"take N {what} images, classes in proportion (default: all)",
        )  # fmt: skip


def add_file_flags(parser: Parser, data: list[str], dataset: str, data_dir: Path) -> None:
    """Where pictures come from, and how they are read; the name of the flag for their folder is the program's."""
    parser.add_argument(
        "--dataset", default=dataset, metavar="NAME",
        help="folder (torch/imagenet means the same): train/ and val/ with one folder a class; or cifar10 (or "
        "torch/cifar10), fashion_mnist, mnist, digits",
    )  # fmt: skip
    parser.add_argument(
        *data, dest="data_dir", type=Path, default=data_dir, metavar="DIR",
        help="the folder of train/ and val/, or where the other data sets are, or are downloaded to",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=non_negative_int, default=min(4, cores()), metavar="N",
        help="processes that read and transform images, for each process that trains; 0: none",
    )  # fmt: skip
    parser.add_argument(
        "--bad-images", type=one_of("choice", ("refuse", "skip")), default="refuse", metavar="NAME",
        help="what to do with a file that is no image: refuse (stop, and name it) or skip (name it, and go on)",
    )  # fmt: skip


def where(options: argparse.Namespace) -> Where:
    """What those flags say."""
    return Where(
        dataset=options.dataset,
        data_dir=options.data_dir,
        results=options.results,
        activation=options.activation,
        seed=options.seed,
        workers=options.workers,
        limit_train=options.limit_train,
        limit_val=options.limit_val,
        device=options.device,
        compile=options.compile,
        skip_broken=options.bad_images == "skip",
        checkpoint_steps=options.checkpoint_steps,
    )
