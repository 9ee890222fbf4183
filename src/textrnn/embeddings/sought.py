"""Which rows of a file of vectors are kept: those of the words asked for, and of some further words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress, islice
from typing import TypeVar
from unicodedata import normalize

import polars as pl

from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import RESERVED

_AT_ONCE = 1024
"""Rows: many, which takes little time for each, and not all, which would hold the text of all in memory."""

_Row = TypeVar("_Row")


class Sought:
    """The words still looked for, as UTF-8 with their `positions`, and how many further ones there is `room` for.

    What is found is taken out: a word's first vector wins. Reserved words (padding, unknown) are not
    looked for: a file's own "<unk>" means something else.
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
            positions = self._take([word for word, _ in block])
            kept = [
                (position, row) for position, (_, row) in zip(positions, block, strict=True) if position is not None
            ]
            if kept:
                yield [position for position, _ in kept], [row for _, row in kept]

    def _take(self, words: Sequence[bytes]) -> list[int | None]:
        positions = [self.positions.pop(word, None) for word in words]
        if self.room:
            texts = [word.decode(errors="replace") for word in words]
            new = {text: i for i, text in reversed(list(enumerate(texts))) if text not in self._known}
            candidates = pl.Series(sorted(new, key=new.__getitem__), dtype=pl.String)
            tokens = tokenize(candidates)
            is_token = (tokens.list.len() == 1) & (tokens.list.first() == candidates)
            is_token &= candidates != "\N{REPLACEMENT CHARACTER}"  # which may stand for bytes that are not UTF-8
            taken = list(islice(compress(candidates, is_token), self.room))
            for position, text in enumerate(taken, self._first_further + len(self.further)):
                positions[new[text]] = position
            self.further += taken
            self._known.update(taken)
            self.room -= len(taken)
        return positions


def nfc(word: bytes) -> bytes:
    """Returns `word` (UTF-8) in Unicode's normalization form NFC; as it is where it is not UTF-8."""
    return word if word.isascii() or not is_utf8(word) else normalize("NFC", word.decode()).encode()


def is_utf8(word: bytes) -> bool:
    """Whether `word` is UTF-8 throughout."""
    try:
        word.decode()
    except UnicodeDecodeError:
        return False
    return True
