"""Models of every host are trained, saved, and computed again elsewhere, which gives the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import nn

import golu.integrations.diffusers as golu_diffusers
import golu.integrations.timm as golu_timm
import golu.integrations.torchvision as golu_torchvision
import golu.integrations.transformers as golu_transformers
from tests.golu.integrations.processes import fresh
from tests.golu.integrations.training import losses

# by name, by class, partly and wholly swapped, and with the scale of nfnets
TIMM = ["test_resnet", "edgenext_xx_small", "test_byobnet", "dla46x_c", "test_nfnet"]


def keep_outputs(model: nn.Module, inputs: tuple[Any, ...], path: Path) -> None:
    with torch.no_grad():
        outputs = model.eval()(*inputs)
    torch.save((inputs, outputs if isinstance(outputs, torch.Tensor) else outputs[0]), path)


def trained_timm(folder: Path) -> None:
    x, y = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    for name in TIMM:
        model = golu_timm.create_model(name, num_classes=4)
        found = losses(model, lambda model=model: F.cross_entropy(model(x), y))
        assert found[-1] < found[0], name
        torch.save(model.state_dict(), folder / f"{name}.pt")
        keep_outputs(model, (x,), folder / f"{name}_outputs.pt")


def trained_transformers(folder: Path) -> None:
    sizes = {"vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    x = torch.arange(32).view(4, 8)
    with golu_transformers.enable():
        model = transformers.BertForMaskedLM(transformers.BertConfig(**sizes, hidden_act="golu"))
    found = losses(model.eval(), lambda: model(x, labels=x).loss)
    assert found[-1] < found[0]
    model.save_pretrained(folder / "bert")
    keep_outputs(model, (x,), folder / "bert_outputs.pt")


def trained_diffusers(folder: Path) -> None:
    blocks = {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}
    sizes = {"block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 8}
    x, noise, times = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8), torch.tensor([1, 10, 100, 900])
    with golu_diffusers.enable():
        model = golu_diffusers.complete(diffusers.UNet2DModel(**blocks, **sizes, act_fn="golu"))
    found = losses(model, lambda: F.mse_loss(model(x, times).sample, noise))
    assert found[-1] < found[0]
    model.save_pretrained(folder / "unet")
    keep_outputs(model, (x, times), folder / "unet_outputs.pt")


def trained_torchvision(folder: Path) -> None:
    x, y = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    model = golu_torchvision.get_model("shufflenet_v2_x0_5", num_classes=4)
    found = losses(model, lambda: F.cross_entropy(model(x), y))
    assert found[-1] < found[0]
    torch.save(model.state_dict(), folder / "shufflenet.pt")
    keep_outputs(model, (x,), folder / "shufflenet_outputs.pt")


# what runs elsewhere, given the folder; each prints what it finds
SAME = """
import sys, torch
folder = sys.argv[1]
def same(name, model):
    x, y = torch.load(f"{folder}/{name}_outputs.pt")
    with torch.no_grad():
        got = model.eval()(*x)
    got = got if isinstance(got, torch.Tensor) else got[0]
    # weights in memory-mapped files are aligned otherwise, and sums rounded otherwise
    print(name, torch.allclose(got, y, rtol=1e-5, atol=1e-6))
"""
LOAD_TIMM = f"""
from golu.integrations import timm
for name in {TIMM}:
    model = timm.create_model(name, num_classes=4)
    model.load_state_dict(torch.load(f"{{folder}}/{{name}}.pt"))
    same(name, model)
"""
LOAD_TRANSFORMERS = """
from transformers import BertForMaskedLM
from golu.integrations import transformers
try:
    BertForMaskedLM.from_pretrained(f"{folder}/bert")
except KeyError as error:
    print("before:", error)
print("overridden:", BertForMaskedLM.from_pretrained(f"{folder}/bert", hidden_act="gelu").config.hidden_act)
with transformers.enable():
    same("bert", BertForMaskedLM.from_pretrained(f"{folder}/bert"))
"""
LOAD_DIFFUSERS = """
from diffusers import UNet2DModel
from golu.integrations import diffusers
try:
    UNet2DModel.from_pretrained(f"{folder}/unet")
except ValueError as error:
    print("before:", str(error).partition(" in ")[0])
with diffusers.enable():
    same("unet", diffusers.complete(UNet2DModel.from_pretrained(f"{folder}/unet")))
"""
LOAD_TORCHVISION = """
from golu.integrations import torchvision
model = torchvision.get_model("shufflenet_v2_x0_5", num_classes=4)
model.load_state_dict(torch.load(f"{folder}/shufflenet.pt"))
same("shufflenet", model)
"""
HOSTS = {
    "timm": (trained_timm, LOAD_TIMM, [f"{name} True" for name in TIMM]),
    "transformers": (trained_transformers, LOAD_TRANSFORMERS, ["before: 'golu'", "overridden: gelu", "bert True"]),
    "diffusers": (trained_diffusers, LOAD_DIFFUSERS, ["before: activation function golu not found", "unet True"]),
    "torchvision": (trained_torchvision, LOAD_TORCHVISION, ["shufflenet True"]),
}
Host = tuple[Callable[[Path], None], str, list[str]]


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_a_model_trains_and_is_the_same_when_loaded(host: Host, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    """In this process, where the host knows no golu any more."""
    train, load, said = host
    torch.manual_seed(0)
    train(tmp_path)
    monkeypatch.setattr("sys.argv", ["", str(tmp_path)])
    capsys.readouterr()
    exec(SAME + load, {})
    assert capsys.readouterr().out.splitlines() == said


@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_a_model_is_the_same_in_a_fresh_process(host: Host, tmp_path: Path) -> None:
    train, load, said = host
    torch.manual_seed(0)
    train(tmp_path)
    run = fresh(SAME + load, tmp_path)
    assert run.stdout.splitlines() == said, run.stderr


@pytest.mark.slow
def test_an_exported_model_needs_neither_golu_nor_timm(tmp_path: Path) -> None:
    model = golu_timm.create_model("test_vit", num_classes=4).eval()
    x = torch.randn(2, 3, 160, 160)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "model.pt2")
    keep_outputs(model, (x,), tmp_path / "exported_outputs.pt")
    load = """
sys.modules |= {"golu": None, "timm": None}
module = torch.export.load(f"{folder}/model.pt2").module()
module.eval = lambda: module  # torch offers none for what is exported
same("exported", module)
"""
    run = fresh(SAME + load, tmp_path, folder=tmp_path)
    assert run.stdout == "exported True\n", run.stderr
