"""Curves of runs: made-up traces, and those of small models."""

import numpy as np
import pytest
import torch

from visualizations.loss_plots import loss_curves
from visualizations.shared.seeds import draw_band, with_error
from workbench.output.estimates import estimate
from workbench.training import metrics
from workbench.training.metrics import VAL_LOSS, Metric
from workbench.training.runs import StoredRun

ACCURACY = Metric("val_accuracy", "accuracy", "%", higher_is_better=True)


def evaluations(losses):
    return [
        {"epoch": epoch, "lr": 0.1, "train_loss": loss, "val_loss": loss and 2 * loss, "val_accuracy": 50 + epoch}
        for epoch, loss in enumerate(losses, start=1)
    ]


def write_run(results, model, activation, seed, trace, means=(ACCURACY, VAL_LOSS)):
    """A run under way: its checkpoint says what its numbers mean."""
    run = StoredRun(results, "digits", model, activation, seed)
    run.folder.mkdir(parents=True, exist_ok=True)
    run.store_trace(trace)
    torch.save({"model": {}, "metrics": metrics.stored(means)}, run.checkpoint_path)


@pytest.fixture
def traces(tmp_path):
    root = tmp_path / "results"
    write_run(root, "resnet20", "GoLU", 0, evaluations([4.0, 2.0, 1.0]))
    write_run(root, "resnet20", "GoLU", 10, evaluations([6.0, 4.0]))
    write_run(root, "resnet20", "ReLU", 0, evaluations([3.0, 2.0, 1.0]))
    write_run(root, "mlp_1", "GoLU", 0, evaluations([8.0, 7.0]))
    return root


def test_rows_are_the_traces(figure, traces):
    rows = figure(loss_curves.FIGURE, "--runs", traces / "digits" / "resnet20")
    first = [(row["activation"], row["seed"]) for row in rows if row["at"] == 1]
    assert first == [("GoLU", 0), ("GoLU", 10), ("ReLU", 0)]
    assert [row["train_loss"] for row in rows if row["activation"] == "ReLU"] == [3, 2, 1]
    assert all(row["val_loss"] == 2 * row["train_loss"] and row["value"] == 50 + row["at"] for row in rows)
    # nothing but the activation tells them apart
    assert {(row["runs"], row["metric"], row["axis"]) for row in rows} == {("", "accuracy (%)", "epoch")}


def test_what_is_drawn_is_what_the_run_calls_so(figure, tmp_path):
    bits, loss = Metric("bits_per_byte", "bits a byte"), Metric("nll", "loss of tokens", "nats", role="loss")
    entry = {"step": 500, "train_loss": 1.0, "val_loss": 2.0, "nll": 3.0, "ema_bits_per_byte": 4.0}
    trace = [entry | {"bits_per_byte": 5.0}, entry | {"step": 1000, "bits_per_byte": 4.5}]
    write_run(tmp_path / "results", "gpt", "GoLU", 0, trace, [bits.averaged, bits, loss])
    rows = figure(loss_curves.FIGURE, "--runs", tmp_path / "results")
    shown = [[row[name] for name in ("axis", "at", "train_loss", "val_loss", "metric", "value")] for row in rows]
    assert shown == [["step", 500, 1, 3, "bits a byte", 5], ["step", 1000, 1, 3, "bits a byte", 4.5]]


def test_what_was_not_finite_is_no_number(figure, traces):
    trace = evaluations([5.0, 4.0, None])
    trace[2]["val_accuracy"] = None
    write_run(traces, "mlp_1", "ReLU", 0, trace)
    rows = figure(loss_curves.FIGURE, "--runs", traces / "digits" / "mlp_1", "--activations", "ReLU")
    shown = [(row["train_loss"], row["val_loss"], row["value"]) for row in rows]
    assert shown == [(5, 10, 51), (4, 8, 52), ("", "", "")]


def test_a_line_ends_where_a_seed_ends(figure, traces):
    rows = figure(loss_curves.FIGURE, "--runs", traces / "digits" / "resnet20")
    at, curves = loss_curves.aligned(rows, "train_loss", activation="GoLU")
    assert at == [1, 2] and curves == [[4, 2], [6, 4]]


def test_models_and_folders_are_told_apart(figure, traces, tmp_path):
    rows = figure(loss_curves.FIGURE, "--runs", traces, "--activations", "GoLU")
    assert {row["activation"] for row in rows} == {"GoLU"} and {row["runs"] for row in rows} == {"resnet20", "mlp_1"}
    other = tmp_path / "other"
    write_run(other, "mlp_1", "GoLU", 0, evaluations([9.0]))
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
    trace = StoredRun(runs, "digits", "mlp_1", "GoLU", 1).trace()
    own = [row for row in rows if (row["activation"], row["seed"]) == ("GoLU", 1)]
    assert [row["val_loss"] for row in own] == pytest.approx([entry["val_loss"] for entry in trace], rel=1e-6)
    assert [row["value"] for row in own] == pytest.approx([entry["val_accuracy"] for entry in trace], rel=1e-6)
    assert figure(loss_curves.FIGURE, *small, "--seeds", 2) == sorted(rows, key=lambda row: row["activation"] == "GoLU")


def test_mistakes(mistake, traces, tmp_path):
    def run_in(folder, trace, state):
        (tmp_path / folder / "GoLU").mkdir(parents=True)
        (tmp_path / folder / "GoLU" / "opt_trace_0.json").write_text(trace)
        torch.save(state, tmp_path / folder / "GoLU" / "checkpoint_0.pth")

    run_in("broken", '[{"epoch": 1', {"model": {}, "metrics": metrics.stored([ACCURACY])})
    run_in("old", '[{"epoch": 1}]', {"model": {}})
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "opt_trace_x.json").write_text("[]")
    for arguments, message in (
        ([tmp_path / "none"], "there is no folder"),
        ([tmp_path / "broken"], "cannot read the trace of a run from"),
        ([tmp_path / "old"], "does not say what its numbers mean"),
        ([tmp_path / "named"], "opt_trace_x.json is no trace of a run: its name has no seed"),
        ([tmp_path / "broken" / "GoLU" / "x"], "--runs takes folders"),
        ([traces, "--activations", "Mish"], "there are no runs of Mish"),
    ):
        assert message in mistake(loss_curves.FIGURE, "--runs", *arguments)
