"""Install golu in a fresh environment, and hold it against this tree under the same Python and torch."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from release.build import ROOT, run

VALUES = "values.py"


class Row(NamedTuple):
    installed: str
    python: str
    torch: str
    kernel: str
    threads: str
    check: str
    bits: str
    fine: bool


def failed(installed: str, python: str, torch: str, error: Exception) -> Row:
    print(error, file=sys.stderr, flush=True)
    return Row(installed, python, torch, "", "", "failed, see above", "", False)


def verdict(printed: str) -> str:
    """Return what `python -m golu` says of the values: "fine", or what is wrong."""
    (line,) = [line for line in printed.splitlines() if line.startswith("check")]
    return line.split("cpu: ")[1].split(";")[0]


def compared(own: dict[str, Any], other: dict[str, Any]) -> str:
    """Say of which implementations all checksums are the same; an implementation that one lacks is not."""
    names = {**own, **other}
    differ = [name for name in names if own.get(name) != other.get(name)]
    return f"NOT the same: {', '.join(differ)}" if differ else f"same: {', '.join(names)}"


def row(installed: str, python: str, report: dict[str, Any], check: str, bits: str, kernel: bool) -> Row:
    """Judge what values.py printed, what `python -m golu` says and how the bits compare."""
    through = ", through ctypes" if "ctypes" in report["reason"] else ""
    as_wanted = report["kernel"].startswith("C, ") and not through and report["threads"] == [1, 0]
    if not kernel:
        as_wanted = report["kernel"] == "formula" and "install a C compiler" in report["reason"]
    fine = as_wanted and check == "fine" and bits.startswith("same")
    pool = {(1, 0): "torch's", (0, 1): "one", (1, 1): "of its own"}.get(tuple(report["threads"]), "not known")
    return Row(installed, python, report["torch"], report["kernel"] + through, pool, check, bits, fine)


def version_of(python: str) -> str:
    """Ask a Python for its version.

    Raises:
        RuntimeError: it cannot be run, or is no Python.
    """
    version = run([python, "-c", "import platform; print(platform.python_version())"]).strip()
    if not version[:1].isdigit():
        raise RuntimeError(f"{python} is no Python: it says no version")
    return version


class Environment:
    """A virtual environment with a torch, as long as the `with` lasts; golu is installed into it in turn."""

    def __init__(self, folder: Path, python: str, torch: str) -> None:
        self.folder, self.given, self.torch = folder, python, torch
        self.python = version_of(python)
        self.clean = {name: value for name, value in os.environ.items() if not name.startswith(("GOLU_", "PYTHON"))}

    def __enter__(self) -> "Environment":
        run([self.given, "-m", "venv", self.folder])
        # away from the other files here, which a script would find instead of modules of these names
        (self.folder / "script").mkdir()
        shutil.copy(Path(__file__).with_name(VALUES), self.folder / "script")
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)

    def install(self, distribution: Path, compiler: bool) -> None:
        """Install this file in place of what is there, torch before the first.

        Without pip's cache, which would give back the wheel that it has once built of the same source distribution.
        """
        pip = [self.folder / "bin/python", "-m", "pip", "--disable-pip-version-check"]
        environment = dict(self.clean)
        if not compiler:  # nothing on PATH but Python
            environment.pop("CC", None)
            environment["PATH"] = str(self.folder / "bin")
        run([*pip, "install", "--quiet", f"torch=={self.torch}" if self.torch else "torch"], self.clean)
        run([*pip, "uninstall", "--quiet", "--yes", "golu-torch"], self.clean)
        run([*pip, "install", "--quiet", "--no-cache-dir", distribution], environment)

    def values(self, tree: bool = False) -> dict[str, Any]:
        """Return what release/values.py prints of what is installed, or of this tree."""
        environment = self.clean | ({"PYTHONPATH": str(ROOT)} if tree else {})
        command = [self.folder / "bin/python", "-W", "ignore", self.folder / "script" / VALUES]
        report: dict[str, Any] = json.loads(run(command, environment, self.folder))
        if (Path(report["golu"]).parent == ROOT) != tree:
            raise RuntimeError(f"{report['golu']} is not the golu that was to be tried")
        return report

    def check(self, installed: str, kernel: bool) -> Row:
        """Compare what is installed with the tree; `kernel` tells whether the C kernel should be there."""
        own, tree = self.values(), self.values(tree=True)
        if not kernel:  # then golu() is the formula
            tree["values"] = {"golu": tree["values"]["formula"], "formula": tree["values"]["formula"]}
        bits = compared(own["values"], tree["values"])
        printed = run([self.folder / "bin/python", "-W", "ignore", "-m", "golu"], self.clean, self.folder)
        return row(installed, self.python, own, verdict(printed), bits, kernel)
