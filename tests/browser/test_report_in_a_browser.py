"""The report of a committed result of every suite, in a real browser: figures, console, a phone, dark mode, print."""

import base64
import importlib.resources
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from bench.report.command import write

PLANS = sorted((Path(__file__).parents[2] / "bench/results").glob("*/*/plan.json"))
RESULTS = list({json.loads(path.read_text())["suite"]["name"]: path.parent for path in PLANS}.values())  # one a suite
LEAST_CONTRAST = 4.5  # of text, after WCAG 2.1 AA
CONTRASTS = """
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const page = luminance(parse(getComputedStyle(document.body).backgroundColor));
    return [...document.querySelectorAll('p, td, th, h1, h2, h3, a, svg text')].map(one => {
        const style = getComputedStyle(one);
        const ink = luminance(parse(one.closest('svg') ? style.fill : style.color));
        return [one.textContent.slice(0, 40), (Math.max(page, ink) + 0.05) / (Math.min(page, ink) + 0.05)];
    });
"""
FIGURES = """
    return [...document.querySelectorAll('figure svg')].map(svg => ({
        name: svg.getAttribute('aria-label'),
        width: svg.getBoundingClientRect().width,
        height: svg.getBoundingClientRect().height,
        marks: [...svg.querySelectorAll('path, use, rect')].filter(one => one.getBoundingClientRect().width > 0).length,
        text: svg.querySelectorAll('text').length,
    }));
"""

ALIKE = "tbody tr:nth-child(n+6), figure svg *"  # rows that are like those before; marks, of which axe says nothing
AXE = (importlib.resources.files("axe_core_python") / "axe.min.js").read_text()
LINKS = """
    return [...document.querySelectorAll('a')]
        .map(one => document.getElementById(one.getAttribute('href').slice(1)) !== null);
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_script_timeout(200)  # seconds: the accessibility checker takes long on a page of hundreds of records
    yield driver
    driver.quit()


@pytest.fixture(scope="module", params=RESULTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a committed result, made now."""
    out = tmp_path_factory.mktemp("report")
    write([request.param], out)
    return out / "report.html"


@pytest.fixture
def page(report: Path, browser: webdriver.Chrome) -> webdriver.Chrome:
    """The browser, showing the report; loaded once for all tests of it, of which only the last two change it."""
    show(browser, 1200, "light")
    if browser.current_url != report.as_uri():
        browser.get(report.as_uri())
    return browser


def show(browser: webdriver.Chrome, width: int, scheme: str) -> None:
    """Make the browser's window so wide, and light or dark."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def test_there_are_results_to_look_at() -> None:
    assert RESULTS


def test_every_figure_is_drawn_and_the_console_is_silent(page: webdriver.Chrome) -> None:
    figures = page.execute_script(FIGURES)
    assert figures
    for figure in figures:
        assert figure["width"] > 300 and figure["height"] > 50 and figure["marks"] > 5 and figure["text"] > 3, figure
    assert page.get_log("browser") == []


def test_nothing_scrolls_sideways_on_a_phone(page: webdriver.Chrome) -> None:
    show(page, 390, "light")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_light_and_dark(page: webdriver.Chrome, scheme: str) -> None:
    show(page, 1200, scheme)
    dark = page.execute_script("return getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    faint = [(text, contrast) for text, contrast in page.execute_script(CONTRASTS) if contrast < LEAST_CONTRAST]
    assert faint == []


@pytest.mark.parametrize("width", [1400, 768, 390])
def test_the_first_screen_answers_and_shows_a_figure(page: webdriver.Chrome, width: int) -> None:
    show(page, width, "light")
    tops = page.execute_script(
        "return ['.answer', 'figure svg', 'nav', '#environment'].map("
        "one => document.querySelector(one).getBoundingClientRect().top)"
    )
    assert tops == sorted(tops) and tops[0] < 300 and tops[1] < 900
    assert re.search(r": .+, 20\d\d-\d\d-\d\d$", page.title)  # machine and day
    assert page.find_element("css selector", ".answer").text.startswith("It works: ")


def test_tables_that_scroll_can_be_reached_by_keyboard(page: webdriver.Chrome) -> None:
    assert page.execute_script("return [...document.querySelectorAll('.scroll')].every(one => one.tabIndex === 0)")
    page.find_element("css selector", "body").send_keys("\t")
    assert page.execute_script("return document.activeElement !== document.body")


def test_links_lead_to_records_on_the_page(page: webdriver.Chrome) -> None:
    links = page.execute_script(LINKS)
    assert len(links) >= 5 and all(links)


def test_it_prints(page: webdriver.Chrome) -> None:
    printed = page.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


def test_an_accessibility_checker_finds_nothing(page: webdriver.Chrome) -> None:
    page.execute_script("document.querySelectorAll(arguments[0]).forEach(one => one.remove())", ALIKE)
    page.execute_script(AXE)
    found = page.execute_async_script("axe.run(document, {resultTypes: ['violations']}).then(arguments[0])")
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]] == []


def test_what_would_get_into_the_page_is_not_run(page: webdriver.Chrome) -> None:
    page.execute_script(
        """document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="window.ran = 1">')"""
    )
    ran = page.execute_async_script("setTimeout(arguments[0], 500, null)") or page.execute_script("return window.ran")
    assert ran is None
    assert "Content Security Policy" in page.get_log("browser")[0]["message"]
