"""The formats of published word vectors. Each reader streams a file once, and keeps the rows that are sought."""

import codecs
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, compress, count, islice, takewhile
from pathlib import Path
from typing import NoReturn, TypeVar, cast
from unicodedata import normalize

import numpy as np
import polars as pl

from textrnn.config.catalog import VectorsEntry
from textrnn.corpus.archive import open_member
from textrnn.errors import TextrnnError, readable
from textrnn.parquet_file import read_parquet
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import RESERVED

_BLOCK = 1 << 20
_MOST_BYTES = 20_000_000_000  # that a file may unpack to, unless its entry says otherwise: GloVe 840B has 5.6 GB
_LONGEST_LINE = 1 << 20  # bytes of a line that are read at a time: 4,096 numbers take a tenth
_AT_ONCE = 1024  # rows parsed together: many, which is fast, but not all, whose text would fill the memory
_LONGEST_WORD = 1 << 12  # bytes of a word with spaces in a binary file, at most

_PLAIN = re.compile(rb"[^\x00-\x20\x7f]* ")
_CERTAIN = re.compile(
    _PLAIN.pattern + rb"(?!(?:[\x09-\x0d\x20-\x7e]|[\xc2-\xf4][\x80-\xbf]{1,3}){0,%d} )" % _LONGEST_WORD
)
"""The word of nearly every row: the bytes up to the next space are not UTF-8, so numbers have begun."""
_TEXT = re.compile(rb"[^\x00-\x1f\x7f]{0,%d}" % _LONGEST_WORD)
_NUMBER = re.compile(rb"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE)

_CHECK = (
    "Check the entry's format, member and dimension in catalog.yaml; "
    "if they are right, the file is not: choose another source."
)

_Row = TypeVar("_Row")
Found = Iterator[tuple[list[int], np.ndarray]]
"""Some of a file's rows, in its order: the positions of their words, and their numbers."""


class Sought:
    """The words still sought, as UTF-8 with their `positions`, and the `room` for further ones.

    A found word is removed, so its first vector counts. Reserved words are not sought: a file's "<unk>" is another.
    """

    def __init__(self, words: Sequence[str], more: int) -> None:
        self.positions = {word.encode(): i for i, word in enumerate(words) if word not in RESERVED}
        self.room = more
        self.further: list[str] = []
        self._first_further = len(words)
        self._known = set(words) if more else set()

    def choose(self, rows: Iterator[tuple[bytes, _Row]]) -> Iterator[tuple[list[int], list[_Row]]]:
        """Yields the `rows` (a word in NFC, and whatever holds its numbers) that are kept, with their positions."""
        while block := list(islice(rows, _AT_ONCE)):
            positions = [self.positions.pop(word, None) for word, _ in block]
            if self.room:
                self._take_further([word.decode(errors="replace") for word, _ in block], positions)
            kept = [(place, row) for place, (_, row) in zip(positions, block, strict=True) if place is not None]
            if kept:
                yield [place for place, _ in kept], [row for _, row in kept]

    def _take_further(self, texts: list[str], positions: list[int | None]) -> None:
        """Sets the positions of the first `texts` that the tokenizer leaves as they are, while there is room."""
        new = {text: i for i, text in reversed(list(enumerate(texts))) if text not in self._known}
        candidates = pl.Series(sorted(new, key=new.__getitem__), dtype=pl.String)
        tokens = tokenize(candidates)
        is_token = (tokens.list.len() == 1) & (tokens.list.first() == candidates)
        is_token &= candidates != "\N{REPLACEMENT CHARACTER}"  # which may replace bytes that are not UTF-8
        taken = list(islice(compress(candidates, is_token), self.room))
        for position, text in enumerate(taken, self._first_further + len(self.further)):
            positions[new[text]] = position
        self.further += taken
        self._known.update(taken)
        self.room -= len(taken)


def refuse(archive: Path, finding: str) -> NoReturn:
    """Raises the `TextrnnError` that reports what is wrong with `archive`, and what to do."""
    raise TextrnnError(f"{archive}: {finding}. {_CHECK}")


def _read_text(archive: Path, entry: VectorsEntry, dimension: int, sought: Sought) -> Found:
    """Lines `word 0.1 -0.2 …`; word2vec has a header line `rows dimension` above them, some of GloVe too."""
    for positions, lines in sought.choose(_rows_of_text(archive, entry, dimension, sought)):
        yield positions, _parse(archive, lines, dimension)


def _rows_of_text(
    archive: Path, entry: VectorsEntry, dimension: int, sought: Sought
) -> Iterator[tuple[bytes, tuple[int, bytes]]]:
    """Yields each word that may be kept with its line's number and the numbers in that line as text."""
    wanted = sought.positions
    with open_member(archive, entry.member, entry.max_bytes or _MOST_BYTES) as stream:
        row = line = first = stream.readline(_LONGEST_LINE).removeprefix(codecs.BOM_UTF8)
        promised = _header(archive, entry, first)
        start = 1 if promised is None else 2
        number, blank, with_number = start - 1, 0, 0
        for number, line in enumerate(chain([first] if promised is None else [], _lines(stream)), start):
            if line.count(b" ") == dimension:
                row, end = line, line.find(b" ")
            elif line.strip():
                row, end = _normalized(archive, line, number, dimension)
                with_number += b" " in row[:end] and bool(_NUMBER.fullmatch(row[:end].rpartition(b" ")[2]))
            else:
                blank += 1
                continue
            word = row[:end]
            if not word.isascii():
                word = _nfc(word)
            if word in wanted or sought.room:
                if b"\t" in row:  # checked only here, because it is slow
                    row, end = _normalized(archive, line, number, dimension)
                yield _nfc(row[:end]), (number, row[end:].strip())
        rows = number - start + 1 - blank
        if promised is None and 0 < rows == with_number:  # no header confirms the dimension
            values = _numbers_at_end(row.split())
            refuse(archive, f"lines have {values} numbers, and each line must have {dimension}")
        if line.endswith((b".", b"-", b"+", b"e", b"E")):  # within a number; no complete line ends so
            refuse(archive, f"the file ends within line {number}, after {line[-20:]!r}")
        if promised is not None and rows != promised:
            sys.stderr.write(
                f"warning: {archive}: the header promises {promised:,} vectors, and {rows:,} are there: all are read\n"
            )


def _normalized(archive: Path, line: bytes, number: int, dimension: int) -> tuple[bytes, int]:
    """Returns a line with one space between fields, and the end of its word.

    The last `dimension` fields are the vector, all before them is the word: GloVe 840B has words with spaces
    (`. . .`), which may end in a number (`area 51`). word2vec ends lines with a space; other tools write tabs.
    """
    line = line.replace(b"\t", b" ").rstrip()
    if line.count(b" ") == dimension:
        return line, line.find(b" ")
    fields = line.split()
    values = _numbers_at_end(fields)
    if values < dimension:
        refuse(archive, f"line {number} has {values} numbers, and each line must have {dimension}")
    word = line.rsplit(None, dimension)[0].strip()
    return b" ".join([word, *fields[-dimension:]]), len(word)


def _numbers_at_end(fields: list[bytes]) -> int:
    """Counts the numbers at the end of `fields`; the first field is always a word."""
    return sum(1 for _ in takewhile(_NUMBER.fullmatch, reversed(fields[1:])))


def _parse(archive: Path, lines: list[tuple[int, bytes]], dimension: int) -> np.ndarray:
    """Returns the lines' numbers, float32 [lines, dimension], in a sixth of the time of `float`."""
    texts = [text for _, text in lines]
    schema = {str(column): pl.Float32 for column in range(dimension)}
    try:
        table = pl.read_csv(b"\n".join(texts), separator=" ", quote_char=None, has_header=False, schema=schema)
        if table.height == len(lines) and not any(column.null_count() for column in table):
            return table.to_numpy()
    except pl.exceptions.PolarsError:
        pass  # polars does not report the line
    fields = ((number, text.split(b" ")) for number, text in lines)
    wrong = (number for number, row in fields if len(row) != dimension or not all(map(_NUMBER.fullmatch, row)))
    refuse(archive, f"line {next(wrong, 'unknown')} must hold a word and {dimension} numbers, separated by one space")


def _read_binary(archive: Path, entry: VectorsEntry, dimension: int, sought: Sought) -> Found:
    """A header line, then for each row: the word, a space, little-endian float32 numbers."""
    for positions, rows in sought.choose(_rows_of_binary(archive, entry, 4 * dimension, sought)):
        yield positions, np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), -1)


def _rows_of_binary(archive: Path, entry: VectorsEntry, width: int, sought: Sought) -> Iterator[tuple[bytes, bytes]]:
    """Yields each word that may be kept with its numbers, `width` bytes.

    The original program ends each row with a line feed, gensim does not. gensim writes words with spaces.
    """
    wanted, ahead = sought.positions, 2 * (_LONGEST_WORD + width)  # enough for a row and the beginning of the next
    with open_member(archive, entry.member, entry.max_bytes or _MOST_BYTES) as stream:
        promised = cast(int, _header(archive, entry, stream.readline(64)))
        length = f"the header promises {promised} vectors of {width} bytes, and the file has another length"
        rest, start, feed = b"", 0, None
        for left in reversed(range(promised)):
            if len(rest) - start < ahead:
                rest, start = rest[start:] + stream.read(_BLOCK + ahead), 0
            if certain := _CERTAIN.match(rest, start):
                space = certain.end() - 1
            elif len(rest) - start > width:
                space = _end_of_word(archive, rest, start, width, feed, left)
            else:
                refuse(archive, length)
            word, end = rest[start:space], space + 1 + width
            if end > len(rest):
                refuse(archive, length)
            if not word.isascii():
                word = _nfc(word)
            if word in wanted or sought.room:
                yield word, rest[space + 1 : end]
            start = end + rest.startswith(b"\n", end)
            if feed is None:
                feed = start > end
            elif feed != (start > end) and left:
                refuse(archive, f"row {promised - left} does not end as the rows before it (line feed or none)")
        if (rest[start:] + stream.read(2)).strip(b"\n"):
            refuse(archive, length)


def _end_of_word(archive: Path, rest: bytes, start: int, width: int, feed: bool | None, left: int) -> int:
    """Returns the position of the space that ends a word which may hold others, or refuses the file.

    It is the only one that is followed by sane numbers (zeros, or of a size that misread bytes hardly
    ever have throughout) and then, given `feed` and how many rows are `left`, by a word or the end.
    """

    def fits(space: int) -> bool:
        end = space + 1 + width
        if end > len(rest):
            return False
        numbers = np.abs(np.frombuffer(rest, "<f4", width // 4, space + 1))
        if not ((numbers == 0) | ((numbers > 2.0**-60) & (numbers < 2.0**40))).all():
            return False
        if not left:
            return rest[end : end + 2] in (b"", b"\n")
        fed = rest.startswith(b"\n", end)
        following = _PLAIN.match(rest, end + fed)
        return feed in (None, fed) and following is not None and (fed or _is_utf8(following[0]))

    text = cast(re.Match[bytes], _TEXT.match(rest, start))[0]
    spaces = [start + i for i, byte in enumerate(text) if byte == 0x20]
    if spaces and not _is_utf8(rest[start : spaces[0]]):
        return spaces[0]  # word2vec cuts long words within a character, and has no spaces within words
    fitting = [space for space in spaces if _is_utf8(rest[start:space]) and fits(space)]
    if len(fitting) != 1:
        reason = "no space in it is" if not fitting else f"{len(fitting)} spaces in it are"
        refuse(
            archive,
            f"where the word ends that begins {rest[start : start + 40]!r} is ambiguous: {reason} followed by "
            f"{width} bytes of sane numbers and another word. Words hold no control characters; if they hold spaces, "
            "save the vectors as word2vec-text (in gensim: save_word2vec_format(…, binary=False))",
        )
    return fitting[0]


def _header(archive: Path, entry: VectorsEntry, line: bytes) -> int | None:
    """Returns the number of rows that word2vec's first line promises; None where a `glove` file has no such line."""
    fields = line.split()
    is_header = len(fields) == 2 and all(field.isdigit() and len(field) < 20 for field in fields)
    if entry.format == "glove" and (not is_header or entry.dimension == 1):
        return None
    if not is_header:
        refuse(archive, f"line 1 must be word2vec's header (rows and dimension), and begins {line[:40]!r}")
    rows, dimension = map(int, fields)
    if dimension != entry.dimension:
        refuse(archive, f"the header says {dimension} dimensions, and catalog.yaml {entry.dimension}")
    return rows


def _read_npy(archive: Path, entry: VectorsEntry, dimension: int, sought: Sought) -> Found:
    """NumPy's format, stored by rows or by columns, one of them at a time in memory."""
    tally = count()
    numbered = zip(_read_words(archive, entry), tally, strict=False)
    needed = ((word, row) for word, row in numbered if word in sought.positions or sought.room)
    chosen = list(sought.choose(needed))
    found = {row: position for positions, rows in chosen for position, row in zip(positions, rows, strict=True)}
    words = next(tally)
    with open_member(archive, entry.member, entry.max_bytes or _MOST_BYTES) as stream:
        npy = np.lib.format
        with readable(archive, f"Its member {entry.member!r} is to be a NumPy array. {_CHECK}"):
            is_first = npy.read_magic(stream) == (1, 0)
            shape, by_columns, dtype = (npy.read_array_header_1_0 if is_first else npy.read_array_header_2_0)(stream)
        if shape != (words, dimension) or dtype.kind != "f":
            refuse(
                archive,
                f"the matrix must hold floats [{words} words, {dimension} dimensions], and holds {dtype} {list(shape)}",
            )
        outer, inner = (dimension, words) if by_columns else (words, dimension)
        picked: list[np.ndarray] = []
        for line in range(outer):
            content = stream.read(inner * dtype.itemsize)
            if len(content) != inner * dtype.itemsize:
                refuse(archive, "the matrix ends too early")
            if by_columns:
                picked.append(np.frombuffer(content, dtype)[list(found)])
            elif line in found:
                picked.append(np.frombuffer(content, dtype))
    vectors = np.stack(picked, axis=1) if by_columns else np.array(picked).reshape(-1, dimension)
    yield list(found.values()), vectors


def _read_words(archive: Path, entry: VectorsEntry) -> Iterator[bytes]:
    member = entry.words
    with open_member(archive, member, entry.max_bytes or _MOST_BYTES) as stream:
        first = stream.readline(_LONGEST_LINE)
        if not first.startswith(b"PAR1"):
            for line in chain([first.removeprefix(codecs.BOM_UTF8)], _lines(stream)):
                yield _nfc(line.removesuffix(b"\n").removesuffix(b"\r"))
            return
        content = first + stream.read()
    with readable(archive, f"Its member {member!r} begins as Parquet does. {_CHECK}"):
        table = read_parquet(content)
    texts = [name for name, dtype in table.schema.items() if dtype == pl.String]
    if len(texts) != 1 or table[texts[0]].null_count():
        refuse(archive, f"member {member!r} must have one column of words, without gaps; it has {table.schema}")
    yield from (_nfc(word.encode()) for word in table[texts[0]])


def _lines(stream: io.BufferedReader) -> Iterator[bytes]:
    """Yields lines, or parts of those that are too long: what has no line feeds would fill the memory."""
    return iter(partial(stream.readline, _LONGEST_LINE), b"")


def _nfc(word: bytes) -> bytes:
    """Returns `word` (UTF-8) in Unicode's normalization form NFC; unchanged where it is not UTF-8."""
    return word if word.isascii() or not _is_utf8(word) else normalize("NFC", word.decode()).encode()


def _is_utf8(word: bytes) -> bool:
    return word.decode(errors="ignore").encode() == word


READERS: dict[str, Callable[[Path, VectorsEntry, int, Sought], Found]] = {
    "glove": _read_text,
    "word2vec-text": _read_text,
    "word2vec-binary": _read_binary,
    "npy": _read_npy,
}
"""The reader of each format: archive, its entry and dimension, and the words sought to the vectors found."""
