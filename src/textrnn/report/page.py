"""The report that a reviewer reads top to bottom: `index.html`, and a shorter `report.md` for a pull request.

`index.html` needs no other file: text, tables, style and pictures are in it. It holds no script, and its
policy forbids the browser to load anything. Markdown is rendered without raw HTML, links and images.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from textrnn.report.sections import Picture, Report, Section, sections

_TEMPLATE = Path(__file__).with_suffix(".html")
_REFERENCE = re.compile(r"(?:^|(?<=url\())#([\w.-]+)")
"""What refers to an id in an attribute of SVG: `#p2f` or `url(#p2f)`."""


def write(folder: Path, report: Report) -> None:
    """Writes `index.html` and `report.md` into `folder`, with those of its pictures (`.svg`) that are there."""
    content = sections(report)
    for name, text in (("index.html", _html(folder, report, content)), ("report.md", _markdown(report, content))):
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _markdown(report: Report, content: Sequence[Section]) -> str:
    title = f"# {_title(report)}"
    parts = [f"## {section.title}\n\n{section.text}" for section in content if section.short]
    return "\n\n".join([title, *parts, "The whole report, with pictures, is `index.html` beside this file."]) + "\n"


def _title(report: Report) -> str:
    return f"Study {report.study} on {report.corpus}"


def _html(folder: Path, report: Report, content: Sequence[Section]) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    rendered = [
        {
            "id": section.id,
            "title": section.title,
            "text": Markup(_render(section.text, section.title)),
            "pictures": [
                (picture, Markup(_inline(file, picture)))
                for picture in section.pictures
                if (file := folder / f"{picture.name}.svg").is_file()
            ],
        }
        for section in content
    ]
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(title=_title(report), sections=rendered)


def _render(markdown: str, title: str) -> str:
    """HTML of a section. Its tables scroll in regions of their own, which the keyboard reaches."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    environment: dict[str, object] = {}
    tokens = _accessible(parser.parse(markdown, environment), title)
    return str(parser.renderer.render(tokens, parser.options, environment))


def _accessible(tokens: Sequence[Token], title: str) -> list[Token]:
    """Gives each table a region with a label, a caption, and headers that say what they head.

    A paragraph of nothing but emphasis right before a table is its caption; where there is none, the
    heading above it is.
    """
    done: list[Token] = []
    labels: set[str] = set()
    heading = [Token("text", "", 0, content=title)]
    for token in tokens:
        if token.type == "table_open":
            words = _caption(done) or heading
            label = "".join(word.content for word in words)
            while label in labels:  # a list of regions is read by their labels
                label += ", continued"
            labels.add(label)
            region: dict[str, str | int | float] = {"class": "scroll", "role": "region", "tabindex": 0}
            done.append(Token("region_open", "div", 1, attrs={**region, "aria-label": label}, block=True))
        elif token.type == "inline" and done[-1].type == "heading_open":
            heading = token.children or heading
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "td_open" and done[-1].type == "tr_open":
            token.tag = "th"
            token.attrSet("scope", "row")
        elif token.type == "td_close" and done[-2].tag == "th":
            token.tag = "th"
        done.append(token)
        if token.type == "table_open":
            done += [
                Token("caption_open", "caption", 1),
                Token("inline", "", 0, children=words),
                Token("caption_close", "caption", -1, block=True),
            ]
        elif token.type == "table_close":
            done.append(Token("region_close", "div", -1, block=True))
    return done


def _caption(tokens: list[Token]) -> list[Token]:
    """Takes a paragraph of nothing but emphasis off the end of `tokens` and returns what is emphasized."""
    if [token.type for token in tokens[-3:]] != ["paragraph_open", "inline", "paragraph_close"]:
        return []
    words = tokens[-2].children or []
    marks = [word.type for word in words if word.type.startswith("em_")]
    if marks != ["em_open", "em_close"] or words[0].type != "em_open" or words[-1].type != "em_close":
        return []
    del tokens[-3:]
    return words[1:-1]


def _inline(file: Path, picture: Picture) -> str:
    """A picture as part of the page: without what is for readers of the file, and with ids of its own."""
    svg = ElementTree.fromstring(file.read_text(encoding="utf-8"))
    for parent in list(svg.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "title", "style"):
                parent.remove(child)
    used = {name for element in svg.iter() for value in element.attrib.values() for name in _REFERENCE.findall(value)}
    for element in svg.iter():
        element.tag, element.text, element.tail = _local(element.tag), None, None
        attributes = {_local(key): " ".join(value.split()) for key, value in element.attrib.items()}
        name = attributes.pop("id", None)
        element.attrib = {key: _REFERENCE.sub(rf"#{picture.name}-\1", value) for key, value in attributes.items()}
        if name in used:
            element.attrib["id"] = f"{picture.name}-{name}"
    width = round(float(svg.attrib["viewBox"].split()[2]) * 4 / 3)  # points in pixels
    style = f"max-width: {width}px; min-width: 52rem"
    svg.attrib = {"viewBox": svg.attrib["viewBox"], "role": "img", "aria-label": picture.alt, "style": style}
    return ElementTree.tostring(svg, encoding="unicode")


def _local(name: str) -> str:
    """The name without its XML namespace: HTML knows that what is inside `svg` is SVG."""
    return name.rpartition("}")[2]
