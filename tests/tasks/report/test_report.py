"""The program and the forms of its report."""

import csv
import os
import re
from html.parser import HTMLParser

import pytest

from tasks.report import __main__ as module
from tasks.report import published
from tests.tasks.report.made_up import ENVIRONMENT, write_run, write_runs

VALUES = {"ReLU": [90.0, 90.5, 90.25], "GoLU": [91.0, 91.5, None], "LeakyReLU": [90.0, 91.0, "missing"]}


@pytest.fixture
def report(program, tmp_path):
    """python -m tasks.report in this process on the test's results; returns (exit code, stdout, stderr)."""
    return lambda *flags: program(module, tmp_path / "results", "--output", tmp_path / "out", *flags)


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


class Cells(HTMLParser):
    """Collects the rows of every table of a page, and what it refers to."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.open, self.links, self.ids = [], False, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.links += [given[name] for name in ("src", "href") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.open = True

    def handle_endtag(self, tag):
        self.open = self.open and tag not in ("td", "th")

    def handle_data(self, data):
        if self.open:
            self.tables[-1][-1][-1] += data


def test_the_table_in_every_form(report, results, tmp_path):
    write_runs(results, VALUES)
    code, out, err = report()
    assert (code, err) == (0, "")
    # standard deviations of 0.25, 0.354 and 0.707, over the square roots of 3, 2 and 2
    cells = ["90.25 ± 0.14 (3)", "91.25 ± 0.25 (2), 1 failed", "90.50 ± 0.50 (2), 1 missing"]
    row = next(line for line in out.splitlines() if line.startswith("mlp "))
    assert f"{cells[0]} ≈" in row and f"{cells[1]} ≈" in row and f"{cells[2]}*" in row  # GoLU has a failed run
    page = (tmp_path / "out/report.md").read_text()
    assert f"| mlp | digits | accuracy (%) ↑ | {cells[0]} ≈ | {cells[1]} ≈ | **{cells[2]}** |" in page
    tex = (tmp_path / "out/report.tex").read_text()
    assert r"mlp & digits & accuracy (\%) $\uparrow$ & 90.25 $\pm$ 0.14 (3)" in tex
    assert r"\textbf{90.50 $\pm$ 0.50 (2), 1 missing}" in tex and tex.count(r"\toprule") == tex.count(r"\bottomrule")
    rows = list(csv.DictReader((tmp_path / "out/report.csv").read_text().splitlines()))
    assert [(row["activation"], row["mean"], row["failed"], row["missing"]) for row in rows] == [
        ("ReLU", "90.25", "0", "0"), ("GoLU", "91.25", "1", "0"), ("LeakyReLU", "90.5", "0", "1"),
    ]  # fmt: skip
    html = Cells((tmp_path / "out/report.html").read_text())
    assert html.tables[0][1] == ["mlp", "digits", "accuracy (%) ↑", f"{cells[0]} ≈", f"{cells[1]} ≈", cells[2]]
    assert "seeds failed, and in no mean: GoLU 2" in out
    assert "seeds missing, and left out of paired figures: LeakyReLU 2" in out


def test_the_page_needs_no_other_file_and_escapes_names(report, results, tmp_path):
    write_runs(results, {"ReLU": [90.0, 91.0], "GoLU": [91.0, 92.5]}, model="a<b>&c")
    assert report()[0] == 0
    text = (tmp_path / "out/report.html").read_text()
    html = Cells(text)
    assert all(link.startswith(("#", "data:image/svg+xml")) for link in html.links)
    assert {link[1:] for link in html.links if link.startswith("#")} <= set(html.ids)
    assert len(html.ids) == len(set(html.ids))
    assert html.tables[0][1][0] == "a<b>&c" and "a<b>" not in text
    assert not re.search(r"https?://", text)
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_learning_rates_have_their_section(report, results, tmp_path):
    for rate in (0.01, 0.1):
        write_runs(results, {"ReLU": [80 + rate, 81.0], "GoLU": [82.0, None]}, lr=rate, variant=f"lr_{rate:g}")
        for name in ("ReLU", "GoLU"):
            write_run(results, name, 1000, 80 - rate, lr=rate, variant=f"tune_lr_{rate:g}")
    code, out, _ = report()
    assert code == 0
    page = (tmp_path / "out/report.md").read_text()
    assert "mlp on digits: accuracy at each learning rate (search)" in page
    assert "| ReLU | **79.99 (1)** | 79.90 (1) | 2 |" in page
    assert "| GoLU | **82.00 (1), 1 failed** | 82.00 (1), 1 failed | 4 |" in page
    for activation in ("ReLU", "GoLU"):
        for seed in (0, 1):
            (results / f"digits/mlp/{activation}/results_{seed}_lr_0.1.json").unlink()
    assert report()[0] == 0
    page = (tmp_path / "out/report.md").read_text()
    assert "learning rate (search)" in page and "learning rate (results)" not in page
    assert "mlp (LR tuned)" in out and "(2 runs each): ReLU 0.01, GoLU 0.01" in out


def test_ten_tasks_have_ranks_and_their_diagram(report, results, tmp_path):
    for task in range(10):
        values = {"ReLU": [90.0, 90.5], "GELU": [90.2 + 0.1 * task, 90.4], "GoLU": [91.0, 91.5]}
        write_runs(results, values, model=f"net_{task}")
    code, out, _ = report("--rope", 0.1)
    assert code == 0 and "Mean ranks" in out and "differences up to 0.1 count as equivalent" in out
    assert "10 tables, which the files have" in out
    assert "Mean rank of each activation" in (tmp_path / "out/report.html").read_text()


def test_the_papers_rows_are_beside_ours_and_marked(report, results, tmp_path):
    write_runs(results, {"ReLU": [70.0, 70.2], "GoLU": [70.4, 70.9]}, model="resnet50", dataset="imagenet_1k")
    _, out, _ = report()
    (row,) = [line for line in out.splitlines() if "[paper]" in line and "±" in line]
    assert row.startswith("ResNet-50 [paper]") and "76.63±0.03*" in row
    _, out, _ = report("--published")
    assert sum("[paper]" in line and "±" in line for line in out.splitlines()) == 19
    rows = list(csv.DictReader((tmp_path / "out/report.csv").read_text().splitlines()))
    assert {row["source"] for row in rows} == {"ours", published.source()} and "2502.03654" in published.source()


def test_the_papers_best_are_those_that_it_prints_bold():
    best = {(row.architecture, row.metric): row.best for row in published.rows()}
    others = {key: name for key, name in best.items() if name != "GoLU"}
    assert len(best) == 19 and others == {
        ("EfficientNet-B0", "Top-1 Acc"): "GELU", ("Mask R-CNN-FPN-RN50", "Box mAP"): "GELU",
        ("Mask R-CNN-FPN-RN50", "Mask mAP"): "GELU",
    }  # fmt: skip


def test_settings_and_origins_that_differ_and_files_left_out_are_said(report, results):
    write_runs(results, {"ReLU": [90.0, 91.0], "GoLU": [91.0, 92.0]}, batch_size=32)
    write_run(results, "ReLU", 2, 90.0, batch_size=32, environment=ENVIRONMENT | {"torch": "2.11"})
    write_run(results, "ReLU", 0, 80.0, batch_size=64, variant="large")
    (results / "digits/mlp/ReLU/results_7.json").write_text("{")
    code, out, _ = report()
    assert code == 0
    assert "mlp on digits: runs with 2 different settings" in out and "mlp (batch_size=64)" in out
    assert "the runs are not of one origin: torch 2.10 (4 runs), 2.11 (1 runs)" in out
    assert "left out: " in out and "results_7.json is no result of a run" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--baseline", "Mish"], "--baseline Mish: there is no run of it, only of ReLU, GoLU"),
        (["--rope", "-1"], "must be a number of at least 0"),
        (["--nothing"], "unrecognized arguments"),
    ],
)
def test_a_mistake_is_one_line(flags, message, report, results, tmp_path):
    write_runs(results, {"ReLU": [90.0], "GoLU": [91.0]})
    code, _, err = report(*flags)
    assert code == 2 and message in err and err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_no_results_and_a_search_alone_are_one_line(report, results):
    results.mkdir()
    code, _, err = report()
    assert code == 2 and "there are no results of runs" in err
    write_run(results, "ReLU", 1000, 99.0, variant="tune_lr_0.1")
    code, _, err = report()
    assert code == 2 and "which count for no result" in err


def test_a_place_that_cannot_be_written_to_is_one_line(report, results, tmp_path):
    write_runs(results, {"ReLU": [90.0], "GoLU": [91.0]})
    (tmp_path / "out").write_text("a file")
    code, _, err = report()
    assert code == 2 and "it is a file" in err and err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions bind neither Windows nor root")
def test_a_folder_without_permission_is_one_line(report, results, tmp_path):
    write_runs(results, {"ReLU": [90.0], "GoLU": [91.0]})
    (tmp_path / "out").mkdir(mode=0o500)
    code, _, err = report()
    assert code == 2 and "cannot write" in err


def test_a_comparison_of_one_activation_is_a_table_without_differences(report, results):
    write_runs(results, {"GoLU": [91.0]})
    code, out, _ = report()
    assert code == 0 and "91.00 (1)*" in out and "Claim" not in out
