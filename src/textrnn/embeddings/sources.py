"""Reads the vectors that a vocabulary needs out of a published file, and no others.

A file of vectors holds up to millions of rows, and a vocabulary some ten thousand words. So the
file is streamed once, words are compared as bytes, and only the numbers of the words asked for are
parsed and kept. A token that is not UTF-8 cannot be a word of the vocabulary and needs no care.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
import polars as pl

from textrnn.catalog import VectorsEntry
from textrnn.corpus.archive import open_member
from textrnn.errors import TextrnnError

_BLOCK = 1 << 20
_PARSED_AT_ONCE = 1024
"""Lines: many, which parses them fast, and not all, which would hold the text of all in memory."""

_Wanted = dict[bytes, int]
"""Words still looked for, with their positions. What is found is taken out: a word's first vector wins."""

_Hits = Iterator[tuple[int, np.ndarray]]
"""Position of a word in the words asked for, and its vector, in the order of the file."""


def read_vectors(archive: Path, entry: VectorsEntry, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors that the file has for `words`, and whose they are.

    Formats: `glove` (Pennington et al., EMNLP 2014), `word2vec-text` and `word2vec-binary`
    (Mikolov et al., NeurIPS 2013), `npy` (a matrix, whose words stand in the member `entry.words`:
    a Parquet column, or a text with one word per line). Words are matched exactly; of a word that
    stands there twice, the first vector counts.

    Returns:
        rows float32 [n, dimension] and index int64 [n]: `rows[i]` is the vector of `words[index[i]]`.

    Raises:
        TextrnnError: the file is not of its format or dimension, or is cut short; it has none of
            `words`; the vector of one of them holds a number that is not finite.
    """
    wanted = {word.encode(): position for position, word in enumerate(words)}
    hits = list(_READERS[entry.format](archive, entry, wanted))
    if not hits:
        raise TextrnnError(
            f"{archive} has vectors for none of the {len(words):,} words asked for, such as "
            f"{', '.join(map(repr, words[-3:]))}. Vectors and corpus must share their language and way of "
            "writing words: choose another source, or correct 'member' in catalog.yaml."
        )
    index = np.array([position for position, _ in hits], dtype=np.int64)
    rows = np.array([row for _, row in hits], dtype=np.float32)
    broken = index[~np.isfinite(rows).all(axis=1)]
    if len(broken):
        raise TextrnnError(
            f"{archive}: the vector of {words[broken[0]]!r} ({len(broken)} such in all) holds a number "
            "that is not finite, and no network can start from it. Mend the file, or choose another source."
        )
    return rows, index


def _read_text(archive: Path, entry: VectorsEntry, wanted: _Wanted) -> _Hits:
    """Lines `word 0.1 -0.2 …`; word2vec's have a header line `rows dimension` above them."""
    lines = _lines_of_words(archive, entry, wanted)
    while block := dict(islice(lines, _PARSED_AT_ONCE)):
        yield from zip(block, _parse(archive, list(block.values()), _dimension(entry)), strict=True)


def _lines_of_words(archive: Path, entry: VectorsEntry, wanted: _Wanted) -> Iterator[tuple[int, tuple[int, bytes]]]:
    """Yields a wanted word's position with its line's number and the numbers in that line as text."""
    dimension = _dimension(entry)
    with _open(archive, entry.member) as stream:
        has_header = entry.format == "word2vec-text"
        count = _read_header(archive, entry, stream) if has_header else None
        start = 2 if has_header else 1
        number = start - 1
        for number, line in enumerate(stream, start):
            if line.count(b" ") == dimension:
                end = line.find(b" ")
            else:
                end = _end_of_word(archive, line, number, dimension)
            position = wanted.pop(line[:end], None)
            if position is not None:
                yield position, (number, line[end:].strip())
        if count is not None and number - 1 != count:
            _refuse(archive, f"the header promises {count} vectors, and {number - 1} are there")


def _end_of_word(archive: Path, line: bytes, number: int, dimension: int) -> int:
    """Where the word ends in a line with an unexpected number of spaces.

    Rightly so: word2vec ends lines with one, and GloVe 840B has words with spaces in them (`. . .`).
    """
    line = line.rstrip()
    if line.count(b" ") == dimension:
        return line.find(b" ")
    fields = line.split(b" ")
    values = next((i for i, field in enumerate(reversed(fields[1:])) if not _is_number(field)), len(fields) - 1)
    if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
        _refuse(archive, f"line 1 is a header ({line.decode()!r}) where none belongs: GloVe files have none")
    if values != dimension:
        _refuse(archive, f"line {number} has {values} numbers, and each line must have {dimension}")
    return len(b" ".join(fields[:-dimension]))


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _parse(archive: Path, lines: list[tuple[int, bytes]], dimension: int) -> np.ndarray:
    """Returns the lines' numbers, float32 [lines, dimension], in a sixth of the time of `float`."""
    texts = [text for _, text in lines]
    schema = {str(column): pl.Float32 for column in range(dimension)}
    try:
        table = pl.read_csv(b"\n".join(texts), separator=" ", quote_char=None, has_header=False, schema=schema)
        if not any(column.null_count() for column in table):
            return table.to_numpy()
    except pl.exceptions.PolarsError:
        pass  # one message for both: which line it is, polars does not say
    wrong = (n for n, text in lines if [_is_number(f) for f in text.split(b" ")] != [True] * dimension)
    _refuse(archive, f"line {next(wrong, 'unknown')} must hold a word and {dimension} numbers, apart by one space")


def _read_binary(archive: Path, entry: VectorsEntry, wanted: _Wanted) -> _Hits:
    """A header line, then for each row: the word, a space, little-endian float32 numbers.

    The original program ends each row with a line feed, others do not.
    """
    width = 4 * _dimension(entry)
    with _open(archive, entry.member) as stream:
        count = _read_header(archive, entry, stream)
        done, rest = 0, b""
        while done < count and (block := stream.read(_BLOCK)):
            rest += block
            start = 0
            while done < count and (space := rest.find(b" ", start)) >= 0 and space + 1 + width <= len(rest):
                position = wanted.pop(rest[start:space].lstrip(b"\n"), None)
                if position is not None:
                    yield position, np.frombuffer(rest, "<f4", width // 4, space + 1).copy()
                start = space + 1 + width
                done += 1
            rest = rest[start:]
        if done != count or (rest + stream.read(2)).strip(b"\n"):
            _refuse(
                archive,
                f"the header promises {count} vectors of {width} bytes, and the file has another length",
            )


def _read_header(archive: Path, entry: VectorsEntry, stream: io.BufferedReader) -> int:
    """Reads word2vec's first line and returns how many rows it promises."""
    line = stream.readline(64)
    fields = line.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        _refuse(archive, f"line 1 must be word2vec's header (rows and dimension), and begins {line[:40]!r}")
    count, dimension = map(int, fields)
    if dimension != entry.dimension:
        _refuse(archive, f"the header says {dimension} dimensions, and catalog.yaml {entry.dimension}")
    return count


def _read_npy(archive: Path, entry: VectorsEntry, wanted: _Wanted) -> _Hits:
    """NumPy's format, stored by rows or by columns, one of them at a time in memory."""
    dimension, words = _dimension(entry), _read_words(archive, entry.words)
    found = {row: wanted.pop(word) for row, word in enumerate(words) if word in wanted}
    with _open(archive, entry.member) as stream:
        try:
            version = np.lib.format.read_magic(stream)
            read_header = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, by_columns, dtype = read_header(stream)
        except ValueError as error:
            _refuse(archive, f"member {entry.member!r} is no NumPy array ({error})")
        if shape != (len(words), dimension) or dtype.kind != "f":
            _refuse(
                archive,
                f"the matrix must hold floats [{len(words)} words, {dimension} dimensions], "
                f"and holds {dtype} {list(shape)}",
            )
        outer, inner = (dimension, len(words)) if by_columns else (len(words), dimension)
        lines = (_read_numbers(archive, stream, dtype, inner) for _ in range(outer))
        if by_columns:
            picked = list(found)
            vectors = np.stack([column[picked] for column in lines], axis=1)
            yield from zip(found.values(), vectors, strict=True)
        else:
            yield from ((found[row], vector) for row, vector in enumerate(lines) if row in found)


def _read_numbers(archive: Path, stream: io.BufferedReader, dtype: np.dtype, count: int) -> np.ndarray:
    content = stream.read(count * dtype.itemsize)
    if len(content) != count * dtype.itemsize:
        _refuse(archive, "the matrix ends too early")
    return np.frombuffer(content, dtype)


def _read_words(archive: Path, member: str | None) -> list[bytes]:
    with _open(archive, member) as stream:
        content = stream.read()
    if not content.startswith(b"PAR1"):
        return [line.removesuffix(b"\r") for line in content.removesuffix(b"\n").split(b"\n")]
    table = pl.read_parquet(io.BytesIO(content))
    texts = [name for name, dtype in table.schema.items() if dtype == pl.String]
    if len(texts) != 1 or table[texts[0]].null_count():
        _refuse(archive, f"member {member!r} must have one column of words, without gaps; it has {table.schema}")
    return [word.encode() for word in table[texts[0]]]


@contextmanager
def _open(archive: Path, member: str | None) -> Iterator[io.BufferedReader]:
    """`open_member` with a large buffer: a zip member's own `readline` takes half as long again."""
    with open_member(archive, member) as stream:
        yield io.BufferedReader(cast(io.RawIOBase, stream), _BLOCK)


def _dimension(entry: VectorsEntry) -> int:
    if entry.dimension is None:
        raise ValueError(f"vectors of format {entry.format} are made here, and not read")
    return entry.dimension


def _refuse(archive: Path, finding: str) -> NoReturn:
    raise TextrnnError(
        f"{archive}: {finding}. Check the entry's format, member and dimension in catalog.yaml; "
        "if they are right, the file is not: choose another source."
    )


_READERS: dict[str, Callable[[Path, VectorsEntry, _Wanted], _Hits]] = {
    "glove": _read_text,
    "word2vec-text": _read_text,
    "word2vec-binary": _read_binary,
    "npy": _read_npy,
}
