"""The page `data_quality.md`: what the corpus, the tokens and the vectors of a study are like.

Its numbers were counted by `prepare_corpus`, `encode_corpus`, `build_embeddings` and `train`; the words are in
`data_quality.md.jinja`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textrnn.corpus.tables import SPLITS
from textrnn.errors import TextrnnError
from textrnn.report.templates import literal, render
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
    shared, shared_groups = quality["duplicate_texts"]["across"], quality["groups"]["across"]
    return render(
        "data_quality.md",
        corpus=quality["corpus"],
        not_stated=not_stated,
        splits=[_split(quality, split) for split in quality["rows"]],
        classes={literal(name): f"{{per_class[{place}]:,}}" for place, name in enumerate(quality["classes"])},
        drawn=[{"largest_group": None, **shares, "split": split} for split, shares in quality.get("drawn", {}).items()],
        left_out=_left_out(quality),
        shared=[
            {"pair": pair.replace("+", " and "), "texts": texts, "groups": shared_groups.get(pair)}
            for pair, texts in shared.items()
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


def _left_out(quality: Mapping[str, Any]) -> dict[str, int]:
    """How many rows were left out, by the reason in words."""
    dropped = quality["dropped_because_text_in_later_split"]
    reasons = {literal(reason): rows for reason, rows in quality["skipped"].items()}
    reasons |= {f"{split}: its text is in a later split, too": rows for split, rows in dropped.items()}
    return {reason: rows for reason, rows in reasons.items() if rows}


def _truncated(splits: Mapping[str, Mapping[str, Any]], runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """What is cut off, for each limit that experiments of the study set, and each split."""
    limits: dict[int, list[RunFolder]] = {}
    for run in runs:
        if run.truncated:
            limits.setdefault(run.params["max_tokens"], []).append(run)
    return [
        {"limit": limit, "experiments": len(alike), "split": split, **cut, "share": cut["tokens"] / max(all_tokens, 1)}
        for limit, alike in sorted(limits.items())
        for split, all_tokens in ((split, counts["tokens"]) for split, counts in splits.items())
        if (cut := alike[0].truncated.get(split))
    ]


def _unknown(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """Which share of the words that networks read they do not know, by embedding, its use and split."""
    groups: dict[tuple[str, str, str], list[RunFolder]] = {}
    for run in runs:
        if run.unknown:
            use = "trained" if run.params["trainable_embedding"] else "frozen"
            groups.setdefault((run.params["embedding"], use, json.dumps(run.unknown)), []).append(run)
    return [
        {
            "embedding": embedding,
            "use": use,
            "experiments": len(alike),
            "split": split,
            **counts,
            "share": counts["unknown"] / max(counts["tokens"], 1),
        }
        for (embedding, use, _), alike in groups.items()
        for split in SPLITS
        if (counts := alike[0].unknown.get(split))
    ]
