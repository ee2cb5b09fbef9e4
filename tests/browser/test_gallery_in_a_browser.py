"""The gallery of committed packs in a real browser: sorted, filtered, compared, without a network."""

from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from bench.__main__ import main
from tests.browser.test_report_in_a_browser import AXE, browser, show  # noqa: F401 - a fixture


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gallery")
    assert main(["gallery", "--out", str(out)]) == 0
    return out


@pytest.fixture
def page(site: Path, browser: webdriver.Chrome) -> webdriver.Chrome:  # noqa: F811
    show(browser, 1400, "light")
    browser.get((site / "index.html").as_uri())
    return browser


def column(page: webdriver.Chrome, words: str) -> list[str]:
    """Return what is shown in the column of that name, from top to bottom."""
    names = [one.text.strip(" ▲▼") for one in page.find_elements(By.CSS_SELECTOR, "th")]
    rows = [row for row in page.find_elements(By.CSS_SELECTOR, "tbody tr") if row.is_displayed()]
    return [row.find_elements(By.TAG_NAME, "td")[names.index(words)].text.replace(",", "") for row in rows]


def heading(page: webdriver.Chrome, words: str) -> webdriver.remote.webelement.WebElement:
    return next(one for one in page.find_elements(By.CSS_SELECTOR, "th button") if one.text.strip(" ▲▼") == words)


def test_machines_and_what_was_published_are_there(page: webdriver.Chrome, site: Path) -> None:
    verdicts = column(page, "verdict")
    assert verdicts.count("published") == 2 and len(verdicts) >= 4 and "REFUTED" not in verdicts
    for link in page.find_elements(By.CSS_SELECTOR, "tbody a"):
        assert (site / link.get_attribute("href").rpartition("/")[2]).exists()
    assert page.get_log("browser") == []


def test_any_column_sorts_by_keyboard_too(page: webdriver.Chrome) -> None:
    heading(page, "exemplars a second on one core").send_keys(Keys.ENTER)
    rates = [float(text) for text in column(page, "exemplars a second on one core") if text]
    assert rates == sorted(rates) and len(rates) >= 4
    heading(page, "exemplars a second on one core").click()
    assert [float(text) for text in column(page, "exemplars a second on one core") if text] == rates[::-1]
    heading(page, "machine").click()
    assert column(page, "machine") == sorted(column(page, "machine"), key=str.lower)


def test_a_word_filters(page: webdriver.Chrome) -> None:
    page.find_element(By.ID, "filter").send_keys("published banana")
    assert column(page, "machine") == ["Banana Pi M3 (Allwinner A83T)"]


def test_chosen_machines_are_compared_with_the_first(page: webdriver.Chrome) -> None:
    heading(page, "exemplars a second on one core").click()
    boxes = page.find_elements(By.CSS_SELECTOR, "tbody input")
    boxes[0].click()
    boxes[1].click()  # the last ones may have no such number
    page.find_element(By.ID, "only").click()
    first, last = column(page, "exemplars a second on one core")
    number, ratio = last.split("\n")
    assert float(ratio.removesuffix(" x")) == pytest.approx(float(number) / float(first), rel=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_checker_finds_nothing(page: webdriver.Chrome, scheme: str) -> None:
    show(page, 1400, scheme)
    page.execute_script(AXE)
    found = page.execute_async_script("axe.run(document, {resultTypes: ['violations']}).then(arguments[0])")
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]] == []


def test_nothing_but_the_table_scrolls_sideways_on_a_phone(page: webdriver.Chrome) -> None:
    show(page, 390, "light")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390
