"""The page in a real browser: for phone and desk, light and dark, keyboard and screen reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from axe_core_python.selenium import Axe
from fake_report import PICTURES, make_report
from matplotlib.image import imread
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from web_browser import asked, needs_browser, open_browser, open_page

from textrnn.report import page
from textrnn.report.plots import draw

WIDTHS = (360, 768, 1280)

pytestmark = needs_browser


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    report = make_report(folder)
    draw.study(folder, report.board, report.tables)
    page.write(folder, report)
    return folder / "index.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with open_browser() as browser:
        yield browser


def test_asks_for_nothing_and_complains_about_nothing(browser: Chrome, file: Path) -> None:
    asked(browser)

    open_page(browser, file, 1280)

    assert asked(browser) == [file.as_uri()]
    loaded = "return [...document.images].map(image => image.complete && image.naturalWidth > 0)"
    assert browser.execute_script(loaded) == [True] * len(PICTURES)
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(("width", "scheme"), [(WIDTHS[0], "light"), (WIDTHS[-1], "dark")])
def test_has_no_barriers_that_axe_knows(browser: Chrome, file: Path, width: int, scheme: str) -> None:
    open_page(browser, file, width, scheme)
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ("light" if min(map(int, re.findall(r"\d+", paper)[:3])) > 200 else "dark") == scheme

    # It copies every address, and pictures are long ones.
    browser.execute_script("for (const image of document.images) image.src = 'data:,'")

    found = Axe().run(browser)

    barriers = {rule["id"]: [node["html"][:200] for node in rule["nodes"]] for rule in found["violations"]}
    assert barriers == {}
    assert {"color-contrast", "scrollable-region-focusable", "skip-link"} <= {rule["id"] for rule in found["passes"]}


@pytest.mark.parametrize("width", WIDTHS)
def test_scrolls_sideways_only_within_tables_and_pictures(browser: Chrome, file: Path, width: int) -> None:
    open_page(browser, file, width)

    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth == document.documentElement.clientWidth")
    regions = "return [...document.querySelectorAll('.scroll')]"
    assert len(browser.execute_script(regions)) > 20
    assert browser.execute_script(f"{regions}.every(each => each.getBoundingClientRect().right <= innerWidth)")
    # On a phone pictures keep a size at which they can be read.
    widths = browser.execute_script("return [...document.images].map(image => image.clientWidth)")
    assert len(widths) == len(PICTURES)
    assert min(widths) >= 600


def test_says_on_a_phone_what_scrolls_sideways(browser: Chrome, file: Path) -> None:
    open_page(browser, file, 360)
    has_hint = "getComputedStyle(each, '::before').display == 'block'"
    of_each = f"each => [{has_hint}, each.scrollWidth / each.clientWidth]"
    regions = browser.execute_script(f"return [...document.querySelectorAll('.scroll')].map({of_each})")

    assert all(screens > 1 for hint, screens in regions if hint)
    assert all(hint for hint, screens in regions if screens > 1.5)


def test_says_on_a_tablet_that_pictures_scroll_and_on_a_desk_nothing(browser: Chrome, file: Path) -> None:
    for width, hints in ((768, len(PICTURES)), (1280, 0)):
        open_page(browser, file, width)
        has_hint = "getComputedStyle(each, '::before').display == 'block' && each.scrollWidth > each.clientWidth"
        shown = f"return [...document.querySelectorAll('.scroll')].filter(each => {has_hint}).length"
        assert browser.execute_script(shown) == hints


def test_tab_goes_through_every_link_and_region_in_order(browser: Chrome, file: Path) -> None:
    open_page(browser, file, 360)
    name = "(element => element.getAttribute('href') || element.getAttribute('aria-label'))"
    stops = browser.execute_script(f"return [...document.querySelectorAll('a, [tabindex=\"0\"]')].map({name})")

    visited = []
    for _ in stops:
        ActionChains(browser).send_keys(Keys.TAB).perform()
        visited.append(browser.execute_script(f"return {name}(document.activeElement)"))
        place = browser.execute_script(
            "const {top, bottom} = document.activeElement.getBoundingClientRect();"
            "return [getComputedStyle(document.activeElement).outlineStyle, bottom > 0 && top < innerHeight]"
        )
        outline, is_in_view = place
        assert outline != "none" and is_in_view, visited[-1]

    assert visited == stops
    assert visited[0] == "#report"


def test_the_skip_link_leads_past_the_contents(browser: Chrome, file: Path) -> None:
    open_page(browser, file, 1280)

    ActionChains(browser).send_keys(Keys.TAB).send_keys(Keys.ENTER).send_keys(Keys.TAB).perform()

    focused = browser.execute_script("return document.activeElement.getAttribute('aria-label')")
    assert focused == "Every run, best first"


def test_pictures_turn_dark_with_the_page(browser: Chrome, file: Path) -> None:
    brightness = []
    for scheme in ("light", "dark"):
        open_page(browser, file, 1280, scheme)
        picture = browser.find_element(By.TAG_NAME, "img").screenshot_as_png
        brightness.append(float(imread(BytesIO(picture))[..., :3].mean()))

    assert brightness[0] > 0.9 and brightness[1] < 0.2
