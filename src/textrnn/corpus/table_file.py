"""Reads one table, whatever wrote it: the shared reader of corpora and of `textrnn predict --input`.

CSV is read as pandas and spreadsheets read it: a quotation mark opens a quoted field at the field's
beginning only, and anywhere else it is a character. What would merge or swallow rows is refused.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterable
from typing import Any, cast

import polars as pl

from textrnn.errors import TextrnnError
from textrnn.text.tokenizer import compose

REPLACED = "character that is none (NUL, half of a surrogate pair), replaced by U+FFFD"

NO_CHARACTER = re.compile("[\0\ud800-\udfff]")

_OTHER_FILES = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV (UTF-8)",
    b"\x1f\x8b": "compressed with gzip; decompress it",
    b"PAR1": "a Parquet file; name the format parquet",
    bytes(8): "no text, but NUL bytes, as an interrupted copy leaves; copy or download it again",
    codecs.BOM_UTF16_LE: "text in UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)",
    codecs.BOM_UTF16_BE: "text in UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)",
}
"""What a text file never begins with, and what it is instead."""

# A field, quoted or not, what follows a closing quotation mark, and what ends the field.
_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)("?))?([^,\n]*)(,|\n|\Z)')


def read_table(data: bytes, kind: str, where: str) -> tuple[pl.DataFrame, int]:
    """Returns the table in `data`, and how many characters that are none were replaced by U+FFFD.

    Values of csv and tsv are str, an empty field is null. Blank lines are skipped, and rows of
    which all fields are.

    Args:
        kind: csv, tsv, jsonl or parquet.
        where: opens each message, such as the file's name.

    Raises:
        TextrnnError: it is no such table; names the line and what can be done.
    """
    if kind == "parquet":
        try:
            return pl.read_parquet(io.BytesIO(data)), 0
        except pl.exceptions.PolarsError as error:
            reason = str(error).splitlines()[0]
            raise TextrnnError(
                f"{where} is not readable as parquet: {reason}. Check the file and its format."
            ) from None
    text = decode(data, where)
    if "\n" not in text:
        text = text.replace("\r", "\n")  # as old Macs ended lines
    if kind == "jsonl":
        return _read_json_lines(text, where)
    text, replaced = NO_CHARACTER.subn("\N{REPLACEMENT CHARACTER}", text)
    if kind == "csv" and '"' in text:
        rows: Iterable[tuple[int, list[str]]] = _quoted_rows(text, where)
    else:
        separator = "\t" if kind == "tsv" else ","
        lines = ((number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), 1))
        rows = ((number, line.split(separator)) for number, line in lines if line.strip())
    return _frame(rows, kind, where), replaced


def decode(data: bytes, where: str) -> str:
    """Returns `data` without a byte order mark as text. Raises `TextrnnError` where it is no UTF-8."""
    for beginning, what in _OTHER_FILES.items():
        if data.startswith(beginning):
            raise TextrnnError(f"{where}: this is {what}.")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TextrnnError(
            f"{where}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8. "
            "Save the file as UTF-8 (iconv -t UTF-8 does that)."
        ) from None


def strings(table: pl.DataFrame, name: str, where: str, *, only_text: bool = False) -> pl.Series:
    """Returns a column as str in Unicode's composed form (NFC); what is missing, NaN or blank is null.

    Args:
        only_text: refuse numbers, truth values and dates, which otherwise are taken as they are written.

    Raises:
        TextrnnError: a value is of another type; names column, row and type.
    """
    column = table[name]
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.null_count() == len(column):
        return pl.Series(name, [None] * len(column), pl.String)
    if column.dtype == pl.Object:  # JSON values of several types
        values = [None if value is None or value != value else value for value in column]
        kinds = str if only_text else (str, int, float)
        for row, value in enumerate(values, 1):
            if not (value is None or isinstance(value, kinds)):
                raise _not_text(name, row, _JSON_TYPES.get(type(value), "value"), value, where)
        column = pl.Series(name, [_scalar(value) for value in values], pl.String)
    elif column.dtype == pl.Binary:
        try:
            column = column.cast(pl.String)
        except pl.exceptions.ComputeError:
            row = next(
                row for row, value in enumerate(column) if value and "\N{REPLACEMENT CHARACTER}" in _lenient(value)
            )
            raise _not_text(name, row + 1, "Binary, no UTF-8", column[row], where) from None
    elif column.dtype.is_nested() or (only_text and column.dtype not in (pl.String, pl.Categorical, pl.Enum)):
        row = int(column.is_not_null().arg_true()[0])
        raise _not_text(name, row + 1, str(column.dtype), column[row], where)
    try:
        text = column.cast(pl.String)
    except pl.exceptions.InvalidOperationError:  # such as a duration
        row = int(column.is_not_null().arg_true()[0])
        raise _not_text(name, row + 1, str(column.dtype), column[row], where) from None
    return compose(text.to_frame().select(pl.when(pl.first().str.strip_chars() != "").then(pl.first())).to_series())


_JSON_TYPES = {bool: "truth value", int: "number", float: "number", list: "list", dict: "object"}


def _lenient(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _scalar(value: Any) -> str | None:
    return json.dumps(value) if isinstance(value, bool) else None if value is None else str(value)


def _not_text(name: str, row: int, kind: str, value: object, where: str) -> TextrnnError:
    shown = repr(value.to_list() if isinstance(value, pl.Series) else value)
    return TextrnnError(
        f"{where}: column {name!r} holds no text in row {row} (counted from 1), but {kind}: {shown[:60]}. "
        "Write a text there, or name another column."
    )


def _quoted_rows(text: str, where: str) -> Iterable[tuple[int, list[str]]]:
    """The rows of a CSV file, each with its line; where a quoted field cannot be one the file is refused."""
    start, number = 0, 0
    lines = text.split("\n")
    while number < len(lines):
        line = lines[number]
        if line.startswith('"') or ',"' in line:
            end, row = _quoted_row(text, start, number + 1, where)
            yield number + 1, row
            number += text.count("\n", start, end) + (not text.endswith("\n", start, end))
            start = end
        else:  # no quoted field: `split` takes less time
            if line.strip():
                yield number + 1, line.removesuffix("\r").split(",")
            number, start = number + 1, start + len(line) + 1


def _quoted_row(text: str, start: int, line: int, where: str) -> tuple[int, list[str]]:
    """Returns where the row that begins at `start`, in `line`, ends, with its line feed, and the row."""
    row: list[str] = []
    position, end = start, ","
    while end == ",":
        match = cast(re.Match[str], _FIELD.match(text, position))  # the pattern matches anywhere
        quoted, closing, rest, end = match.groups()
        if end != ",":
            rest = rest.removesuffix("\r")
        if quoted is not None:
            if not closing or (rest and "\n" in quoted):
                opened = line + text.count("\n", start, position)
                raise TextrnnError(
                    f"{where}, line {opened}: a quotation mark opens a field here that "
                    + ("never ends" if not closing else f"goes on to line {opened + quoted.count(chr(10))}")
                    + ', and would swallow the rows between. Put the whole field in quotation marks, and write "" for '
                    "each that belongs to the text."
                )
            rest = quoted.replace('""', '"') + rest
        row.append(rest)
        position = match.end()
    return position, row


def _frame(rows: Iterable[tuple[int, list[str]]], kind: str, where: str) -> pl.DataFrame:
    rows = iter(rows)
    _, header = next(rows, (0, []))
    names = [name.strip() or f"column_{number}" for number, name in enumerate(header, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TextrnnError(f"{where}: the header names {', '.join(map(repr, twice))} twice. Rename one.")
    cells: list[list[str]] = []
    for line, row in rows:
        if len(names) > 1 and not "".join(row).strip():
            continue  # separators only, as spreadsheets write below the last row
        if len(row) != len(names):
            advice = (
                'Put a field that holds a comma or line break in quotation marks: "so, so"; a mark in it is ""'
                if kind == "csv"
                else "A field holds neither tabs nor line breaks"
            )
            raise TextrnnError(
                f"{where} is not readable as {kind}: line {line} has {len(row)} fields, and the header {len(names)}. "
                f"{advice}."
            )
        cells.append(row)
    columns = zip(*cells, strict=True) if cells else [()] * len(names)
    return pl.DataFrame(
        [pl.Series(name, column, pl.String).replace("", None) for name, column in zip(names, columns, strict=True)]
    )


def _read_json_lines(text: str, where: str) -> tuple[pl.DataFrame, int]:
    objects, replaced = [], 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, strict=False)
        except ValueError as error:
            raise TextrnnError(
                f"{where} is not readable as jsonl: line {number}: {error}. Each line is one JSON object."
            ) from None
        except RecursionError:
            raise TextrnnError(
                f"{where} is not readable as jsonl: line {number}: lists or objects are nested too deep. Leave them "
                "out of the line."
            ) from None
        if not isinstance(value, dict):
            raise TextrnnError(
                f"{where} is not readable as jsonl: line {number} is no JSON object. Each line is one: write "
                "the objects of an array on a line each."
            )
        if "\\u" in line or "\0" in line:
            value, broken = _mended(value)
            replaced += broken
        objects.append(value)
    names = dict.fromkeys(name for each in objects for name in each)
    return pl.DataFrame([_series(name, [each.get(name) for each in objects]) for name in names]), replaced


def _mended(value: Any) -> tuple[Any, int]:
    """A JSON value with U+FFFD for what no text can hold, and how often."""
    if isinstance(value, str):
        return NO_CHARACTER.subn("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        pairs = [_mended(each) for each in value]
        return [each for each, _ in pairs], sum(count for _, count in pairs)
    if isinstance(value, dict):
        names, values = _mended(list(value)), _mended(list(value.values()))
        return dict(zip(names[0], values[0], strict=True)), names[1] + values[1]
    return value, 0


def _series(name: str, values: list[Any]) -> pl.Series:
    """A column; of dtype Object where its values are of several types, or an integer has more than 128 bits."""
    kinds = {type(value) for value in values if value is not None}
    is_object = kinds & {list, dict} or len(kinds) > 1
    try:
        return pl.Series(name, values, pl.Object if is_object else None)
    except OverflowError:
        return pl.Series(name, values, pl.Object)
