"""The gallery: every figure is in it, says what it must, and is there to be seen."""

import importlib
from pathlib import Path

import pytest

from tests.visualizations.conftest import read_csv
from visualizations import gallery

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "assets"
PROGRAMS = list(gallery.programs())
FILES = sorted(
    path.relative_to(ROOT / "visualizations").with_suffix("")
    for path in (ROOT / "visualizations").rglob("*.py")
    if path.parent.name not in ("visualizations", "shared") and path.name != "__init__.py"
)


def test_every_file_is_a_figure_of_the_gallery_and_named_as_it_is():
    assert sorted(program.module for program in PROGRAMS) == [".".join(path.parts) for path in FILES]
    names = [program.name for program in PROGRAMS]
    assert len(set(names)) == len(names)
    for program in PROGRAMS:
        assert importlib.import_module(f"visualizations.{program.module}").FIGURE is program


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.module)
def test_each_says_what_it_shows_how_to_draw_it_and_where_it_comes_from(program):
    title, command, *text = gallery.paragraphs(program.description)
    assert "\n" not in title and len(title) < 90 and not title.endswith(".")
    assert command.startswith(f"    python -m visualizations.{program.module}")
    assert text[-1].startswith("Source: ")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.module)
def test_each_is_there_to_be_seen_with_its_numbers(program):
    assert gallery.picture(program, ASSETS).stat().st_size < 2.5e6
    for ending in ("png", "csv"):
        assert (ASSETS / f"{program.name}.{ending}").stat().st_size < 0.5e6
    assert read_csv(ASSETS / f"{program.name}.csv")


@pytest.mark.parametrize("each", PROGRAMS, ids=lambda each: each.module)
def test_each_refuses_activations_that_it_does_not_know(mistake, each):
    assert "did you mean Swish" in mistake(each, "--activations", "Swich")


def test_the_page_is_the_one_that_is_stored():
    page = ROOT / "docs" / "gallery.md"
    assert page.read_text() == gallery.page(ASSETS, page), "python -m visualizations.gallery --page-only writes it anew"


def test_the_page_shows_every_figure(program, tmp_path):
    page = tmp_path / "docs" / "page.md"
    code, out, _ = program(gallery, "--page-only", "--output", ASSETS, "--page", page)
    assert code == 0 and str(page) in out
    text = page.read_text()
    for each in PROGRAMS:
        link = next(line for line in text.splitlines() if f"/{each.name}." in line and line.startswith("!["))
        assert (page.parent / link.partition("](")[2].rstrip(")")).resolve() == gallery.picture(each, ASSETS)
        assert f"python -m visualizations.{each.module}" in text
    assert "exp(-exp(-x))" in text and r"x \* g(x)" in text


def test_a_missing_picture_is_named(mistake, tmp_path):
    assert "overview.png is missing" in mistake(gallery, "--page-only", "--page", tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()


def test_a_page_that_cannot_be_written(mistake, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file" in mistake(gallery, "--page-only", "--output", ASSETS, "--page", tmp_path / "file" / "page.md")
