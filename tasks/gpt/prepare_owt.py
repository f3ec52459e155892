"""python -m tasks.gpt.prepare_owt: OpenWebText in GPT-2's vocabulary. `--help` explains every flag."""

from pathlib import Path

from tasks.gpt.prepare import load_dataset, parse_dataset_arguments, write_dataset
from tasks.gpt.tokens import is_prepared
from tasks.gpt.vocabularies import GPT2
from workbench.cli.errors import UserError, run

DESCRIPTION = """\
Download OpenWebText (Gokaslan & Cohen 2019: eight million web pages) and tokenise it into train.bin, 18 GB, and
val.bin, which takes 0.05 % of the pages, drawn as nanoGPT draws them. Stopped and started again, it goes on.

  python -m tasks.gpt.prepare_owt --cache_dir data/open_web_text --num_workers 8"""

VAL_FRACTION, SPLIT_SEED = 0.0005, 2357


def main() -> None:
    options = parse_dataset_arguments("prepare_owt", DESCRIPTION, Path("data/open_web_text"), "Skylion007/openwebtext")
    if is_prepared(options.cache_dir, {"dataset": options.source}):
        print(f"{options.cache_dir} is complete already")
        return
    vocabulary = GPT2()
    loaded = load_dataset(options.source, options.cache_dir, options.num_workers)
    if "train" not in loaded or len(loaded["train"]) < 2:
        raise UserError(f"{options.source} has no split train of at least two pages")
    parts = loaded["train"].train_test_split(test_size=VAL_FRACTION, seed=SPLIT_SEED, shuffle=True)
    splits = {"train": parts["train"], "val": parts["test"]}
    write_dataset(options.cache_dir, options.source, splits, vocabulary, options.num_workers)


if __name__ == "__main__":
    run(main)
