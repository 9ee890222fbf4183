"""The words that a model knows, in the order of their indices; 0 is padding, 1 any other word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from textrnn.errors import TextrnnError, readable

PADDING = 0
UNKNOWN = 1
RESERVED = ("<pad>", "<unk>")  # the first two words. The tokenizer separates `<`, so no text can contain them.

FEW = 10_000
"""Fewer words than this are looked up sooner in a dictionary: for each call polars makes an index of the vocabulary."""


@dataclass(frozen=True)
class Vocabulary:
    """`words[i]` is the word of index `i`: the two reserved ones, then the most frequent first."""

    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def build(cls, seen: SeenWords, size: int, min_count: int) -> Self:
        """Returns the most frequent words of `seen`, at most `size` with the reserved two.

        Raises `TextrnnError`: no word occurs `min_count` times.
        """
        words = seen.counts().filter(pl.col("count") >= min_count)["word"]
        if words.is_empty():
            raise TextrnnError(
                f"encode.min_count: no word occurs {min_count} times in the training texts. "
                "Lower min_count, or provide more texts."
            )
        return cls((*RESERVED, *words.head(size - len(RESERVED))))

    @cached_property
    def _type(self) -> pl.Enum:
        return pl.Enum(self.words)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    def lookup(self, tokens: pl.Series) -> pl.Series:
        """Returns the indices of `tokens` (list[str]) as list[int32]; `UNKNOWN` where a word has none."""
        if tokens.list.len().sum() < FEW and not tokens.null_count():
            found = [[self._indices.get(word, UNKNOWN) for word in text] for text in tokens.to_list()]
            return pl.Series(tokens.name, found, pl.List(pl.Int32))
        known = tokens.cast(pl.List(self._type), strict=False)
        return known.list.eval(pl.element().to_physical().fill_null(UNKNOWN).cast(pl.Int32))

    def lacks(self, tokens: pl.Series) -> pl.Series:
        """Returns the words of `tokens` (list[str]) that have no index, as list[str] in their order."""
        known = pl.element().cast(self._type, strict=False)
        return tokens.list.eval(pl.element().filter(known.is_null()))

    def save(self, path: Path) -> None:
        """Writes one word per line to `path`: line i (from 0) holds the word of index i."""
        path.write_text("".join(f"{word}\n" for word in self.words), encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote. Raises `TextrnnError` if `path` holds no vocabulary."""
        if not path.is_file():
            raise TextrnnError(f"{path}: no such file. The encode stage writes it: run `dvc repro`.")
        with readable(path):
            *words, rest = path.read_bytes().decode("utf-8").split("\n")  # `splitlines` would split at U+0085
        if (*words[: len(RESERVED)],) != RESERVED or len(set(words)) < len(words) or rest:
            raise TextrnnError(
                f"{path} must hold unique words, one per line, {' and '.join(RESERVED)} first. "
                f"Received: {', '.join(words[:3])}, … Run the encode stage again."
            )
        return cls(tuple(words))


class SeenWords:
    """Counts the distinct words of texts that arrive slice by slice, and numbers them from 0 in order of appearance.

    Stored as numbers, the texts take little space until the vocabulary is complete, and are tokenized once.
    """

    def __init__(self) -> None:
        self._type = pl.Categorical(pl.Categories.random())
        self._held = pl.Series(dtype=self._type)  # polars drops the categories when no series refers to them
        self._counts = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, tokens: pl.Series) -> pl.Series:
        """Counts the words of `tokens` (list[str]), and returns their numbers as list[uint32]."""
        numbers = tokens.cast(pl.List(self._type)).list.eval(pl.element().to_physical())
        counts = np.bincount(numbers.explode(empty_as_null=False).to_numpy(), minlength=len(self))
        counts[: len(self)] += self._counts
        self._counts = counts
        return numbers

    def counts(self) -> pl.DataFrame:
        """Returns `word` (str) and `count` (int64), the most frequent first, equal counts in code point order."""
        table = pl.DataFrame({"word": self._words(), "count": self._counts})
        return table.sort("count", "word", descending=[True, False])

    def lookup(self, vocabulary: Vocabulary) -> Callable[[pl.Series], tuple[pl.Series, pl.Series]]:
        """Returns a function from words' numbers (list[uint32]) to `vocabulary.lookup` and `vocabulary.lacks`."""
        words = pl.Series([self._words()])
        indices = vocabulary.lookup(words)
        unknown = (indices.explode() == UNKNOWN).arg_true()
        return lambda numbers: (
            indices.list.gather(numbers),
            words.list.gather(numbers.list.eval(pl.element().filter(pl.element().is_in(unknown.implode())))),
        )

    def _words(self) -> pl.Series:
        return self._type.categories.to_series().cast(pl.String).head(len(self))
