"""Forward, backward and call overhead of GoLU beside copy and the activations that PyTorch ships.

python -m benchmarks.ops
python -m benchmarks.ops --device cuda
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import candidates, report, timing
from golu import GoLU
from workbench.cli.arguments import one_of, positive_int
from workbench.cli.errors import UserError, run
from workbench.training.memory import keep_freed_memory

# SiLU measured once more in the same rounds: how far its ratio to SiLU is from 1 is what chance does to any ratio.
AGAIN = "SiLU again"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def elementwise(device: str, dtype: torch.dtype, threads: int, sizes: list[int], rounds: int) -> list[dict]:
    """Nanoseconds an element, forward and backward, of every candidate at every size."""
    rows = []
    functions = {
        **candidates.EAGER,
        "formula, compiled": candidates.compiled_formula(),
        AGAIN: candidates.EAGER["SiLU"],
    }
    for log2 in sizes:
        n = 2**log2
        x = (2 * torch.randn(n, device=device)).to(dtype)
        dy = torch.randn(n, device=device).to(dtype)
        leaf = x.clone().requires_grad_()
        outputs = {name: function(leaf) for name, function in functions.items()}
        with torch.no_grad():
            forward = {"copy": partial(torch.clone, x)}
            forward |= {name: partial(function, x) for name, function in functions.items()}
            measured = {"forward": timing.interleaved(forward, rounds, cuda=device == "cuda")}
        backward = {name: partial(_backward, y, leaf, dy) for name, y in outputs.items()}
        measured["backward"] = timing.interleaved(backward, rounds, cuda=device == "cuda")
        for direction, samples in measured.items():
            for name in samples:
                row = {"threads": threads, "log2": log2, "direction": direction, "name": name}
                row["ns"] = timing.median(samples, name) / n * 1e9
                row["to_silu"] = timing.ratio(samples, name, "SiLU")
                row["to_silu_spread"] = timing.spread(samples, name, "SiLU")
                row["to_formula"] = timing.ratio(samples, name, "formula")
                rows.append(row)
    return rows


def _backward(y: Tensor, x: Tensor, dy: Tensor) -> object:
    return torch.autograd.grad(y, x, dy, retain_graph=True)


def overhead(device: str, rounds: int) -> list[dict]:
    """Microseconds a call on 16 elements: what is left when there is nothing to compute."""
    x = torch.randn(16, device=device)
    leaf, dy = x.clone().requires_grad_(), torch.randn(16, device=device)
    functions = {name: candidates.EAGER[name] for name in ("SiLU", "Mish", "GoLU", "formula")}
    functions[AGAIN] = candidates.EAGER["SiLU"]
    functions |= {"nn.SiLU()": nn.SiLU(), "golu.GoLU()": GoLU()}
    with torch.no_grad():
        alone = timing.interleaved({name: partial(f, x) for name, f in functions.items()}, rounds)
    both = timing.interleaved({name: partial(_forward_backward, f, leaf, dy) for name, f in functions.items()}, rounds)
    rows = []
    for name in functions:
        row = {"name": name}
        for what, samples in (("forward", alone), ("both", both)):
            row[f"{what}_us"] = timing.median(samples, name) * 1e6
            silu = "nn.SiLU()" if "." in name else "SiLU"
            row[f"{what}_to_silu"] = timing.ratio(samples, name, silu)
            row[f"{what}_to_silu_spread"] = timing.spread(samples, name, silu)
        rows.append(row)
    return rows


def overhead_table(rows: list[dict]) -> str:
    columns = ["16 elements", "forward, us", "to SiLU", "forward and backward, us", "to SiLU"]
    lines = [
        [r["name"], f"{r['forward_us']:.2f}", f"{r['forward_to_silu']:.2f}",
         f"{r['both_us']:.1f}", f"{r['both_to_silu']:.2f}"]
        for r in rows
    ]  # fmt: skip
    return report.table(columns, lines)


def _forward_backward(function: candidates.Function, x: Tensor, dy: Tensor) -> object:
    return torch.autograd.grad(function(x), x, dy)


def elementwise_table(rows: list[dict], direction: str, copy_share: bool) -> str:
    """One line a size: ns an element of each candidate, then GoLU's ratios, with what chance does; below, its range."""
    names = list(dict.fromkeys(row["name"] for row in rows if row["direction"] == direction))
    names.remove(AGAIN)
    ratios = [
        "GoLU/SiLU",
        "half of the rounds",
        "SiLU/SiLU",
        "formula/GoLU",
        *(["GoLU, share of copy bandwidth"] if copy_share else []),
    ]
    lines = []
    for log2 in sorted({row["log2"] for row in rows}):
        at = {row["name"]: row for row in rows if (row["log2"], row["direction"]) == (log2, direction)}
        line = [f"2^{log2}", *(f"{at[name]['ns']:.3g}" for name in names)]
        low, high = at["GoLU"]["to_silu_spread"]
        line += [f"{at['GoLU']['to_silu']:.2f}", f"{low:.2f} to {high:.2f}", f"{at[AGAIN]['to_silu']:.2f}"]
        line.append(f"{1 / at['GoLU']['to_formula']:.1f}")
        if copy_share:  # forward moves as much as a copy, backward half as much again
            copied = next(r["ns"] for r in rows if r["log2"] == log2 and r["name"] == "copy")
            line.append(f"{copied * (1 if direction == 'forward' else 1.5) / at['GoLU']['ns']:.0%}")
        lines.append(line)
    return f"{report.table(['elements', *names, *ratios], lines)}\n\n{scatter(rows, direction)}"


def scatter(rows: list[dict], direction: str) -> str:
    """Say within what SiLU's ratio to itself lies, and at which sizes GoLU's to SiLU is above 1 by more."""
    at = {(row["name"], row["log2"]): row["to_silu"] for row in rows if row["direction"] == direction}
    itself = [ratio for (name, _), ratio in at.items() if name == AGAIN]
    most = max(max(itself), 1 / min(itself))
    slower = [f"2^{log2}" for (name, log2), ratio in at.items() if name == "GoLU" and ratio > most]
    told = f"slower by more than that at {', '.join(slower)} elements" if slower else "nowhere slower by more than that"
    return f"SiLU against itself: {min(itself):.2f} to {max(itself):.2f}. GoLU is {told}."


def main(arguments: Sequence[str] | None = None) -> None:
    parser = report.parser("ops", __doc__)
    parser.add_argument(
        "--dtypes", nargs="+", type=one_of("dtype", DTYPES), default=list(DTYPES), help="of fp32 bf16 fp16"
    )
    parser.add_argument("--smallest", type=positive_int, default=10, help="log2 of the smallest number of elements")
    parser.add_argument("--largest", type=positive_int, default=24, help="log2 of the largest number of elements")
    parser.add_argument("--rounds", type=positive_int, default=15, help="samples of each; the median is reported")
    options = report.parse(parser, arguments)
    device = options.device
    report.require_device(device)
    if options.largest < options.smallest:
        raise UserError("--largest must not be below --smallest")
    keep_freed_memory()
    most = torch.get_num_threads()
    sizes = list(range(options.smallest, options.largest + 1, 2))
    sections, numbers = {}, {"elementwise": {}, "overhead": []}
    for name in options.dtypes:
        for threads in [1, most] if device == "cpu" and most > 1 else [most]:
            torch.set_num_threads(threads)
            rows = elementwise(device, DTYPES[name], threads, sizes, options.rounds)
            numbers["elementwise"].setdefault(name, []).extend(rows)
            for direction in ("forward", "backward"):
                on = f", {threads} thread{'s' * (threads > 1)}" if device == "cpu" else ""
                text = elementwise_table(rows, direction, device == "cuda")
                sections[f"{name}, {direction}{on}: ns per element"] = text
                print(f"\n{name}, {direction}{on}\n{text}", flush=True)
    torch.set_num_threads(1 if device == "cpu" else most)
    numbers["overhead"] = overhead(device, max(options.rounds, 31))
    torch.set_num_threads(most)
    sections["Overhead of a call"] = overhead_table(numbers["overhead"])
    print(f"\n{sections['Overhead of a call']}")
    report.write(
        "ops", options, "Speed of the operation",
        "All in one process, measured in turn; medians of "
        f"{options.rounds} rounds, ratios are medians of the ratios within a round. Forward is the public function "
        "without gradient, backward is torch.autograd.grad through it (engine included). GoLU/SiLU below 1: GoLU is "
        "faster; half of the rounds: within what the middle half of these ratios lies; SiLU/SiLU: the same function "
        "measured twice in the same rounds, whose distance from 1 is chance; formula/GoLU: how many times faster GoLU "
        "is than the plain formula. Freed memory is reused, so that page faults are not measured.",
        sections, numbers,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
