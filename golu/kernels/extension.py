"""Load extension.c, the part of the C kernel that serves an ordinary call without Python's share."""

import ctypes
import importlib.util
import sys
import sysconfig
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad, profiler

# of torch's C interface for compiled models, in the order of extension.c
_FUNCTIONS = (
    "get_device_type",
    "get_dtype",
    "is_contiguous",
    "get_numel",
    "get_dim",
    "get_sizes",
    "get_strides",
    "get_data_ptr",
    "empty_strided",
    "delete_tensor_object",
    "grad_mode_is_enabled",
)
_DTYPES = ("float32", "float64", "bfloat16", "float16", "uint8")


class Extension(Protocol):
    """Name what extension.c offers; each function returns None where a call is out of the ordinary."""

    def call(self, x: Tensor, alpha: float, beta: float, gamma: float, apply: object, /) -> Tensor | None: ...
    def forward(self, x: Tensor, alpha: float, beta: float, gamma: float, /) -> Tensor | None: ...
    def backward(self, dy: Tensor, x: Tensor, alpha: float, beta: float, gamma: float, /) -> Tensor | None: ...
    def forward_keeping(
        self, x: Tensor, alpha: float, beta: float, gamma: float, least: float, /
    ) -> tuple[Tensor, Tensor] | None: ...
    def backward_from_output(
        self, dy: Tensor, y: Tensor, packed: Tensor, slopes: bytes, unit: bool, /
    ) -> Tensor | None: ...


def load(path: Path) -> Extension | None:
    """Return the extension in the library; None where it has none, or where this Python or torch is too different."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    loader = ExtensionFileLoader("golu.kernels._cpu", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    try:
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        wrap = torch._C._aoti.alloc_tensor_by_stealing_from_void_ptr
        if not _leaves_the_handle(wrap):
            return None
        torch_functions = ctypes.CDLL(torch._C.__file__)
        addresses = [_address(torch_functions, f"aoti_torch_{name}") for name in _FUNCTIONS]
        numbers = [getattr(torch_functions, f"aoti_torch_dtype_{name}")() for name in _DTYPES]
        watchers = (
            torch._C._are_functorch_transforms_active,
            torch._C._len_torch_dispatch_stack,
            torch._C._is_tracing,
        )
    except (ImportError, AttributeError, OSError):
        return None
    names = vars(forward_ad), vars(profiler)
    types = Tensor, torch.nn.Parameter
    module.prepare(*types, wrap, torch.get_num_threads, *names, watchers, tuple(addresses), tuple(numbers))
    return cast(Extension, module)


def _address(library: ctypes.CDLL, name: str) -> int | None:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value


def _leaves_the_handle(wrap: object) -> bool:
    """Tell whether it makes a tensor from a handle without freeing it, whatever its name says: extension.c frees it."""
    probe = torch.empty(1)
    wrap(torch._C._aoti.unsafe_alloc_void_ptr_from_tensor(probe))  # type: ignore[operator]
    return bool(probe._use_count() == 2)  # type: ignore[attr-defined]
