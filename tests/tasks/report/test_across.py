"""Several tasks together."""

import numpy as np
import pytest
from scipy import stats

from tasks.report.across import summarise
from tasks.report.figures import cliques
from tasks.report.rates import comparisons, grouped
from tasks.report.reading import read
from tests.tasks.report.made_up import write_runs

NAMES = ["ReLU", "GELU", "GoLU"]


@pytest.fixture
def tasks(tmp_path):
    """Returns a function that writes as many tasks as asked for, their numbers by task, and their comparisons."""

    def made(count):
        random = np.random.default_rng(0)
        numbers = 80 + random.normal(size=(count, 3, 4)) + np.array([0, 0.5, 2])[None, :, None]
        for task, of in enumerate(numbers):
            write_runs(tmp_path, {n: v.tolist() for n, v in zip(NAMES, of, strict=True)}, model=f"net_{task:02}")
        return numbers, [comparisons(group)[0] for group in grouped(read([tmp_path]).runs)]

    return made


def test_scores_are_distances_to_the_baseline_in_standard_deviations(tasks):
    numbers, compared = tasks(5)
    summary = summarise(compared, None, 0.2)
    spread = np.sqrt(numbers.var(axis=2, ddof=1).mean(axis=1))[:, None]
    scores = [(numbers[:, place] - numbers[:, 0].mean(axis=1, keepdims=True)) / spread for place in range(3)]
    assert summary.baseline == "ReLU" and summary.ranks is None
    for name, of in zip(NAMES, scores, strict=True):
        assert summary.means[name].value == pytest.approx(stats.trim_mean(of.ravel(), 0.25))
        assert summary.means[name].low < summary.means[name].value < summary.means[name].high
    assert set(summary.equivalence) == {"GELU", "GoLU"} and summary.equivalence["GoLU"].above > 0.9


def test_two_tasks_that_agree_are_no_certainty(tasks):
    assert summarise(tasks(4)[1], None, 0.2).equivalence == {}


def test_ten_tasks_have_ranks(tasks):
    numbers, compared = tasks(10)
    ranks = summarise(compared, "ReLU", 0.2).ranks
    assert ranks.mean == pytest.approx(stats.rankdata(-numbers.mean(axis=2), axis=1).mean(axis=0))


def test_an_activation_that_lacks_a_task_is_left_out_and_named(tasks, tmp_path):
    tasks(2)
    write_runs(tmp_path, {"Mish": [80.0, 81.0]}, model="net_00")
    summary = summarise([comparisons(group)[0] for group in grouped(read([tmp_path]).runs)], None, 0.2)
    assert summary.activations == NAMES and summary.left_out == ["Mish: it has no result on every task"]


def test_one_task_needs_no_summary(tasks):
    assert summarise(tasks(1)[1], None, 0.2) is None


def test_bars_join_the_longest_stretches_of_ranks_that_do_not_differ():
    assert cliques([1.0, 1.5, 2.2, 4.0, 4.1], 1.0) == [(0, 1), (1, 2), (3, 4)]
    assert cliques([1.0, 1.5, 1.9], 1.0) == [(0, 2)] and cliques([1.0, 3.0], 1.0) == []
