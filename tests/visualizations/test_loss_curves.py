"""Curves of runs: made-up traces, and those of small models."""

import json

import numpy as np
import pytest

from visualizations.loss_plots import loss_curves
from visualizations.shared.seeds import draw_band, with_error
from workbench.output.estimates import estimate


def write_trace(folder, seed, losses, axis="epoch"):
    folder.mkdir(parents=True, exist_ok=True)
    trace = [
        {axis: place, "lr": 0.1, "train_loss": loss, "val_loss": 2 * loss, "val_accuracy": 50 + place}
        for place, loss in enumerate(losses, start=1)
    ]
    (folder / f"opt_trace_{seed}.json").write_text(json.dumps(trace))


@pytest.fixture
def traces(tmp_path):
    root = tmp_path / "results"
    write_trace(root / "digits" / "resnet20" / "GoLU", 0, [4.0, 2.0, 1.0])
    write_trace(root / "digits" / "resnet20" / "GoLU", 10, [6.0, 4.0])
    write_trace(root / "digits" / "resnet20" / "ReLU", 0, [3.0, 2.0, 1.0])
    write_trace(root / "digits" / "mlp_1" / "GoLU", 0, [8.0, 7.0])
    return root


def test_rows_are_the_traces(figure, traces):
    rows = figure(loss_curves.FIGURE, "--runs", traces / "digits" / "resnet20")
    assert [(row["activation"], row["seed"]) for row in rows if row["at"] == 1] == [
        ("GoLU", 0),
        ("GoLU", 10),
        ("ReLU", 0),
    ]
    assert [row["train_loss"] for row in rows if row["activation"] == "ReLU"] == [3, 2, 1]
    assert all(row["val_loss"] == 2 * row["train_loss"] and row["value"] == 50 + row["at"] for row in rows)
    assert {row["runs"] for row in rows} == {""}  # nothing but the activation tells them apart


def test_a_line_ends_where_a_seed_ends(figure, traces):
    rows = figure(loss_curves.FIGURE, "--runs", traces / "digits" / "resnet20")
    at, curves = loss_curves.aligned(rows, "train_loss", activation="GoLU")
    assert at == [1, 2] and curves == [[4, 2], [6, 4]]


def test_models_and_folders_are_told_apart(figure, traces, tmp_path):
    rows = figure(loss_curves.FIGURE, "--runs", traces, "--activations", "GoLU")
    assert {row["activation"] for row in rows} == {"GoLU"} and {row["runs"] for row in rows} == {"resnet20", "mlp_1"}
    other = tmp_path / "other"
    write_trace(other / "digits" / "mlp_1" / "GoLU", 0, [9.0])
    rows = figure(loss_curves.FIGURE, "--runs", traces / "digits" / "mlp_1", other)
    assert {row["runs"] for row in rows} == {str(traces), str(other)}
    assert [row["train_loss"] for row in rows if row["runs"] == str(other)] == [9]


def test_a_band_is_the_mean_and_its_standard_error():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    draw_band(axes, [1, 2], [[4.0, 2.0], [6.0, 5.0]], "GoLU")
    assert axes.lines[0].get_ydata().tolist() == [5, 3.5]
    corners = axes.collections[0].get_paths()[0].vertices
    assert {(1, 4), (1, 6), (2, 2), (2, 5)} <= {tuple(np.round(corner, 9)) for corner in corners}  # sd / sqrt(2) = half
    draw_band(axes, [1, 2], [[1.0, 2.0]], "ReLU")
    assert len(axes.collections) == 1  # one seed has no band


def test_a_mean_is_written_as_far_as_its_error_goes():
    assert with_error(estimate([1.0, 1.2, 1.1])) == "1.10 ± 0.06"
    assert with_error(estimate([10.0, 30.0])) == "20 ± 10"
    assert with_error(estimate([0.12345])) == "0.123"


def test_real_runs(figure, small, runs):
    rows = figure(loss_curves.FIGURE, "--runs", runs)
    path = runs / "digits" / "mlp_1" / "GoLU" / "opt_trace_1.json"
    trace = json.loads(path.read_text())
    own = [row for row in rows if (row["activation"], row["seed"]) == ("GoLU", 1)]
    assert [row["val_loss"] for row in own] == pytest.approx([entry["val_loss"] for entry in trace], rel=1e-6)
    assert [row["value"] for row in own] == pytest.approx([entry["val_accuracy"] for entry in trace], rel=1e-6)
    assert figure(loss_curves.FIGURE, *small, "--seeds", 2) == sorted(rows, key=lambda row: row["activation"] == "GoLU")


def test_mistakes(program, traces, tmp_path):
    (tmp_path / "broken" / "GoLU").mkdir(parents=True)
    (tmp_path / "broken" / "GoLU" / "opt_trace_0.json").write_text('[{"epoch": 1')
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "opt_trace_x.json").write_text("[]")
    for folder, message in (
        (tmp_path / "none", "there is no folder"),
        (tmp_path / "broken", "cannot read the trace of a run from"),
        (tmp_path / "named", "opt_trace_x.json is no trace of a run: its name has no seed"),
    ):
        code, _, err = program(loss_curves.FIGURE, "--runs", folder, "--output", tmp_path / "out")
        assert code == 2 and message in err and err.count("\n") == 1
    code, _, err = program(loss_curves.FIGURE, "--runs", traces, "--activations", "Mish", "--output", tmp_path / "out")
    assert code == 2 and "there are no runs of Mish" in err
    code, _, err = program(
        loss_curves.FIGURE, "--runs", tmp_path / "broken" / "GoLU" / "x", "--output", tmp_path / "out"
    )
    assert code == 2 and "--runs takes folders" in err
