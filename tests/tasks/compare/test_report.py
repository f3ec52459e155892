"""From runs to tables and a picture."""

import json
import math

import pytest
import torch
from torch import nn

from tasks.compare import figure, report
from tasks.compare.cost import measure_costs
from tasks.compare.report import Comparison, Ended
from tasks.gpt.evaluation import METRICS as TEXT_METRICS
from tests.tasks.compare.test_compare import spec_of
from workbench.output.environment import origins
from workbench.output.tables import decimals, number
from workbench.training.memory import kept_for_backward
from workbench.training.metrics import VAL_LOSS, stored
from workbench.training.runs import StoredRun
from workbench.training.task import opened
from workbench.vision.classification import ACCURACY

COST = {
    "rounds": 7,
    **{"relative_train_time": 1.0, "relative_train_time_low": 0.9, "relative_train_time_high": 1.1},
    **{"relative_inference_time": 1.25, "relative_inference_time_low": 1.2, "relative_inference_time_high": 1.3},
    "memory_bytes": 1_500_000,
}
ACCURACIES = [("ReLU", [80, 90]), ("ReLU", [80, 92]), ("GoLU", [93, 91]), ("GoLU", [80, 95])]
PERPLEXITIES = [("ReLU", [12, 10]), ("ReLU", [20, 12.5]), ("GoLU", [7, 8]), ("GoLU", [16, 12.5])]


@pytest.fixture
def comparison(tmp_path):
    """Makes a comparison of (activation, value after each epoch) for each run; no values: it diverged."""

    def made(runs, metrics=(ACCURACY, VAL_LOSS), activations=("ReLU", "GoLU")):
        ended, seeds = [], dict.fromkeys(activations, 0)
        for activation, values in runs:
            run = StoredRun(tmp_path, "data", "net", activation, seeds[activation])
            seeds[activation] += 1
            trace = [
                {
                    "epoch": i + 1, "train_loss": 1.0, "seconds": 0.1, metrics[0].key: value,
                    "val_loss": math.log(value) if metrics is TEXT_METRICS else 2.0 / (i + 1),
                    "val_token_accuracy": 100 / value,
                }
                for i, value in enumerate(values)
            ]  # fmt: skip
            results = {"axis": "epoch", "train_minutes": 0.01, "inference_minutes": 0.0, "environment": {}}
            results |= {"diverged_at": None if values else 1, "final": trace[-1] if values else None}
            results["best"] = metrics[0].best(trace)
            run.folder.mkdir(parents=True, exist_ok=True)
            run.trace_path.write_text(json.dumps(trace))
            ended.append(Ended(run, results))
        return Comparison("data", "net", metrics, "ReLU", "cpu", ended, dict.fromkeys(activations, COST))

    return made


def test_the_table_has_the_right_numbers(comparison):
    compared = comparison(ACCURACIES)
    rows = report.table_rows(compared)
    # standard errors 1 and 2, so the intervals are 12.71 and 25.41 wide to either side; differences 1 and 3
    assert rows[0] == [
        "activation",
        "accuracy (%)",
        "difference to ReLU",
        "train time",
        "inference time",
        "kept for backward",
    ]
    assert rows[1] == ["ReLU", "91.00 ± 12.71 (2)", "baseline", "1.00x", "1.25x", "1.50 MB"]
    golu = [
        "GoLU",
        "93.00 ± 25.41 (2)",
        "+2.00 [-10.71, +14.71]",
        "1.00x [0.90, 1.10]",
        "1.25x [1.20, 1.30]",
        "1.50 MB",
    ]
    assert rows[2] == golu
    summaries = compared.summaries()
    assert summaries[1]["best_val_accuracy"]["mean"] == 94
    assert summaries[1]["val_loss"]["mean"] == 1.0


def test_the_table_of_a_text_has_the_right_numbers(comparison):
    compared = comparison(PERPLEXITIES, TEXT_METRICS)
    header, relu, golu = report.table_rows(compared)
    assert header[:4] == ["activation", "perplexity", "difference to ReLU", "token accuracy (%)"]
    assert relu[:4] == ["ReLU", "11.25 ± 15.88 (2)", "baseline", "9.00 ± 12.71 (2)"]
    # differences -2 and 0: -1 with a standard error of 1
    assert golu[1:3] == ["10.25 ± 28.59 (2)", "-1.00 [-13.71, +11.71]"]
    summaries = compared.summaries()
    assert summaries[1]["best_val_perplexity"]["mean"] == (7 + 12.5) / 2
    assert summaries[1]["val_loss"]["mean"] == pytest.approx((math.log(8) + math.log(12.5)) / 2)
    judge, accuracy, difference = report.legend(compared)[:3]
    assert judge.startswith("perplexity: ") and "less is better" in judge and "95% t-interval" in judge
    assert accuracy.startswith("token accuracy: ") and difference.startswith("difference to ReLU: of the perplexity")
    ended = compared.runs[2]
    said = report.outcome(ended.run, ended.results | {"metrics": stored(TEXT_METRICS)})
    assert said == "GoLU, seed 0: perplexity 8.00 in 0.6 s"


def test_diverged_runs_are_counted_and_left_out_of_means_and_pairs(comparison):
    runs = [*ACCURACIES[:2], ("GoLU", []), ("GoLU", [80, 95]), ("Mish", []), ("Mish", [])]
    compared = comparison(runs, activations=("ReLU", "GoLU", "Mish"))
    rows = report.table_rows(compared)
    assert rows[2][1:3] == ["95.00 ± n/a (1), 1 diverged", "+3.00 [n/a]"]
    assert rows[3][1:3] == ["2 diverged", "n/a"]
    assert figure.meaning(compared).endswith("Diverged, and in no mean: GoLU 1 of 2, Mish 2 of 2.")
    assert "iverged" not in figure.meaning(comparison(ACCURACIES))


def test_numbers_are_short():
    assert [number(each, 2) for each in (34.0, 2.7e43)] == ["34.00", "2.7e+43"]
    assert [number(each, 3, "+") for each in (0.5, -2e6)] == ["+0.500", "-2e+06"]


def test_numbers_below_1_have_more_digits():
    """So that 0.0461 and 0.0412 do not both read 0.05."""
    assert [decimals(each) for each in ([93.1, 0.2], [1.0], [0.99, 0.04], [0.046, -0.041], [0.0], [])] == [
        2, 2, 3, 4, 2, 2,
    ]  # fmt: skip
    assert [number(each, decimals([each])) for each in (0.04608, 0.9, 1.2)] == ["0.0461", "0.900", "1.20"]


def test_origins():
    one, other = {"torch": "2.1", "commit": "a"}, {"torch": "2.2", "commit": "a"}
    assert origins([one, one]) == ""
    assert origins([one, other, one]) == "torch 2.1 (2 runs), 2.2 (1 runs)"


@pytest.mark.parametrize(
    "runs", [ACCURACIES, [("ReLU", []), ("GoLU", [80])], [("ReLU", []), ("GoLU", [])], [("ReLU", [80, 81])]]
)
def test_the_figure_is_drawn_whatever_there_is(runs, comparison, tmp_path):
    for path in figure.draw(tmp_path / "figure", comparison(runs)):
        assert path.stat().st_size > 5000


@pytest.mark.parametrize(
    ("runs", "metrics", "label", "means", "margin"),
    [
        (ACCURACIES, (ACCURACY, VAL_LOSS), "accuracy (%)", ["91.00", "93.00"], 12.7062 * 2),
        (PERPLEXITIES, TEXT_METRICS, "perplexity", ["11.25", "10.25"], 12.7062 * 2.25),
    ],
)
def test_the_figure_shows_the_numbers_of_the_table(
    runs, metrics, label, means, margin, comparison, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(figure, "save_figure", lambda made, path: drawn.append(made))
    figure.draw(tmp_path / "figure", comparison(runs, metrics))
    curves, final = drawn[0].axes
    if metrics[0] is ACCURACY:
        assert [list(line.get_ydata()) for line in curves.get_lines()] == [[2.0, 1.0]] * 2
    assert curves.get_ylabel() == "validation loss (nats)" and final.get_ylabel() == label
    assert [text.get_text() for text in final.texts] == means
    low, high = (point[1] for point in final.containers[1][2][0].get_segments()[0])
    assert (high - low) / 2 == pytest.approx(margin, rel=1e-4)


# What it costs


@pytest.mark.parametrize(("activation", "extra"), [(nn.ReLU(), 0), (nn.GELU(), 1), (nn.SiLU(), 1)])
def test_kept_for_backward_in_closed_form(activation, extra):
    """x, the ReLU's output, which is the second layer's input as well, and for others the activation's input too."""
    model = nn.Sequential(nn.Linear(4, 3), activation, nn.Linear(3, 2))
    x = torch.randn(5, 4)
    assert kept_for_backward(lambda: model(x).sum(), model.parameters()) == 4 * (5 * 4 + 5 * 3 + extra * 5 * 3)


def test_golu_keeps_its_input_and_nothing_else():
    from golu import GoLU

    model = nn.Sequential(nn.Linear(4, 3), GoLU(), nn.Linear(3, 2))
    x = torch.randn(5, 4)
    assert kept_for_backward(lambda: model(x).sum(), model.parameters()) == 4 * (5 * 4 + 2 * 5 * 3)


@pytest.mark.parametrize(
    ("dataset", "flags", "extra"),
    [
        # two hidden layers of 256 whose LayerNorm output ReLU need not keep
        ("digits", ("--model", "mlp", "--limit-train", 64), 2 * 32 * 256 * 4),
        # four layers; what fc gives, of 4 x 128 at each of the 64 tokens of a sequence
        ("pydoc_topics", ("--limit-train", 3000, "--batch-size", 4), 4 * (4 * 64) * (4 * 128) * 4),
    ],
)
def test_costs_are_relative_to_the_baseline(dataset, flags, extra, tmp_path):
    task = opened(spec_of(dataset, *flags, "--data", tmp_path), torch.device("cpu"))
    costs = measure_costs(task, ["GoLU", "ReLU"], "ReLU", torch.device("cpu"), seconds=0.0)
    assert list(costs) == ["GoLU", "ReLU"]
    assert costs["ReLU"]["relative_train_time"] == costs["ReLU"]["relative_inference_time"] == 1
    assert costs["GoLU"]["relative_train_time"] > 0
    assert costs["GoLU"]["memory_bytes"] - costs["ReLU"]["memory_bytes"] == extra
