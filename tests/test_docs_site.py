"""The documentation as a site: built strictly, complete, without dead links, and of use without a network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import Field, TypeAdapter
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from tiny_project import PROJECT
from typer.main import get_command
from web_browser import asked, needs_browser, open_browser, open_page

from textrnn.cli import commands
from textrnn.config.catalog import Catalog
from textrnn.config.params import Params
from textrnn.config.validation import Count, Fraction, Name, Positive, Strict

pytest.importorskip("sphinx", reason="needs the packages of the extra `docs`")

from docs import diagram, reference


class Plant(Strict):
    """A plant with a `height`. It grows.

    `height` is in metres; `leaves` are counted. Fallen ones are not.

    With `colour: green` it is a `tree`, not `leaves`.
    """

    height: float
    leaves: int = 3
    colour: str = "green"


class Tree(Plant):
    """A plant of wood; it has `rings`."""

    rings: int = 0


def test_a_setting_is_documented_by_the_sentences_that_name_it():
    assert reference.documentation(Tree) == {
        "": "A plant of wood; it has `rings`.",
        "height": "A plant with a `height`. It grows. `height` is in metres.",
        "leaves": "`leaves` are counted. Fallen ones are not. With `colour: green` it is a `tree`, not `leaves`.",
        "colour": "With `colour: green` it is a `tree`, not `leaves`.",
        "rings": "A plant of wood; it has `rings`.",
    }
    assert reference.documentation(Plant)[""] == "A plant with a `height`."


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Count, "whole number, at least 1"),
        (Fraction, "number, at least 0, below 1"),
        (Positive | None, "number, above 0; or `null`"),
        (Name, "name"),
        (bool, "`true` or `false`"),
        (Literal["left", "right"], "`left` or `right`"),
        (Annotated[int, Field(ge=1, le=4096)], "whole number, at least 1, at most 4096"),
        (Annotated[list[Name], Field(min_length=2, max_length=2)], "list of 2: name"),
        (Annotated[list[str], Field(min_length=2)], "list of at least 2: text"),
        (Annotated[str, Field(pattern="^a$")], "text that matches `^a$`"),
    ],
)
def test_a_type_is_said_in_words(annotation, words):
    assert reference.type_of(TypeAdapter(annotation).json_schema()) == words


def settings_of(model: type[Strict], path: str = "") -> Iterator[tuple[str, str]]:
    """Every setting's place in its file, and what its documentation is; a section's is its model's."""
    for name, field in model.model_fields.items():
        part = reference._model_in(field.annotation)
        yield path + name, reference.documentation(part)[""] if part else reference.documentation(model)[name]
        if part:
            key = reference._key(name, model.model_json_schema()["properties"][name])
            yield from settings_of(part, f"{path}{name}{key}.")


SETTINGS = dict([*settings_of(Params), *settings_of(Catalog)])


def test_every_setting_is_documented():
    """In the docstring of its model: a sentence that has its name in backquotes."""
    assert [place for place, said in SETTINGS.items() if not said] == []
    assert {"experiments.NAME.units", "searches.NAME.space.SETTING.low", "corpora.NAME.columns.text"} <= SETTINGS.keys()


def test_a_flow_chart_has_its_boxes_and_arrows():
    picture = diagram.svg("graph LR\n  push[push to a <branch>] --> train --> all[(the cache)]\n  push --> all\n")
    assert re.findall(r"<text[^>]*>(.*?)</text>", picture) == ["push to a &lt;branch&gt;", "train", "the cache"]
    assert picture.count("<path") == 3
    assert "train to the cache" in picture
    x, y, width, height = map(float, re.search(r'viewBox="(.*?)"', picture)[1].split())
    for left, top, wide, high in re.findall(r'<rect x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"', picture):
        assert x <= float(left) and float(left) + float(wide) <= x + width
        assert y <= float(top) and float(top) + float(high) <= y + height


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("graph TD\n a --> b", "Received: graph TD"),
        ("graph LR\n a -.-> b", "Received:  a -.-> b"),
        ("graph LR\n a --> b\n c --> d", "2 parts"),
    ],
)
def test_a_flow_chart_that_cannot_be_drawn_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        diagram.svg(source)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make docs` builds."""
    folder = tmp_path_factory.mktemp("site")
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    words = re.search(r"^\t@python (-m sphinx .*) site$", makefile, re.MULTILINE)[1].split()
    built = subprocess.run([sys.executable, *words, str(folder)], cwd=PROJECT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Page(HTMLParser):
    """What a page links to and loads, its ids, and the language that it says it is in."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links, self.loaded, self.ids, self.language = list[str](), list[str](), set[str](), ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        if tag == "html":
            self.language = given.get("lang") or ""
        if address := given.get("href") or given.get("src"):
            (self.links if tag == "a" else self.loaded).append(address)


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in site.rglob("*.html") if "_static" not in file.parts}


def test_every_link_leads_somewhere_and_everything_that_a_page_loads_is_there(pages: dict[Path, Page]) -> None:
    for file, page in pages.items():
        assert [address for address in page.loaded if urlsplit(address).netloc] == []
        for address in (*page.links, *page.loaded):
            parts = urlsplit(address)
            if not parts.netloc:
                target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
                assert target.exists(), (file, address)
                if parts.fragment and target in pages:
                    assert unquote(parts.fragment) in pages[target].ids, (file, address)


def test_the_top_of_the_site_leads_to_its_first_page(site: Path, pages: dict[Path, Page]) -> None:
    assert pages[site / "index.html"].links == ["docs/index.html"]


def test_every_document_and_report_is_a_page(pages: dict[Path, Page], site: Path) -> None:
    names = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("reports/**/*.md")]
    assert {site / name.relative_to(PROJECT).with_suffix(".html") for name in names} <= pages.keys()


def test_the_reference_has_every_setting(site: Path) -> None:
    text = (site / "docs" / "settings.html").read_text(encoding="utf-8")
    found = re.findall(r'<span class="sig-name descname"><span class="pre">(.*?)</span></span>', text)
    assert sorted(found) == sorted(SETTINGS)
    (units,) = re.findall(r'<dt [^>]*id="confval-experiments.NAME.units">.*?</dd></dl>', text, re.DOTALL)
    words = " ".join(re.sub(r"<[^>]+>", " ", units).split())
    assert "Type : whole number, at least 1, at most 4096 Default : 32 A network has so many layers" in words


def test_the_reference_has_every_command_and_option(site: Path, pages: dict[Path, Page]) -> None:
    ids = pages[site / "docs" / "commands.html"].ids
    known = get_command(commands).commands  # type: ignore[attr-defined]
    for name, command in known.items():
        for inner, each in (getattr(command, "commands", None) or {"": command}).items():
            path = "-".join(filter(None, ["textrnn", name, inner]))
            assert path in ids
            options = [option for one in each.params for option in one.opts if option.startswith("--")]
            assert {f"cmdoption-{path}-{option.lstrip('-')}" for option in options} <= ids


def test_the_course_in_korean_says_so_and_its_words_are_found_without_particles(
    site: Path, pages: dict[Path, Page]
) -> None:
    assert pages[site / "docs" / "course.ko.html"].language == "ko"
    assert pages[site / "docs" / "course.html"].language == "en"
    index = json.loads((site / "searchindex.js").read_text(encoding="utf-8")[len("Search.setIndex(") : -1])
    course = index["docnames"].index("docs/course.ko")
    terms = [*index["terms"].items(), *index["titleterms"].items()]
    found = {word for word, documents in terms if documents in (course, [course])}
    assert {"벡터", "게이트", "확률", "임베딩"} <= found


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with open_browser() as browser:
        yield browser


@needs_browser
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("early_stopping", "experiments.NAME.early_stopping"),
        ("--no-publish", "textrnn-retrain.--no-publish"),
        ("임베딩", "텍스트와 순환 신경망: 근거로 읽는 한 장(章)"),
        ("champion", "A reviewer's tour of MLflow"),
    ],
)
def test_search_works_without_a_network(browser: Chrome, site: Path, words: str, found: str) -> None:
    asked(browser)

    open_page(browser, site / "search.html", 1280, query=f"?q={words}")

    wait = WebDriverWait(browser, 60)
    wait.until(lambda browser: "Search finished" in browser.find_element(By.ID, "search-results").text)
    assert found in [link.text for link in browser.find_elements(By.CSS_SELECTOR, "#search-results li > a")]
    assert {urlsplit(address).scheme for address in asked(browser)} == {"file"}


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_follow_the_readers_colours_and_load_nothing(browser: Chrome, site: Path, scheme: str) -> None:
    asked(browser)

    open_page(browser, site / "docs" / "architecture.html", 1280, scheme)

    colours = "const of = getComputedStyle(document.body); return [of.backgroundColor, of.color]"
    paper, ink = (min(map(int, re.findall(r"\d+", each)[:3])) for each in browser.execute_script(colours))
    assert paper > ink if scheme == "light" else paper < ink
    line = "return getComputedStyle(document.querySelector('figure svg')).stroke"
    assert browser.execute_script(line) == browser.execute_script(colours)[1]
    assert {urlsplit(address).scheme for address in asked(browser)} == {"file"}
