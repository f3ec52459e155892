"""What the release check calls fine, what it refuses, and the values that it compares."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from release import __main__ as release
from release import build
from release.build import run
from release.environments import Row, compared, row, verdict

ROOT = Path(__file__).parents[2]
SERVED = {"torch": "2.10.0", "kernel": "C, avx2", "reason": "_cpu.so", "threads": [1, 0]}
FORMULA = SERVED | {"kernel": "formula", "reason": "not built; install a C compiler"}


def test_the_same_bits() -> None:
    assert compared({"golu": {"f": "1"}, "avx2": {"f": "2"}}, {"avx2": {"f": "2"}, "golu": {"f": "1"}}) == (
        "same: golu, avx2"
    )
    assert compared({"golu": {"f": "1"}}, {"golu": {"f": "2"}}) == "NOT the same: golu"
    assert compared({"golu": {"f": "1"}}, {"golu": {"f": "1"}, "avx2": {}}) == "NOT the same: avx2"


@pytest.mark.parametrize(
    ("report", "check", "bits", "kernel", "fine"),
    [
        (SERVED, "fine", "same: golu", True, True),
        (SERVED, "WRONG: please report this", "same: golu", True, False),
        (SERVED, "fine", "NOT the same: golu", True, False),
        (SERVED | {"reason": "_cpu.so, through ctypes"}, "fine", "same: golu", True, False),
        (SERVED | {"threads": [0, 1]}, "fine", "same: golu", True, False),
        (SERVED | {"threads": [1, 1]}, "fine", "same: golu", True, False),
        (FORMULA, "fine", "same: golu", True, False),
        (FORMULA, "fine", "same: golu", False, True),
        (SERVED, "fine", "same: golu", False, False),
    ],
)
def test_what_is_fine(report: dict, check: str, bits: str, kernel: bool, fine: bool) -> None:
    assert row("wheel", "3.10", report, check, bits, kernel).fine is fine


def test_the_table() -> None:
    good, bad = (
        Row("wheel", "3.10", "2.10", "C, avx2", "torch's", "fine", "same: golu", fine) for fine in (True, False)
    )
    assert release.table([good, good]).endswith("everything is as it should be")
    assert release.table([good, bad]).endswith("1 of 2 rows are not as they should be")


def test_the_verdict_of_the_self_check() -> None:
    line = "check     cpu: {}; largest relative error 1.3 eps, time 0.83 of SiLU's (fp32, 2^20 elements)"
    assert verdict("golu 0.1.0\n" + line.format("fine")) == "fine"
    assert verdict(line.format("WRONG: please report this")) == "WRONG: please report this"


def test_changes_that_are_not_committed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "new.py").touch()
    monkeypatch.setattr(build, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"is made of what is committed, and this is not: new\.py;"):
        build.checkout(tmp_path / "copy")


def test_what_the_documentation_writes_is_ignored() -> None:
    """Else no release could be made after the first steps."""
    written = ["predictions/7.png", "digits.onnx", "model.onnx", "model.onnx.data", "model.pt2", "model.safetensors"]
    written += ["exported/config.json", "golu_gpt/config.json", "golu_digits/model_index.json"]
    ignored = subprocess.run(["git", "check-ignore", *written], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout.split() == written
    assert subprocess.run(["git", "check-ignore", "--quiet", "tests/model.onnx"], cwd=ROOT, check=False).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--torch", "nonsense"], "argument --torch: it is oldest, newest or a version as 2.11.0, not 'nonsense'"),
        (["--torch", "2"], "not '2'"),
        (["--keep", __file__], "is a file, and no folder"),
        (["--keep", f"{__file__}/dist"], f"{__file__} is a file, and no folder"),
        (["--python", "false"], "argument --python: false -c import platform"),
        (["--python", "/bin/true"], "/bin/true is no Python: it says no version"),
        (["--python", "/nowhere/python"], "/nowhere/python cannot be run"),
    ],
)
def test_mistakes_are_said_before_anything_is_built(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "checkout", lambda *_: pytest.fail("it builds"))
    with pytest.raises(SystemExit):
        release.main(arguments)
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_the_oldest_torch_is_that_of_the_dependency() -> None:
    assert f"torch>={release.oldest().removesuffix('.*')}" in (ROOT / "pyproject.toml").read_text()


def test_the_values_of_this_tree() -> None:
    """Those of golu() are those of the implementation that serves; instruction sets differ, and so do parameters."""
    command = [sys.executable, ROOT / "release/values.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    report = json.loads(printed.stdout)
    values = report["values"]
    assert report["golu"] == str(ROOT / "golu")
    assert values["golu"] == values[report["kernel"].removeprefix("C, ")]
    assert len(values["golu"]) == 8 and len(set(values["golu"].values())) == 8


def test_a_program_that_is_not_there_is_one_line() -> None:
    with pytest.raises(RuntimeError, match=r"^nowhere-python cannot be run: No such file or directory$"):
        run(["nowhere-python", "-c", ""])
