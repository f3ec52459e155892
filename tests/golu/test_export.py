"""A graph that is written holds plain operators, and computes GoLU without golu: in onnxruntime, in torch alone."""

import io
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from golu import GoLU, golu, replace_activation_by_name
from tests.golu import reference
from tests.golu.integrations.processes import fresh

UNIT, OTHER, STEEP = (1.0, 1.0, 1.0), (0.8, 1.2, 0.9), (1.5, 0.03, 2.7)
PARAMETERS = [UNIT, OTHER, STEEP, (0.8, 1e30, 1.0)]  # the last is computed with in float64
DTYPES = [torch.float32, torch.float16]
BOTH = [pytest.param(dtype, id=str(dtype).removeprefix("torch.")) for dtype in DTYPES]
BATCH = ({0: torch.export.Dim("batch")},)
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.onnx"),
    pytest.mark.filterwarnings("ignore:You are using the legacy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning"),
]


def limits(dtype: torch.dtype) -> torch.Tensor:
    """Every number of 16 bits; of fp32 both ends, zeros, subnormal numbers, where a gate closes, and between these."""
    if dtype is torch.float16:
        return torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)
    ends = [0.0, 1e-45, 6e-39, torch.finfo(dtype).tiny, 1e4, torch.finfo(dtype).max, torch.inf]
    gate = [-0.5671, -4.4, -5.1, -11.0, -12.0, -88.0, -104.0, 88.0, torch.nan]
    return torch.cat([torch.tensor([*ends, *(-end for end in ends), *gate]), torch.linspace(-8, 60, 20_001)]).to(dtype)


def check(y: torch.Tensor, x: torch.Tensor, parameters: tuple[float, ...]) -> None:
    """Hold what was computed elsewhere against double precision."""
    want, number = reference.value(x, *parameters), ~x.isnan()
    assert y.dtype == x.dtype and y.shape == x.shape
    assert torch.equal(y.isnan(), x.isnan())
    if parameters[1] < 150:  # beyond, the gate closes above 0, and what is 0 is +0
        assert torch.equal(y.signbit()[number], want.signbit()[number])
    if x.dtype is torch.float16:
        assert reference.steps(y, want.half())[number].max() <= 1
        return
    finite = want.isfinite() & (want.abs() <= torch.finfo(x.dtype).max)
    assert torch.equal(y[number & ~finite], want[number & ~finite].to(x.dtype))
    allowed = want.abs() * (1e-5 if parameters == UNIT else 5e-5) + 1e-42
    assert ((y.double() - want).abs() <= allowed)[finite].all()


def onnx_graph(module: nn.Module, x: torch.Tensor, opset: int | None = None) -> bytes:
    """Return what torch writes for any number of rows."""
    pytest.importorskip("onnxscript")
    content = io.BytesIO()
    options = {"dynamo": True, "verbose": False, "opset_version": opset, "dynamic_shapes": BATCH}
    torch.onnx.export(module.eval(), (x,), **options).save(content)
    return content.getvalue()


def in_onnxruntime(graph: bytes, x: torch.Tensor) -> torch.Tensor:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(y)


def standard(graph: bytes) -> int:
    """Make sure that every operator is one of ONNX's own, with no function to define another; return their version."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"} and not model.functions
    (opset,) = model.opset_import
    assert all(onnx.defs.has(node.op_type, opset.version) for node in model.graph.node)
    return opset.version


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_onnx(dtype: torch.dtype, parameters: tuple[float, ...]) -> None:
    x = limits(dtype)
    graph = onnx_graph(GoLU(*parameters), x[:7])
    standard(graph)
    check(in_onnxruntime(graph, x), x, parameters)


@pytest.mark.parametrize("opset", [14, 23])
def test_onnx_of_other_versions(opset: int) -> None:
    x = limits(torch.float16)
    graph = onnx_graph(GoLU(*OTHER), x[:7], opset)
    assert standard(graph) == opset
    check(in_onnxruntime(graph, x), x, OTHER)


def test_onnx_by_the_older_exporter() -> None:
    pytest.importorskip("onnx")
    x, content = limits(torch.float32), io.BytesIO()
    torch.onnx.export(GoLU(*OTHER).eval(), (x,), content, dynamo=False)
    standard(content.getvalue())
    check(in_onnxruntime(content.getvalue(), x), x, OTHER)


@pytest.mark.parametrize("parameters", [UNIT, OTHER], ids=str)
def test_onnx_made_fp16_afterwards_has_no_nan(parameters: tuple[float, ...]) -> None:
    """Both exponentials are in fp16 then, where exp(11.1) would be infinite."""
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from onnxruntime.transformers.float16 import convert_float_to_float16

    wide = onnx.load_from_string(onnx_graph(GoLU(*parameters), limits(torch.float32)))
    x = limits(torch.float16)
    y, want = in_onnxruntime(convert_float_to_float16(wide).SerializeToString(), x), reference.value(x, *parameters)
    assert torch.equal(y.isnan(), x.isnan())
    finite = want.isfinite()
    assert ((y.double() - want).abs() <= 2e-3 * want.abs() + 1e-4)[finite].all()
    assert y[x == -torch.inf] == 0 and y[x == torch.inf] == torch.inf


class Called(nn.Module):
    """A model that calls one of its activations as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.activation, self.last = nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(nn.functional.relu(self.activation(self.first(x)) - 1.0))


class Meant(Called):
    """The same with GoLU, from its definition in double precision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = reference.value(self.first(x)) - 1.0
        return self.last(reference.value(hidden))


@pytest.fixture
def swapped() -> tuple[nn.Module, nn.Module]:
    """A swapped model, and what it is to compute, of the same weights."""
    torch.manual_seed(0)
    meant = Meant()
    model = Called()
    model.load_state_dict(meant.state_dict())
    return replace_activation_by_name(model, "ReLU", "GoLU", functional=True).eval(), meant.double().eval()


@torch.no_grad()
@pytest.mark.parametrize("dtype", BOTH)
def test_onnx_of_a_swapped_model(dtype: torch.dtype, swapped: tuple[nn.Module, nn.Module]) -> None:
    model, meant = swapped
    graph = onnx_graph(model.to(dtype), torch.randn(3, 4).to(dtype))
    standard(graph)
    tolerance = 1e-6 if dtype is torch.float32 else 2e-3
    for rows in (1, 200):
        x = 3 * torch.randn(rows, 4).to(dtype)
        y = in_onnxruntime(graph, x)
        assert y.dtype == dtype
        torch.testing.assert_close(y.double(), meant(x.double()), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("dtype", "parameters", "strict"),
    [
        *((dtype, parameters, False) for dtype in (*DTYPES, torch.float64) for parameters in PARAMETERS),
        (torch.float32, OTHER, True),
    ],
)
def test_torch_export(dtype: torch.dtype, parameters: tuple[float, ...], strict: bool) -> None:
    """Core operators alone; where x is converted, torch adds an assertion of its dtype, which computes nothing."""
    program = torch.export.export(GoLU(*parameters), (torch.randn(3).to(dtype),), dynamic_shapes=BATCH, strict=strict)
    program = program.run_decompositions()
    found = {node.target for node in program.graph.nodes if node.op == "call_function"}
    if dtype is torch.float16 or parameters[1] > 1e20:
        found.remove(torch.ops.aten._assert_tensor_metadata.default)
    assert found and not [each for each in found if torch.Tag.core not in each.tags]
    x = limits(dtype)
    check(program.module()(x), x, parameters)


# what runs where golu cannot be imported; {load} makes `module`
ELSEWHERE = """
import sys, torch
sys.modules["golu"] = None
folder = sys.argv[1]
inputs = torch.load(folder + "/inputs.pt")
{load}
with torch.no_grad():
    torch.save(module(*inputs), folder + "/outputs.pt")
print(sorted(name for name in sys.modules if name.startswith("golu.")))
"""


def elsewhere(load: str, folder: Path, *inputs: torch.Tensor) -> object:
    torch.save(inputs, folder / "inputs.pt")
    ran = fresh(ELSEWHERE.format(load=load), folder, folder=folder)
    assert ran.stdout == "[]\n", ran.stderr
    return torch.load(folder / "outputs.pt")


@torch.no_grad()
def test_a_stored_program_runs_without_golu(tmp_path: Path, swapped: tuple[nn.Module, nn.Module]) -> None:
    model, meant = swapped
    torch.export.save(torch.export.export(model, (torch.randn(3, 4),), dynamic_shapes=BATCH), tmp_path / "model.pt2")
    x = 3 * torch.randn(200, 4)
    y = elsewhere('module = torch.export.load(folder + "/model.pt2").module()', tmp_path, x)
    torch.testing.assert_close(y.double(), meant(x.double()), rtol=1e-6, atol=1e-6)


class Several(nn.Module):
    """GoLU of one dtype and another, which take long to compile one after the other."""

    def forward(self, x: torch.Tensor, half: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return golu(x), golu(x, *OTHER), golu(half), golu(half, *OTHER)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_compiled_ahead_of_time_it_runs_without_golu(tmp_path: Path) -> None:
    sizes = ({0: torch.export.Dim("n")}, {0: torch.export.Dim("k")})
    program = torch.export.export(Several(), tuple(torch.randn(9).to(dtype) for dtype in DTYPES), dynamic_shapes=sizes)
    torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "model.pt2"))
    x = [limits(dtype) for dtype in DTYPES]
    found = elsewhere('module = torch._inductor.aoti_load_package(folder + "/model.pt2")', tmp_path, *x)
    for y, inputs, parameters in zip(found, (x[0], x[0], x[1], x[1]), (UNIT, OTHER) * 2, strict=True):
        check(y, inputs, parameters)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("parameters", [UNIT, OTHER], ids=str)
def test_executorch(dtype: torch.dtype, parameters: tuple[float, ...], tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="ExecuTorch is not installed")
    from executorch.exir import to_edge
    from executorch.runtime import Runtime

    x = limits(dtype)
    program = to_edge(torch.export.export(GoLU(*parameters), (x,))).to_executorch()
    (tmp_path / "model.pte").write_bytes(program.buffer)
    method = Runtime.get().load_program(tmp_path / "model.pte").load_method("forward")
    check(method.execute([x])[0], x, parameters)
