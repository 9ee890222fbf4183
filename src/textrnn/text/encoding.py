"""Encodes a whole corpus: the tables that training reads, and a report on unknown words."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from textrnn.config.sections import Encode
from textrnn.corpus.quality import distribution
from textrnn.corpus.tables import open_table, read_quality, read_slices, table_files
from textrnn.text.encoder import TextEncoder, never_empty
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import UNKNOWN, SeenWords, Vocabulary

SCHEMA = pl.Schema({"id": pl.String(), "ids": pl.List(pl.Int32), "unknown": pl.List(pl.String), "label": pl.Int32()})

Encoded = tuple[pl.Series, pl.Series]
"""A slice of texts: word indices (list[int32]), and the words without one (list[str])."""


def encode_corpus(corpus: Path, settings: Encode, target: Path) -> tuple[TextEncoder, dict[str, Any]]:
    """Writes the encoded splits of the corpus in the folder `corpus` to `target`, one `<split>.parquet` each.

    The vocabulary comes from the train split alone. Each split is a table `id` (str), `ids` (list[int32]),
    `unknown` (list[str]: the words that `UNKNOWN` replaces in `ids`, in order; "" where a text has no word) and
    `label` (int32 class index; null where unlabelled), rows in the corpus' order. Texts are read in slices, so
    a corpus may exceed the memory.

    Returns:
        The encoder, and a report on unknown words and lengths.

    Raises `TextrnnError`: `corpus` is no corpus, or no word occurs often enough.
    """
    classes, files = tuple(read_quality(corpus)["classes"]), table_files(corpus)
    seen, splits = SeenWords(), {}
    with TemporaryDirectory(dir=target) as scratch:
        for split, file in files.items():
            slices = (rows["text"] for rows in read_slices(file, "text"))
            if split == "train":
                vocabulary, encoded = index_words(slices, seen, settings, Path(scratch))
            else:
                tokens = map(tokenize, slices)
                encoded = ((vocabulary.lookup(each), vocabulary.lacks(each)) for each in tokens)
            splits[split] = _encode_split(file, encoded, classes, target)
    report = {"vocabulary": len(vocabulary), "distinct_words_in_train": len(seen), "splits": splits}
    return TextEncoder(vocabulary, classes), report


def index_words(
    slices: Iterable[pl.Series], seen: SeenWords, settings: Encode, scratch: Path
) -> tuple[Vocabulary, Iterator[Encoded]]:
    """Returns the vocabulary of the texts in `slices` (str), and the encoded slices.

    Each text is tokenized once; `seen` counts its words, and their numbers wait in the folder `scratch`.
    """
    files: list[Path] = []
    for texts in slices:
        files.append(scratch / f"{len(files)}.arrow")
        seen.add(tokenize(texts)).to_frame("numbers").write_ipc(files[-1])
    vocabulary = Vocabulary.build(seen, settings.vocabulary_size, settings.min_count)
    lookup = seen.lookup(vocabulary)
    return vocabulary, (lookup(pl.read_ipc(file)["numbers"]) for file in files)


def _encode_split(file: Path, slices: Iterable[Encoded], classes: tuple[str, ...], target: Path) -> dict[str, Any]:
    """Writes the table `file` with the words in `slices` to `target`; returns the report on them."""
    parts, unknown_words = [], 0
    with open_table(target / file.name, SCHEMA) as append:
        for rows, (found, lacked) in zip(read_slices(file, "id", "label"), slices, strict=True):
            ids = never_empty(found)
            unknown = pl.select(pl.when(found.list.len() == 0).then(pl.lit([""])).otherwise(lacked)).to_series()
            label = rows["label"].cast(pl.Enum(classes)).to_physical().cast(pl.Int32)
            append(pl.DataFrame({"id": rows["id"], "ids": ids, "unknown": unknown, "label": label}))
            parts.append(found.list.len().cast(pl.Int64))  # sums of uint32 overflow
            unknown_words += int((ids.explode() == UNKNOWN).sum())
    lengths = pl.concat(parts)
    words = int(lengths.clip(lower_bound=1).sum())  # a text without tokens is one unknown word
    return {
        "texts": len(lengths),
        "texts_without_tokens": int((lengths == 0).sum()),
        "tokens": int(lengths.sum()),
        "unknown_tokens": unknown_words,
        "unknown_share": round(unknown_words / max(words, 1), 6),
        "tokens_per_text": distribution(lengths),
    }
