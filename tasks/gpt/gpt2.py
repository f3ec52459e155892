"""Translate weights between our names and those of transformers' GPT-2, and read what is published there."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from workbench.cli.errors import UserError, first_line
from workbench.training.weights import Weights

_NAMES = {
    "token_embedding": "wte", "position_embedding": "wpe", "norm": "ln_f", "norm_1": "ln_1", "norm_2": "ln_2",
    "attention.qkv": "attn.c_attn", "attention.proj": "attn.c_proj", "mlp.fc": "mlp.c_fc", "mlp.proj": "mlp.c_proj",
}  # fmt: skip
_OURS = {theirs: ours for ours, theirs in _NAMES.items()}
PREFIX = "transformer."
# what transformers calls an activation
ACTIVATIONS = {
    "GoLU": "golu", "GELU": "gelu", "GELU_tanh": "gelu_new", "ReLU": "relu", "Swish": "silu", "Mish": "mish",
    "ReLU2": "relu2",
}  # fmt: skip


def to_gpt2(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename and turn the weights of a GPT; biases that it has not are left out, and are 0 there.

    Raises:
        KeyError: there is one that GPT-2 has not, as the parameter of a PReLU.
    """
    found = {}
    for name, each in weights.items():
        block, part, kind = _split(name.replace("blocks.", "h."))
        found[f"{PREFIX}{block}{_NAMES[part]}.{kind}"] = _turned(part, kind, each)
    return found


def from_gpt2(weights: Weights, rows: int, block_size: int, bias: bool) -> Weights:
    """Rename and turn the weights of a GPT-2 if that is what they are of; others are returned as they are.

    Args:
        rows: tokens that our model knows; rows that it has beyond theirs are 0.
        block_size: how many of their positions it takes.
        bias: whether it has biases; if not, theirs have to be 0.

    Raises:
        UserError: they have biases, and the model has not.
    """
    tensors = {name.removeprefix(PREFIX): each for name, each in weights.tensors.items()}
    if "wte.weight" not in tensors:
        return weights
    found = {}
    for name, each in tensors.items():
        block, part, kind = _split(name)
        if part not in _OURS:  # a mask, or the last layer, which is the embedding
            continue
        if kind == "bias" and not bias:
            if each.any():
                raise UserError(f"{weights.source} has biases: give --bias")
            continue
        ours = f"{block.replace('h.', 'blocks.')}{_OURS[part]}.{kind}"
        found[ours] = _turned(_OURS[part], kind, each)
    table, places = found["token_embedding.weight"], found["position_embedding.weight"]
    found["token_embedding.weight"] = F.pad(table, (0, 0, 0, max(0, rows - len(table))))
    found["position_embedding.weight"] = places[:block_size].contiguous()
    return Weights(weights.source, found, weights.activation)


@functools.lru_cache(maxsize=1)
def published(name: str) -> Weights:
    """Load a GPT-2 of the Hugging Face hub by its name, as gpt2; it is downloaded once.

    Raises:
        UserError: there is none, or it cannot be downloaded.
    """
    from transformers import GPT2LMHeadModel

    try:
        model = GPT2LMHeadModel.from_pretrained(name)
    except Exception as error:  # the many ways in which downloading goes wrong
        raise UserError(f"no GPT-2 of that name can be downloaded ({first_line(error)})") from error
    theirs = str(model.config.activation_function)
    ours = next((each for each, known in ACTIVATIONS.items() if known == theirs), theirs)
    return Weights(name, model.state_dict(), ours)


def _split(name: str) -> tuple[str, str, str]:
    """Take "h.3.ln_1.weight" apart: "h.3.", "ln_1", "weight"."""
    found = re.fullmatch(r"(h\.\d+\.)?(.*)\.(\w+)", name)
    return ("", name, "") if found is None else (found[1] or "", found[2], found[3])


def _turned(part: str, kind: str, value: Tensor) -> Tensor:
    """Turn a matrix between our layers and theirs, which hold it transposed."""
    turned = kind == "weight" and part.startswith(("attention.", "mlp."))
    return value.T.contiguous() if turned else value
