"""Run the CUDA kernel: gate.h, compiled by torch itself (NVRTC) at the first call, and cached on disk by it.

torch's jiterator wraps the scalar functions below: it walks any strides, reads contiguous memory by vectors,
splits tensors of more than 2^31 elements, and needs neither nvcc nor a host compiler. For fp16 and bf16 it
calls them with float, and converts on load and store.
"""

import functools
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from golu import formula
from golu.kernels import takes

# dtype -> precision of the computation
_PRECISION = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "HALF",
    torch.bfloat16: "HALF",
}

# The code begins with a template and ends with the entry, as torch's parser wants.
_SOURCE = """template <typename T> T golu_unused(T x) {{ return x; }}
{gate}
#define GATE_DOUBLE
{gate}
#undef GATE_DOUBLE
inline Gate_f32 golu_gate(float) {{ return {{{single}}}; }}
inline Gate_f64 golu_gate(double) {{ return {{{double}}}; }}

inline float golu_value(float x) {{ Gate_f32 p = golu_gate(x); return forward_f32(x, &p, {unit}); }}
inline double golu_value(double x) {{ Gate_f64 p = golu_gate(x); return forward_f64(x, &p, {unit}); }}
inline float golu_slope(float dy, float x) {{ Gate_f32 p = golu_gate(x); return backward_f32(dy, x, &p, {unit}); }}
inline double golu_slope(double dy, double x) {{ Gate_f64 p = golu_gate(x); return backward_f64(dy, x, &p, {unit}); }}

/* for 8 or 11 bits of mantissa the processor's own fast exponentials are exact enough */
inline float golu_value_half(float x) {{
  const Gate_f32 p = golu_gate(x);
  const float c = x < p.lo ? p.lo : x, e = c > p.hi ? p.hi : c;
  return p.alpha * c * __expf(-p.beta * __expf(-p.gamma * e));
}}
inline float golu_slope_half(float dy, float x) {{
  const Gate_f32 p = golu_gate(x);
  const float c = x < p.lo ? p.lo : x, e = c > p.hi ? p.hi : c;
  const float u = p.beta * __expf(-p.gamma * e);
  return dy * (p.alpha * __expf(-u) * (1 + p.gamma * e * u));
}}
"""
_ENTRY = {
    "forward": "template <typename T> T golu_forward(T x) {{ return golu_value{half}(x); }}",
    "backward": "template <typename T> T golu_backward(T dy, T x) {{ return golu_slope{half}(dy, x); }}",
}


def source(direction: str, precision: str, alpha: float, beta: float, gamma: float) -> str:
    """Return the code for a direction ("forward", "backward"), a precision ("F64", "F32", "HALF") and parameters.

    The parameters are written into it: passed at the call, they would be doubles, which a GPU converts slowly.
    """
    gate = Path(__file__).with_name("gate.h").read_text()

    def constants(of: str) -> str:
        u_max, log_u_min = (float(_group(rf"#define {name}_{of} ([\d.]+)", gate)) for name in ("U_MAX", "LOG_U_MIN"))
        low = math.log(beta / u_max) / gamma
        high = (math.log(beta) + log_u_min) / gamma
        suffix = "f" if of == "F32" else ""
        return ", ".join(f"{v!r}{suffix}" for v in (alpha, beta, gamma, low, high))

    code = _SOURCE.format(
        gate=gate,
        single=constants("F32"),
        double=constants("F64"),
        unit=int(alpha == beta == gamma == 1.0),
    )
    return code + _ENTRY[direction].format(half="_half" if precision == "HALF" else "")


def _group(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, pattern
    return found.group(1)


@functools.lru_cache(maxsize=256)
def _compiled(direction: str, precision: str, alpha: float, beta: float, gamma: float) -> Callable[..., Tensor]:
    code = source(direction, precision, alpha, beta, gamma)
    compiled: Callable[..., Tensor] = torch.cuda.jiterator._create_jit_fn(code)
    return compiled


_failed = False


def _run(direction: str, tensors: tuple[Tensor, ...], alpha: float, beta: float, gamma: float) -> Tensor | None:
    """Run the kernel; None where the formula has to serve: other dtypes or parameters, or it does not compile."""
    global _failed
    x = tensors[-1]
    precision = _PRECISION.get(x.dtype)
    if _failed or precision is None or not takes(beta, gamma) or tensors[0].dtype is not x.dtype:
        return None
    try:
        return _compiled(direction, precision, alpha, beta, gamma)(*tensors)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        _failed = True
        warnings.warn(
            f"GoLU's CUDA kernel does not compile here, the plain formula serves instead: {error}", stacklevel=2
        )
        return None


def forward(x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    y = _run("forward", (x,), alpha, beta, gamma)
    return formula.golu(x, alpha, beta, gamma) if y is None else y


def backward(dy: Tensor, x: Tensor, alpha: float, beta: float, gamma: float) -> Tensor:
    dx = _run("backward", (dy, x), alpha, beta, gamma)
    return formula.backward(dy, x, alpha, beta, gamma) if dx is None else dx
