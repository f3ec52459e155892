"""Models of timm have GoLU wherever timm's own have a hidden activation, counted by the operators that really run."""

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.layers import get_act_fn, get_act_layer
from timm.models import nfnet
from torch import nn

import golu.integrations.timm as golu_timm
from golu import GoLU, golu
from tests.golu.integrations.hidden import computed
from tests.golu.integrations.timm_families import FAMILIES

DOZEN = [
    "convnext",
    "dla",
    "dpn",
    "edgenext",
    "efficientnet",
    "efficientvit_mit",
    "ghostnet",
    "metaformer",
    "mobilenetv3",
    "nfnet",
    "pit",
    "tiny_vit",
    "vision_transformer",
]
EVERY_FAMILY = [family if family in DOZEN else pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES]


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_every_hidden_activation_is_golu(family: str) -> None:
    """As often as timm's own model computes one, from the same initial weights."""
    name, side, settings, _ = FAMILIES[family]
    torch.manual_seed(0)
    plain = timm.create_model(name, num_classes=4, **settings)
    torch.manual_seed(0)
    model = golu_timm.create_model(name, num_classes=4, **settings)
    stays = Counter(relu=8) if family == "efficientvit_mit" else Counter()  # it keeps attention weights positive
    image = torch.randn(2, 3, side, side)
    golu, others = computed(model, image)
    assert others == stays
    assert golu == (computed(plain, image)[1] - stays).total() > 0
    weights = plain.state_dict()
    assert all(torch.equal(weights.pop(key), weight) for key, weight in model.state_dict().items())
    # those of StarReLU, scale * relu(x)^2 + bias
    assert {key.rpartition(".")[2] for key in weights} == ({"scale", "bias"} if family == "metaformer" else set())


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_what_act_layer_reaches(family: str) -> None:
    name, side, settings, outcome = FAMILIES[family]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = golu_timm.create_model(name, swap=False, num_classes=4, **settings)
        except ValueError as error:
            assert outcome == "swapped" and f"{name} takes no act_layer: swap=True puts GoLU" in str(error)
            return
    says = [str(each.message) for each in caught if f"{name}: act_layer leaves" in str(each.message)]
    assert len(says) == (outcome == "partial")
    golu, others = computed(model, torch.randn(2, 3, side, side))
    assert golu > 0
    assert bool(others) == (outcome == "partial")
    if outcome != "partial":
        with golu_timm.enable(), pytest.raises(TypeError) if outcome == "by class" else contextlib.nullcontext():
            timm.create_model(name, act_layer="golu", num_classes=4, **settings)


def test_the_page_has_the_numbers() -> None:
    page = " ".join((Path(__file__).parents[3] / "docs/integrations.md").read_text().split())
    count = Counter(outcome for *_, outcome in FAMILIES.values())
    assert f"Of the {len(FAMILIES)} modules of timm" in page and f"so that all {len(FAMILIES)} compute GoLU" in page
    assert f"{count['complete']} take the name" in page and f"and {count['by class']} more the class" in page
    assert f"{count['partial']} have others that stay" in page and f"{count['swapped']} take no `act_layer`" in page


@pytest.mark.slow
def test_every_family_is_known() -> None:
    """Fails with a timm that has others."""
    homes = {timm.models.model_entrypoint(name).__module__ for name in timm.list_models()}
    assert {home.rpartition(".")[2] for home in homes} == set(FAMILIES)


def test_what_stays_is_said_with_its_number() -> None:
    with pytest.warns(UserWarning, match="dpn48b: act_layer leaves ReLU x52; swap=True") as caught:
        golu_timm.create_model("dpn48b", swap=False)
    assert caught[0].filename == __file__


@pytest.fixture
def enabled() -> Iterator[Any]:
    with golu_timm.enable() as registration:
        yield registration


def test_the_name_is_known_to_timm_until_it_is_undone(enabled: Any) -> None:
    assert get_act_layer("golu") is get_act_layer("GoLU") is GoLU
    x = torch.randn(9)
    assert torch.equal(get_act_fn("golu")(x, inplace=True), golu(x))
    model = timm.create_model("test_vit", act_layer="golu")
    assert computed(model, torch.randn(1, 3, 160, 160))[0] == 6
    with golu_timm.enable():  # a second time: nothing happens, then or afterwards
        pass
    assert get_act_layer("golu") is GoLU
    enabled.undo()
    enabled.undo()
    for lookup in (get_act_layer, get_act_fn):
        with pytest.raises(KeyError, match="golu"):
            lookup("golu")
    assert "golu" not in nfnet._nonlin_gamma
    assert computed(model, torch.randn(1, 3, 160, 160))[0] == 6  # what was built stays


def test_nfnets_scale_by_the_deviation_of_golu(enabled: Any) -> None:
    """1 / sqrt(Var[golu(z)]) for z standard normal, by the trapezoidal rule from the definition."""
    z = np.linspace(-12, 12, 200_001)
    weight = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (24 / 200_000)
    y = z * np.exp(-np.exp(-z))
    variance = np.sum(weight * y * y) - np.sum(weight * y) ** 2
    assert nfnet._nonlin_gamma["golu"] == pytest.approx(1 / np.sqrt(variance), rel=1e-12)
    # where the scale is applied by the activation itself
    act = nfnet.act_with_gamma("golu", gamma=nfnet._nonlin_gamma["golu"])()
    assert float(act(torch.randn(1_000_000)).var()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("table", ["layers", "gammas"])
def test_a_golu_of_somebody_else_is_left_alone(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from timm.layers import create_act

    tables = {"layers": create_act._ACT_LAYER_DEFAULT, "gammas": nfnet._nonlin_gamma}
    theirs = {"layers": nn.GELU, "gammas": 1.5}[table]
    monkeypatch.setitem(tables[table], "golu", theirs)
    for call in (golu_timm.enable, lambda: golu_timm.create_model("test_vit")):
        with pytest.raises(ValueError, match="timm has an activation 'golu' already, which is not this package's"):
            call()
    assert [each.get("golu") for each in tables.values()] == [theirs if key == table else None for key in tables]


def test_what_cannot_be() -> None:
    with pytest.raises(TypeError, match="act_layer is GoLU here"):
        golu_timm.create_model("test_vit", act_layer="relu")
    with pytest.raises(RuntimeError, match="Unknown model"):  # as timm says it
        golu_timm.create_model("resnet_that_is_none")
    with pytest.raises(TypeError, match="depht"):
        golu_timm.create_model("test_vit", depht=3)
    with pytest.raises(ValueError, match="resmlp_of_identities has no hidden activation"):
        _without_activations()


def _without_activations() -> None:
    @timm.models.register_model
    def resmlp_of_identities(pretrained: bool = False, **settings: Any) -> nn.Module:
        if settings.keys() & {"act_layer"}:
            raise TypeError("takes no act_layer")
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.Sigmoid())

    golu_timm.create_model("resmlp_of_identities")
