"""Describes a prepared corpus: sizes, what was left out, duplicates, leaks, lengths."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import polars as pl

from textrnn.corpus.tables import Corpus


def quality_report(
    corpus: Corpus, skipped: Mapping[str, int], dropped: Mapping[str, int], drawn: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Returns the properties of `corpus`, ready for JSON.

    Duplicates are texts with equal characters; `across` counts distinct texts and groups that two splits share.
    `skipped` (by reason) is that of `read_corpus`; `dropped` and `drawn` (by split) are those of `split_corpus`.
    """
    frames = corpus.frames
    groups = {split: frame for split, frame in frames.items() if split != "unlabelled"}
    words = {split: frame["text"].str.count_matches(r"\S+") for split, frame in frames.items()}
    return {
        "corpus": corpus.name,
        "classes": list(corpus.classes),
        "rows": {split: _rows(frame, corpus.classes) for split, frame in frames.items()},
        "skipped": dict(skipped),
        "dropped_because_text_in_later_split": dict(dropped),
        "drawn": {split: dict(shares) for split, shares in drawn.items()},
        "duplicate_texts": {
            "within": {split: frame.height - frame["text"].n_unique() for split, frame in frames.items()},
            "across": _shared(frames, "text"),
        },
        "groups": {
            "count": {split: frame["group"].drop_nulls().n_unique() for split, frame in frames.items()},
            "across": _shared(groups, "group"),
        },
        "words_per_text": {split: distribution(lengths) for split, lengths in words.items()},
    }


def distribution(lengths: pl.Series) -> dict[str, float]:
    """Returns minimum, mean, percentiles (the lower neighbour) and maximum of `lengths` (integers)."""
    if lengths.is_empty():
        return {}
    ordered = lengths.sort()
    return {
        "min": int(ordered[0]),
        "mean": round(float(lengths.cast(pl.Float64).sum()) / len(lengths), 2),
        **{f"p{percent}": int(ordered[(len(ordered) - 1) * percent // 100]) for percent in (50, 90, 99)},
        "max": int(ordered[-1]),
    }


def _rows(frame: pl.DataFrame, classes: tuple[str, ...]) -> dict[str, Any]:
    labels = frame["label"]
    per_class = {name: int((labels == name).sum()) for name in classes if labels.null_count() < len(labels)}
    return {"all": frame.height, "per_class": per_class}


def _shared(frames: Mapping[str, pl.DataFrame], column: str) -> dict[str, int]:
    """Counts the distinct values of `column` that both splits have, for every pair of splits."""
    values = {split: frame[column].drop_nulls().unique().to_frame() for split, frame in frames.items()}
    return {
        f"{one}+{other}": values[one].join(values[other], on=column, how="semi").height
        for one, other in combinations(frames, 2)
    }
