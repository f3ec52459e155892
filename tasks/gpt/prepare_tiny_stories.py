"""python -m tasks.gpt.prepare_tiny_stories: TinyStories in GPT-2's vocabulary. `--help` explains every flag."""

from pathlib import Path

from tasks.gpt.prepare import load_dataset, parse_dataset_arguments, write_dataset
from tasks.gpt.tokens import is_prepared
from tasks.gpt.vocabularies import GPT2
from workbench.cli.errors import UserError, run

DESCRIPTION = """\
Download TinyStories (Eldan & Li 2023: two million short stories) and tokenise it into train.bin and val.bin, about a
gigabyte. Stopped and started again, it goes on.

  python -m tasks.gpt.prepare_tiny_stories --cache_dir data/tiny_stories --num_workers 8"""


def main() -> None:
    options = parse_dataset_arguments(
        "prepare_tiny_stories", DESCRIPTION, Path("data/tiny_stories"), "roneneldan/TinyStories"
    )
    if is_prepared(options.cache_dir, {"dataset": options.source}):
        print(f"{options.cache_dir} is complete already")
        return
    vocabulary = GPT2()
    loaded = load_dataset(options.source, options.cache_dir, options.num_workers)
    missing = {"train", "validation"} - set(loaded)
    if missing:
        raise UserError(f"{options.source} has no split {' and '.join(sorted(missing))}, but {', '.join(loaded)}")
    splits = {"train": loaded["train"], "val": loaded["validation"]}
    write_dataset(options.cache_dir, options.source, splits, vocabulary, options.num_workers)


if __name__ == "__main__":
    run(main)
