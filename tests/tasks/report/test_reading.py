"""What is read, what is left out and why, and what is refused."""

import re
import shutil
from pathlib import Path

import pytest

from tasks.report.rates import grouped
from tasks.report.reading import read
from tests.tasks.report.made_up import write_run
from workbench.cli.errors import UserError


def test_every_run_below_the_folders_is_read_once(tmp_path):
    write_run(tmp_path / "a/b", "ReLU", 0, 90.0)
    write_run(tmp_path / "c", "ReLU", 1, 91.0, lr=None, learning_rate=0.5)
    write_run(tmp_path / "c", "GoLU", 1000, 92.0, variant="tune_lr_0.1")
    found = read([tmp_path, tmp_path / "c"])
    assert {(run.key.activation, run.key.seed, run.key.variant, run.rate, run.is_search) for run in found.runs} == {
        ("ReLU", 0, "", 0.1, False), ("ReLU", 1, "", 0.5, False), ("GoLU", 1000, "tune_lr_0.1", 0.1, True),
    }  # fmt: skip
    assert (found.left_out, found.twice) == ([], 0)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("results_1.json", '{"format": 2, "data', "is no result of a run"),
        ("results_1.json", "", "is no result of a run"),
        ("results_1.json", "[1, 2]", "is no result of a run"),
        ("results_1.json", '{"accuracy": 0.9}', "it has no 'metrics'"),
        ("results_1.json", '{"configuration": {}, "metrics": []}', "is of an earlier version"),
        ("results_all.json", "{}", "its name is not results_<seed>.json"),
    ],
)
def test_foreign_and_half_written_files_are_left_out_with_the_reason(name, content, reason, tmp_path):
    path = write_run(tmp_path, "ReLU", 0, 90.0).with_name(name)
    path.write_text(content)
    found = read([tmp_path])
    assert [run.key.seed for run in found.runs] == [0]
    (said,) = found.left_out
    assert str(path) in said and reason in said and "delete" not in said


def test_what_is_no_number_is_no_result(tmp_path):
    write_run(tmp_path, "ReLU", 0, 90.0)
    write_run(tmp_path, "ReLU", 1, "high")
    write_run(tmp_path, "ReLU", 3, 10**400)
    listed = write_run(tmp_path, "ReLU", 4, 90.0)
    listed.write_text(re.sub(r'"final": {[^}]*}', '"final": [90.0]', listed.read_text()))
    write_run(tmp_path, "ReLU", 5, 90.0).write_text("[" * 100_000)
    nan = write_run(tmp_path, "ReLU", 2, float("nan"))
    assert "NaN" in nan.read_text()
    found = read([tmp_path])
    assert [run.key.seed for run in found.runs] == [0]
    reasons = ["numbers are none", "it holds NaN", "numbers are none", "numbers are none", "it cannot be read"]
    assert all(reason in said for reason, said in zip(reasons, found.left_out, strict=True))


def test_a_run_in_the_place_of_another_is_left_out(tmp_path):
    path = write_run(tmp_path, "ReLU", 0, 90.0)
    shutil.copytree(path.parent, path.parent.with_name("GoLU"))
    found = read([tmp_path])
    assert [run.key.activation for run in found.runs] == ["ReLU"]
    assert "it is another run's" in found.left_out[0]


def test_copies_count_once(tmp_path):
    for folder in ("a", "b"):
        write_run(tmp_path / folder, "ReLU", 0, 90.0)
    found = read([tmp_path / "a", tmp_path / "b"])
    assert len(found.runs) == 1 and found.twice == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"epochs": 5}, "but epochs is 3 and 5"), ({"lr": 0.2}, "but lr is 0.1 and 0.2"), ({}, "but other numbers")],
)
def test_two_runs_of_one_key_that_differ_are_refused_by_name(changes, reason, tmp_path):
    first = write_run(tmp_path / "a", "ReLU", 0, 90.0)
    second = write_run(tmp_path / "b", "ReLU", 0, 91.0, **changes)
    with pytest.raises(UserError, match=reason) as error:
        read([tmp_path])
    assert str(first) in str(error.value) and str(second) in str(error.value)


def test_names_that_contain_one_another_are_not_mixed(tmp_path):
    value = 50.0
    for model in ("resnet50", "wide_resnet50_2"):
        for activation in ("ReLU", "LeakyReLU", "PReLU"):
            for variant in ("", "tune_lr_0.1"):
                seeds = (1000, 10001) if variant else (0, 1, 10)
                for seed in seeds:
                    value += 1
                    write_run(tmp_path, activation, seed, value, model=model, variant=variant)
    groups = {group.model: group for group in grouped(read([tmp_path]).runs)}
    assert set(groups) == {"resnet50", "wide_resnet50_2"}

    def numbers(of):
        return {name: [run.final["val_accuracy"] for run in by_rate[0.1].values()] for name, by_rate in of.items()}

    assert numbers(groups["resnet50"].results) == {
        "ReLU": [51, 52, 53], "LeakyReLU": [56, 57, 58], "PReLU": [61, 62, 63],
    }  # fmt: skip
    assert numbers(groups["resnet50"].search) == {"ReLU": [54, 55], "LeakyReLU": [59, 60], "PReLU": [64, 65]}
    assert numbers(groups["wide_resnet50_2"].results)["LeakyReLU"] == [71, 72, 73]


@pytest.mark.parametrize("there", [True, False])
def test_without_results_there_is_no_report(there, tmp_path):
    if there:
        (tmp_path / "results_notes.json").write_text("{}")
    with pytest.raises(UserError, match="there are no results of runs"):
        read([tmp_path])


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        read([tmp_path / "missing"])
    with pytest.raises(UserError, match="is no folder"):
        read([write_run(tmp_path, "ReLU", 0, 90.0)])


def test_folders_may_be_named_from_anywhere(tmp_path, monkeypatch):
    write_run(tmp_path / "results", "ReLU", 0, 90.0)
    for place, folder in (
        ("results/digits", ".."),
        ("results/digits/mlp/ReLU", "."),
        ("results/digits", "../../results"),
    ):
        monkeypatch.chdir(tmp_path / place)
        assert [run.key.activation for run in read([Path(folder)]).runs] == ["ReLU"]
