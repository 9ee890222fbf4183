"""Turns texts into word indices and back: what training reads, and what a served model carries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import polars as pl

from textrnn.corpus.quality import distribution
from textrnn.corpus.tables import Corpus
from textrnn.errors import TextrnnError
from textrnn.params import Encode
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import PADDING, UNKNOWN, Vocabulary, count_words


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


def encode_corpus(
    corpus: Corpus, settings: Encode
) -> tuple[TextEncoder, dict[str, pl.DataFrame], dict[str, Any]]:
    """Returns the encoder, the encoded splits and a report of what was unknown or cut off.

    The vocabulary comes from the train split alone. Each split is a table `id` (str), `ids`
    (list[int32]), `label` (int32 class index; null where unlabelled), rows in the corpus' order.
    """
    train = tokenize(corpus.frames["train"]["text"])
    vocabulary = Vocabulary.build(train, settings.vocabulary_size, settings.min_count)
    encoder = TextEncoder(vocabulary, corpus.classes, settings.max_tokens, settings.keep)
    report: dict[str, Any] = {
        "vocabulary": len(vocabulary),
        "distinct_words_in_train": len(count_words(train)),
        "splits": {},
    }
    frames = {}
    for split, frame in corpus.frames.items():
        tokens = train if split == "train" else tokenize(frame["text"])
        ids = encoder.encode_tokens(tokens)
        label = frame["label"].cast(pl.Enum(corpus.classes)).to_physical().cast(pl.Int32)
        frames[split] = pl.DataFrame({"id": frame["id"], "ids": ids, "label": label})
        report["splits"][split] = _split_report(tokens.list.len(), ids, settings.max_tokens)
    return encoder, frames, report


def _split_report(lengths: pl.Series, ids: pl.Series, max_tokens: int) -> dict[str, Any]:
    """`lengths` counts tokens before truncation, `ids` holds what is left after it."""
    kept = ids.explode()
    return {
        "texts": len(ids),
        "texts_without_tokens": int((lengths == 0).sum()),
        "truncated_texts": int((lengths > max_tokens).sum()),
        "tokens": int(lengths.sum()),
        "dropped_tokens": int((lengths.cast(pl.Int64) - max_tokens).clip(lower_bound=0).sum()),
        "unknown_tokens": int((kept == UNKNOWN).sum()),
        "unknown_share": round(float((kept == UNKNOWN).sum()) / max(len(kept), 1), 6),
        "tokens_per_text": distribution(lengths),
    }
