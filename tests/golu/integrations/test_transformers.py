"""Models of transformers have GoLU wherever their configuration names the activation."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import torch
import transformers
from torch import nn
from transformers.activations import ACT2CLS, ACT2FN, get_activation

import golu.integrations.transformers as golu_transformers
from golu import GoLU
from tests.golu.integrations.hidden import Computed, computed

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
}
TOKENS = torch.arange(8).view(1, 8)


def bert(activation: str) -> Computed:
    model = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES, hidden_act=activation))
    return computed(model, input_ids=TOKENS)


def gpt2(activation: str) -> Computed:
    sizes = {"vocab_size": 40, "n_embd": 8, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, activation_function=activation))
    return computed(model, input_ids=TOKENS)


def t5(activation: str) -> Computed:
    sizes = {"vocab_size": 40, "d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 2, "num_heads": 2}
    model = transformers.T5Model(transformers.T5Config(**sizes, feed_forward_proj=f"gated-{activation}"))
    return computed(model, input_ids=TOKENS, decoder_input_ids=TOKENS)


def textnet(activation: str) -> Computed:
    """It looks into ACT2CLS, the others into ACT2FN."""
    channels = {"stem_num_channels": 3, "stem_out_channels": 4, "hidden_sizes": [4] * 5}
    layers = {"conv_layer_kernel_sizes": [[[3, 3]]] * 4, "conv_layer_strides": [[1]] * 4}
    model = transformers.TextNetModel(transformers.TextNetConfig(**channels, **layers, stem_act_func=activation))
    return computed(model, pixel_values=torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize("counts", [bert, gpt2, t5, textnet])
def test_golu_is_computed_where_another_would_be(counts: Callable[[str], Computed]) -> None:
    with golu_transformers.enable():
        golu = counts("golu")
    _, plain = counts("silu")
    assert golu == (plain["silu"], plain - Counter(silu=plain["silu"])) and golu[0] > 0


def test_the_name_is_known_until_it_is_undone() -> None:
    with golu_transformers.enable() as first:
        assert ACT2CLS["golu"] is GoLU and type(ACT2FN["golu"]) is type(get_activation("golu")) is GoLU
        assert ACT2FN["golu"] is not ACT2FN["golu"]  # each place gets its own
        with golu_transformers.enable():
            pass
        assert "golu" in ACT2CLS and "golu" in ACT2FN
        first.undo()
        assert "golu" not in ACT2CLS and "golu" not in ACT2FN


def test_what_somebody_else_has_put_there_meanwhile_stays() -> None:
    registration = golu_transformers.enable()
    with patch.dict(ACT2CLS, {"golu": nn.GELU}):
        registration.undo()
        assert ACT2CLS["golu"] is nn.GELU and "golu" not in ACT2FN
    dict.pop(ACT2CLS, "golu", None)  # what patch.dict has put back


@pytest.mark.parametrize("table", [ACT2CLS, ACT2FN], ids=["ACT2CLS", "ACT2FN"])
@pytest.mark.parametrize("theirs", [nn.GELU, (nn.LeakyReLU, {"negative_slope": 0.2})])
def test_a_golu_of_somebody_else_is_left_alone(table: Any, theirs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table, "golu", theirs)
    with pytest.raises(ValueError, match="transformers has an activation 'golu' already"):
        golu_transformers.enable()
    assert dict.get(table, "golu") == theirs
    assert ("golu" in ACT2CLS) != ("golu" in ACT2FN)
