"""python -m tasks.results: what it prints, writes, chooses, sorts and refuses."""

import csv
import re

import pytest

from tasks.results import __main__ as module
from tests.tasks.report.made_up import write_run, write_runs
from workbench.training.metrics import Metric

PERPLEXITY = Metric("val_perplexity", "perplexity")
SETTINGS = {"vector_weight_decay": 0.0}  # as tasks.small_poc's runs have


@pytest.fixture
def listed(program):
    """The lines of the table as dictionaries, and all that is printed."""

    def call(*arguments):
        code, out, err = program(module, *arguments)
        assert (code, err) == (0, "")
        return lines(out), out

    return call


def lines(out):
    """The cells of each line of the table by the heads of their columns."""
    printed = out.split("\n")
    (rule,) = [place for place, line in enumerate(printed) if re.fullmatch(r"-[- ]+", line)]
    spans = [match.span() for match in re.finditer("-+", printed[rule])]

    def cells(line):
        return [line[start:end].strip() for start, end in spans]

    body = printed[rule + 1 : printed.index("", rule)]
    return [dict(zip(cells(printed[rule - 1]), cells(line), strict=True)) for line in body]


def refused(program, *arguments):
    """What the one line of an error says."""
    code, out, err = program(module, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith("error: "), err
    return err


def test_every_run_is_a_line(listed, tmp_path):
    write_run(tmp_path, "GoLU", 1, 95.25, variant="lr_0.1", **SETTINGS)
    write_run(tmp_path, "ReLU", 0, None, **SETTINGS)
    write_run(tmp_path, "GoLU", 0, 12.5, dataset="text", model="gpt", metrics=[PERPLEXITY], block_size=8)
    found, out = listed(tmp_path)
    common = {"task": "small_poc", "dataset": "digits", "model": "mlp", "metric": "accuracy (%) ↑", "time": "1:06"}
    assert found == [
        {**common, "activation": "GoLU", "variant": "lr_0.1", "seed": "1", "value": "95.25", "state": "ended"},
        {**common, "activation": "ReLU", "variant": "-", "seed": "0", "value": "-", "state": "diverged at epoch 2"},
        {
            "task": "gpt", "dataset": "text", "model": "gpt", "activation": "GoLU", "variant": "-", "seed": "0",
            "metric": "perplexity ↓", "value": "12.50", "time": "1:06", "state": "ended",
        },
    ]  # fmt: skip
    assert out.endswith("\n3 runs: 2 ended, 1 diverged\n")


def test_runs_of_several_folders_say_theirs(listed, tmp_path):
    for folder, value in (("a", 90.0), ("b", 91.0)):
        write_run(tmp_path / folder, "ReLU", 0, value)
    found, _ = listed(tmp_path / "b", tmp_path / "a")
    assert [line["value"] for line in found] == ["90.00", "91.00"]
    assert all(f"{tmp_path.name}" in line["folder"] or "…" in line["folder"] for line in found)
    assert [line["folder"][-1] for line in found] == ["a", "b"]


def test_the_table_fits_120_columns(listed, tmp_path):
    names = {"dataset": "imagenet_1k_with_a_long_name", "model": "fasterrcnn_mobilenet_v3_large_320_fpn"}
    metric = Metric("val_box_ap", "box average precision of averaged weights", "%", higher_is_better=True)
    for seed in range(2):
        write_run(tmp_path, "ReLU", seed, 50.0, metrics=[metric], variant="lr0.01_batch128_epochs8", **names)
    found, out = listed(tmp_path)
    assert max(map(len, out.splitlines())) <= 120
    once = f"the same in all: task -, dataset {names['dataset']}, model {names['model']}, activation ReLU"
    assert once in out.replace("\n", " "), "it is whole there"
    assert [line["seed"] for line in found] == ["0", "1"]
    for model in ("a" * 130 + "1" * 10, "a" * 130 + "2" * 10):
        write_run(tmp_path, "ReLU", 0, 50.0, metrics=[metric], variant="v" * 60, dataset="d", model=model)
    found, out = listed(tmp_path, "--dataset", "d")
    assert max(map(len, out.splitlines())) <= 120
    assert [line["model"][-1] for line in found] == ["1", "2"] and all("…" in line["model"] for line in found)


def test_the_csv_has_everything(listed, tmp_path):
    path = write_run(tmp_path, "GoLU", 1, 95.123456789, variant="lr_0.1", **SETTINGS)
    write_run(tmp_path, "ReLU", 0, None)
    _, out = listed(tmp_path, "--csv", tmp_path / "all.csv")
    assert f"{tmp_path / 'all.csv'} has the same" in out
    one, other = csv.DictReader((tmp_path / "all.csv").open())
    assert one == {
        "folder": str(tmp_path), "task": "small_poc", "dataset": "digits", "model": "mlp", "activation": "GoLU",
        "variant": "lr_0.1", "seed": "1", "metric": "val_accuracy", "unit": "%", "higher_is_better": "True",
        "value": "95.123456789", "minutes": "1.1", "state": "ended", "at": "", "file": str(path),
    }  # fmt: skip
    assert (other["value"], other["state"], other["at"]) == ("", "diverged", "epoch 2")


# Choosing and sorting


@pytest.fixture
def many(tmp_path):
    for model in ("resnet50", "wide_resnet50_2"):
        write_runs(tmp_path, {"ReLU": [90.0, 91.0], "LeakyReLU": [92.0, None]}, model=model, **SETTINGS)
    write_run(tmp_path, "ReLU", 1000, 93.0, model="resnet50", variant="tune_lr_0.1", **SETTINGS)
    write_run(tmp_path, "ReLU", 0, 2.0, dataset="text", model="gpt", metrics=[PERPLEXITY], block_size=8)
    return tmp_path


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ("", 10),
        ("--activation ReLU", 6),
        ("--activation LeakyReLU", 4),
        ("--model resnet50", 5),
        ("--model resnet50 wide_resnet50_2", 9),
        ("--model resnet50 --activation ReLU", 3),
        ("--variant -", 9),
        ("--variant tune_lr_0.1", 1),
        ("--seed 0", 5),
        ("--seed 1", 4),
        ("--task gpt", 1),
        ("--dataset digits", 9),
        ("--state diverged", 2),
        ("--state ended diverged", 10),
    ],
)
def test_filters_take_whole_names(filters, count, listed, many):
    found, _ = listed(many, *filters.split())
    assert len(found) == count
    words = filters.split("--")[-1].split()
    if words[:1] == ["model"]:
        assert {line["model"] for line in found} == set(words[1:])
    if words[:1] == ["activation"]:
        assert {line["activation"] for line in found} == set(words[1:])


def test_a_name_that_no_run_has_is_refused_with_the_closest(program, many):
    assert "no run has --model resnet5: unknown model 'resnet5': did you mean resnet50?" in refused(
        program, many, "--model", "resnet5"
    )
    assert "unknown state 'end': did you mean ended?" in refused(program, many, "--state", "end")
    assert "none of the 10 runs has all of --task gpt --activation LeakyReLU" in refused(
        program, many, "--activation", "LeakyReLU", "--task", "gpt"
    )
    assert "none of the 10 runs has all of --state running" in refused(program, many, "--state", "running")


def test_the_best_come_first(listed, many):
    found, _ = listed(many, "--sort", "value", "--dataset", "digits")
    assert [line["value"] for line in found] == ["93.00", "92.00", "92.00", *["91.00"] * 2, *["90.00"] * 2, "-", "-"]
    for activation, value in (("GoLU", 1.0), ("GELU", 3.0)):
        write_run(many, activation, 0, value, dataset="text", model="gpt", metrics=[PERPLEXITY], block_size=8)
    found, _ = listed(many, "--sort", "value", "--task", "gpt")
    assert [line["activation"] for line in found] == ["GoLU", "ReLU", "GELU"]


def test_several_columns_sort_one_after_the_other(listed, many):
    found, _ = listed(many, "--sort", "seed", "model", "--activation", "ReLU")
    assert [(line["seed"], line["model"]) for line in found] == [
        ("0", "gpt"), ("0", "resnet50"), ("0", "wide_resnet50_2"), ("1", "resnet50"), ("1", "wide_resnet50_2"),
        ("1000", "resnet50"),
    ]  # fmt: skip


# Two folders side by side


def test_two_folders_side_by_side(listed, tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    write_runs(a, {"ReLU": [90.0, 91.0, 92.0, None], "LeakyReLU": [70.0], "GoLU": [95.0]})
    write_runs(b, {"ReLU": [90.5, 90.0, 92.0, 93.0], "LeakyReLU": ["missing", 71.0]}, epochs=5)
    write_run(b, "GoLU", 0, 95.0, variant="lr_0.1")
    found, out = listed("--compare", a, b, "--csv", tmp_path / "both.csv")
    cells = ("activation", "variant", "seed", "A", "B", "difference", "B is", "differs in")
    assert [tuple(line[name] for name in cells) for line in found] == [
        ("GoLU", "-", "0", "95.00", "none", "-", "-", "-"),
        ("GoLU", "lr_0.1", "0", "none", "95.00", "-", "-", "-"),
        ("LeakyReLU", "-", "0", "70.00", "none", "-", "-", "-"),
        ("LeakyReLU", "-", "1", "none", "71.00", "-", "-", "-"),
        ("ReLU", "-", "0", "90.00", "90.50", "+0.50", "better", "epochs"),
        ("ReLU", "-", "1", "91.00", "90.00", "-1.00", "worse", "epochs"),
        ("ReLU", "-", "2", "92.00", "92.00", "+0.00", "same", "epochs"),
        ("ReLU", "-", "3", "diverged", "93.00", "-", "-", "epochs"),
    ]
    assert out.startswith(f"A: {a}\nB: {b}\n")
    counts = "B is better in 1, B is worse in 1, they are the same in 1, no difference in 1"
    assert f"\n4 runs in both ({counts}), 2 in A alone, 2 in B alone\n" in out
    rows = {(row["activation"], row["seed"]): row for row in csv.DictReader((tmp_path / "both.csv").open())}
    row = rows["ReLU", "1"]
    assert [row[name] for name in ("metric", "a", "b", "difference", "b_is", "a_state", "settings_that_differ")] == [
        "val_accuracy", "91.0", "90.0", "-1.0", "worse", "ended", "epochs",
    ]  # fmt: skip
    assert [rows["ReLU", "3"][name] for name in ("a", "a_state", "b_state", "b_is")] == ["", "diverged", "ended", ""]


def test_less_of_a_loss_is_better(listed, tmp_path):
    for folder, values in (("a", [2.0, 2.0]), ("b", [1.5, 2.25])):
        write_runs(tmp_path / folder, {"GoLU": values}, metrics=[PERPLEXITY])
    found, _ = listed("--compare", tmp_path / "a", tmp_path / "b", "--sort", "difference")
    assert [(line["seed"], line["difference"], line["B is"]) for line in found] == [
        ("0", "-0.50", "better"), ("1", "+0.25", "worse"),
    ]  # fmt: skip
    found, _ = listed("--compare", tmp_path / "b", tmp_path / "a", "--sort", "difference")
    assert [(line["seed"], line["B is"]) for line in found] == [("1", "better"), ("0", "worse")]


def test_numbers_of_two_metrics_have_no_difference(listed, tmp_path):
    write_run(tmp_path / "a", "GoLU", 0, 1.0, metrics=[Metric("val_score", "score", higher_is_better=True)])
    write_run(tmp_path / "b", "GoLU", 0, 2.0, metrics=[Metric("val_score", "score")])
    (line,), _ = listed("--compare", tmp_path / "a", tmp_path / "b")
    assert (line["A"], line["B"], line["difference"], line["B is"]) == ("1.00", "2.00", "-", "-")


def test_a_key_that_one_folder_has_twice_is_refused(program, tmp_path):
    first = write_run(tmp_path / "a/x", "GoLU", 0, 1.0)
    second = write_run(tmp_path / "a/y", "GoLU", 0, 1.0)
    write_run(tmp_path / "b", "GoLU", 0, 1.0)
    said = refused(program, "--compare", tmp_path / "b", tmp_path / "a")
    assert f"{first} and {second} are the same run by name" in said


# What cannot be


def test_mistakes_are_one_line(program, tmp_path):
    path = write_run(tmp_path, "ReLU", 0, 90.0)
    (tmp_path / "empty").mkdir()
    assert "missing is not there" in refused(program, tmp_path / "missing")
    assert "there are no runs in" in refused(program, tmp_path / "empty")
    assert "there are no runs in" in refused(program, "--compare", tmp_path, tmp_path / "empty")
    assert "is no folder" in refused(program, path)
    assert "unknown column 'metrics'" in refused(program, tmp_path, "--sort", "metrics")
    assert "--sort difference needs --compare" in refused(program, tmp_path, "--sort", "difference")
    assert "is one too many" in refused(program, tmp_path, "--compare", tmp_path, tmp_path)


def test_a_csv_that_cannot_be_written_is_one_line(program, tmp_path):
    write_run(tmp_path, "ReLU", 0, 90.0)
    code, _, err = program(module, tmp_path, "--csv", tmp_path / "missing/all.csv")
    assert code == 2 and err.count("\n") == 1 and "cannot write" in err


def test_damaged_files_are_named_on_stderr(program, tmp_path):
    path = write_run(tmp_path, "ReLU", 0, 90.0)
    for seed in range(1, 13):
        path.with_name(f"results_{seed}.json").write_text('{"half')
    code, out, err = program(module, tmp_path)
    assert code == 0 and len(lines(out)) == 1
    assert err.count("warning: left out: ") == 11 and err.endswith("warning: left out: 2 more files\n")
    assert str(path.with_name("results_1.json")) in err
