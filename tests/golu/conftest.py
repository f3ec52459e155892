from collections.abc import Iterator

import pytest

from golu import kernels
from golu.kernels import cpu


@pytest.fixture(params=["avx512", "avx2", "portable", "formula"])
def cpu_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every implementation that serves a CPU, one after the other."""
    if request.param == "formula":
        monkeypatch.setenv("GOLU_KERNEL", "formula")
    else:
        monkeypatch.setenv("GOLU_CPU", request.param)
        loaded = cpu.load()
        if isinstance(loaded, str):
            pytest.skip(loaded)
    monkeypatch.setattr(kernels, "_cpu", None)
    yield request.param
    monkeypatch.undo()
    cpu.load()  # the library is one a process: choose the best instruction set again
