"""Jinja templates: Markdown and HTML that read like the report they make. Code hands them numbers.

A template writes Markdown as people do: wrapped lines, tables with a bar between cells. `render` makes a line of each
paragraph, aligns the tables, and removes surplus blank lines. All that comes from the corpus goes through `literal`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from tabulate import tabulate

from textrnn import wording
from textrnn.report.plots.lettering import visible

Row = Mapping[str, Any]


def render(template: str, **numbers: Any) -> str:
    """Returns what the template of that name in this folder makes of `numbers`; Markdown is tidied."""
    text = _ENVIRONMENT.get_template(f"{template}.jinja").render(numbers)
    return _tidy(text) if template.endswith(".md") else text


def rows(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Returns a table's rows for a template, with None where nothing is known."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def literal(text: object) -> str:
    """A stranger's word, name or text as Markdown that shows just it."""
    return wording.escape(visible(str(text)))


def grouped(rows: Iterable[Row], column: str) -> list[tuple[Any, list[Row]]]:
    """Groups of rows by a column's values, in the order in which these first occur."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return list(groups.items())


def _tidy(markdown: str) -> str:
    spaced = re.sub(r"^(\*.+\*)\n\|", r"\1\n\n|", markdown, flags=re.MULTILINE)  # a caption above its table
    parts = [part.strip("\n") for part in re.split(r"\n\s*\n", spaced)]
    return "\n\n".join(_tidy_part(part) for part in parts if part.strip()) + "\n"


def _tidy_part(part: str) -> str:
    if part.startswith("|"):
        return _aligned(part.split("\n"))
    return part if part.startswith("```") else re.sub(r" *\n(?!- ) *", " ", part)


def _aligned(lines: Sequence[str]) -> str:
    header, ruler, *body = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    align = ["right" if cell.endswith(":") else "left" for cell in ruler]
    return str(tabulate(body, header, tablefmt="pipe", colalign=align, disable_numparse=True))


_WORDING = {
    each.__name__: each
    for each in (
        *(wording.number, wording.percent, wording.points, wording.two_digits, wording.p_value),
        *(wording.interval, wording.estimate, wording.count, wording.code, wording.listed, literal, grouped),
    )
}
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=select_autoescape(["html.jinja"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= _WORDING
_ENVIRONMENT.globals |= _WORDING
