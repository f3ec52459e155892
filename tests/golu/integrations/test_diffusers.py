"""Models of diffusers have GoLU where `act_fn` puts it, and everywhere once they are completed."""

import warnings
from typing import Any

import diffusers
import pytest
import torch
from diffusers.models.activations import ACT2CLS, get_activation
from torch import nn

import golu.integrations.diffusers as golu_diffusers
from golu import GoLU
from tests.golu.integrations.hidden import computed

IMAGE, TEXT = torch.randn(1, 1, 8, 8), torch.randn(1, 4, 8)
UNET: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": (8, 8),
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}


def unet(activation: str) -> tuple[nn.Module, Any]:
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    return diffusers.UNet2DModel(**UNET, **blocks, act_fn=activation), (IMAGE, 3)


def conditional_unet(activation: str) -> tuple[nn.Module, Any]:
    down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    blocks = {"down_block_types": down, "up_block_types": up, "cross_attention_dim": 8}
    return diffusers.UNet2DConditionModel(**UNET, **blocks, act_fn=activation), (IMAGE, 3, TEXT)


def autoencoder(activation: str) -> tuple[nn.Module, Any]:
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    model = diffusers.AutoencoderKL(block_out_channels=(8, 8), **blocks, norm_num_groups=4, act_fn=activation)
    return model, (torch.randn(1, 3, 8, 8),)


def transformer(activation: str) -> tuple[nn.Module, Any]:
    """It has no act_fn, and a GELU whose approximation only a run shows."""
    sizes = {"num_attention_heads": 2, "attention_head_dim": 4, "in_channels": 1, "num_layers": 1, "sample_size": 8}
    model = diffusers.DiTTransformer2DModel(**sizes, norm_num_groups=1, num_embeds_ada_norm=10)
    return model, (IMAGE, torch.tensor([3]), torch.tensor([1]))


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (unet, {"silu": 2}),
        (conditional_unet, {"gelu": 4}),
        (autoencoder, {"silu": 2}),
        (transformer, {"silu": 4, "gelu": 1}),
    ],
)
def test_what_act_fn_leaves_is_completed(build: Any, left: dict[str, int]) -> None:
    model, inputs = build("silu")
    all_of_them = computed(model, *inputs)[1].total()
    with golu_diffusers.enable():
        model, inputs = build("golu")
    golu, others = computed(model, *inputs)
    assert others == left and golu == all_of_them - others.total()
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert golu_diffusers.complete(model) is model
    assert computed(model, *inputs) == (all_of_them, {})
    assert all(torch.equal(weights.pop(name), weight) for name, weight in model.state_dict().items()) and not weights
    assert golu_diffusers.complete(model) is model  # as it is
    assert computed(model, *inputs) == (all_of_them, {})


def test_the_name_is_known_until_it_is_undone() -> None:
    with golu_diffusers.enable() as first:
        assert type(get_activation("GoLU")) is GoLU
        with golu_diffusers.enable():
            pass
        assert "golu" in ACT2CLS
        first.undo()
        assert "golu" not in ACT2CLS


def test_a_golu_of_somebody_else_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACT2CLS, "golu", nn.GELU)
    with pytest.raises(ValueError, match="diffusers has an activation 'golu' already"):
        golu_diffusers.enable()
    assert ACT2CLS["golu"] is nn.GELU


def test_a_pipeline_is_not_completed_as_a_whole() -> None:
    pipeline = diffusers.DDPMPipeline(unet("silu")[0], diffusers.DDPMScheduler())
    message = r"it takes a model \(torch.nn.Module\), not a DDPMPipeline: complete each model of a pipeline$"
    with pytest.raises(TypeError, match=message):
        golu_diffusers.complete(pipeline)  # type: ignore[arg-type]
