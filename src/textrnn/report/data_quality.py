"""The page `data_quality.md`: what the corpus, the tokens and the vectors of a study are like, as stages counted it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textrnn.corpus.tables import SPLITS
from textrnn.errors import TextrnnError
from textrnn.report.rendering import literal, render
from textrnn.run_folder import RunFolder


def read_report(path: Path) -> dict[str, Any]:
    """Returns the JSON report at `path`. Raises `TextrnnError` where there is none."""
    if not path.is_file():
        raise TextrnnError(f"{path}: no such report. An earlier stage writes it: run `dvc repro`.")
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def to_markdown(
    quality: Mapping[str, Any],
    tokens: Mapping[str, Any],
    coverage: Mapping[str, Mapping[str, Any]],
    runs: Sequence[RunFolder],
    not_stated: Sequence[str],
) -> str:
    """Returns the page.

    Args:
        quality: `quality.json` of the corpus
        tokens: `report.json` of the token tables
        coverage: `coverage.json` of each embedding, by its name
        runs: the study's, which know what they do not read
        not_stated: what the catalog does not say of the corpus, such as its licence
    """
    dropped = quality["dropped_because_text_in_later_split"]
    reasons = {literal(reason): rows for reason, rows in quality["skipped"].items()}
    reasons |= {f"{split}: its text is in a later split, too": rows for split, rows in dropped.items()}
    return render(
        "data_quality.md",
        corpus=quality["corpus"],
        not_stated=not_stated,
        splits=[_split(quality, split) for split in quality["rows"]],
        classes={literal(name): f"{{per_class[{place}]:,}}" for place, name in enumerate(quality["classes"])},
        drawn=[{"largest_group": None, **shares, "split": split} for split, shares in quality.get("drawn", {}).items()],
        left_out={reason: rows for reason, rows in reasons.items() if rows},
        shared=[
            {"pair": pair.replace("+", " and "), "texts": texts, "groups": quality["groups"]["across"].get(pair)}
            for pair, texts in quality["duplicate_texts"]["across"].items()
        ],
        vocabulary=tokens["vocabulary"],
        distinct_words=tokens["distinct_words_in_train"],
        tokens=[{"split": split, **counts} for split, counts in tokens["splits"].items()],
        truncated=_truncated(tokens["splits"], runs),
        unknown=_unknown(runs),
        never_unknown=[
            run.name
            for run in runs
            if run.unknown and not run.unknown["train"]["unknown"] and not run.params["rare_word_dropout"]
        ],
        coverage=[{"name": name, **counts} for name, counts in coverage.items()],
    )


def _split(quality: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Counts of a split, for its row."""
    rows = quality["rows"][split]
    return {
        **dict.fromkeys(("mean", "p50", "p99", "max"), 0),  # of a split without texts
        **quality["words_per_text"][split],
        "split": split,
        "texts": rows["all"],
        "per_class": [rows["per_class"].get(name, 0) for name in quality["classes"]],
        "groups": quality["groups"]["count"][split],
        "repeated": quality["duplicate_texts"]["within"][split],
    }


def _truncated(splits: Mapping[str, Mapping[str, Any]], runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """What is cut off, for each limit that experiments of the study set, and each split."""
    found = Counter(
        (run.params["max_tokens"], split, cut["texts"], cut["tokens"])
        for run in runs
        for split in splits
        if (cut := run.truncated.get(split))
    )
    rows = [
        {"limit": limit, "split": split, "experiments": experiments, "texts": texts, "tokens": tokens}
        for (limit, split, texts, tokens), experiments in found.items()
    ]
    rows = [{**row, "share": row["tokens"] / max(splits[row["split"]]["tokens"], 1)} for row in rows]
    return sorted(rows, key=lambda row: int(row["limit"]))


def _unknown(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """Which share of the words that networks read they do not know, by embedding, its use and split."""
    found = Counter(
        (run.params["embedding"], "trained" if run.params["trainable_embedding"] else "frozen", split, *counts.items())
        for run in runs
        for split in SPLITS
        if (counts := run.unknown.get(split))
    )
    rows = [
        {"embedding": embedding, "use": use, "split": split, "experiments": experiments, **dict(counts)}
        for (embedding, use, split, *counts), experiments in found.items()
    ]
    return [{**row, "share": row["unknown"] / max(row["tokens"], 1)} for row in rows]
