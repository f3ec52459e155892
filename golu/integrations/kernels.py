"""Write GoLU as a repository of Hugging Face's `kernels`, which needs neither this package nor a compiler.

The layout is kernel-builder's for kernels that are not compiled ("noarch"): build.toml and torch-ext/golu/, and beside
them what it builds of these, build/torch-<backend>/. The mathematics are formula.py as it is here.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from golu import formula

_BUILD = """[general]
name = "golu"
version = 1
edition = 5
license = "MIT"
backends = [{backends}]

[general.hub]
repo-id = "{repo_id}"

[torch-noarch]
"""
_INIT = '''"""GoLU, an activation gated by the Gompertz function: alpha * x * exp(-beta * exp(-gamma * x))."""

from . import layers
from .functional import golu

__all__ = ["golu", "layers"]
'''
_FUNCTIONAL = '''"""Compute GoLU by the formula, which torch.compile fuses; x alone is kept for the backward pass."""

import torch
from torch import Tensor

from . import formula


class _GoLU(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, alpha, beta, gamma):
        return formula.golu(x, alpha, beta, gamma)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, *ctx.parameters = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return formula.backward(dy, x, *ctx.parameters), None, None, None


def golu(x: Tensor, alpha: float = 1.0, beta: float = 1.0, gamma: float = 1.0) -> Tensor:
    """Apply GoLU elementwise to a tensor of any shape; the result has its dtype."""
    return _GoLU.apply(x, alpha, beta, gamma)
'''
_BACKENDS = ("cpu", "cuda", "metal", "rocm", "xpu")
_LAYERS = '''"""The layer whose forward `kernels.kernelize` puts into a module that has alpha, beta and gamma."""

from torch import Tensor, nn

from .functional import golu


class GoLU(nn.Module):
    can_torch_compile = True
    has_backward = True

    def forward(self, x: Tensor) -> Tensor:
        return golu(x, self.alpha, self.beta, self.gamma)
'''


def write_repository(folder: str | Path, repo_id: str, backends: Iterable[str] = _BACKENDS) -> Path:
    """Write a kernel repository into a new folder; return its path.

    Args:
        folder: must not exist yet.
        repo_id: where it is going to be on the Hub, as "owner/golu".
        backends: what it is for, by the names that kernel-builder gives them.

    Raises:
        FileExistsError: the folder is there already.
        ValueError: the repository is not called owner/name, or a backend has another name.

    `kernels.get_local_kernel(folder).golu(x, alpha, beta, gamma)` computes GoLU. `kernels.kernelize` finds the layer
    GoLU, which takes alpha, beta and gamma from the module that it is put into.
    """
    folder = Path(folder)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(repo_id)):
        raise ValueError(f'a repository is called "owner/name", not {repo_id!r}')
    backends = [backends] if isinstance(backends, str) else list(backends)
    if not backends or not set(backends) <= set(_BACKENDS):
        raise ValueError(f"backends are some of {', '.join(_BACKENDS)}, not {backends}")
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: give a folder that is not")
    files = {"__init__.py": _INIT, "functional.py": _FUNCTIONAL, "layers.py": _LAYERS}
    files["formula.py"] = Path(formula.__file__).read_text()
    digest = hashlib.sha256("".join(files.values()).encode()).hexdigest()[:8]
    folder.mkdir(parents=True)
    named = ", ".join(f'"{backend}"' for backend in backends)
    (folder / "build.toml").write_text(_BUILD.format(backends=named, repo_id=repo_id))
    _write(folder / "torch-ext" / "golu", files)
    for backend in backends:
        metadata = {"id": f"_golu_{backend}_{digest}", "name": "golu", "version": 1, "license": "MIT"}
        metadata |= {"python-depends": [], "backend": {"type": backend}}
        _write(folder / "build" / f"torch-{backend}", files | {"metadata.json": json.dumps(metadata, indent=2)})
    return folder


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
