"""After a swap no call of the old activations is left in models of timm, counted by what their operators really do."""

import warnings

import pytest
import timm
import torch

from golu import find_activations, replace_activation_by_name
from tests.golu.operations import Operations

QUICK = ["ghostnet_100", "mobilevit_xxs", "levit_128", "convnext_atto", "lcnet_050"]
MANY = [
    "resnet18",
    "densenet121",
    "vit_tiny_patch16_224",
    "mobilenetv3_small_050",
    "efficientnet_b0",
    "dm_nfnet_f0",
    "nf_regnet_b0",
    "regnetx_002",
    "hrnet_w18_small",
    "poolformer_s12",
    "pit_ti_224",
    "coat_tiny",
    "mixer_s32_224",
    "gmlp_ti16_224",
    "resmlp_12_224",
    "xcit_nano_12_p16_224",
    "cait_xxs24_224",
    "edgenext_xx_small",
    "efficientformer_l1",
    "tiny_vit_5m_224",
    "repvit_m0_9",
    "fastvit_t8",
    "inception_next_atto",
    "starnet_s1",
    "selecsls42",
    "dla34",
    "skresnet18",
    "resnest14d",
    "res2net50_26w_4s",
    "vgg11",
    "xception41",
    "dpn48b",
    "mixnet_s",
    "hardcorenas_a",
    "rexnet_100",
    "vovnet39a",
    "cspresnet50",
    "bat_resnext26ts",
    "gcvit_xxtiny",
    "pvt_v2_b0",
    "twins_pcpvt_small",
    "visformer_tiny",
    "beit_base_patch16_224",
    "swin_tiny_patch4_window7_224",
    "maxvit_tiny_tf_224",
    "convmixer_768_32",
    "sequencer2d_s",
    "nest_tiny",
    "crossvit_tiny_240",
    "convit_tiny",
    "davit_tiny",
    "focalnet_tiny_srf",
    "mvitv2_tiny",
    "hgnet_tiny",
    "tnt_s_patch16_224",
    "volo_d1_224",
]
HIDDEN = {
    "ReLU": "relu",
    "ReLU6": "hardtanh",
    "GELU": "gelu",
    "GELU_tanh": "gelu",
    "SiLU": "silu",
    "Hardswish": "hardswish",
}


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in MANY)])
def test_no_call_is_left(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    x = torch.randn(1, *model.default_cfg["input_size"])
    with torch.no_grad(), Operations() as before:
        model(x)
    held = {each.activation for each in find_activations(model, x).observed or []} & set(HIDDEN)
    assert {HIDDEN[label] for label in held} == before.counts.keys() & set(HIDDEN.values())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="no .* was found")
        for label in held:
            replace_activation_by_name(model, label, "GoLU", functional=True)
    with torch.no_grad(), Operations() as after:
        model(x)
    assert not after.counts.keys() & set(HIDDEN.values())
