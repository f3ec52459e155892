"""What holds for all hosts: none is imported that is not used, and a missing or old one is said in one line."""

import importlib
import re
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.golu.integrations.processes import fresh

# host: what uses it
CALLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "timm": ("enable", ()),
    "transformers": ("enable", ()),
    "diffusers": ("enable", ()),
    "torchvision": ("get_model", ("resnet18",)),
}
HOSTS = pytest.mark.parametrize("host", CALLS)


def call(host: str) -> None:
    name, arguments = CALLS[host]
    getattr(importlib.import_module(f"golu.integrations.{host}"), name)(*arguments)


def test_importing_golu_or_an_integration_imports_no_host() -> None:
    run = fresh(
        """
        import sys
        import golu
        print([name for name in sys.modules if name.startswith(("golu.integrations", "golu.jax"))])
        before = {name.split(".")[0] for name in sys.modules}
        for host in sys.argv[1:]:
            __import__(f"golu.integrations.{host}")
        print({name.split(".")[0] for name in sys.modules} - before)
        """,
        *CALLS,
    )
    assert run.stdout == "[]\nset()\n", run.stderr


@HOSTS
def test_a_missing_host_is_said(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, host, None)  # what Python takes for missing
    with pytest.raises(ImportError, match=rf"^golu.integrations.{host} needs {host} >= [\d.]+, which is not installed"):
        call(host)


@HOSTS
@pytest.mark.parametrize("version", ["0.1", "0.0.99.dev3+cpu"])
def test_an_old_host_is_said(host: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType(host)
    old.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, host, old)
    needed = rf"^golu.integrations.{host} needs {host} >= [\d.]+, not {re.escape(version)}: pip install '{host}>="
    with pytest.raises(ImportError, match=needed) as e:
        call(host)
    assert "\n" not in str(e.value)


def test_what_a_host_itself_lacks_is_another_error(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "timm.py").write_text("import a_package_that_is_none\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'a_package_that_is_none'$"):
        call("timm")
