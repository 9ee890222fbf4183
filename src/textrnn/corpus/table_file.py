"""Reads a table in any format: the common reader of corpora and of `textrnn predict --input`.

CSV is read as pandas and spreadsheets read it: a quotation mark opens a quoted field only at the field's
beginning, and is a character anywhere else. What would merge or swallow rows is refused.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, cast

import polars as pl

from textrnn.errors import TextrnnError, first_line, is_damage
from textrnn.parquet_file import read_parquet
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
"""First bytes that no text file has, and what the file is instead."""

# A field, quoted or not, what follows a closing quotation mark, and what ends the field.
_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)("?))?([^,\n]*)(,|\n|\Z)')

_JSON_TYPES = {bool: "truth value", int: "number", float: "number", list: "list", dict: "object"}


def read_table(data: bytes, kind: str, where: str) -> tuple[pl.DataFrame, int]:
    """Returns the table in `data`, and how many invalid characters were replaced by U+FFFD.

    Values of csv and tsv are str, an empty field is null. Blank lines and rows of empty fields are skipped.

    Args:
        kind: csv, tsv, jsonl or parquet.
        where: opens each message, such as the file's name.

    Raises `TextrnnError`: it is no such table; names the line and what to do.
    """
    if kind == "parquet":
        try:
            return read_parquet(data), 0
        except BaseException as error:  # a panic of polars is no `Exception`
            if not is_damage(error):
                raise
            message = f"{where} is not readable as parquet: {first_line(error)}. Check the file and its format."
            raise TextrnnError(message) from None
    text = decode(data, where)
    if "\n" not in text:
        text = text.replace("\r", "\n")  # as old Macs ended lines
    if kind == "jsonl":
        return _read_json_lines(text, where)
    text, replaced = NO_CHARACTER.subn("\N{REPLACEMENT CHARACTER}", text)
    return _read_rows(text, kind, where), replaced


def decode(data: bytes, where: str) -> str:
    """Returns `data` without a byte order mark as text. Raises `TextrnnError` if it is not UTF-8."""
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
    """Returns a column as str in Unicode's composed form (NFC); missing values, NaN and blanks are null.

    With `only_text` numbers, truth values and dates are refused, otherwise converted. Raises `TextrnnError`: a value is
    of another type; names column, row and type.
    """

    def not_text(row: int, kind: str) -> TextrnnError:
        value = column[row]
        shown = repr(value.to_list() if isinstance(value, pl.Series) else value)
        return TextrnnError(
            f"{where}: column {name!r} holds no text in row {row + 1} (counted from 1), but {kind}: {shown[:60]}. "
            "Write a text there, or name another column."
        )

    column = table[name]
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.null_count() == len(column):
        return pl.Series(name, [None] * len(column), pl.String)
    if column.dtype == pl.Object:  # JSON values of several types
        values = [None if value is None or value != value else value for value in column]
        for row, value in enumerate(values):
            if value is not None and not isinstance(value, str if only_text else (str, int, float)):
                raise not_text(row, _JSON_TYPES.get(type(value), "value"))
        shown = {True: "true", False: "false", None: None}
        column = pl.Series(name, [shown[v] if v is None or isinstance(v, bool) else str(v) for v in values], pl.String)
    may_be_text = column.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Binary)
    try:
        if column.dtype.is_nested() or (only_text and not may_be_text):
            raise pl.exceptions.InvalidOperationError
        text = column.cast(pl.String)
    except (pl.exceptions.InvalidOperationError, pl.exceptions.PanicException):  # such as a duration, or no date
        raise not_text(int(column.is_not_null().arg_true()[0]), str(column.dtype)) from None
    except pl.exceptions.ComputeError:
        decoded = (value.decode("utf-8", "replace") if value else "" for value in column)
        row = next(row for row, value in enumerate(decoded) if "\N{REPLACEMENT CHARACTER}" in value)
        raise not_text(row, "Binary, no UTF-8") from None
    return compose(text.to_frame().select(pl.when(pl.first().str.strip_chars() != "").then(pl.first())).to_series())


def _read_rows(text: str, kind: str, where: str) -> pl.DataFrame:
    rows = _rows(text, kind, where)
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


def _rows(text: str, kind: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Yields each row with the number of its first line."""
    separator, may_quote = ("\t", False) if kind == "tsv" else (",", '"' in text)
    start, number = 0, 1
    while start < len(text):
        end = text.find("\n", start)
        line = text[start:] if end < 0 else text[start:end]
        if may_quote and (line.startswith('"') or ',"' in line):
            end, row = _quoted_row(text, start, number, where)
            yield number, row
            number += text.count("\n", start, end)
            start = end
        else:  # no quoted field: `split` takes less time
            if line.strip():
                yield number, line.removesuffix("\r").split(separator)
            number, start = number + 1, start + len(line) + 1


def _quoted_row(text: str, start: int, line: int, where: str) -> tuple[int, list[str]]:
    """Returns the end of the row that begins at `start`, in `line`, after its line feed, and the row."""
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


def _read_json_lines(text: str, where: str) -> tuple[pl.DataFrame, int]:
    objects, replaced = [], 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        value, fault = None, ""
        try:
            value = json.loads(line, strict=False)
        except json.JSONDecodeError as error:
            fault = f", character {error.colno}: {error.msg}. Each line is one JSON object."
        except ValueError as error:  # a number of too many digits
            fault = f": {error}. Each line is one JSON object."
        except RecursionError:
            fault = ": lists or objects are nested too deep. Leave them out of the line."
        if not fault and not isinstance(value, dict):
            fault = " is no JSON object. Each line is one: write the objects of an array on a line each."
        if fault:
            raise TextrnnError(f"{where} is not readable as jsonl: line {number}{fault}")
        if "\\u" in line or "\0" in line:
            value, count = _with_characters_only(value)
            replaced += count
        objects.append(cast(dict[str, Any], value))
    names = dict.fromkeys(name for each in objects for name in each)
    return pl.DataFrame([_series(name, [each.get(name) for each in objects]) for name in names]), replaced


def _with_characters_only(value: Any) -> tuple[Any, int]:
    """Returns a JSON value with U+FFFD for each invalid character, and their count."""
    if isinstance(value, str):
        return NO_CHARACTER.subn("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        pairs, count = _with_characters_only([part for pair in value.items() for part in pair])
        return dict(zip(pairs[::2], pairs[1::2], strict=True)), count
    if isinstance(value, list):
        parts = [_with_characters_only(each) for each in value]
        return [part for part, _ in parts], sum(count for _, count in parts)
    return value, 0


def _series(name: str, values: list[Any]) -> pl.Series:
    """A column; of dtype Object where its values are of several types, or an integer has more than 128 bits."""
    kinds = {type(value) for value in values if value is not None}
    is_object = kinds & {list, dict} or len(kinds) > 1
    try:
        return pl.Series(name, values, pl.Object if is_object else None)
    except (OverflowError, TypeError):  # more than 64 bits, or more than 128
        return pl.Series(name, values, pl.Object)
