"""Turns texts into word indices and back. A trained model carries its encoder with it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from textrnn.arrays import checked_classes
from textrnn.errors import TextrnnError, readable
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import PADDING, UNKNOWN, Vocabulary


@dataclass(frozen=True)
class TextEncoder:
    """Vocabulary and class order."""

    vocabulary: Vocabulary
    classes: tuple[str, ...]

    def encode(self, texts: pl.Series) -> pl.Series:
        """Returns the word indices of `texts` (str) as list[int32]; `[UNKNOWN]` for a text without tokens."""
        return never_empty(self.lookup(texts))

    def lookup(self, texts: pl.Series) -> pl.Series:
        """Returns the same as list[int32], but an empty list for a text without tokens."""
        return self.vocabulary.lookup(tokenize(texts))

    def decode(self, ids: Sequence[int]) -> list[str]:
        """Returns the words of `ids` without the padding; unknown words are `<unk>`."""
        return [self.vocabulary.words[index] for index in ids if index != PADDING]

    def save(self, folder: Path) -> None:
        """Writes `vocabulary.txt` and `encoder.json` into `folder`."""
        self.vocabulary.save(folder / "vocabulary.txt")
        content = json.dumps({"classes": self.classes}, indent=2, ensure_ascii=False) + "\n"
        (folder / "encoder.json").write_text(content, encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote. Raises `TextrnnError` if a file is missing."""
        path = folder / "encoder.json"
        if not path.is_file():
            raise TextrnnError(f"{path}: no such file. The encode stage writes it: run `dvc repro`.")
        with readable(path):
            classes = checked_classes(json.loads(path.read_text(encoding="utf-8"))["classes"])
        return cls(Vocabulary.load(folder / "vocabulary.txt"), classes)


def with_known(table: pl.DataFrame, vocabulary: Vocabulary) -> pl.Series:
    """Returns `ids` of `table` (as `encode_corpus` writes it) with the index of each `unknown` word in `vocabulary`."""
    found = vocabulary.lookup(table["unknown"]).explode(empty_as_null=False)
    if (found == UNKNOWN).all():
        return table["ids"]
    words = table.select("ids").with_row_index("text").explode("ids")
    replaced = words["ids"].scatter((words["ids"] == UNKNOWN).arg_true(), found)
    return words.with_columns(replaced).group_by("text", maintain_order=True).agg("ids")["ids"]


def never_empty(ids: pl.Series) -> pl.Series:
    """Returns `ids` (list[int32]) with `[UNKNOWN]` for every empty list: a network reads at least one word."""
    placeholder = pl.lit([UNKNOWN], dtype=pl.List(pl.Int32))
    return pl.select(ids=pl.when(ids.list.len() == 0).then(placeholder).otherwise(ids))["ids"]
