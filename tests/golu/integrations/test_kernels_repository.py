"""The repository for Hugging Face's `kernels` loads by itself, and its layer keeps alpha, beta and gamma."""

import ast
import importlib.util
import json
import sys
from pathlib import Path
from types import MethodType, ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from golu import GoLU
from golu.functional import golu
from golu.integrations.kernels import write_repository
from tests.golu import reference

BACKENDS = ["cpu", "cuda", "metal", "rocm", "xpu"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "golu", "somebody/golu")


@pytest.fixture
def kernel(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imported as `kernels` does it: by path, under the name that its metadata give."""
    folder = repository / "build" / "torch-cpu"
    name = json.loads((folder / "metadata.json").read_text())["id"]
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_values_and_gradients(kernel: ModuleType) -> None:
    for parameters in ((1.0, 1.0, 1.0), (0.8, 1.2, 0.9)):
        x = torch.linspace(-5, 9, 101, dtype=torch.float64, requires_grad=True)
        y = kernel.golu(x, *parameters)
        torch.testing.assert_close(y.detach(), reference.value(x, *parameters), rtol=1e-12, atol=1e-15)
        (dx,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        torch.testing.assert_close(dx.detach(), reference.derivative(x, *parameters), rtol=1e-12, atol=1e-15)
        assert torch.autograd.gradgradcheck(
            lambda x, p=parameters: kernel.golu(x, *p), x[::20].detach().requires_grad_()
        )
        batched = torch.func.vmap(torch.func.grad(lambda v, p=parameters: kernel.golu(v, *p)))(x.detach())
        torch.testing.assert_close(batched, dx.detach())


def test_x_alone_is_kept(kernel: ModuleType) -> None:
    kept: list[Any] = []
    x = torch.randn(9, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        kernel.golu(x)
    assert len(kept) == 1 and kept[0] is x


def test_the_layer_keeps_the_parameters_of_the_module(kernel: ModuleType) -> None:
    """As kernelize puts it in; and it is a layer that kernelize takes: without a constructor or members of its own."""
    layer = kernel.layers.GoLU
    assert layer.__init__ is nn.Module.__init__
    assert set(dir(layer)) - set(dir(nn.Module)) == {"can_torch_compile", "has_backward"}
    module, x = GoLU(0.8, 1.2, 0.9), torch.randn(9)
    module.forward = MethodType(layer.forward, module)  # type: ignore[method-assign]
    torch.testing.assert_close(module(x), golu(x, 0.8, 1.2, 0.9))
    assert not torch.allclose(module(x), golu(x))


def test_files_are_where_kernel_builder_has_them(repository: Path) -> None:
    source = {path.name: path.read_text() for path in (repository / "torch-ext/golu").iterdir()}
    ids = set()
    for backend in BACKENDS:
        built = {path.name: path.read_text() for path in (repository / f"build/torch-{backend}").iterdir()}
        metadata = json.loads(built.pop("metadata.json"))
        assert built == source
        assert (metadata["name"], metadata["version"], metadata["backend"]) == ("golu", 1, {"type": backend})
        ids.add(metadata["id"])
    assert len(ids) == len(BACKENDS)
    for text in source.values():  # the kernels of the Hub import nothing but torch, the standard library and themselves
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= {"math", "torch"}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or node.module == "torch"


def test_the_build_file(repository: Path) -> None:
    tomllib = pytest.importorskip("tomllib", reason="tomllib is of Python 3.11")
    build = tomllib.loads((repository / "build.toml").read_text())
    assert build["general"]["backends"] == BACKENDS and build["general"]["hub"] == {"repo-id": "somebody/golu"}
    assert build["general"]["name"] == "golu" and build["torch-noarch"] == {}


def test_a_folder_that_is_there_is_left_alone(repository: Path) -> None:
    with pytest.raises(FileExistsError, match="is there already: give a folder that is not"):
        write_repository(repository, "somebody/golu")


@pytest.mark.parametrize("repo_id", [None, "golu", 'me/"golu', "a/b/c"])
def test_a_repository_is_called_owner_and_name(repo_id: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='a repository is called "owner/name"'):
        write_repository(tmp_path / "new", repo_id)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("backends", [["gpu"], [], ["../../x"], "all"])
def test_backends_have_names(backends: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="backends are some of cpu, cuda, metal, rocm, xpu, not"):
        write_repository(tmp_path / "new", "somebody/golu", backends)
    write_repository(tmp_path / "one", "somebody/golu", "cpu")
    assert [each.name for each in (tmp_path / "one" / "build").iterdir()] == ["torch-cpu"]


def test_kernels_itself_loads_it(repository: Path) -> None:
    kernels = pytest.importorskip("kernels", reason="kernels is not installed")
    kernel = kernels.get_local_kernel(repository)
    x = torch.randn(9)
    torch.testing.assert_close(kernel.golu(x, 0.8, 1.2, 0.9), golu(x, 0.8, 1.2, 0.9))

    class Extensible(GoLU):
        pass

    kernels.replace_kernel_forward_from_hub(Extensible, "GoLU")
    model = nn.Sequential(Extensible(0.8, 1.2, 0.9)).train()
    layer = kernels.LocalLayerRepository(repository, layer_name="GoLU")
    with kernels.use_kernel_mapping({"GoLU": {"cpu": layer}}):
        model = kernels.kernelize(model, mode=kernels.Mode.TRAINING | kernels.Mode.TORCH_COMPILE, device="cpu")
    assert model[0].forward.__func__ is kernel.layers.GoLU.forward
    torch.testing.assert_close(model(x), golu(x, 0.8, 1.2, 0.9))
