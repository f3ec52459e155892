"""The documentation site: it builds without a warning, has every page, and everything in it leads somewhere."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import golu
from tests.test_readme import PAGES, ROOT

pytest.importorskip("sphinx", reason="the site is built by the extra docs")
pytest.importorskip("furo", reason="the site is built by the extra docs")
pytest.importorskip("myst_parser", reason="the site is built by the extra docs")


class Parsed(HTMLParser):
    """What a page leads to, shows, and can be led to in."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.targets += [found[name] for name in ("href", "src") if found.get(name)]
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site, by the path of each page in it."""
    out = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", ".", str(out)],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0 and not run.stderr, run.stderr
    return {path: Parsed(path) for path in sorted(out.rglob("*.html"))}, out


def test_every_page_is_in_it_and_in_the_sidebar(site) -> None:
    pages, out = site
    first = {(out / target).resolve() for target in pages[out / "README.html"].targets}
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        built = out / page.relative_to(ROOT).with_suffix(".html")
        assert built in pages and (built in first or page.stem == "README"), page


def test_every_link_leads_somewhere_and_every_picture_is_there(site) -> None:
    pages, _ = site
    broken = []
    for page, parsed in pages.items():
        for target in parsed.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                assert parts.scheme in ("http", "https", "data", "mailto"), target
                continue
            led = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not led.is_file() or (parts.fragment and led in pages and unquote(parts.fragment) not in pages[led].ids):
                broken.append(f"{page}: {target}")
    assert not broken


def test_the_search_finds_words_of_pages_and_names_of_the_library(site) -> None:
    _, out = site
    index = json.loads(re.search(r"\{.*\}", (out / "searchindex.js").read_text(), re.DOTALL)[0])
    for word, page in {"landscap": "docs/behaviour", "onnx": "docs/usage", "slurm": "docs/comparison"}.items():
        found = [index[terms].get(word, []) for terms in ("terms", "titleterms")]
        numbers = [number for each in found for number in ([each] if isinstance(each, int) else each)]
        assert index["docnames"].index(page) in numbers, word
    assert {name for *_, name in index["objects"]["golu"]} >= set(golu.__all__)


def test_every_public_name_has_an_entry(site) -> None:
    pages, out = site
    entries = pages[out / "docs/api/golu.html"].ids
    assert {f"golu.{name}" for name in [*golu.__all__, "golu"]} <= entries
    assert {"golu.jax.golu", *(f"golu.neighbours.{name}" for name in ("ReLU2", "TeLU", "xIELU", "AGLU"))} <= entries
    contracts = {"training.task.Task", "training.metrics.Metric", "cli.settings.setting", "cli.errors.UserError"}
    contracts |= {"training.program.TrainingProgram", "training.runs.StoredRun"}
    assert {f"workbench.{name}" for name in contracts} <= pages[out / "docs/api/workbench.html"].ids
    integrations = {"timm.create_model", "torchvision.get_model", "transformers.enable", "diffusers.complete"}
    assert {f"golu.integrations.{name}" for name in integrations} <= pages[out / "docs/api/integrations.html"].ids


def test_what_is_no_page_is_shown_at_its_own_path(site) -> None:
    pages, out = site
    assert "../tasks/table.py.html" in pages[out / "docs/comparison.html"].targets
    assert "TASKS" in (out / "tasks/table.py.html").read_text()
    assert "compare_digits/runs.csv" in pages[out / "benchmarks/results/index.html"].targets
    assert (out / "assets/gates.csv").read_bytes() == (ROOT / "assets/gates.csv").read_bytes()
