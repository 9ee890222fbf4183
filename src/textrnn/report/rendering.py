"""Jinja templates: Markdown and HTML that read like the report they make. Code hands them numbers.

In Markdown, lines are wrapped: `render` makes a line of each paragraph and removes surplus blank lines. All that comes
from the corpus goes through `literal`. A table is `table(caption, rows, columns)`, where each column has a header and a
format string for its cells, such as `{low:points} to {high:points}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from tabulate import tabulate

from textrnn import wording
from textrnn.analysis.run_tables import DIGITS
from textrnn.report.explained import signed
from textrnn.report.plots.lettering import visible

Row = dict[Any, Any]

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that spreadsheets take for a formula."""


def render(template: str, **numbers: Any) -> str:
    """Returns what the template of that name in the folder `templates` makes of `numbers`."""
    text = _ENVIRONMENT.get_template(template).render(numbers)
    if template.endswith(".html"):
        return text
    parts = re.split(r"\n\s*\n", re.sub(r"^(#+ .*)", r"\1\n", text.strip(), flags=re.MULTILINE))
    lines = [part if part.startswith(("|", "```")) else re.sub(r" *\n(?!- ) *", " ", part) for part in parts]
    return "\n\n".join(lines) + "\n"


def rows(table: pd.DataFrame) -> list[Row]:
    """Returns a table's rows for a template, with None where nothing is known."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def literal(text: object) -> str:
    """Returns untrusted text, such as a word of the corpus, as Markdown that shows it verbatim."""
    return wording.escape(visible(str(text)))


def write_csv(file: Path, table: pd.DataFrame) -> None:
    """Writes `table` as CSV: numbers with at most six decimals.

    A text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, *CSV injection*).
    """
    safe = table.round(DIGITS).map(lambda cell: f"'{cell}" if isinstance(cell, str) and cell[:1] in FORMULA else cell)
    safe.to_csv(file, index=False, lineterminator="\n")


def grouped(rows: Iterable[Row], column: str) -> list[tuple[Any, list[Row]]]:
    """Returns groups of rows by a column's values, in the order in which these first occur."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return list(groups.items())


def table(caption: str, rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """Returns a Markdown table below its caption; nothing without rows, and without the columns that are empty.

    Args:
        columns: a format string by header, whose formats are functions of `wording`, `words` (left-aligned), `literal`,
            `literals`, or Python's. A cell of which no field has a value is empty.
    """
    cells = {header: [_cell(template, row) for row in rows] for header, template in columns.items()}
    filled = {header: column for header, column in cells.items() if any(column)}
    if not filled:
        return ""
    align = ["left" if re.search(r":(code|words|literals?)}", columns[header]) else "right" for header in filled]
    text = tabulate(filled, headers="keys", tablefmt="pipe", colalign=align, disable_numparse=True)
    return f"\n*{caption}*\n\n{text}\n"


class _Cell(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        form = _WORDING.get(format_spec)
        return str(form(value)) if form else wording.number(value, format_spec) if format_spec else str(value)


def _cell(template: str, row: Row) -> str:
    values = [_CELL.get_field(name, (), row)[0] for _, name, *_ in _CELL.parse(template) if name]
    return "" if all(value in (None, "") for value in values) else _CELL.vformat(template, (), row)


_CELL = _Cell()
_WORDING = {
    **{name: form for name, form in vars(wording).items() if getattr(form, "__module__", "") == wording.__name__},
    "literal": literal,
    "literals": lambda texts: ", ".join(map(literal, texts)),
    "words": str,
}
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {name: form for name, form in _WORDING.items() if name != "escape"}
_ENVIRONMENT.filters |= {"grouped": grouped, "signed": signed}
_ENVIRONMENT.globals |= {**_WORDING, "table": table}
