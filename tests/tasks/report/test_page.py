"""The page in a real browser."""

import shutil

import pytest

from tasks.report import __main__ as module
from tests.tasks.report.made_up import write_runs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, program, tmp_path):
    """Opens the report's page in a browser with the given preferences; whatever goes wrong in it fails the test."""

    def open_page(**preferences):
        page = browser.new_context(**preferences).new_page()
        wrong = []
        page.on("pageerror", lambda error: wrong.append(error))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
        page.goto((tmp_path / "out/report.html").as_uri())
        assert wrong == []
        return page

    for model, values in {"net_9": [9.5, 9.6], "net_10": [10.5, 10.6], "net_100": [100.5, 100.6]}.items():
        write_runs(tmp_path / "results", {"ReLU": values, "GoLU": [each + 1 for each in values]}, model=model)
    write_runs(tmp_path / "results", {"ReLU": [None, None], "GoLU": [50.0, 51.0]}, model="net_0")
    assert program(module, tmp_path / "results", "--output", tmp_path / "out")[0] == 0
    return open_page


def models(page):
    return page.locator("table").first.locator("tbody th").all_inner_texts()


def test_a_click_sorts_by_number_and_another_one_the_other_way_round(opened):
    page = opened()
    head = page.locator("table").first.locator("thead th", has_text="ReLU")
    head.locator("button").click()
    assert models(page) == ["net_9", "net_10", "net_100", "net_0"] and head.get_attribute("aria-sort") == "ascending"
    head.locator("button").press("Enter")
    assert models(page)[:3] == ["net_100", "net_10", "net_9"] and head.get_attribute("aria-sort") == "descending"
    page.locator("table").first.locator("thead button").first.click()
    assert models(page) == ["net_0", "net_9", "net_10", "net_100"] and head.get_attribute("aria-sort") is None


def test_the_page_is_dark_where_the_system_is_and_fits_a_narrow_screen(opened):
    colour = "getComputedStyle(document.body).backgroundColor"
    light, dark = (opened(color_scheme=scheme).evaluate(colour) for scheme in ("light", "dark"))
    assert light == "rgb(255, 255, 255)" and max(map(int, dark[4:-1].split(", "))) < 60
    narrow = opened(viewport={"width": 360, "height": 700})
    assert narrow.evaluate("document.documentElement.scrollWidth") == 360


def test_every_figure_is_drawn_and_printed(opened):
    page = opened(color_scheme="dark")
    sizes = page.locator("figure img").evaluate_all("all => all.map(each => each.naturalWidth)")
    assert sizes and all(size > 100 for size in sizes)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
