"""python -m tasks.gpt.export writes a trained model as a GPT-2 of transformers; `--help` explains every flag."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tasks.gpt.gpt2 import ACTIVATIONS, to_gpt2
from tasks.gpt.model import GPT
from tasks.gpt.train import PROGRAM
from workbench.cli.arguments import Parser
from workbench.cli.errors import UserError, run
from workbench.output.storage import whole_folder
from workbench.training.trained import own_checkpoint, trained

DESCRIPTION = """\
Write a trained model as a folder of transformers' GPT-2, to be used without this repository.

  python -m tasks.gpt.export results/pydoc_topics/tiny/GoLU/checkpoint_0.pth --output golu_gpt

The README.md in the folder has the lines that load it; they need transformers and, for GoLU, golu. A vocabulary of byte
pairs is written as transformers' tokenizer, GPT-2's is named, and one of characters is left out."""

CARD = """\
---
library_name: transformers
tags: [text-generation]
---

A GPT-2 with the activation {activation}, trained on {dataset}.

```python
{lines}
```
"""
KNOWN = "from golu.integrations import transformers as names\n\nnames.enable()  # its activation\n"
MODEL = 'from transformers import GPT2LMHeadModel\n\nmodel = GPT2LMHeadModel.from_pretrained(".")  # this folder'
TOKENIZERS = {
    "bpe": 'from transformers import AutoTokenizer\n\ntokenizer = AutoTokenizer.from_pretrained(".")',
    "gpt2": 'from transformers import AutoTokenizer\n\ntokenizer = AutoTokenizer.from_pretrained("gpt2")',
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Export as the command line says.

    Raises:
        UserError: the checkpoint cannot be used, or GPT-2 has no such activation.
    """
    parser = Parser("python -m tasks.gpt.export", DESCRIPTION)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint of tasks.gpt.train")
    parser.add_argument(
        "--output", type=Path, default=Path("exported"), metavar="DIR", help="folder to write, which must not be there"
    )
    options = parser.parse_args(arguments)
    if options.output.exists():
        raise UserError(f"--output {options.output} is there already: choose another, or delete it")
    from transformers.utils import logging as transformers_logging

    checkpoint = own_checkpoint(options.checkpoint, PROGRAM)
    transformers_logging.disable_progress_bar()
    _, model = trained(checkpoint, torch.device("cpu"))
    assert isinstance(model, GPT)
    export(model, checkpoint.configuration, checkpoint.state["extras"]["vocabulary"], options.output)
    print(f"{options.output}/README.md says how to load the model")


def export(model: GPT, configuration: Mapping[str, Any], vocabulary: Mapping[str, Any], folder: Path) -> None:
    """Write a model as transformers' GPT2LMHeadModel, whole or not at all. Biases that it has not are 0 there.

    Args:
        vocabulary: its description.

    Raises:
        UserError: GPT-2 has no such activation, or the folder cannot be written.
    """
    from tokenizers import Tokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from golu.integrations import transformers as names

    if configuration.get("gated"):
        raise UserError("GPT-2 has no gated MLPs: tasks.export writes the weights of this model")
    activation = configuration["activation"]
    if activation not in ACTIVATIONS:
        raise UserError(f"transformers has no {activation}: it has {', '.join(ACTIVATIONS)}")
    rows, width = model.token_embedding.weight.shape
    heads = model.blocks[0].attention.n_head
    with names.enable():
        theirs = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=rows, n_positions=model.block_size, n_embd=width, n_layer=len(model.blocks), n_head=heads,
                activation_function=ACTIVATIONS[activation], resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
                bos_token_id=None, eos_token_id=None,
            )
        )  # fmt: skip
    for parameter in theirs.parameters():
        parameter.data.mul_(0)
    weights = to_gpt2(model.state_dict())
    theirs.load_state_dict(weights, strict=False)
    theirs.tie_weights()
    kind = vocabulary["kind"]
    with whole_folder(folder) as unfinished:
        theirs.save_pretrained(unfinished)
        if kind == "bpe":
            tokenizer = Tokenizer.from_str(json.dumps(vocabulary["tokenizer"]))
            PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(unfinished)
        lines = "\n".join([KNOWN] * (activation == "GoLU") + [MODEL] + [TOKENIZERS[kind]] * (kind in TOKENIZERS))
        card = CARD.format(activation=activation, dataset=configuration["dataset"], lines=lines)
        (unfinished / "README.md").write_text(card)


if __name__ == "__main__":
    run(main)
