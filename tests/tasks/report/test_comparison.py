"""Means, best and ties, and differences, against scipy and by hand."""

import pytest
from scipy import stats

from tasks.gpt.evaluation import METRICS as TEXT_METRICS
from tasks.report.comparison import csv_rows, in_order, judge
from tasks.report.rates import comparisons, grouped
from tasks.report.reading import read
from tests.tasks.report.made_up import write_runs
from workbench.output.statistics import compare_pairs

VALUES = {
    "ReLU": [90.1, 90.4, 89.9, 90.2, 90.0],
    "GELU": [90.3, 90.7, 90.2, 90.3, 90.4],
    "GoLU": [91.2, 91.6, 91.0, 91.4, 91.1],
    "LeakyReLU": [91.1, 91.5, 91.1, 91.2, 91.2],
}


@pytest.fixture
def judged(tmp_path):
    """Returns the judge's table of activations, and what it says of each."""

    def made(values, baseline=None, **settings):
        write_runs(tmp_path, values, **settings)
        (group,) = grouped(read([tmp_path]).runs)
        comparison = comparisons(group)[0]
        table = judge(comparison, comparison.metrics[0], baseline)
        return table, {each.activation: each for each in table.judged}

    return made


def test_activations_have_the_usual_order():
    names = ["TeLU", "LeakyReLU", "GoLU", "ReLU", "Mish", "GELU", "Swish", "ReLU2"]
    assert in_order(names) == ["ReLU", "GELU", "Swish", "Mish", "GoLU", "LeakyReLU", "ReLU2", "TeLU"]


def test_means_and_standard_errors(judged):
    _, of = judged(VALUES)
    for name, values in VALUES.items():
        assert of[name].mean.mean == pytest.approx(sum(values) / 5)
        assert of[name].mean.standard_error == pytest.approx(stats.sem(values)) and of[name].mean.n == 5


def test_the_best_and_what_is_tied_with_it(judged):
    _, of = judged(VALUES)
    assert [name for name in of if of[name].best] == ["GoLU"]
    assert [name for name in of if of[name].tie] == ["LeakyReLU"]


def test_differences_to_the_baseline(judged):
    table, of = judged(VALUES)
    assert table.baseline == "ReLU" and of["ReLU"].difference is None
    by_seed = {name: dict(enumerate(values)) for name, values in VALUES.items()}
    tests = compare_pairs(by_seed, [(name, "ReLU") for name in ("GELU", "GoLU", "LeakyReLU")])
    for name in ("GELU", "GoLU", "LeakyReLU"):
        expected = stats.ttest_rel(VALUES[name], VALUES["ReLU"]).confidence_interval(0.95)
        assert (of[name].difference.low, of[name].difference.high) == pytest.approx(expected)
        assert of[name].p == tests.p_values[name, "ReLU"] and of[name].adjusted == tests.adjusted[name, "ReLU"]
    assert of["GoLU"].better is True


def test_less_is_better_where_the_metric_says_so(judged):
    _, of = judged(VALUES, metrics=TEXT_METRICS[:1])
    assert [name for name in of if of[name].best] == ["ReLU"] and of["GoLU"].better is False


def test_another_baseline(judged):
    table, of = judged(VALUES, "GoLU")
    assert table.baseline == "GoLU" and of["ReLU"].better is False and of["LeakyReLU"].better is None


def test_a_missing_seed_is_shown_and_left_out_of_pairs(judged):
    _, of = judged(VALUES | {"GoLU": [91.2, "missing", 91.0, 91.4, 91.1]})
    assert of["GoLU"].missing == [1] and of["GoLU"].mean.n == of["GoLU"].difference.n == 4
    assert of["GoLU"].difference.mean == pytest.approx((1.1 + 1.1 + 1.2 + 1.1) / 4)


def test_a_failed_run_is_in_no_mean_and_its_activation_is_not_the_best(judged):
    _, of = judged(VALUES | {"GoLU": [91.2, None, 91.0, 91.4, 91.1]})
    assert of["GoLU"].failed == [1] and of["GoLU"].mean.n == 4 and of["GoLU"].missing == []
    assert [name for name in of if of[name].best] == ["LeakyReLU"]


def test_an_activation_whose_runs_all_failed_has_no_number(judged):
    table, of = judged({"ReLU": [90.0, 91.0], "GoLU": [None, None]})
    assert of["GoLU"].mean is None and of["GoLU"].failed == [0, 1] and not of["GoLU"].tie
    assert csv_rows(table)[1]["mean"] is None and csv_rows(table)[1]["failed"] == 2


def test_one_seed_claims_nothing_and_ties(judged):
    _, of = judged({"ReLU": [90.0], "GoLU": [95.0]})
    assert of["GoLU"].best and of["ReLU"].tie and of["GoLU"].better is None and of["GoLU"].p is None
