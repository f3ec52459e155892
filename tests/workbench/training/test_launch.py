"""workbench/training/launch.py, and who is first: what holds with several processes, shown in one."""

from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from workbench.cli.errors import UserError
from workbench.training.launch import Machine, share_statistics
from workbench.training.run import train_run
from workbench.training.runs import StoredRun
from workbench.training.task import Source, Spec, Task


def test_the_main_process_downloads_before_the_others(monkeypatch):
    first = []

    @contextmanager
    def main_process_first():
        first.append(True)
        yield
        first.pop()

    class Downloading(Task):
        def open(self, device):
            raise UserError("first" if first else "all at once")

    accelerator = SimpleNamespace(main_process_first=main_process_first, device=torch.device("cpu"))
    monkeypatch.setattr("workbench.training.run.launched", lambda device: nullcontext(accelerator))
    spec = Spec(Downloading, None, Source("any"), Machine("cpu"))
    with pytest.raises(UserError, match="first"):
        train_run(spec, StoredRun(Path("unused"), "any", "model", "GoLU", 0))


def test_batch_statistics_are_shared_by_processes_on_gpus(capsys):
    def kinds(processes, device):
        accelerator = SimpleNamespace(num_processes=processes, device=torch.device(device), is_main_process=True)
        return type(share_statistics(nn.Sequential(nn.BatchNorm2d(2)), accelerator)[0])

    assert kinds(2, "cuda") is nn.SyncBatchNorm
    assert kinds(1, "cuda") is kinds(1, "cpu") is nn.BatchNorm2d
    assert capsys.readouterr().out == ""
    assert kinds(2, "cpu") is nn.BatchNorm2d
    assert "no effect on the CPU" in capsys.readouterr().out
