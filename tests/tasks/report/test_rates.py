"""Which runs are compared: the protocol of learning rates, and settings that differ."""

import pytest

from tasks.report.rates import comparisons, grouped
from tasks.report.reading import read
from tests.tasks.report.made_up import write_run, write_runs


@pytest.fixture
def compared(tmp_path):
    """Returns the comparisons of the one group of runs below the test's folder."""

    def made():
        (group,) = grouped(read([tmp_path]).runs)
        return comparisons(group)

    return made


def search(results, activation, scores):
    """Runs of a search: for each rate the values on seeds 1000, 1001, ...; and two results at every rate."""
    for rate, values in scores.items():
        for number, value in enumerate(values):
            write_run(results, activation, 1000 + number, value, lr=rate, variant=f"tune_lr_{rate:g}")
        for seed in (0, 1):
            write_run(results, activation, seed, 50 + 100 * rate + seed, lr=rate, variant=f"lr_{rate:g}")


def test_one_rate_is_a_plain_comparison(compared, tmp_path):
    write_runs(tmp_path, {"ReLU": [90.0, 91.0], "GoLU": [92.0, 93.0]})
    (only,) = compared()
    assert (only.label, only.notes, only.main) == ("", [], True)
    assert only.values(only.metrics[0]) == {"ReLU": {0: 90, 1: 91}, "GoLU": {0: 92, 1: 93}}


def test_runs_without_a_rate_are_compared_too(compared, tmp_path):
    write_runs(tmp_path, {"ReLU": [90.0], "GoLU": [92.0]}, lr=None)
    (only,) = compared()
    assert only.rates == {"ReLU": None, "GoLU": None}


def test_each_activation_is_judged_at_the_rate_of_its_search(compared, tmp_path):
    search(tmp_path, "ReLU", {0.01: [80.0, 82.0], 0.1: [85.0, 75.0], 1.0: [70.0, 70.0]})
    search(tmp_path, "GoLU", {0.01: [80.0, 82.0], 0.1: [85.0, 83.0], 1.0: [99.0, None]})
    (only,) = compared()
    assert only.rates == {"ReLU": 0.01, "GoLU": 0.1}
    assert only.values(only.metrics[0]) == {"ReLU": {0: 51, 1: 52}, "GoLU": {0: 60, 1: 61}}
    said = "\n".join(only.notes)
    assert "(6 runs each): ReLU 0.01, GoLU 0.1" in said and "a better rate may lie beyond: ReLU" in said
    assert "GoLU" not in said.partition("beyond:")[2]


def test_budgets_that_differ_and_a_rate_without_results_are_said(compared, tmp_path):
    search(tmp_path, "ReLU", {0.01: [80.0], 0.1: [85.0]})
    search(tmp_path, "GoLU", {0.01: [80.0, 81.0], 0.1: [82.0, 83.0], 1.0: [84.0, 85.0]})
    for seed in (0, 1):
        (tmp_path / f"digits/mlp/GoLU/results_{seed}_lr_1.json").unlink()
    write_runs(tmp_path, {"Mish": [70.0, 71.0]})
    (only,) = compared()
    said = "\n".join(only.notes)
    assert "BUDGETS DIFFER, in runs: ReLU 2, GoLU 6" in said
    assert "no result runs at the rate that was chosen: GoLU" in said
    assert "Mish was not searched for: its rate is the only one it has" in said
    assert only.values(only.metrics[0]) == {"ReLU": {0: 60, 1: 61}, "Mish": {0: 70, 1: 71}, "GoLU": {}}


def test_runs_of_a_search_and_their_seeds_count_for_no_result(compared, tmp_path):
    search(tmp_path, "ReLU", {0.01: [80.0], 0.1: [85.0]})
    write_run(tmp_path, "ReLU", 1000, 99.0, lr=0.1, variant="lr_0.1")
    (only,) = compared()
    assert only.seeds == [0, 1]


def test_a_search_alone_is_no_result(compared, tmp_path):
    write_run(tmp_path, "ReLU", 1000, 99.0, variant="tune_lr_0.1")
    assert compared() == []


def test_several_rates_without_a_search_are_shown_at_each_and_at_the_best_which_is_said_to_flatter(compared, tmp_path):
    for rate, values in {0.01: [80.0, 81.0], 0.1: [85.0, 84.0]}.items():
        write_runs(tmp_path, {"ReLU": values}, lr=rate, variant=f"lr_{rate:g}")
        write_runs(tmp_path, {"GoLU": [170 - value for value in values]}, lr=rate, variant=f"lr_{rate:g}")
    best, low, high = compared()
    assert (best.main, low.main, high.main) == (True, False, False)
    assert [each.label for each in (best, low, high)] == ["best LR of the same runs", "LR=0.01", "LR=0.1"]
    assert best.rates == {"ReLU": 0.1, "GoLU": 0.01}
    assert "chosen and judged on the same seeds" in best.notes[0]
    assert low.values(low.metrics[0]) == {"ReLU": {0: 80, 1: 81}, "GoLU": {0: 90, 1: 89}}


def test_one_rate_each_that_differ_are_said(compared, tmp_path):
    write_runs(tmp_path, {"ReLU": [90.0]}, lr=0.1)
    write_runs(tmp_path, {"GoLU": [92.0]}, lr=0.3)
    (only,) = compared()
    assert "no runs say how they were chosen: ReLU 0.1, GoLU 0.3" in only.notes[0]


def test_other_settings_are_another_group_that_names_them(tmp_path):
    write_runs(tmp_path, {"ReLU": [90.0], "GoLU": [91.0]}, batch_size=32)
    write_runs(tmp_path, {"ReLU": [80.0], "GoLU": [81.0]}, batch_size=64, variant="batch_64")
    groups = grouped(read([tmp_path]).runs)
    assert [group.label for group in groups] == ["batch_size=32", "batch_size=64"]
    first, second = (comparisons(group)[0] for group in groups)
    assert first.values(first.metrics[0])["GoLU"] == {0: 91} and second.values(second.metrics[0])["GoLU"] == {0: 81}


def test_of_two_runs_with_the_same_settings_one_counts_and_the_other_is_named(tmp_path):
    plain = write_run(tmp_path, "ReLU", 0, 90.0)
    write_run(tmp_path, "ReLU", 0, 91.0, variant="lr_0.1")
    (group,) = grouped(read([tmp_path]).runs)
    (only,) = comparisons(group)
    assert only.values(only.metrics[0]) == {"ReLU": {0: 91}}
    assert len(group.left_out) == 1 and str(plain) in group.left_out[0]
