"""The report that a reviewer reads top to bottom: `index.html`, and a shorter `report.md` for a pull request.

`index.html` needs no other file: text, tables, style and pictures are in it. It has no script, and its policy forbids
the browser to load anything from elsewhere. Its text is Markdown that is rendered without raw HTML, links and images.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from markdown_it import MarkdownIt
from markupsafe import Markup

from textrnn.report.rendering import render
from textrnn.report.sections import Report, numbers

_SECTION = re.compile(r"^## (?P<title>.+) \{: #(?P<id>\S+) (?P<short>\.short )?\}\n(?P<text>(?s:.*?))(?=^## |\Z)", re.M)
_PICTURE = re.compile(r'\n!\[(?P<alt>.+)\]\((?P<file>[\w-]+\.svg) "(?P<caption>.+)"\)\n')
EXPLAINED = "explanations"
"""The section in which explained texts follow what Markdown says: they are in colour."""

_END = "The whole report, with pictures, is `index.html` next to this file.\n"


def write(folder: Path, report: Report) -> None:
    """Writes `index.html` and `report.md` into `folder`, with those of its pictures (`.svg`) that are there."""
    shown = numbers(report)
    markdown = render("report.md", **shown)
    title = markdown.partition("\n")[0]
    sections = list(_SECTION.finditer(markdown))
    short = [f"## {each['title']}\n{_PICTURE.sub('', each['text'])}" for each in sections if each["short"]]
    whole = [
        {
            **section.groupdict(),
            "html": _html(_PICTURE.sub("", section["text"])),
            "explained": shown["explained"] if section["id"] == EXPLAINED else [],
            "pictures": [
                {**picture.groupdict(), "address": _address(folder / picture["file"])}
                for picture in _PICTURE.finditer(section["text"])
                if (folder / picture["file"]).is_file()
            ],
        }
        for section in sections
    ]
    html = render("page.html", title=title.removeprefix("# "), sections=whole)
    for name, text in (("index.html", html), ("report.md", f"{title}\n\n{''.join(short)}{_END}")):
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _html(markdown: str) -> Markup:
    """HTML of Markdown. Each table scrolls in a region that the keyboard reaches, with the line above as caption."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    html = re.sub(r"<p><em>(.*)</em></p>\n<table>((?s:.*?))</table>", _region, parser.render(markdown))
    html = html.replace("<th>", '<th scope="col">').replace("<th ", '<th scope="col" ')
    return Markup(re.sub(r"<tr>\n<td(.*?)>(.*)</td>", r'<tr>\n<th scope="row"\1>\2</th>', html))


def _region(table: re.Match[str]) -> str:
    label = re.sub(r"<[^>]+>", "", table[1])
    region = f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">'
    return f"{region}\n<table>\n<caption>{table[1]}</caption>{table[2]}</table>\n</div>"


def _address(picture: Path) -> str:
    """The picture itself as an address. In it, scripts do not run and nothing is loaded."""
    svg = picture.read_text(encoding="utf-8").replace("\n", " ")  # which takes a third of the room
    return "data:image/svg+xml," + quote(svg, safe=" !$*+,/:;=?@")
