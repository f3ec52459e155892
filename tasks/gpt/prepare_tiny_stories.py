"""python -m tasks.gpt.prepare_tiny_stories prepares TinyStories in GPT-2's vocabulary; `--help` explains every flag."""

from collections.abc import Sequence
from typing import Any

from tasks.gpt.prepare import prepare_dataset
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError, run

DESCRIPTION = """\
Download TinyStories (Eldan & Li 2023: two million short stories) and tokenise it into train.bin and val.bin, about a
gigabyte. Stopped and started again, it resumes.

  python -m tasks.gpt.prepare_tiny_stories --cache_dir data/tiny_stories --num_workers 8"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the data set."""
    parser = Parser("python -m tasks.gpt.prepare_tiny_stories", DESCRIPTION)
    prepare_dataset(parser, "tiny_stories", "roneneldan/TinyStories", _split, arguments)


def _split(loaded: Any, source: str) -> dict[str, Any]:
    missing = {"train", "validation"} - set(loaded)
    if missing:
        raise UserError(f"{source} has no split {' and '.join(sorted(missing))}, but {', '.join(loaded)}")
    return {"train": loaded["train"], "val": loaded["validation"]}


if __name__ == "__main__":
    run(main)
