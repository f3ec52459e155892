"""What python -m tasks.export refuses, each in one line, and what it writes by its flags."""

import logging
import sys

import pytest

from tasks import export
from tasks.small_poc import main as small_poc


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    options = "--model cnn --dataset digits --activation GoLU --epochs 1 --device cpu --seed 0"
    small_poc.main([*options.split(), "--results", str(folder)])
    (path,) = folder.rglob("best_0.pth")
    return path


@pytest.fixture
def exporting(checkpoint, program, tmp_path, monkeypatch):
    """python -m tasks.export of the checkpoint in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    return lambda flags: program(export, checkpoint, *flags.split())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--format tflite", "unknown format 'tflite': choose from onnx, torch, safetensors"),
        ("--format onnyx", "did you mean onnx"),
        ("--output model.tflite", "--format onnx writes no .tflite files: give --output another ending (.onnx by"),
        ("--output model.pt2", "--format onnx writes no .pt2 files"),
        ("--output model.onnx --format torch", "--format torch writes no .onnx files"),
        ("--output there", "there is a folder: give --output a file, as there/model.onnx"),
        ("--output there.onnx", "there.onnx is there already: give another --output, or delete it"),
        ("--output there.onnx/model.onnx", "cannot use there.onnx as a folder: it is a file"),
        ("--opset 0", "must be a whole number of at least 1"),
        ("--opset 1e9", "must be a whole number of at least 1, not '1e9'"),
        ("--opset 18 --format torch", "--opset is of --format onnx: --format torch has none"),
        ("--opset 7", "torch cannot write this model with --opset 7: it gives"),
        ("--opset 1000", "torch cannot write this model with --opset 1000: it gives"),
    ],
)
def test_what_is_refused(flags, said, exporting, tmp_path, caplog):
    """Nothing is written, and nothing but the line is said."""
    if "--opset" in flags:
        pytest.importorskip("onnxscript")
    (tmp_path / "there").mkdir()
    (tmp_path / "there.onnx").write_text("")
    code, out, err = exporting(flags)
    assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1, err
    assert said in err and not [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["there", "there.onnx"]
    assert not (tmp_path / "there.onnx").read_text()


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_a_missing_package_is_named(missing, exporting, monkeypatch, tmp_path):
    pytest.importorskip("onnxscript")
    monkeypatch.setitem(sys.modules, missing, None)
    code, _, err = exporting("")
    assert code == 2 and not list(tmp_path.iterdir())
    assert err == f"error: --format onnx needs the packages onnx and onnxscript: pip install {missing}\n"


def test_a_version_and_a_folder_that_is_made(exporting, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    code, out, err = exporting("--opset 21 --output new/folder/model.onnx")
    assert (code, err) == (0, "") and out.startswith("new/folder/model.onnx has the model")
    (opset,) = onnx.load(tmp_path / "new/folder/model.onnx").opset_import
    assert (opset.domain, opset.version) == ("", 21)
