"""Turns texts into word indices and back: what a trained model carries with it to read raw text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import polars as pl

from textrnn.errors import TextrnnError
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import PADDING, UNKNOWN, Vocabulary


@dataclass(frozen=True)
class TextEncoder:
    """Vocabulary, class order and length limit. `keep` says which end of a longer text survives."""

    vocabulary: Vocabulary
    classes: tuple[str, ...]
    max_tokens: int
    keep: Literal["start", "end", "both"]

    def encode(self, texts: pl.Series) -> pl.Series:
        """Returns the word indices of `texts` (str) as list[int32], 1 to `max_tokens` of them, unpadded.

        A text without any token becomes `[UNKNOWN]`.
        """
        return self.encode_tokens(tokenize(texts))

    def encode_tokens(self, tokens: pl.Series) -> pl.Series:
        """As `encode`, for texts that are tokenized already (list[str])."""
        ids = self._truncate(self.vocabulary.lookup(tokens)).alias("ids")
        placeholder = pl.lit([UNKNOWN], dtype=pl.List(pl.Int32))
        fallback = pl.when(ids.list.len() == 0).then(placeholder).otherwise(ids)
        return pl.select(ids=fallback)["ids"]

    def decode(self, ids: Sequence[int]) -> list[str]:
        """Returns the words of `ids` without the padding; words that were unknown come back as `<unk>`."""
        return [self.vocabulary.words[index] for index in ids if index != PADDING]

    def save(self, folder: Path) -> None:
        """Writes `vocabulary.txt` and `encoder.json` into `folder`."""
        self.vocabulary.save(folder / "vocabulary.txt")
        settings = {"classes": self.classes, "max_tokens": self.max_tokens, "keep": self.keep}
        content = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        (folder / "encoder.json").write_text(content, encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. Raises `TextrnnError` if it is not there."""
        path = folder / "encoder.json"
        if not path.is_file():
            raise TextrnnError(f"{path}: no such file. The encode stage writes it: run `dvc repro`.")
        settings = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = Vocabulary.load(folder / "vocabulary.txt")
        return cls(vocabulary, tuple(settings["classes"]), settings["max_tokens"], settings["keep"])

    def _truncate(self, ids: pl.Series) -> pl.Series:
        """Cuts every list to `max_tokens`; `both` keeps the two ends, the head one longer if need be."""
        if self.keep == "start":
            return ids.list.head(self.max_tokens)
        if self.keep == "end":
            return ids.list.tail(self.max_tokens)
        tail = self.max_tokens // 2
        ends = pl.concat_list(ids.list.head(self.max_tokens - tail), ids.list.tail(tail))
        return pl.select(ids=pl.when(ids.list.len() <= self.max_tokens).then(ids).otherwise(ends))["ids"]
