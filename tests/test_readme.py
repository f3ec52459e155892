"""What README and docs show runs as it stands, exists, and is what was measured."""

import importlib
import re
import shlex
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import summary
from golu import find_activations
from golu.activations import ACTIVATIONS
from tasks.table import TASKS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = ("golu", "workbench", "tasks", "benchmarks", "visualizations", "release")
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
KEEPING = ("resnet20_fp32", "resnet20_bf16", "gpt_fp32", "gpt_bf16")
# page -> the stored comparisons whose tables it shows
COMPARISONS = {
    "README.md": ["compare_digits"],
    "docs/comparison.md": [
        "compare_digits",
        "compare_digits_30_seeds",
        "compare_fashion_mnist_resnet20",
        "compare_pydoc_topics",
    ],
    "docs/forms.md": [f"compare_keeping_output_{each}" for each in KEEPING],
    "docs/tasks/dense_prediction.md": ["compare_scenes"],
    "docs/tasks/diffusion.md": ["compare_diffusion_digits"],
}
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return [textwrap.dedent(code) for _, kind, code in FENCE.findall(page.read_text()) if kind == language]


def run_python(page: Path) -> dict:
    """Every block of the page in one namespace; what it registers is forgotten afterwards."""
    names: dict = {"__name__": page.stem}
    known, text = dict(ACTIVATIONS), page.read_text()
    try:
        for block in FENCE.finditer(text):
            if block[2] == "python":
                above = "\n" * text.count("\n", 0, block.start(3))  # an error names the page's own line
                exec(compile(above + textwrap.dedent(block[3]), str(page), "exec"), names)
    finally:
        ACTIVATIONS.clear()
        ACTIVATIONS.update(known)
    return names


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Module and arguments of every command in a shell block or in backticks; variables have the page's values."""
    lines = [line for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]* -m [^`\n]*)`", FENCE.sub("", page.read_text()))
    values: dict[str, str] = {}
    for each in lines:
        line = each
        for name, value in values.items():
            line = line.replace(f"${name}", value)
        words = shlex.split(line, comments=True)
        values |= dict(word.split("=", 1) for word in words if re.fullmatch(r"[A-Z_]+=\S*", word))
        for place, word in enumerate(words[:-1]):
            if word == "-m" and words[place + 1].split(".")[0] in PACKAGES:
                yield words[place + 1], words[place + 2 :]


COMMANDS = [(page, *command) for page in PAGES for command in commands(page)]


def anchors(page: Path) -> set[str]:
    """The headings of a page as a link names them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem not in ("first_steps", "export")], ids=lambda page: page.stem
)
def test_python_blocks_run(page: Path) -> None:
    """Tests of their own run those of the first steps, which follow its commands, and of the export."""
    run_python(page)


def test_the_usage_shows_what_it_says(capsys) -> None:
    names = run_python(ROOT / "docs/usage.md")
    x = torch.randn(8, 128)
    assert torch.equal(names["layer"](x), names["golu"](x))
    printed = capsys.readouterr().out
    assert "GoLU(alpha=0.8, beta=1.2, gamma=0.9)\n" in printed
    # the counts that the page states of DenseNet
    assert re.search(r"ReLU +120 .*module", printed) and "F.relu(features, inplace=True) in DenseNet" in printed
    assert not [c for c in names["find_activations"](names["model"]).functional if c.activation == "ReLU"]


def check_the_export(names: dict, answers: torch.Tensor) -> None:
    """The trained model's answers to the first seven images; no other activation is left in it."""
    with torch.no_grad():
        torch.testing.assert_close(answers, names["model"](names["images"][:7]), rtol=1e-4, atol=1e-5)
    assert {name for _, name in find_activations(names["model"]).modules} == {"GoLU"}


def test_ten_lines_lead_from_a_timm_model_to_its_export() -> None:
    pytest.importorskip("onnxruntime")
    page = ROOT / "docs/export.md"
    assert len(blocks(page, "python")[1].splitlines()) == 10
    names = run_python(page)
    check_the_export(names, torch.from_numpy(names["logits"]))
    check_the_export(names, names["loaded"](names["images"][:7]))
    check_the_export(names, names["again"].eval()(names["images"][:7]).detach())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_the_lines_that_compile_ahead_of_time_run() -> None:
    names = run_python(ROOT / "docs/export.md")
    (block,) = blocks(ROOT / "docs/export.md", "py")
    exec(block, names)
    check_the_export(names, names["compiled"](names["images"][:7]))


def test_the_task_of_the_guide_trains_and_resumes(program, tmp_path) -> None:
    task = run_python(ROOT / "docs/extending.md")["PROGRAM"]
    arguments = ("--epochs", 2, "--device", "cpu", "--activation", "ReLU", "--results", tmp_path)
    assert program(task, *arguments)[0] == 0
    assert (tmp_path / "sine/mlp/ReLU/results_0.json").exists()
    assert "this run has ended already" in program(task, *arguments)[1]
    (example,) = [block for block in blocks(ROOT / "docs/extending.md", "python") if "class Sine" in block]
    assert len([line for line in example.splitlines() if line.strip() and " import " not in line]) < 40


@EVERY_PAGE
def test_links_and_pictures_exist(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", FENCE.sub("", page.read_text())):
        if target.startswith("http"):
            continue
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@pytest.mark.parametrize("module", sorted({module for _, module, _ in COMMANDS}))
def test_every_command_is_a_program(module: str) -> None:
    path = ROOT / module.replace(".", "/")
    source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    assert 'if __name__ == "__main__":' in source.read_text()


@pytest.mark.parametrize(
    ("page", "module", "arguments"),
    [each for each in COMMANDS if each[2]],
    ids=lambda each: each if isinstance(each, str) else getattr(each, "stem", ""),
)
def test_every_command_is_understood(page: Path, module: str, arguments: list[str], program, monkeypatch) -> None:
    """Its values are valid, for --help comes last; and every flag is one that --help knows."""
    arguments = [word for word in arguments if word != "--help"]
    found = importlib.import_module(f"{module}.__main__" if (ROOT / module.replace(".", "/")).is_dir() else module)
    code, out, err = program(getattr(found, "FIGURE", found), *arguments, "--help")
    assert code == 0, err
    known = set(re.findall(r"--[\w-]+", out))
    assert {word.replace("_", "-") for word in arguments if word.startswith("--")} <= known


def test_every_task_has_a_row_in_the_readme_with_a_command_that_needs_no_download() -> None:
    rows = [re.findall(r"`[^`]* -m ([\w.]+)([^`]*)`", line) for line in README.read_text().splitlines()]
    found = {row[0][0]: row[1] for row in rows if len(row) == 2}
    assert set(found) == set(TASKS.values())
    for module, (same, flags) in found.items():
        embedded = importlib.import_module(module).PROGRAM.dataset in ("pydoc_topics", "scenes")
        assert same == module and ("--dataset digits" in flags or embedded)


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 140


@pytest.mark.parametrize(("name", "tables"), [("performance.md", summary.TABLES), ("forms.md", summary.FORMS)])
def test_tables_are_those_of_the_results(name: str, tables: list) -> None:
    page = (ROOT / "docs" / name).read_text()
    for table in summary.tables(tables):
        assert table in page, f"a table of {name} is not what python -m benchmarks.summary prints:\n{table}"


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, names in COMPARISONS.items() for name in names])
def test_tables_of_comparisons_are_the_stored_ones(page: str, name: str) -> None:
    text = (ROOT / page).read_text()
    table, legend = (ROOT / "benchmarks/results" / name / "table.md").read_text().split("\n\n", 1)
    assert table in text
    assert ("mean ± standard error" in legend) == ("± is the standard error" in text), "what ± is in the stored table"


def test_the_report_of_the_evidence_is_the_stored_one(program, tmp_path: Path) -> None:
    """What its command writes anew, which also stands in the page."""
    stored = (ROOT / "benchmarks/results/tuned/report.md").read_text()
    report = importlib.import_module("tasks.report.__main__")
    code, _, err = program(report, str(ROOT / "benchmarks/results/tuned"), "--output", str(tmp_path))
    assert (code, err) == (0, "")
    assert (tmp_path / "report.md").read_text() == stored
    page = (ROOT / "docs/comparison.md").read_text()
    tables = re.findall(r"(?:^\|.*\n)+", stored, re.MULTILINE)
    shown = [table for table in tables if "Architecture" in table or "Interquartile" in table]
    assert len(shown) == 2 and all(table in page for table in shown)


def test_pages_name_no_place_of_one_machine() -> None:
    for page in PAGES:
        assert not re.search(r"/home/|/work/|/tmp/|/root/", page.read_text()), page
