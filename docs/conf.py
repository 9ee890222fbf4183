"""The documentation as a site. `make docs` builds it from the files that GitHub and GitLab show, too.

Sphinx reads from the project's top folder, so that a link from docs/ to the README or to a report leads to the same
text on the site as on a forge. The course is the only text in Korean. It is a page of its own on one site: a Korean
site would be English except for that page, and a new translation would be due with each English sentence that changes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT))

from docs import diagram, reference  # noqa: E402

project = "textrnn"
author = "The textrnn developers"
copyright = author
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "reports/**.md"]
nitpicky = True
templates_path = ["templates"]
highlight_language = "none"
smartquotes = False  # it would make one dash of the two before an option
toc_object_entries = False

myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]  # for the width of a picture

html_theme = "pydata_sphinx_theme"
html_title = project
html_show_sourcelink = False
html_copy_source = False
html_search_language = "en+ko"
html_additional_pages = {"index": "start.html"}
html_sidebars = {"**": ["sidebar.html"]}
html_theme_options = {
    "navbar_center": [],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "search_bar_text": "Search",
}


class English(SearchEnglish):
    """English with Korean: a Korean word is also found by its beginnings, because particles follow the noun."""

    lang = html_search_language

    def split(self, input: str) -> list[str]:
        """Returns the words of a text, and the beginnings of those in Hangul."""
        words = super().split(input)
        return words + [word[:end] for word in words if "가" <= word[0] <= "힣" for end in range(1, len(word))]


def fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts what is generated in the place of the comments that name it, and pictures in that of Mermaid's sources."""
    generated = {
        "settings": reference.settings,
        "commands": reference.commands,
        "targets": lambda: reference.targets(PROJECT / "Makefile"),
    }
    if study := re.fullmatch(r"reports/(.+)/data_quality", docname):
        source[0] = re.sub(r"^# .*", rf"\g<0>, study {study[1]}", source[0], count=1)
    text = re.sub(r"<!-- here the site lists all (\w+) -->", lambda found: generated[found[1]](), source[0])
    source[0] = re.sub(
        r"```mermaid\n(.*?)```", lambda found: f"<figure>{diagram.svg(found[1])}</figure>", text, flags=re.DOTALL
    )


def say_language(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """Tells browsers, and who has a page read aloud, which pages are in Korean."""
    if pagename.endswith(".ko"):
        context["language"] = "ko"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_search_language(English)
    app.add_lexer("csv", TextLexer)  # GitHub colours CSV, Pygments does not know it
    app.connect("source-read", fill_in)
    app.connect("html-page-context", say_language)
