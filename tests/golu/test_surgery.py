"""Finding, replacing and updating the activations of a model."""

import copy
import functools
import io
import math
import pickle
import traceback
import types
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.nn.functional import relu as rectify
from torchvision.models import densenet, detection

from golu import (
    GoLU,
    find_activations,
    golu,
    replace_activation_by_name,
    replace_activation_by_torch_module,
    update_golu_parameters,
)
from tests.golu.operations import Operations


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _model(name: str) -> nn.Module:
    settings: dict[str, Any] = {"weights": None}
    if "rcnn" in name or "retinanet" in name or "deeplab" in name:
        settings |= {"weights_backbone": None}
    if "rcnn" in name or "retinanet" in name:
        settings |= {"min_size": 64, "max_size": 64}
    return torchvision.models.get_model(name, **settings).eval()


def _types(model: nn.Module) -> Counter[type]:
    return Counter(type(module) for module in model.modules())


def _functional(model: nn.Module) -> list[tuple[str, str]]:
    return [(call.class_name, call.activation) for call in find_activations(model).functional]


def _small_densenet() -> nn.Module:
    return densenet.DenseNet(growth_rate=4, block_config=(1, 1), num_init_features=8, bn_size=2, num_classes=3).eval()


# ---- torchvision ----

TORCHVISION: dict[str, tuple[type[nn.Module], int, list[tuple[str, str]]]] = {
    "resnet50": (nn.ReLU, 17, []),
    "densenet121": (nn.ReLU, 120, [("DenseNet", "ReLU")]),
    "vit_b_16": (nn.GELU, 12, []),
    "fasterrcnn_resnet50_fpn": (
        nn.ReLU,
        18,
        [("RegionProposalNetwork", "Sigmoid"), ("TwoMLPHead", "ReLU"), ("TwoMLPHead", "ReLU")],
    ),
    "retinanet_resnet50_fpn_v2": (nn.ReLU, 25, [("RetinaNet", "Sigmoid"), ("LastLevelP6P7", "ReLU")]),
    "maskrcnn_resnet50_fpn": (
        nn.ReLU,
        23,
        [("RegionProposalNetwork", "Sigmoid"), ("TwoMLPHead", "ReLU"), ("TwoMLPHead", "ReLU")],
    ),
    "deeplabv3_resnet50": (nn.ReLU, 24, []),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_models(name: str) -> None:
    old, count, functional = TORCHVISION[name]
    model = _model(name)
    before, keys = _types(model), list(model.state_dict())
    assert before[old] == count
    assert [cls for _, cls in find_activations(model).modules] == [old.__name__] * count

    assert replace_activation_by_torch_module(model, old, GoLU) is model
    assert _types(model) == before - Counter({old: count}) + Counter({GoLU: count})
    assert list(model.state_dict()) == keys
    assert _functional(model) == functional

    swapped = sum(activation == old.__name__ for _, activation in functional)
    if swapped:
        replace_activation_by_torch_module(model, old, GoLU, functional=True)
    assert _functional(model) == [call for call in functional if call[1] != old.__name__]
    calling = {cls for cls, activation in functional if activation == old.__name__}
    assert all(type(m).__name__ not in calling or hasattr(m, "golu_functional") for m in model.modules())
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize(
    ("name", "functional"),
    [("densenet121", 1), ("fasterrcnn_resnet50_fpn", 2), ("retinanet_resnet50_fpn_v2", 1)],
)
def test_no_relu_runs_once_the_functional_calls_are_swapped(name: str, functional: int) -> None:
    x: Any = torch.rand(1, 3, 64, 64) if name == "densenet121" else [torch.rand(3, 64, 64)]
    model = _model(name)
    runs = []
    for swap in (False, True):
        replace_activation_by_torch_module(model, nn.ReLU, "GoLU", functional=swap)
        with Operations() as operations, torch.no_grad():
            model(x)
        assert operations.counts["convolution"] > 50
        runs.append(operations.counts["relu"])
    assert runs == [functional, 0]


def test_densenet_computes_what_it_does_with_golu_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference: the same modules, and golu where the file of DenseNet looks up F.relu."""
    x = torch.randn(2, 3, 64, 64)
    model = _model("densenet121")
    reference = replace_activation_by_torch_module(copy.deepcopy(model), nn.ReLU, GoLU)
    without = reference(x)
    replace_activation_by_torch_module(model, nn.ReLU, GoLU, functional=True)
    patched = types.SimpleNamespace(**{**vars(F), "relu": lambda x, inplace: golu(x)})
    monkeypatch.setattr(densenet, "F", patched)
    torch.testing.assert_close(model(x), reference(x), rtol=0, atol=0)
    assert not torch.allclose(model(x), without, rtol=1e-3)


def test_detection_heads_compute_golu() -> None:
    model = detection.faster_rcnn.TwoMLPHead(12, 8)
    replace_activation_by_name(model, "ReLU", "GoLU", functional=True)
    x = torch.randn(5, 3, 2, 2)
    torch.testing.assert_close(model(x), golu(model.fc7(golu(model.fc6(x.flatten(1))))), rtol=0, atol=0)

    pyramid = torchvision.ops.feature_pyramid_network.LastLevelP6P7(4, 4)
    replace_activation_by_name(pyramid, "ReLU", "GoLU", functional=True)
    x = torch.randn(1, 4, 8, 8)
    (*_, p6, p7), names = pyramid([x], [x], ["x"])
    torch.testing.assert_close(p6, pyramid.p6(x), rtol=0, atol=0)
    torch.testing.assert_close(p7, pyramid.p7(golu(p6)), rtol=0, atol=0)
    assert names == ["x", "p6", "p7"]


# ---- replacing modules ----


class _Other(nn.ReLU):
    pass


def test_exactly_the_class_is_replaced() -> None:
    others = [nn.LeakyReLU(), nn.ReLU6(), nn.PReLU(), nn.RReLU(), nn.SELU(), nn.CELU(), nn.GELU(), _Other()]
    model = nn.Sequential(nn.ReLU(), *others, nn.ELU())
    replace_activation_by_torch_module(model, nn.ReLU, GoLU)
    replace_activation_by_name(model, "ELU", "Mish")
    assert [type(module) for module in model] == [GoLU, *(type(other) for other in others), nn.Mish]
    assert list(model)[1:-1] == others  # the very same modules


def test_every_kind_of_container() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.activation = nn.ReLU()
            self.list = nn.ModuleList([nn.ReLU(), nn.Sequential(nn.Linear(2, 2), nn.ReLU())])
            self.dict = nn.ModuleDict({"0": nn.ReLU(), "other": nn.Tanh()})
            self.empty = None
            self.register_module("nothing", None)

    model = replace_activation_by_torch_module(Model(), nn.ReLU, GoLU)
    paths = [path for path, module in model.named_modules() if isinstance(module, GoLU)]
    assert paths == ["activation", "list.0", "list.1.1", "dict.0"]
    assert _types(model)[nn.ReLU] == 0
    assert _types(model)[nn.Tanh] == 1


def test_shared_modules_stay_shared_and_separate_ones_separate() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            shared = nn.ReLU()
            self.first = self.second = shared  # two names of one parent
            self.inner = nn.Sequential(shared, nn.ReLU())

    for new in ("PReLU", nn.PReLU(), nn.PReLU, lambda: nn.PReLU()):
        model: Any = replace_activation_by_torch_module(Model(), nn.ReLU, new)
        assert model.first is model.second is model.inner[0]
        assert model.inner[1] is not model.first
        assert model.inner[1].weight is not model.first.weight
        assert model.first is not new  # a given module is copied
        assert len(list(model.parameters())) == 2


def test_the_root_is_replaced() -> None:
    new = replace_activation_by_torch_module(nn.ReLU().eval(), nn.ReLU, GoLU(alpha=2.0))
    assert isinstance(new, GoLU)
    assert new.alpha == 2.0
    assert not new.training


@pytest.mark.parametrize("new", ["GELU_tanh", nn.GELU("tanh"), lambda: nn.GELU(approximate="tanh")])
def test_new_by_name_module_and_factory(new: Any) -> None:
    x = torch.randn(20)
    model = replace_activation_by_torch_module(nn.Sequential(nn.ReLU()), nn.ReLU, new)
    torch.testing.assert_close(model(x), F.gelu(x, approximate="tanh"), rtol=0, atol=0)


def test_training_flag_is_taken_over() -> None:
    model = nn.Sequential(nn.ReLU().eval(), nn.ReLU()).train()
    model[0].eval()
    replace_activation_by_torch_module(model, nn.ReLU, lambda: nn.Sequential(nn.Dropout(), GoLU()))
    assert [module.training for module in model] == [False, True]
    assert not model[0][0].training


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_parameters_get_the_dtype_of_the_model(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Embedding(3, 4), nn.ReLU()).to(dtype)
    replace_activation_by_torch_module(model, nn.ReLU, nn.PReLU)
    assert model[1].weight.dtype == dtype
    assert model(torch.tensor([0, 1])).dtype == dtype


def test_parameters_get_the_device_of_the_model() -> None:
    model = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.ReLU())
    replace_activation_by_torch_module(model, nn.ReLU, nn.PReLU)
    assert model[1].weight.is_meta


def test_integer_parameters_do_not_decide_the_dtype() -> None:
    model = nn.Sequential(nn.Module(), nn.Linear(2, 2).double(), nn.ReLU())
    model[0].codes = nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)
    replace_activation_by_torch_module(model, nn.ReLU, nn.PReLU)
    assert model[2].weight.dtype == torch.float64


def test_hooks_of_other_modules_stay() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    seen = []
    model[2].register_forward_hook(lambda module, args, out: seen.append(args[0]))
    replace_activation_by_torch_module(model, nn.ReLU, GoLU)
    x = torch.randn(3, 2)
    model(x)
    torch.testing.assert_close(seen[0], golu(model[0](x)))


@pytest.mark.parametrize("padding", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", "module"])
def test_torch_transformer_computes_the_new_activation_in_eval_mode_too(activation: str, padding: bool) -> None:
    """Its encoder has a fused kernel for ReLU and GELU, chosen by a flag set at construction."""
    given: Any = nn.ReLU() if activation == "module" else activation
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation=given, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    expected = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation=golu, batch_first=True),
        2,
        enable_nested_tensor=False,
    ).eval()
    expected.load_state_dict(model.state_dict())
    old = "GELU" if activation == "gelu" else "ReLU"
    replace_activation_by_name(model, old, "GoLU", functional=True)
    where = "activation" if activation == "module" else f"golu_functional.{old}"
    assert [path for path, _ in find_activations(model).modules] == [f"layers.0.{where}", f"layers.1.{where}"]
    x = torch.randn(2, 5, 8)
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2]) if padding else None
    with torch.no_grad():
        y, wanted = (m(x, src_key_padding_mask=mask) for m in (model, expected))
    kept = slice(None) if mask is None else ~mask
    torch.testing.assert_close(y[kept], wanted[kept])


def test_torch_transformer_takes_an_activation_that_nested_tensors_do_not_have() -> None:
    """For a padded batch its encoder would pack the sequences into a nested tensor."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    replace_activation_by_name(model, "ReLU", "Mish", functional=True)
    x = torch.randn(1, 5, 8)
    with torch.no_grad():
        padded = model(x, src_key_padding_mask=torch.tensor([[False] * 3 + [True] * 2]))
        torch.testing.assert_close(padded[:, :3], model(x[:, :3]))


def test_an_error_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU())
    before = list(model)
    made = iter([GoLU(), GoLU()])

    def factory() -> nn.Module:
        try:
            return next(made)
        except StopIteration:
            raise RuntimeError("no more") from None

    with pytest.raises(RuntimeError, match="no more"):
        replace_activation_by_torch_module(model, nn.ReLU, factory)
    assert list(model) == before


# ---- errors and warnings ----


@pytest.mark.parametrize("old", ["ReLU", nn.Sequential(nn.ReLU()), None])
def test_old_class_has_to_be_a_class(old: Any) -> None:
    with pytest.raises(
        TypeError, match=r"has to be a class such as torch\.nn\.ReLU.*replace_activation_by_name"
    ) as raised:
        replace_activation_by_torch_module(nn.Sequential(nn.ReLU()), old, GoLU)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("new", [None, 3, int, F.relu, nn.Threshold, lambda: "GoLU", lambda: F.relu])
@pytest.mark.parametrize("old", [nn.ReLU, nn.ELU])  # one that the model holds, and one that it does not
def test_new_has_to_make_a_module(new: Any, old: type[nn.Module]) -> None:
    model = nn.Sequential(nn.ReLU())
    with pytest.raises(TypeError, match=r"^new has to be a name, a module, or a class or function") as raised:
        replace_activation_by_torch_module(model, old, new)
    assert "\n" not in str(raised.value)
    assert type(model[0]) is nn.ReLU


def test_an_unknown_new_name() -> None:
    with pytest.raises(ValueError, match=r"^unknown activation 'Golu': did you mean GoLU\? choose from"):
        replace_activation_by_torch_module(nn.Sequential(nn.ReLU()), nn.ReLU, "Golu")


def test_an_unknown_old_name() -> None:
    class NewGELUActivation(nn.Module):
        pass

    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), NewGELUActivation())
    with pytest.raises(ValueError) as raised:
        replace_activation_by_name(model, "NewGeluActivatoin", "GoLU")
    message = str(raised.value)
    assert message.startswith(
        "unknown activation 'NewGeluActivatoin': did you mean NewGELUActivation? choose from Sigmoid,"
    )
    assert all(f" {name}," in message for name in ("Swish", "ReLU6", "Hardswish"))
    assert "Linear" not in message
    with pytest.raises(ValueError, match=r"did you mean ReLU6\?"):
        replace_activation_by_name(model, "relu6", "GoLU")


def test_nothing_to_replace() -> None:
    model = nn.Sequential(
        nn.Linear(2, 2), nn.ReLU(), nn.ReLU(), nn.GELU("tanh"), detection.faster_rcnn.TwoMLPHead(2, 2)
    )
    before = list(model)
    with pytest.warns(UserWarning) as caught:
        assert replace_activation_by_torch_module(model, nn.SiLU, GoLU, functional=True) is model
    assert str(caught[0].message) == (
        "no SiLU was replaced: the model holds ReLU x2, GELU_tanh x1, ReLU x2 (functional)"
    )
    assert caught[0].filename == __file__
    assert list(model) == before
    with pytest.warns(UserWarning, match=r"^no Mish was replaced: the model holds no activation$"):
        replace_activation_by_name(nn.Linear(2, 2), "Mish", GoLU)


# ---- by name ----


def test_names_stand_for_one_variant() -> None:
    def model() -> nn.Sequential:
        return nn.Sequential(nn.GELU(), nn.GELU("tanh"), nn.SiLU())

    kinds = {"GELU": [0], "GELU_tanh": [1], "Swish": [2], "SiLU": [2]}
    for name, places in kinds.items():
        replaced = replace_activation_by_name(model(), name, GoLU)
        assert [i for i, module in enumerate(replaced) if isinstance(module, GoLU)] == places, name
    replaced = replace_activation_by_torch_module(model(), nn.GELU, GoLU)
    assert [type(module) for module in replaced] == [GoLU, GoLU, nn.SiLU]


def test_names_of_classes_of_the_model() -> None:
    class NewGELUActivation(nn.Module):
        pass

    class GELU(nn.Module):  # not the activation, as in diffusers
        pass

    model = nn.Sequential(NewGELUActivation(), nn.ReLU6(), GELU(), nn.GELU())
    replace_activation_by_name(model, "NewGELUActivation", "GoLU")
    replace_activation_by_name(model, "ReLU6", "Mish")
    replace_activation_by_name(model, "GELU", "Tanh")
    assert [type(module) for module in model] == [GoLU, nn.Mish, GELU, nn.Tanh]


def test_golu_can_be_replaced_by_either_name() -> None:
    model = nn.Sequential(GoLU(), GoLU())
    replace_activation_by_name(model, "GoLUCUDA", "ReLU")
    assert _types(model)[nn.ReLU] == 2


# ---- the report ----


class _Gate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(x) * F.hardsigmoid(x)
        return gate * F.gelu(x, approximate="tanh") + x.tanh()


class _Attribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.activation = F.silu
        self.function = len


def test_report() -> None:
    kept_out = [
        nn.Linear(2, 2),
        nn.Softmax(dim=1),
        nn.LogSoftmax(dim=1),
        nn.MultiheadAttention(2, 1),
        nn.Dropout(),
        _Other(),
    ]
    model = nn.Sequential(nn.ReLU(), nn.GELU("tanh"), nn.GLU(), nn.Hardtanh(), GoLU(), _Gate(), _Attribute(), *kept_out)
    report = find_activations(model)
    assert report.modules == [("0", "ReLU"), ("1", "GELU_tanh"), ("2", "GLU"), ("3", "Hardtanh"), ("4", "GoLU")]
    found = [(call.path, call.class_name, call.activation, call.call) for call in report.functional]
    assert found == [
        ("5", "_Gate", "Sigmoid", "torch.sigmoid(x)"),
        ("5", "_Gate", "Hardsigmoid", "F.hardsigmoid(x)"),
        ("5", "_Gate", "GELU_tanh", "F.gelu(x, approximate='tanh')"),
        ("5", "_Gate", "Tanh", "x.tanh()"),
        ("6", "_Attribute", "SiLU", "self.activation"),
        ("12", "_Other", "ReLU", "F.relu(input, inplace=self.inplace)"),
    ]
    for call in report.functional[:4]:
        file, line = call.source.rsplit(":", 1)
        assert file == __file__
        text = Path(file).read_text().splitlines()[int(line) - 1]
        assert call.call.replace("'", '"') in text
    assert report.functional[4].source == "an attribute"


def test_report_as_text() -> None:
    model = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.GELU())
    model.append(detection.faster_rcnn.TwoMLPHead(2, 2))
    head, *rows = str(find_activations(model)).splitlines()
    assert head.split() == ["activation", "count", "where", "as"]
    assert rows[0].split() == ["ReLU", "2", "0,", "...", "module"]
    assert rows[1].split() == ["GELU", "1", "2", "module"]
    assert rows[2].split()[:3] == ["ReLU", "1", "3"]
    assert "F.relu(self.fc6(x)) in TwoMLPHead, faster_rcnn.py:" in rows[2]
    assert len(rows) == 4
    assert str(find_activations(nn.Linear(2, 2))) == "no activation"
    assert "(root)" in str(find_activations(nn.ReLU()))


FUNCTIONS = {
    "F.relu(x)": "ReLU",
    "F.relu_(x)": "ReLU",
    "F.relu(x, inplace=True)": "ReLU",
    "F.relu(input=x)": "ReLU",
    "torch.relu(x)": "ReLU",
    "torch.relu_(x)": "ReLU",
    "torch.nn.functional.relu(x)": "ReLU",
    "nn.functional.relu(x)": "ReLU",
    "rectify(x)": "ReLU",
    "x.relu()": "ReLU",
    "x.relu_()": "ReLU",
    "(x + 1).relu()": "ReLU",
    "F.relu6(x)": "ReLU6",
    "F.leaky_relu(x, 0.2)": "LeakyReLU",
    "F.leaky_relu_(x, 0.2)": "LeakyReLU",
    "F.elu(x)": "ELU",
    "F.selu(x)": "SELU",
    "torch.selu(x)": "SELU",
    "F.celu(x)": "CELU",
    "F.gelu(x)": "GELU",
    "F.gelu(x, approximate='none')": "GELU",
    "F.gelu(x, approximate='tanh')": "GELU_tanh",
    "F.gelu(x, approximate=self.kind)": "GELU(approximate=self.kind)",
    "F.silu(x)": "SiLU",
    "F.mish(x)": "Mish",
    "F.sigmoid(x)": "Sigmoid",
    "torch.sigmoid(x)": "Sigmoid",
    "x.sigmoid()": "Sigmoid",
    "F.tanh(x)": "Tanh",
    "torch.tanh(x)": "Tanh",
    "x.tanh()": "Tanh",
    "F.softplus(x)": "Softplus",
    "F.softsign(x)": "Softsign",
    "F.logsigmoid(x)": "LogSigmoid",
    "F.hardswish(x)": "Hardswish",
    "F.hardtanh(x)": "Hardtanh",
    "F.glu(x)": "GLU",
    "golu(x)": "GoLU",
    # and what is none
    "F.softmax(x, dim=0)": None,
    "F.dropout(x)": None,
    "torch.abs(x)": None,
    "self.relu()": None,
    "x.relu(1)": None,
    "unknown.relu(x)": None,
}


def test_functions_are_recognised(tmp_path: Path) -> None:
    lines = [
        "import torch",
        "from torch import nn",
        "import torch.nn.functional as F",
        "from torch.nn.functional import relu as rectify",
        "from golu import golu",
    ]
    for i, call in enumerate(FUNCTIONS):
        lines += [f"class M{i}(nn.Module):", "    def forward(self, x):", f"        return {call}"]
    file = tmp_path / "many.py"
    file.write_text("\n".join(lines))
    namespace: dict[str, Any] = {"__name__": "many"}
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    for i, (call, activation) in enumerate(FUNCTIONS.items()):
        found = find_activations(namespace[f"M{i}"]()).functional
        assert [each.activation for each in found] == ([activation] if activation else []), call


def test_a_class_without_source_is_known_by_what_it_computes() -> None:
    namespace: dict[str, Any] = {"nn": nn, "F": F}
    exec("class M(nn.Module):\n    def forward(self, x):\n        return F.relu(x)", namespace)
    report = find_activations(namespace["M"]())
    assert (report.modules, report.functional) == ([("", "ReLU")], [])  # it computes what ReLU does
    model = replace_activation_by_name(nn.Sequential(namespace["M"]()), "ReLU", GoLU, functional=True)
    assert model(torch.tensor(-1.0)) == golu(torch.tensor(-1.0))


# ---- swapping functional calls ----


def _with_golu(model: nn.Module, x: Tensor) -> Tensor:
    """The model's answer once its ReLU calls are GoLU."""
    replace_activation_by_name(model, "ReLU", "GoLU", functional=True)
    assert not [call for call in find_activations(model).functional if call.activation == "ReLU"]
    return model(x)


X = torch.linspace(-3, 3, 13)


class _Calls(nn.Module):
    """Every form of a call that can be swapped."""

    def forward(self, x: Tensor, *, shift: float = 1.0) -> tuple[Tensor, ...]:
        """A docstring
        that is not indented."""
        text = """two
lines"""
        assert text == "two\nlines"
        nested = F.relu(
            F.relu(x, inplace=False) - shift,
        )
        listed = [rectify(v) for v in (x, x + 1)]
        return nested, *listed, torch.relu(input=x), F.relu_(x.clone()), (lambda v: nn.functional.relu(v))(x)


def test_every_form_of_a_call() -> None:
    model = _Calls()
    answer = _with_golu(model, X)
    expected = (golu(golu(X) - 1), golu(X), golu(X + 1), golu(X), golu(X), golu(X))
    for y, wanted in zip(answer, expected, strict=True):
        torch.testing.assert_close(y, wanted, rtol=0, atol=0)
    torch.testing.assert_close(model(X, shift=0.5)[0], golu(golu(X) - 0.5), rtol=0, atol=0)
    assert "(ReLU): GoLU(alpha=1, beta=1, gamma=1)" in repr(model.golu_functional)
    assert type(model).__name__ == "_Calls"
    assert model.forward.__doc__ == _Calls.forward.__doc__


def test_the_class_and_its_other_instances_are_untouched() -> None:
    forward, other = _Calls.forward, _Calls()
    model = _Calls()
    _with_golu(model, X)
    assert _Calls.forward is forward
    assert type(other) is _Calls
    assert isinstance(model, _Calls)
    torch.testing.assert_close(other(X)[1], F.relu(X), rtol=0, atol=0)
    torch.testing.assert_close(_Calls()(X)[1], F.relu(X), rtol=0, atol=0)


def _closed_over(scale: float) -> nn.Module:
    import torch.nn.functional as local

    def helper(v: Tensor) -> Tensor:
        return v * factor

    class Inner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert isinstance(self, Inner)
            return helper(local.relu(x)) + scale

    factor = 2.0
    model = Inner()
    _with_golu(model, X)
    factor = 3.0  # the closure is the original one, not a copy of its values
    return model


def test_closures_are_kept() -> None:
    torch.testing.assert_close(_closed_over(0.5)(X), golu(X) * 3 + 0.5, rtol=0, atol=0)


class _Base(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


class _Derived(_Base):
    __offset = 0.25

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self, _Derived)
        return super().forward(F.relu(x)) + _Base.forward(self, x) + self.__offset


class _Inheriting(_Derived):
    pass


@pytest.mark.parametrize("cls", [_Derived, _Inheriting])
def test_super_and_private_names(cls: type[nn.Module]) -> None:
    torch.testing.assert_close(_with_golu(cls(), X), golu(X) + 1 + X + 1 + 0.25)


def _twice(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Tensor:
        return 2 * function(*args, **kwargs)

    return wrapper


def _hiding(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    held = {"function": function}

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Tensor:
        return held["function"](*args, **kwargs)

    return wrapper


class _Decorated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    @_twice
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.weight * x) + self.static(x) + self.value

    @staticmethod
    def static(x: Tensor) -> Tensor:
        return F.relu(x)

    @property
    def value(self) -> Tensor:
        return F.relu(self.weight)


class _Hidden(nn.Module):
    @_hiding
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


def test_decorators_are_kept() -> None:
    y = _with_golu(_Decorated(), X)
    torch.testing.assert_close(y, 2 * (golu(X) + golu(X) + golu(torch.tensor(1.0))), rtol=0, atol=0)
    assert not y.requires_grad


class _Effect(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        F.relu_(x)
        return x


class _Method(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu() + F.relu(x)


class _Out(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        arguments = (x,)
        return torch.tanh(x, out=torch.empty_like(x)) + torch.tanh(*arguments)


class _Overridden(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class _Overriding(_Overridden):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.relu(x)


class _Dead(_Overridden):
    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("cls", [_Effect, _Method, _Overriding, _Hidden])
def test_calls_that_source_does_not_give_away(cls: type[nn.Module]) -> None:
    """For their effect alone, as methods, through super(), and under a decorator that hides them."""
    model = cls()
    times = (model(X) / F.relu(X))[-1]
    torch.testing.assert_close(_with_golu(model, X), times * golu(X), rtol=0, atol=0)


def test_outputs_that_are_given() -> None:
    model = _Out()
    replace_activation_by_name(model, "Tanh", "GoLU", functional=True)
    torch.testing.assert_close(model(X), 2 * golu(X), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("model", "old", "swapped", "left"),
    [
        (torch.fx.symbolic_trace(_Overridden()), "ReLU", 0, ["relu(x)"]),
        (nn.RNN(13, 13, nonlinearity="relu"), "ReLU", 0, ["nonlinearity='relu'"]),
    ],
    ids=["graph", "recurrent"],
)
def test_what_cannot_be_swapped_stays_and_is_told(model: nn.Module, old: str, swapped: int, left: list[str]) -> None:
    if isinstance(model, nn.RNN):
        model = nn.Sequential(model)
        model.forward = lambda x: model[0](x[None])[0][0]  # type: ignore[method-assign]
    before = model(X)
    relu_or_tanh = F.relu(X) if old == "ReLU" else torch.tanh(X)
    with pytest.warns(UserWarning) as caught:
        replace_activation_by_name(model, old, "GoLU", functional=True)
    assert str(caught[0].message).startswith(f"functional calls of {old} that could not be swapped: {left[0]} in ")
    assert caught[0].filename == __file__
    assert [call.call for call in find_activations(model).functional] == left
    torch.testing.assert_close(model(X), before + swapped * (golu(X) - relu_or_tanh))


def test_a_method_set_on_the_instance_is_not_lost() -> None:
    model = _Overridden()
    model.forward = lambda x: x + 5  # type: ignore[method-assign]
    replace_activation_by_name(model, "ReLU", "GoLU", functional=True)
    torch.testing.assert_close(model(X), X + 5)
    model.forward = lambda x: F.relu(x)  # type: ignore[method-assign]
    torch.testing.assert_close(model(X), golu(X), rtol=0, atol=0)


def test_overridden_methods_that_never_run_are_not_reported() -> None:
    assert _functional(_Dead()) == []
    assert _functional(_Overriding()) == [("_Overriding", "ReLU")] * 2


class _Shadowed(nn.Module):
    def forward(self, x: Tensor, rectify: Callable[[Tensor], Tensor] = torch.abs) -> Tensor:
        return rectify(x)


def test_a_local_name_hides_a_global_one() -> None:
    assert _functional(_Shadowed()) == []


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x) + self.inner(F.relu(x)) + F.gelu(x) + F.gelu(x, approximate="tanh")

    def inner(self, x: Tensor) -> Tensor:
        return F.relu(self.linear(x))


def test_swapping_again() -> None:
    model = _Two()
    x = torch.randn(4, 3)
    replace_activation_by_name(model, "ReLU", "GELU", functional=True)
    replace_activation_by_name(model, "Sigmoid", "Mish", functional=True)
    hidden = model.linear(F.gelu(x))
    rest = F.gelu(x) + F.gelu(x, approximate="tanh")
    torch.testing.assert_close(model(x), F.mish(x) + F.gelu(hidden) + rest)
    assert _functional(model) == [("_Two", "GELU"), ("_Two", "GELU_tanh")]

    replace_activation_by_name(model, "GELU", "GoLU")  # now modules
    hidden = model.linear(golu(x))
    torch.testing.assert_close(model(x), F.mish(x) + golu(hidden) + rest)
    replace_activation_by_name(model, "GELU_tanh", "Tanh", functional=True)
    expected = F.mish(x) + golu(hidden) + F.gelu(x) + torch.tanh(x)
    torch.testing.assert_close(model(x), expected)
    replace_activation_by_torch_module(model, nn.GELU, nn.Identity, functional=True)
    expected = F.mish(x) + golu(hidden) + x + torch.tanh(x)
    torch.testing.assert_close(model(x), expected)
    assert _functional(model) == []
    assert sorted(model.golu_functional) == ["GELU", "GELU_tanh", "QuickGELU", "ReLU", "Sigmoid"]


def test_a_class_with_swapped_calls_keeps_its_name() -> None:
    model = nn.Sequential(_Two(), _Two())
    replace_activation_by_name(model, "ReLU", "GELU", functional=True)
    assert type(model[0]) is type(model[1])
    replace_activation_by_torch_module(model, _Two, nn.Identity)
    assert [type(module) for module in model] == [nn.Identity, nn.Identity]


def test_new_activations_are_submodules_like_any_other() -> None:
    model = _Two().double().eval()
    replace_activation_by_name(model, "ReLU", nn.PReLU(init=0.1), functional=True)
    child = model.golu_functional["ReLU"]
    assert not child.training
    assert child.weight.dtype == torch.float64
    model.float().train()
    assert child.training
    assert child.weight.dtype == torch.float32
    model(torch.randn(5, 3) - 1).sum().backward()
    assert child.weight.grad.abs() > 0


def test_deepcopy_calls_its_own_activation() -> None:
    model = _small_densenet()
    x = torch.randn(2, 3, 32, 32)
    replace_activation_by_torch_module(model, nn.ReLU, GoLU, functional=True)
    y = model(x)
    twin: Any = copy.deepcopy(model)
    torch.testing.assert_close(twin(x), y, rtol=0, atol=0)
    twin.golu_functional["ReLU"].set_parameters(2.0, 1.0, 1.0)
    changed = twin(x)
    torch.testing.assert_close(model(x), y, rtol=0, atol=0)
    bias = model.classifier.bias  # alpha scales what the classifier sees
    torch.testing.assert_close(changed - bias, 2 * (y - bias))


def test_torch_compile_without_a_break() -> None:
    model = _small_densenet()
    replace_activation_by_torch_module(model, nn.ReLU, GoLU, functional=True)
    x = torch.randn(2, 3, 32, 32)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))


def test_torch_fx_sees_the_new_activation() -> None:
    model = _small_densenet()
    replace_activation_by_torch_module(model, nn.ReLU, GoLU, functional=True)
    traced = torch.fx.symbolic_trace(model)
    assert F.relu not in {node.target for node in traced.graph.nodes}
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(traced(x), model(x), rtol=0, atol=0)


def test_a_pickle_of_the_whole_model_keeps_the_swap() -> None:
    model = nn.Sequential(_Overriding())
    _with_golu(model, X)
    again = pickle.loads(pickle.dumps(model))
    torch.testing.assert_close(again(X), 2 * golu(X), rtol=0, atol=0)
    torch.testing.assert_close(_Overriding()(X), 2 * F.relu(X), rtol=0, atol=0)


@pytest.mark.parametrize("new", ["GoLU", "PReLU"])
def test_state_dict_round_trip(new: str) -> None:
    def swapped() -> nn.Module:
        return replace_activation_by_name(_small_densenet(), "ReLU", new, functional=True)

    first, second = swapped(), swapped()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(second(x), first(x), rtol=0, atol=0)
    assert ("golu_functional.ReLU.weight" in first.state_dict()) == (new == "PReLU")
    if new == "GoLU":  # without parameters of its own, the state is that of the model as it was
        assert list(first.state_dict()) == list(_small_densenet().state_dict())


def test_a_traceback_points_into_the_original_file() -> None:
    model = _Two()
    replace_activation_by_name(model, "ReLU", "GoLU", functional=True)
    with pytest.raises(RuntimeError) as raised:
        model(torch.randn(2, 4))
    frames = [frame for frame in traceback.extract_tb(raised.tb) if frame.filename == __file__]
    assert [frame.line for frame in frames][1:] == [
        'return torch.sigmoid(x) + self.inner(F.relu(x)) + F.gelu(x) + F.gelu(x, approximate="tanh")',
        "return F.relu(self.linear(x))",
    ]


# ---- parameters ----


def _parameters(model: nn.Module) -> list[tuple[float, float, float]]:
    return [(m.alpha, m.beta, m.gamma) for m in model.modules() if isinstance(m, GoLU)]


def test_update_sets_what_is_given() -> None:
    model = nn.Sequential(GoLU(), nn.Sequential(GoLU(0.5, 0.6, 0.7)), nn.ReLU())
    assert update_golu_parameters(model, new_beta=2.0) is model
    assert _parameters(model) == [(1.0, 2.0, 1.0), (0.5, 2.0, 0.7)]
    update_golu_parameters(model, 3, 4, 5)
    assert _parameters(model) == [(3.0, 4.0, 5.0)] * 2
    update_golu_parameters(model, new_alpha=0.0)
    assert _parameters(model) == [(0.0, 4.0, 5.0)] * 2
    update_golu_parameters(model)
    assert _parameters(model) == [(0.0, 4.0, 5.0)] * 2


def test_update_of_the_root_and_of_swapped_calls() -> None:
    root = GoLU()
    assert update_golu_parameters(root, new_gamma=0.5) is root
    assert root.gamma == 0.5
    model = _Overridden()
    _with_golu(model, X)
    update_golu_parameters(model, new_alpha=0.8, new_beta=1.2, new_gamma=0.9)
    torch.testing.assert_close(model(X), 0.8 * X * torch.exp(-1.2 * torch.exp(-0.9 * X)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["new_alpha", "new_beta", "new_gamma"])
def test_update_is_all_or_nothing(name: str, value: float) -> None:
    model = nn.Sequential(GoLU(), GoLU(0.5, 0.6, 0.7))
    given = {"new_alpha": 2.0, "new_beta": 2.0, "new_gamma": 2.0} | {name: value}
    with pytest.raises(ValueError, match=f"GoLU needs finite parameters, got {name[4:]}={value}"):
        update_golu_parameters(model, **given)
    assert _parameters(model) == [(1.0, 1.0, 1.0), (0.5, 0.6, 0.7)]


def test_update_of_a_model_without_golu() -> None:
    with pytest.raises(ValueError, match="holds no GoLU to update, but ReLU x1; replace_activation_by_name") as raised:
        update_golu_parameters(nn.Sequential(nn.ReLU()), new_alpha=1.0)
    assert "\n" not in str(raised.value)


def test_update_warns_once_about_a_lost_shape() -> None:
    model = nn.Sequential(*(GoLU() for _ in range(5)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        update_golu_parameters(model, new_beta=-1.0)
    assert len(caught) == 1
    assert "beta=-1.0" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert _parameters(model) == [(1.0, -1.0, 1.0)] * 5


# ---- the README ----


@pytest.mark.parametrize("kind", ["module", "name", "class"])
def test_readme_blocks(kind: str) -> None:
    from golu.activation_utils import (
        get_activation_function,
        replace_activation_by_torch_module,
        update_golu_parameters,
    )
    from golu.golu_cuda_activation import GoLUCUDA

    activation = {"module": get_activation_function(activation="GoLUCUDA"), "name": "GoLUCUDA", "class": GoLUCUDA}[kind]

    model = torchvision.models.get_model("resnet50", weights=None, num_classes=1000)
    model = replace_activation_by_torch_module(model, nn.ReLU, activation)
    model.to("cpu")
    assert _types(model)[GoLUCUDA] == 17
    assert _types(model)[nn.ReLU] == 0

    model = update_golu_parameters(model, new_alpha=0.8, new_beta=1.2, new_gamma=0.9)
    assert _parameters(model) == [(0.8, 1.2, 0.9)] * 17
