"""Run `python -m golu`."""

import platform
import statistics
import sys
import time
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

import golu
from golu import kernels

HELP = (
    "python -m golu shows what is installed and which kernel serves each device and why, and checks speed and accuracy."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print versions, devices and kernels, and the result of the check."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["-h"], ["--help"]):
        print(HELP)  # a docstring would be gone under python -OO
        return
    if given:
        print(f"error: python -m golu takes no arguments, got {' '.join(given)}", file=sys.stderr)
        sys.exit(2)
    print(f"golu      {golu.__version__}")
    print(f"torch     {torch.__version__}")
    print(f"python    {platform.python_version()}, {platform.system()} {platform.machine()}")
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    cuda = torch.cuda.get_device_name() if "cuda" in devices else "none"
    print(f"devices   CPU with {torch.get_num_threads()} threads; CUDA: {cuda}")
    for device in devices:
        kernel = kernels.kernel_for(device)
        print(f"{device:<9} {kernel.name} kernel ({kernel.reason})")
    if "cuda" not in devices:
        print("cuda      no device here; where there is one, torch compiles the kernel at the first call")
    warnings.filterwarnings("ignore", message="GoLU is several times slower")  # the lines above have said why
    for device in devices:
        print(f"check     {check(device)}")


def check(device: str) -> str:
    """Measure error against float64, and time beside SiLU, on a million elements; return one line."""
    x = torch.linspace(-4.4, 20, 2**20, device=device)
    exact = x.double() * torch.exp(-torch.exp(-x.double()))
    error = ((golu.golu(x).double() - exact).abs() / exact.abs().clamp(min=2.0**-126)).max().item() / torch.finfo(
        x.dtype
    ).eps
    ratios = []
    for _ in range(15):
        own, silu = (seconds(function, x) for function in (golu.golu, torch.nn.functional.silu))
        ratios.append(own / silu)
    ratio = statistics.median(ratios)
    verdict = "fine" if error < 100 else "WRONG: please report this"
    return (
        f"{device}: {verdict}; largest relative error {error:.1f} eps, time {ratio:.2f} of SiLU's (fp32, 2^20 elements)"
    )


def seconds(function: object, x: Tensor) -> float:
    start = time.perf_counter()
    function(x)  # type: ignore[operator]
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
