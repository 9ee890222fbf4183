"""The page `data_quality.md`: what the corpus, the tokens and the vectors of a study are like.

It only words what `prepare_corpus`, `encode_corpus`, `build_embeddings` and `train` have counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from textrnn.corpus.tables import SPLITS
from textrnn.errors import TextrnnError
from textrnn.markdown import escape
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
        not_stated: what the catalog does not say of the corpus, such as its licence
        quality: `quality.json` of the corpus
        tokens: `report.json` of the token tables
        coverage: `coverage.json` of each embedding, by its name
        runs: the study's, which know what they do not read
    """
    return (
        "\n\n".join(
            [
                f"# Data quality: {quality['corpus']}",
                *([f"Not stated in the catalog: {', '.join(not_stated)}."] if not_stated else []),
                _rows(quality),
                *_drawn(quality.get("drawn", {})),
                _left_out(quality),
                "## Shared between splits",
                _shared(quality),
                "## Tokens",
                f"The vocabulary has {tokens['vocabulary']:,} entries, padding and unknown included, of "
                f"{tokens['distinct_words_in_train']:,} distinct words in the train split.",
                _tokens(tokens["splits"]),
                *_truncation(tokens["splits"], runs),
                *_unknown(runs),
                "## Vectors",
                _vectors(coverage),
            ]
        )
        + "\n"
    )


def _rows(quality: Mapping[str, Any]) -> str:
    classes = quality["classes"]
    header = [
        "split",
        "texts",
        *map(escape, classes),
        "groups",
        "repeated texts",
        "words: mean",
        "median",
        "99 %",
        "longest",
    ]
    body = []
    for split, rows in quality["rows"].items():
        words = quality["words_per_text"][split]
        per_class = [f"{rows['per_class'].get(name, 0):,}" for name in classes]
        groups = quality["groups"]["count"][split]
        lengths = [f"{words.get(key, 0):,g}" for key in ("mean", "p50", "p99", "max")]
        repeated = quality["duplicate_texts"]["within"][split]
        body.append([split, f"{rows['all']:,}", *per_class, f"{groups:,}", f"{repeated:,}", *lengths])
    return _table(header, body)


def _drawn(drawn: Mapping[str, Mapping[str, float]]) -> list[str]:
    """How far the splits are from what `prepare` asks for: groups are drawn whole, however large."""
    if not drawn:
        return []
    header = ["drawn split", "share asked for", "share of the texts", "largest group's share"]
    body = [
        [
            split,
            f"{shares['asked']:.1%}",
            f"{shares['rows']:.1%}",
            f"{shares['largest_group']:.1%}" if "largest_group" in shares else "",
        ]
        for split, shares in drawn.items()
    ]
    return [_table(header, body)]


def _left_out(quality: Mapping[str, Any]) -> str:
    dropped = quality["dropped_because_text_in_later_split"]
    reasons = {
        **{escape(reason): n for reason, n in quality["skipped"].items()},
        **{f"{split}: its text stands in a later split": n for split, n in dropped.items()},
    }
    counted = {reason: number for reason, number in reasons.items() if number}
    if not counted:
        return "No row was left out."
    return "Left out or replaced, by reason:\n\n" + _bullets(
        f"{reason}: {number:,}" for reason, number in counted.items()
    )


def _shared(quality: Mapping[str, Any]) -> str:
    texts, groups = quality["duplicate_texts"]["across"], quality["groups"]["across"]
    body = [
        [pair.replace("+", " and "), f"{number:,}", f"{groups[pair]:,}" if pair in groups else ""]
        for pair, number in texts.items()
    ]
    return _table(["splits", "equal texts", "equal groups"], body)


def _tokens(splits: Mapping[str, Mapping[str, Any]]) -> str:
    header = ["split", "tokens", "unknown", "texts without a token"]
    body = [
        [
            split,
            f"{counts['tokens']:,}",
            f"{counts['unknown_share']:.1%}",
            f"{counts['texts_without_tokens']:,}",
        ]
        for split, counts in splits.items()
    ]
    return _table(header, body)


def _truncation(splits: Mapping[str, Mapping[str, Any]], runs: Sequence[RunFolder]) -> list[str]:
    """What is cut off, for each limit that experiments of the study set."""
    limits: dict[int, list[RunFolder]] = {}
    for run in runs:
        if run.truncated:
            limits.setdefault(run.params["max_tokens"], []).append(run)
    header = ["tokens read at most", "experiments", "split", "texts cut short", "tokens cut off", "of all tokens"]
    body = [
        [
            f"{limit:,}",
            str(len(alike)),
            split,
            f"{cut['texts']:,}",
            f"{cut['tokens']:,}",
            f"{cut['tokens'] / max(counts['tokens'], 1):.1%}",
        ]
        for limit, alike in sorted(limits.items())
        for split, counts in splits.items()
        if (cut := alike[0].truncated.get(split))
    ]
    return [_table(header, body)] if body else []


def _unknown(runs: Sequence[RunFolder]) -> list[str]:
    """What networks do not know of what they read, for each embedding, and those that never learn the unknown word."""
    alike: dict[tuple[str, str, str], list[RunFolder]] = {}
    for run in runs:
        if run.unknown:
            use = "trained" if run.params["trainable_embedding"] else "frozen"
            alike.setdefault((run.params["embedding"], use, json.dumps(run.unknown)), []).append(run)
    header = ["embedding", "vectors", "experiments", "split", "words read", "unknown", "texts without a known word"]
    body = [
        [
            f"`{embedding}`",
            use,
            str(len(group)),
            split,
            f"{counts['tokens']:,}",
            f"{counts['unknown'] / max(counts['tokens'], 1):.1%}",
            f"{counts['texts']:,}",
        ]
        for (embedding, use, _), group in alike.items()
        for split in SPLITS
        if (counts := group[0].unknown.get(split))
    ]
    never = [
        f"`{run.name}`"
        for run in runs
        if run.unknown and not run.unknown["train"]["unknown"] and not run.params["rare_word_dropout"]
    ]
    parts = [_table(header, body)] if body else []
    if never:
        parts.append(
            f"No unknown word occurs in the training of {', '.join(never)}, so they do not learn to read one. Set "
            "`rare_word_dropout`, or `encode.min_count` to 2."
        )
    return parts


def _vectors(coverage: Mapping[str, Mapping[str, Any]]) -> str:
    header = ["embedding", "source", "dimension", "vocabulary covered", "running words covered", "further words"]
    body, missing = [], []
    for name, counts in coverage.items():
        shares = [f"{counts[key]['share']:.1%}" for key in ("vocabulary", "running_words")]
        body.append([f"`{name}`", counts["source"], counts["dimension"], *shares, f"{counts['file_words']:,}"])
        words = ", ".join(f"{_code(word)} {times:,}" for word, times in counts["most_frequent_uncovered"].items())
        # Where nothing is covered (vectors drawn at random), the most frequent words say nothing.
        if words and counts["vocabulary"]["covered"]:
            missing.append(f"`{name}`: {words}")
    parts = [_table(header, body)]
    if missing:
        parts += [
            "Most frequent words without a vector, with how often they stand in the train split:",
            _bullets(missing),
        ]
    return "\n\n".join(parts)


def _table(header: list[str], body: list[list[str]]) -> str:
    align = ["left"] + ["right"] * (len(header) - 1)
    return str(tabulate(body, header, tablefmt="pipe", colalign=align, disable_numparse=True))


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _code(word: str) -> str:
    """A word may hold backticks: then the code span's fence is longer, as CommonMark says."""
    fence = "`" * (max(map(len, re.findall("`+", word)), default=0) + 1)
    return f"{fence} {word} {fence}" if len(fence) > 1 else f"`{word}`"
