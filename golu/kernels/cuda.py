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

from golu import formula, from_output
from golu.kernels import takes

# dtype -> precision of the computation
_PRECISION = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "HALF",
    torch.bfloat16: "HALF",
}

# The code begins with a template and ends with the entry, as torch's parser wants.
_BEGIN = "template <typename T> T golu_unused(T x) { return x; }\n"
_EXACT = """{gate}
inline {struct} golu_gate() {{ return {{{alpha}, {beta}, {gamma}, {low}, {high}}}; }}
inline {real} golu_value({real} x) {{ {struct} p = golu_gate(); return forward_{of}(x, &p, {unit}); }}
inline {real} golu_slope({real} dy, {real} x) {{ {struct} p = golu_gate(); return backward_{of}(dy, x, &p, {unit}); }}
"""
# for 8 or 11 bits of mantissa the processor's own fast exponentials are exact enough
_HALF = """inline float golu_value(float x) {{
  const float c = x < {low} ? {low} : x, e = c > {high} ? {high} : c;
  return {alpha} * (c * __expf(-{beta} * __expf(-{gamma} * e)));
}}
inline float golu_slope(float dy, float x) {{
  const float c = x < {low} ? {low} : x, e = c > {high} ? {high} : c, u = {beta} * __expf(-{gamma} * e);
  return dy * ({alpha} * (__expf(-u) * (1 + {gamma} * e * u)));
}}
"""
# for all but fp64; what output.h does for vectors, with as many segments a side and powers as from_output.py's formula
_FROM_OUTPUT = """inline float golu_from_output_of(float dy, float y, float right) {{
  static const float table[2][{powers}][{segments}] = {{{left}, {right_}}};
  const bool on_right = right != 0;
  const float v = {to_unit} * y;
  float square = on_right ? (v - {v_min}) * {right_scale} + {right_rest} : -logf(v * {inverse}) * {left_scale};
  const float nearest = {nearest} * (on_right ? {right_scale} : {left_scale});
  square = square < nearest ? nearest : square > {last} ? {last} : square;
  const float place = sqrtf(square), k = rintf(place), r = place - k;
  const float (*row)[{segments}] = table[on_right];
  const int segment = k == k ? (int)k : 0;
  float slope = row[{powers} - 1][segment];
  for (int i = {powers} - 2; i >= 0; i--) slope = slope * r + row[i][segment];
  return dy * ({alpha} * (on_right ? slope : y == 0 ? 0 : v * slope));
}}
"""
_ENTRY = {
    "from_output": "template <typename T> T golu_from_output(T dy, T y, T right) {"
    " return golu_from_output_of(dy, y, right); }",
    "forward": "template <typename T> T golu_forward(T x) { return golu_value(x); }",
    "backward": "template <typename T> T golu_backward(T dy, T x) { return golu_slope(dy, x); }",
}


def source(direction: str, precision: str, alpha: float, beta: float, gamma: float) -> str:
    """Return the code for a direction ("forward", "backward"), a precision ("F64", "F32", "HALF") and parameters.

    The parameters are written into it: passed at the call, they would be doubles, which a GPU converts slowly. It is
    short, because torch's jiterator looks its kernels up by the whole of it in every call.
    """
    gate = Path(__file__).with_name("gate.h").read_text()
    of = "F64" if precision == "F64" else "F32"
    u_max, log_u_min = (float(_group(rf"#define {name}_{of} ([\d.]+)", gate)) for name in ("U_MAX", "LOG_U_MIN"))
    low, high = math.log(beta / u_max) / gamma, (math.log(beta) + log_u_min) / gamma
    values = {"alpha": alpha, "beta": beta, "gamma": gamma, "low": low, "high": high}
    suffix = "" if of == "F64" else "f"
    code = (_HALF if precision == "HALF" else _EXACT).format(
        gate=_without_the_rest(gate, of == "F64"),
        struct=f"Gate_{of.lower()}",
        real="double" if of == "F64" else "float",
        of=of.lower(),
        unit=int(alpha == beta == gamma == 1.0),
        **{name: f"({value!r}{suffix})" for name, value in values.items()},
    )
    return _BEGIN + code + _ENTRY[direction]


@functools.lru_cache(maxsize=64)
def source_from_output(alpha: float, beta: float, gamma: float) -> str:
    """Return the code that computes the gradient from dy, the output and whether the input is right of the minimum."""
    segments, degree = 8, 7
    v_min, scale, right_scale, right_rest = from_output.constants(beta, segments, degree)
    found = from_output.slopes(beta, segments, degree)

    def rows(side: from_output.Side) -> str:
        powers = (", ".join(f"{value!r}f" for value in power) for power in zip(*side.polynomials, strict=True))
        return "{" + ", ".join(f"{{{power}}}" for power in powers) + "}"

    numbers = {
        "to_unit": gamma / alpha, "alpha": alpha, "v_min": v_min, "inverse": 1.0 / from_output.minimum(beta)[1],
        "right_scale": right_scale, "right_rest": right_rest, "left_scale": scale, "last": (segments - 0.501) ** 2,
        "nearest": from_output.NEAREST,
    }  # fmt: skip
    code = _FROM_OUTPUT.format(
        powers=degree + 1, segments=segments, left=rows(found.left), right_=rows(found.right),
        **{name: f"({value!r}f)" for name, value in numbers.items()},
    )  # fmt: skip
    return _BEGIN + code + _ENTRY["from_output"]


def _without_the_rest(gate: str, double: bool) -> str:
    """Return gate.h without its comments and without the precision that is not in use."""
    end = re.escape("/* GATE_DOUBLE */")
    choice = rf"#if(n?)def GATE_DOUBLE[^\n]*\n(.*?)(?:#else {end}\n(.*?))?#endif {end}\n"
    gate = re.sub(choice, lambda m: m[2] if double == (m[1] == "") else m[3] or "", gate, flags=re.DOTALL)
    gate = re.sub(r"/\*.*?\*/", "", gate, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", gate).strip()


def _group(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, pattern
    return found.group(1)


@functools.lru_cache(maxsize=256)
def _compiled(direction: str, precision: str, alpha: float, beta: float, gamma: float) -> Callable[..., Tensor]:
    if direction == "from_output":
        code = source_from_output(alpha, beta, gamma)
    else:
        code = source(direction, precision, alpha, beta, gamma)
    compiled: Callable[..., Tensor] = torch.cuda.jiterator._create_jit_fn(code)
    return compiled


_failed = False


def _run(direction: str, tensors: tuple[Tensor, ...], alpha: float, beta: float, gamma: float) -> Tensor | None:
    """Run the kernel; None where the formula has to serve: other dtypes or parameters, or it does not compile."""
    global _failed
    x = tensors[min(1, len(tensors) - 1)]  # or the output
    precision = _PRECISION.get(x.dtype)
    if _failed or precision is None or not takes(alpha, beta, gamma) or tensors[0].dtype is not x.dtype:
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


def backward_from_output(
    dy: Tensor, y: Tensor, packed: Tensor, alpha: float, beta: float, gamma: float
) -> Tensor | None:
    """Return the gradient of x from the output; None where the formula has to serve."""
    if y.dtype == torch.float64:
        return None
    right = from_output.unpacked(packed, y).to(y.dtype)
    return _run("from_output", (dy, y, right), alpha, beta, gamma)
