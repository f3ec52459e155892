"""Describe where a result comes from: versions, commit and hardware, to be stored beside it."""

import functools
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import golu


def describe(device: str) -> dict[str, str | int | None]:
    """Return versions, commit ("-dirty" if files were changed; None outside a repository) and hardware, for JSON."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "golu": golu.__version__,
        **{package: _version(package) for package in ("torchvision", "timm", "accelerate", "numpy")},
        "commit": _commit(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpu_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
    }


# dense bfloat16 operations a second, by a part of the device's name: NVIDIA's data sheets
_PEAK_FLOPS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "A40": 150e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


def peak_flops(device: torch.device) -> float | None:
    """Return the GPU's peak of bfloat16 operations a second; None on a CPU or a GPU not in the table."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in _PEAK_FLOPS.items() if part in name), None)


def cores() -> int:
    """Count the CPU cores that one process of this run may use."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache  # a comparison describes many runs, and the code of a process does not change
def _commit() -> str | None:
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def origins(environments: Sequence[Mapping[str, Any]]) -> str:
    """Say where runs come from, if not all come from the same versions, commit and hardware; else nothing."""
    differing = []
    for name in dict.fromkeys(name for each in environments for name in each):
        counts = Counter(str(each.get(name)) for each in environments)
        if len(counts) > 1:
            differing.append(f"{name} " + ", ".join(f"{value} ({count} runs)" for value, count in counts.items()))
    return "; ".join(differing)
