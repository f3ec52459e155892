"""Run the C kernel of cpu.c: an ordinary call in C alone (extension.py), the others through ctypes."""

import ctypes
import functools
import os
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from golu import formula, from_output
from golu.kernels import extension

_empty_like = torch.empty_like
_ONE_THREAD = 32768  # elements that are not worth a second one, as in cpu.c
_DTYPES = {
    torch.float32: "f32",
    torch.float64: "f64",
    torch.bfloat16: "bf16",
    torch.float16: "f16",
}

# segments and degrees in output.h, for fp32 and for fewer bits; nothing is written there for other instruction sets
_SHAPES = {"avx512": ((16, 4), (16, 3)), "avx2": ((8, 6), (8, 4))}
_THREE = ctypes.c_void_p * 3


class CPUKernel:
    """Run the loaded library; the formula serves other dtypes and parameters, and tensors without memory."""

    def __init__(self, library: ctypes.CDLL, path: Path, instruction_set: str, threads: str) -> None:
        self.path = path
        self.instruction_set = instruction_set
        self.threads = threads
        self.extension = extension.load(path)
        pointer, size, count = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
        self._forwards: dict[torch.dtype, Callable[..., int]] = {}
        self._backwards: dict[torch.dtype, Callable[..., int]] = {}
        for dtype, name in _DTYPES.items():
            forward = getattr(library, f"golu_forward_{name}")
            forward.argtypes = [pointer, pointer, size, pointer, count]
            backward = getattr(library, f"golu_backward_{name}")
            backward.argtypes = [pointer, pointer, pointer, size, pointer, count]
            self._forwards[dtype] = forward
            self._backwards[dtype] = backward
        self._keeping: dict[torch.dtype, tuple[Callable[..., int], Callable[..., int]]] = {}
        for dtype in (torch.float32, torch.bfloat16, torch.float16) if instruction_set in _SHAPES else ():
            forward = getattr(library, f"golu_forward_keeping_{_DTYPES[dtype]}")
            forward.argtypes = [pointer, pointer, pointer, size, pointer, ctypes.c_double, count]
            backward = getattr(library, f"golu_backward_from_output_{_DTYPES[dtype]}")
            backward.argtypes = [pointer, pointer, pointer, pointer, size, pointer, count, count]
            self._keeping[dtype] = forward, backward
        self._gated: dict[torch.dtype, Callable[..., int]] = {}
        self._learned: dict[torch.dtype, Callable[..., int]] = {}
        for dtype in self._keeping:
            gated = getattr(library, f"golu_gated_{_DTYPES[dtype]}")
            gated.argtypes = [*[pointer] * 5, size, size, pointer, pointer, count]
            learned = getattr(library, f"golu_learned_{_DTYPES[dtype]}")
            learned.argtypes = [pointer, pointer, pointer, size, size, size, pointer, pointer, count]
            self._gated[dtype], self._learned[dtype] = gated, learned

    def forward(self, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
        done = self.extension.forward(x, alpha, beta, gamma) if self.extension else None
        return self._forward_by_ctypes(x, alpha, beta, gamma) if done is None else done

    def _forward_by_ctypes(self, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
        run = self._forwards.get(x.dtype)
        parameters = _parameters(alpha, beta, gamma)
        if run is None:
            return formula.golu(x, alpha, beta, gamma)
        y = _empty_like(x)  # keeps the strides of dense memory
        x = _in_the_order_of(y, x)
        if run(x.data_ptr(), y.data_ptr(), x.numel(), parameters, _threads(x)):
            return formula.golu(x, alpha, beta, gamma)
        return y

    def backward(self, dy: Tensor, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
        run = self._backwards.get(x.dtype)
        parameters = _parameters(alpha, beta, gamma)
        if run is None or dy.dtype is not x.dtype:
            return formula.backward(dy, x, alpha, beta, gamma)
        dx = _empty_like(x)
        if not (x.is_contiguous() and dy.is_contiguous()) or x.is_neg() or dy.is_neg():
            # bring both into the order of dx's memory
            if x.is_neg() or x.stride() != dx.stride():
                x = _empty_like(x).copy_(x)
            if dy.is_neg() or dy.stride() != dx.stride():
                dy = dx.copy_(dy)
        if run(dy.data_ptr(), x.data_ptr(), dx.data_ptr(), x.numel(), parameters, _threads(x)):
            return formula.backward(dy, x, alpha, beta, gamma)
        return dx

    def forward_keeping(self, x: Tensor, alpha: float, beta: float, gamma: float) -> tuple[Tensor, Tensor] | None:
        """Return y and the sides of the minimum, packed in the order of y's memory; None where the formula serves."""
        run = self._keeping.get(x.dtype)
        if run is None:
            return None
        least = from_output.minimum(beta)[0] / gamma
        done = self.extension.forward_keeping(x, alpha, beta, gamma, least) if self.extension else None
        if done is not None:
            return done
        y, packed = _empty_like(x), torch.empty((x.numel() + 7) // 8, dtype=torch.uint8)
        x = _in_the_order_of(y, x)
        parameters = _parameters(alpha, beta, gamma)
        pointers = x.data_ptr(), y.data_ptr(), packed.data_ptr()
        return None if run[0](*pointers, x.numel(), parameters, least, _threads(x)) else (y, packed)

    def backward_from_output(
        self, dy: Tensor, y: Tensor, packed: Tensor, alpha: float, beta: float, gamma: float
    ) -> Tensor | None:
        """Return the gradient of x; None where the formula serves."""
        run = self._keeping.get(y.dtype)
        if run is None or dy.dtype is not y.dtype:
            return None
        dx = _empty_like(y)
        if dy.is_neg() or dy.stride() != dx.stride():
            dy = dx.copy_(dy)
        pointers = dy.data_ptr(), y.data_ptr(), packed.data_ptr(), dx.data_ptr()
        refused = run[1](*pointers, y.numel(), *_slopes(alpha, beta, gamma, self.instruction_set), _threads(y))
        return None if refused else dx

    def call_backward_from_output(
        self, dy: Tensor, y: Tensor, packed: Tensor, alpha: float, beta: float, gamma: float
    ) -> Tensor | None:
        """Return the gradient of x by the extension; None where it does not serve."""
        slopes = _slopes(alpha, beta, gamma, self.instruction_set) if self._keeping else None
        return self.extension.backward_from_output(dy, y, packed, *slopes) if self.extension and slopes else None

    def gated(
        self,
        tensors: Sequence[Tensor],
        columns: int,
        distances: Sequence[int],
        alpha: float,
        beta: float,
        gamma: float,
    ) -> bool:
        """Run the gated form on gate, up and the output, or on dy, gate, up and the gradients of the last two.

        Each has rows of so many columns, and a distance from row to row. Returns whether it was served.
        """
        dtype, count = tensors[0].dtype, tensors[0].numel()
        run = self._gated.get(dtype)
        if run is None:
            return False
        for each in tensors:
            if each.dtype is not dtype or each.is_neg():
                return False
        pointers: list[int | None] = [each.data_ptr() for each in tensors]
        if len(tensors) == 3:  # forward has no dy, and no gradient of up
            pointers, distances = [None, *pointers, None], [0, *distances, 0]
        strides = (ctypes.c_int64 * 5)(*distances)
        return not run(
            *pointers, count // columns, columns, strides, _parameters(alpha, beta, gamma), _threads(tensors[0])
        )

    def learned(
        self, dy: Tensor | None, x: Tensor, shape: tuple[int, int, int], logarithms: Sequence[Tensor]
    ) -> tuple[Tensor, ...] | None:
        """Run GoLU with learnt parameters on x whose memory is (rows, channels, inner), and that of dy.

        Returns the value, or with dy the gradients of x and of the three logarithms; None where the formula serves.
        """
        run = self._learned.get(x.dtype)
        if run is None or x.is_neg() or (dy is not None and (dy.dtype is not x.dtype or dy.is_neg())) or not x.numel():
            return None
        if any(each.dtype is not torch.float32 or not each.is_contiguous() or each.is_neg() for each in logarithms):
            return None
        out = _empty_like(x)
        gradients = [] if dy is None else [_empty_like(each) for each in logarithms]
        pointers = None if dy is None else dy.data_ptr(), x.data_ptr(), out.data_ptr()
        of_each = (_THREE(*(each.data_ptr() for each in some)) for some in (logarithms, gradients))
        return None if run(*pointers, *shape, *of_each, _threads(x)) else (out, *gradients)


def _in_the_order_of(like: Tensor, x: Tensor) -> Tensor:
    """Return x with its values as they are and in the order of `like`, which is empty and made after it."""
    as_it_is = not x.is_neg() and (x.is_contiguous() or x.stride() == like.stride())
    return x if as_it_is else like.copy_(x)


def _threads(x: Tensor) -> int:
    """Ask torch, which sets OpenMP's number of threads in each thread only when it is asked there."""
    return torch.get_num_threads() if x.numel() > _ONE_THREAD else 1


@functools.lru_cache(maxsize=64)
def _parameters(alpha: float, beta: float, gamma: float) -> Any:
    """Return the C array, None for 1; the C code says where it does not serve them."""
    return None if alpha == beta == gamma == 1.0 else (ctypes.c_double * 3)(alpha, beta, gamma)


@functools.lru_cache(maxsize=64)
def _slopes(alpha: float, beta: float, gamma: float, instruction_set: str) -> tuple[bytes, bool]:
    """Return the struct `Slopes` of cpu.c, and whether all parameters are 1."""
    values = from_output.floats(alpha, beta, gamma, _SHAPES[instruction_set])
    return struct.pack(f"{len(values)}f", *values), alpha == beta == gamma == 1.0


def load() -> CPUKernel | str:
    """Return the kernel, or one sentence that says why there is none and what to do."""
    path = Path(__file__).with_name("_cpu.so")
    if not path.exists():
        return (
            "the C kernel was not built when golu-torch was installed; "
            "install a C compiler (gcc or clang) and install golu-torch again with pip's --no-cache-dir"
        )
    try:
        library = ctypes.CDLL(str(path), mode=os.RTLD_NOW)
    except OSError as error:
        return f"the C kernel does not load ({error}); install golu-torch again on this machine"
    library.golu_choose.argtypes = [ctypes.c_char_p]
    library.golu_choose.restype = ctypes.c_char_p
    wanted = os.environ.get("GOLU_CPU")
    chosen = library.golu_choose(wanted.encode() if wanted else None)
    if chosen is None:
        return f"GOLU_CPU={wanted} does not run here; choose avx512, avx2 or portable, or unset it"
    return CPUKernel(library, path, chosen.decode(), _share_threads(library))


def _share_threads(library: ctypes.CDLL) -> str:
    """Give the library the OpenMP functions that torch itself calls, so that there is one pool of threads.

    They are asked for in torch's own library, which looks through what it was linked with: in some builds, as those for
    arm64, they are not in the global scope, and in some the runtime has a name of its own.
    Returns in words on which threads it will run.
    """
    names = "GOMP_parallel", "omp_in_parallel", "omp_get_thread_num", "omp_get_num_threads"
    take = getattr(library, "golu_use_openmp", None)
    if take is None:
        return "of an earlier version: install golu-torch again"
    if sys.platform != "linux":
        return "on one thread, since more were tried on Linux only"
    try:
        functions = [getattr(ctypes.CDLL(torch._C.__file__), name) for name in names]
    except (AttributeError, OSError):
        return "on one thread, since this torch has no OpenMP"
    take((ctypes.c_void_p * 4)(*(ctypes.cast(each, ctypes.c_void_p).value for each in functions)))
    return "on torch's threads"
