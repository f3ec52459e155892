"""Error of GoLU, forward and derivative, over every float32, float16 and bfloat16, beside torch's own activations.

python -m benchmarks.accuracy                 all 2^32 inputs, about a quarter of an hour on two cores
python -m benchmarks.accuracy --sample 256    every 256th chunk of 2^20 inputs: seconds
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks import report
from benchmarks.candidates import EAGER, Function
from golu import golu
from workbench.cli.arguments import one_of, positive_int
from workbench.cli.errors import run

NAMES = ["GoLU", "formula", "SiLU", "GELU", "Mish"]
CHUNK = 2**20


def exact_golu(x: Tensor) -> tuple[Tensor, Tensor]:
    """GoLU and its derivative in float64, from the definition, with the limits at -inf and inf."""
    u = torch.exp(-x)
    g = torch.exp(-u)
    y, slope = x * g, g * (1 + x * u)
    gone = u > 800  # exp(-800) is 0 in float64 too; without this, inf * 0
    return torch.where(gone, x.clamp(min=-1) * 0.0, y), torch.where(gone, 0.0, torch.where(x == math.inf, 1.0, slope))


def value_and_slope(function: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.detach().requires_grad_()
    y = function(leaf)
    (slope,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
    return y.detach(), slope


def last_place(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """The unit in the last place of `exact` (float64), as dtype has it: the power of two below it, times eps."""
    info = torch.finfo(dtype)
    power = (exact.view(torch.int64) & 0x7FF0000000000000).view(torch.float64)
    return power.clamp_(min=info.smallest_normal).mul_(info.eps)


def measure(function: Function, exact: Callable, x: Tensor) -> dict[str, float]:
    """Largest errors over x: see COLUMNS."""
    info = torch.finfo(x.dtype)
    y, slope = value_and_slope(function, x)
    y_exact, slope_exact = exact(x.double())
    error = (y.double() - y_exact).abs_().div_(last_place(y_exact, x.dtype))
    normal = y_exact.abs() >= info.smallest_normal
    worst, at = torch.where(normal, error, -1.0).max(0)
    absolute = (slope.double() - slope_exact).abs_()
    score = torch.minimum(absolute / last_place(slope_exact, x.dtype), absolute.mul_(2 / info.eps))
    return {
        "value_ulp": float(worst),
        "value_ulp_at": float(x[at]),
        "subnormal_ulp": float(torch.where(normal, 0.0, error).max()),
        "slope_score": float(score.max().nan_to_num(math.inf)),
        "slope_eps": float(absolute.max().nan_to_num(math.inf)),
        "not_finite": int((~(slope + y).isfinite()).sum()),
        "inputs": len(x),
    }


COLUMNS = {
    "value_ulp": "value, ulp",
    "value_ulp_at": "at x",
    "subnormal_ulp": "subnormal values, ulp",
    "slope_score": "derivative, ulp or eps/2",
    "slope_eps": "derivative, eps/2",
    "not_finite": "not finite",
}


def merge(a: dict[str, float] | None, b: dict[str, float]) -> dict[str, float]:
    if a is None:
        return b
    merged = {key: max(a[key], b[key]) for key in a}
    merged["value_ulp_at"] = (a if a["value_ulp"] >= b["value_ulp"] else b)["value_ulp_at"]
    for key in ("not_finite", "inputs"):
        merged[key] = a[key] + b[key]
    return merged


def sweep(dtype: torch.dtype, names: list[str], device: str, sample: int) -> dict[str, dict[str, float]]:
    """The errors of each over every number of dtype, or over one chunk in `sample`."""
    from tqdm import tqdm

    if dtype is torch.float32:
        starts = range(-(2**31), 2**31, CHUNK * sample)
        chunks = (torch.arange(s, s + CHUNK, dtype=torch.int32, device=device).view(dtype) for s in starts)
        total = len(starts)
    else:
        chunks = iter([torch.arange(-(2**15), 2**15, dtype=torch.int16, device=device).view(dtype)])
        total = 1
    results: dict[str, dict[str, float] | None] = dict.fromkeys(names)
    for x in tqdm(chunks, total=total, desc=str(dtype).removeprefix("torch."), mininterval=1.0):
        finite = x.isfinite()  # infinity and NaN are the tests' business
        if not finite.all():
            x = x[finite]
        for name in names if len(x) else ():
            # the reference of torch's own is its implementation in float64
            exact = exact_golu if name in ("GoLU", "formula") else partial(value_and_slope, EAGER[name])
            results[name] = merge(results[name], measure(EAGER[name], exact, x))
    return {name: row for name, row in results.items() if row is not None}


# the second exponential amplifies errors most where u is large, and the first where beta makes its exponent large
PARAMETERS = [(1.0, 1.0, 1.0), (0.8, 1.2, 0.9), (1.5, 0.03, 2.7), (1.0, 40.0, 0.25)]
PARAMETERS += [(1.0, 1e-10, 1.7), (1.0, 1e10, 0.3)]


def sampled(dtype: torch.dtype, parameters: tuple[float, ...], device: str, count: int) -> dict[str, float]:
    """Largest errors of GoLU over `count` inputs, half of them in the far tail, against 120 bits of precision."""
    import mpmath

    alpha, beta, gamma = torch.tensor(parameters, dtype=dtype).tolist()  # as the kernels have them
    single = dtype is torch.float32
    largest, log_least = (80.0, -20.0) if single else (700.0, -40.0)
    ends = [(math.log(beta) - math.log(u)) / gamma for u in (largest, largest / 8, math.exp(log_least))]
    halves = [torch.linspace(*pair, count // 2, dtype=torch.float64) for pair in pairwise(ends)]
    x = torch.cat(halves).to(device, dtype)
    y, slope = value_and_slope(lambda t: golu(t, alpha, beta, gamma), x)
    info, worst = torch.finfo(dtype), {"value_ulp": 0.0, "value_ulp_at": math.nan, "slope_eps": 0.0}
    with mpmath.workprec(120):
        for at, value, derivative in zip(x.tolist(), y.tolist(), slope.tolist(), strict=True):
            u = beta * mpmath.exp(-gamma * mpmath.mpf(at))
            g = alpha * mpmath.exp(-u)
            exact = at * g
            if abs(exact) >= info.smallest_normal:
                error = float(abs(value - exact) / mpmath.ldexp(info.eps, mpmath.frexp(exact)[1] - 1))
                if error > worst["value_ulp"]:
                    worst |= {"value_ulp": error, "value_ulp_at": at}
            error = float(abs(derivative - g * (1 + gamma * at * u))) * 2 / info.eps
            worst["slope_eps"] = max(worst["slope_eps"], error)
    return worst


def main(arguments: Sequence[str] | None = None) -> None:
    parser = report.parser("accuracy", __doc__)
    parser.add_argument(
        "--activations", nargs="+", type=one_of("activation", NAMES), default=NAMES, help=", ".join(NAMES)
    )
    parser.add_argument("--sample", type=positive_int, default=1, help="look at one chunk of float32 inputs in so many")
    options = report.parse(parser, arguments)
    report.require_device(options.device)
    sections, numbers = {}, {}
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        name = str(dtype).removeprefix("torch.")
        numbers[name] = sweep(dtype, options.activations, options.device, options.sample)
        lines = [[of, *(f"{row[key]:.4g}" for key in COLUMNS)] for of, row in numbers[name].items()]
        inputs = next(iter(numbers[name].values()))["inputs"]
        heading = f"{name}: largest errors over {inputs:,} finite inputs"
        sections[heading] = report.table(["", *COLUMNS.values()], lines)
        print(f"\n{heading}\n{sections[heading]}", flush=True)
    for dtype in (torch.float32, torch.float64) if "GoLU" in options.activations else ():
        name = f"{str(dtype).removeprefix('torch.')}, other parameters"
        numbers[name] = {str(p): sampled(dtype, p, options.device, 40_000) for p in PARAMETERS}
        lines = [[of, *(f"{row[key]:.4g}" for key in row)] for of, row in numbers[name].items()]
        columns = ["alpha, beta, gamma", *(COLUMNS[key] for key in next(iter(numbers[name].values())))]
        heading = f"{name}: largest errors of GoLU over 40,000 inputs"
        sections[heading] = report.table(columns, lines)
        print(f"\n{heading}\n{sections[heading]}", flush=True)
    which = "Every finite number" if options.sample == 1 else f"One chunk in {options.sample} of the float32 numbers"
    report.write(
        "accuracy", options, "Accuracy",
        f"{which}, against float64. The value's error is in units in the last place (ulp), over results that are "
        "normal numbers and over subnormal ones. The derivative's is the smaller of its ulp and of its absolute error "
        "in units of eps/2 (2^-24 for float32), then the absolute alone; near a derivative of 0, ulp mean nothing. "
        "Other parameters and float64 are held against 120 bits, half of the inputs being in the far tail.",
        sections, numbers,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
