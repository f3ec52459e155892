"""python -m tasks.gpt.sample draws text from a trained model; `--help` explains every flag."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasks.gpt.model import GPT
from tasks.gpt.train import PROGRAM
from tasks.gpt.vocabularies import Tokens, Vocabulary, described
from workbench.cli import flags
from workbench.cli.arguments import Parser, non_negative_float, positive_int
from workbench.cli.errors import UserError, run
from workbench.training.launch import chosen_device
from workbench.training.seeding import seed_everything
from workbench.training.trained import own_checkpoint, trained

DESCRIPTION = """\
Have a trained model continue a text. The checkpoint has all that it takes: weights, recipe and vocabulary.

  python -m tasks.gpt.sample --checkpoint results/pydoc_topics/tiny/GoLU/checkpoint_0.pth --start "The statement"
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = Parser("python -m tasks.gpt.sample", DESCRIPTION)
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("results/pydoc_topics/tiny/GoLU/checkpoint_0.pth"), metavar="FILE",
        help="checkpoint of a training with tasks.gpt.train",
    )  # fmt: skip
    parser.add_argument(
        "--start", metavar="TEXT",
        help="text that the model continues (default: a line end, or in a vocabulary without one a space, or its first "
        "character)",
    )  # fmt: skip
    parser.add_argument("--num-samples", type=positive_int, default=1, metavar="N", help="number of texts to draw")
    parser.add_argument("--max-new-tokens", type=positive_int, default=200, metavar="N", help="tokens drawn per text")
    parser.add_argument(
        "--temperature", type=non_negative_float, default=0.8, metavar="X",
        help="temperature: 1 as the model predicts, less favours probable tokens, 0 always the most probable",
    )  # fmt: skip
    parser.add_argument("--top-k", type=positive_int, metavar="N", help="draw from the N top tokens (default: all)")
    flags.add_seed_flag(parser, "seed of the draws")
    flags.add_device_flags(parser)
    options = parser.parse_args(arguments)
    device = chosen_device(options.device)
    model, vocabulary = load(options.checkpoint)
    model = model.to(device)
    start = start_of(vocabulary, options.start)
    seed_everything(options.seed)
    tokens = torch.tensor(start.astype(int), device=device).expand(options.num_samples, -1)
    texts = generate(model, tokens, options.max_new_tokens, vocabulary.size, options.temperature, options.top_k)
    for number, text in enumerate(texts.tolist(), start=1):
        if options.num_samples > 1:
            print(f"--- {number}")
        sys.stdout.write(vocabulary.decode(text) + "\n")


def load(path: Path) -> tuple[GPT, Vocabulary]:
    """Load the model of a checkpoint, for evaluation, and its vocabulary.

    Raises:
        UserError: it is missing, broken, or of another task.
    """
    checkpoint = own_checkpoint(path, PROGRAM)
    _, model = trained(checkpoint, torch.device("cpu"))
    assert isinstance(model, GPT)
    return model, described(checkpoint.state["extras"]["vocabulary"])


def start_of(vocabulary: Vocabulary, given: str | None) -> Tokens:
    """Return the tokens of a text to continue; None: those of the first of a line end or a space that there is.

    Raises:
        UserError: the text is empty, no UTF-8, or has a character that the vocabulary has not.
    """
    if given is None:
        for text in ("\n", " "):
            with contextlib.suppress(UserError):
                return vocabulary.encode(text)
        return np.zeros(1, np.uint16)
    if any("\ud800" <= each <= "\udfff" for each in given):  # what Python makes of other bytes
        raise UserError("--start is no text in UTF-8")
    if not given:
        raise UserError("--start is empty: give it at least a character")
    return vocabulary.encode(given)


@torch.inference_mode()
def generate(
    model: GPT, tokens: Tensor, count: int, vocabulary_size: int, temperature: float = 1.0, top_k: int | None = None
) -> Tensor:
    """Return the tokens, int64 (N, T), and `count` more, drawn one after the other: (N, T + count).

    Args:
        vocabulary_size: tokens from this one on are never drawn; the model may have more, for speed.
        temperature: 0 takes the most probable token.
    """
    for _ in range(count):
        logits = model(tokens[:, -model.block_size :])[:, -1, :vocabulary_size].double()
        if temperature == 0:
            drawn = logits.argmax(1, keepdim=True)
        else:
            if top_k is not None and top_k < vocabulary_size:
                least = logits.topk(top_k).values[:, -1:]
                logits = logits.masked_fill(logits < least, -torch.inf)
            logits = logits - logits.max(1, keepdim=True).values  # so that no temperature is too low
            drawn = torch.multinomial(torch.softmax(logits / temperature, 1), 1)
        tokens = torch.cat([tokens, drawn], 1)
    return tokens


if __name__ == "__main__":
    run(main)
