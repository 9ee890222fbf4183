"""Encodes a whole corpus: what training reads, and a report of what was unknown or cut off."""

from __future__ import annotations

from typing import Any

import polars as pl

from textrnn.corpus.quality import distribution
from textrnn.corpus.tables import Corpus
from textrnn.params import Encode
from textrnn.text.encoder import TextEncoder
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import UNKNOWN, Vocabulary, count_words


def encode_corpus(corpus: Corpus, settings: Encode) -> tuple[TextEncoder, dict[str, pl.DataFrame], dict[str, Any]]:
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
