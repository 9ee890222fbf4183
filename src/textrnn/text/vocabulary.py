"""The words a model knows, each at its index: 0 is padding, 1 stands for every other word."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from textrnn.errors import TextrnnError

PADDING = 0
UNKNOWN = 1
RESERVED = ("<pad>", "<unk>")
"""The first two words. The tokenizer sets `<` apart, so no text can contain them."""


@dataclass(frozen=True)
class Vocabulary:
    """`words[i]` is the word of index `i`; after the two reserved ones, the most frequent first."""

    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def build(cls, tokens: pl.Series, size: int, min_count: int) -> Self:
        """Returns the `size` most frequent words of `tokens` (list[str]), the reserved two among them.

        Words seen fewer than `min_count` times are left out. Equally frequent words stand in
        alphabetical (code point) order.

        Raises:
            TextrnnError: no word occurs often enough.
        """
        counts = count_words(tokens).filter(pl.col("count") >= min_count)
        if counts.is_empty():
            raise TextrnnError(
                f"encode.min_count: no word occurs {min_count} times in the {len(tokens)} training texts. "
                "Lower min_count, or give more texts."
            )
        return cls((*RESERVED, *counts["word"].head(size - len(RESERVED))))

    def lookup(self, tokens: pl.Series) -> pl.Series:
        """Returns the index of each word of `tokens` (list[str]) as list[int32]; `UNKNOWN` if it has none."""
        known = tokens.cast(pl.List(pl.Enum(self.words)), strict=False)
        return known.list.eval(pl.element().to_physical().fill_null(UNKNOWN).cast(pl.Int32))

    def save(self, path: Path) -> None:
        """Writes one word per line to `path`: line i (from 0) holds the word of index i."""
        path.write_text("".join(f"{word}\n" for word in self.words), encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote. Raises `TextrnnError` if it is no vocabulary."""
        if not path.is_file():
            raise TextrnnError(f"{path}: no such file. The encode stage writes it: run `dvc repro`.")
        words = tuple(path.read_bytes().decode("utf-8").split("\n")[:-1])  # a word may not be cut at U+0085
        if words[: len(RESERVED)] != RESERVED or len(set(words)) < len(words):
            raise TextrnnError(
                f"{path} must hold unique words, one per line, {' and '.join(RESERVED)} first. "
                f"Received: {', '.join(words[:3])}, … Run the encode stage again."
            )
        return cls(words)


def count_words(tokens: pl.Series) -> pl.DataFrame:
    """Returns every `word` of `tokens` (list[str]) with its `count`, most frequent first, then by word."""
    words = tokens.explode(empty_as_null=False).alias("word").to_frame().lazy()
    counts = words.group_by("word").agg(pl.len().alias("count"))
    return counts.sort("count", "word", descending=[True, False]).collect()
