"""python -m tasks.gpt.prepare_owt prepares OpenWebText in GPT-2's vocabulary; `--help` explains every flag."""

from collections.abc import Sequence
from typing import Any

from tasks.gpt.prepare import prepare_dataset
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError, run

DESCRIPTION = """\
Download OpenWebText (Gokaslan & Cohen 2019: eight million web pages) and tokenise it into train.bin, 18 GB, and
val.bin, which takes 0.05 % of the pages, drawn as nanoGPT draws them. Stopped and started again, it resumes.

  python -m tasks.gpt.prepare_owt --cache_dir data/open_web_text --num_workers 8"""

VAL_FRACTION, SPLIT_SEED = 0.0005, 2357


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the data set."""
    parser = Parser("python -m tasks.gpt.prepare_owt", DESCRIPTION)
    prepare_dataset(parser, "open_web_text", "Skylion007/openwebtext", _split, arguments)


def _split(loaded: Any, source: str) -> dict[str, Any]:
    if "train" not in loaded or len(loaded["train"]) < 2:
        raise UserError(f"{source} has no split train of at least two pages")
    parts = loaded["train"].train_test_split(test_size=VAL_FRACTION, seed=SPLIT_SEED, shuffle=True)
    return {"train": parts["train"], "val": parts["test"]}


if __name__ == "__main__":
    run(main)
