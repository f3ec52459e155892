"""workbench/training/events.py, on a disk that is full."""

from pathlib import Path

from workbench.training.events import Events
from workbench.training.runs import StoredRun


def test_a_full_disk_ends_the_events_with_one_warning(tmp_path, monkeypatch, capsys):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(*_):
        raise OSError(28, "No space left on device")

    run = StoredRun(tmp_path, "data", "net", "GoLU", 0)
    monkeypatch.setattr(RecordWriter, "flush", full)
    events = Events(run, [{"epoch": 1, "val_loss": 1.0}])
    events.add({"epoch": 2, "val_loss": None})
    events.close()
    warning = f"warning: no more TensorBoard events in {run.events_path}: No space left on device\n"
    assert capsys.readouterr() == ("", warning)


def test_a_folder_that_cannot_be_made_is_a_warning_too(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    Events(StoredRun(Path(tmp_path / "file"), "data", "net", "GoLU", 0), [{"epoch": 1, "val_loss": 1.0}])
    assert capsys.readouterr().err.count("\n") == 1
