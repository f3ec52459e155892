"""The picture of a run."""

import pytest
from matplotlib.figure import Figure

from workbench.training.curves import draw_run
from workbench.training.metrics import VAL_LOSS, Metric
from workbench.training.runs import StoredRun

ACCURACY = Metric("val_accuracy", "accuracy", "%", True)


@pytest.mark.parametrize("averaged", [False, True])
def test_it_shows_the_losses_and_what_judges(averaged, tmp_path, monkeypatch):
    trace = [
        {"epoch": 1, "train_loss": 2.0, "val_loss": 2.5, "val_accuracy": 40.0, "ema_val_accuracy": 30.0},
        {"epoch": 2, "train_loss": 1.0, "val_loss": None, "val_accuracy": 60.0, "ema_val_accuracy": 70.0},
    ]
    drawn, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (drawn.append(figure), save(figure, *a, **k)))
    metrics = [ACCURACY.averaged, ACCURACY, VAL_LOSS] if averaged else [ACCURACY, VAL_LOSS]
    run = StoredRun(tmp_path, "data", "net", "GoLU", 0)
    run.folder.mkdir(parents=True)
    draw_run(run, trace, metrics)
    left, right = drawn[0].axes
    assert [line.get_label() for line in left.lines] == ["training", "validation"]
    assert list(left.lines[0].get_ydata()) == [2.0, 1.0] and left.lines[1].get_ydata()[0] == 2.5
    values = [list(line.get_ydata()) for line in right.lines]
    assert values == ([[40.0, 60.0], [30.0, 70.0]] if averaged else [[40.0, 60.0]])
    assert right.get_title(loc="left") == "Accuracy (%)"
    assert run.plot_path.read_bytes().startswith(b"\x89PNG")
