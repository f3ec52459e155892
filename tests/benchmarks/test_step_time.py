"""Every architecture of the speed table is made, and a row of it measured and stored."""

import argparse
import json
from pathlib import Path

import pytest
import torch

from benchmarks import step_time
from benchmarks.architectures import ARCHITECTURES, Architecture, task_of

CPU = torch.device("cpu")
DEFAULTS = argparse.Namespace(device="cpu", batch_size=None, img_size=None, compile=False)


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=lambda each: each.name)
def test_a_task_of_each_opens_and_takes_a_batch(architecture: Architecture) -> None:
    task, batch = task_of(architecture, DEFAULTS, CPU)
    inputs = architecture.inputs(DEFAULTS)
    first = batch[0]
    assert len(first) == inputs.batch
    assert first[0].shape[-1] == inputs.side
    assert task.program.startswith("tasks.")


def test_a_row_is_measured_and_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--architectures", "ResNet-18", "--img-size", "32", "--pairs", "1", "--rounds", "1"]
    step_time.main([*flags, "--output", str(tmp_path)])
    shown = capsys.readouterr().out
    (stored,) = tmp_path.glob("*.json")
    (row,) = json.loads(stored.read_text())["numbers"]
    assert (row["architecture"], row["baseline"], row["inputs"]) == ("ResNet-18", "ReLU", "4 x 3 x 32 x 32")
    for phase in ("training", "inference"):
        found = row[phase]
        assert found["relative"]["ratio"] == pytest.approx(found["GoLU_ms"] / found["usual_ms"])
        assert f"{found['relative']['ratio']:.2f}x" in shown
