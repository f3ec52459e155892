"""Times of functions measured side by side: in turn, round after round, so that a drift of the machine meets all."""

import gc
import statistics
import time
from collections.abc import Callable

import torch

Call = Callable[[], object]


def interleaved(
    calls: dict[str, Call], rounds: int, seconds_per_sample: float = 2e-3, cuda: bool = False
) -> dict[str, list[float]]:
    """Seconds per call of each, `rounds` samples; a sample repeats the call for about `seconds_per_sample`."""
    clock = _cuda_clock if cuda else _cpu_clock
    repeats = {}
    for name, call in calls.items():
        call()
        once = min(clock(call, 1) for _ in range(2))
        repeats[name] = max(1, min(10_000, round(seconds_per_sample / max(once, 1e-8))))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in calls.items():
                samples[name].append(clock(call, repeats[name]) / repeats[name])
    finally:
        if collecting:
            gc.enable()
    return samples


def ratio(samples: dict[str, list[float]], name: str, to: str) -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(samples[name], samples[to], strict=True))


def spread(samples: dict[str, list[float]], name: str, to: str) -> tuple[float, float]:
    """Quartiles over the rounds of the ratio within a round: half of the rounds lie between them."""
    ratios = [a / b for a, b in zip(samples[name], samples[to], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return low, high


def median(samples: dict[str, list[float]], name: str) -> float:
    return statistics.median(samples[name])


def _cpu_clock(call: Call, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - start


def _cuda_clock(call: Call, repeats: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3
