from __future__ import annotations

import json

import polars as pl

from textrnn.corpus.quality import distribution, quality_report
from textrnn.corpus.tables import Corpus


def frame(rows: list[tuple[str, str, str | None, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(("id", "text", "label", "group"), pl.String), orient="row")


def test_counts_rows_duplicates_groups_and_words() -> None:
    corpus = Corpus(
        "tiny",
        ("x", "y", "z"),
        {
            "train": frame([("1", "one two", "x", "f"), ("2", "one two", "y", "g"), ("3", "a b c d", "y", None)]),
            "valid": frame([("4", "a b c d", "z", "g")]),
            "test": frame([("5", "only", "x", "h")]),
            "unlabelled": frame([("6", "only", None, "h")]),
        },
    )
    report = quality_report(corpus, {"label 'plot'": 7}, {"train": 2}, {"test": {"asked": 0.2, "rows": 0.3}})
    assert json.loads(json.dumps(report)) == report
    assert report["corpus"] == "tiny"
    assert report["classes"] == ["x", "y", "z"]
    assert report["rows"]["train"] == {"all": 3, "per_class": {"x": 1, "y": 2, "z": 0}}
    assert report["rows"]["unlabelled"] == {"all": 1, "per_class": {}}
    assert report["drawn"] == {"test": {"asked": 0.2, "rows": 0.3}}
    assert report["skipped"] == {"label 'plot'": 7}
    assert report["dropped_because_text_in_later_split"] == {"train": 2}
    assert report["duplicate_texts"]["within"] == {"train": 1, "valid": 0, "test": 0, "unlabelled": 0}
    assert report["duplicate_texts"]["across"] == {
        "train+valid": 1,
        "train+test": 0,
        "train+unlabelled": 0,
        "valid+test": 0,
        "valid+unlabelled": 0,
        "test+unlabelled": 1,
    }
    assert report["groups"] == {
        "count": {"train": 2, "valid": 1, "test": 1, "unlabelled": 1},
        "across": {"train+valid": 1, "train+test": 0, "valid+test": 0},
    }
    assert report["words_per_text"]["train"] == {
        "min": 2,
        "mean": 2.67,
        "p50": 2,
        "p90": 2,
        "p99": 2,
        "max": 4,
    }


def test_distribution_of_one_to_a_hundred_and_one() -> None:
    expected = {"min": 1, "mean": 51.0, "p50": 51, "p90": 91, "p99": 100, "max": 101}
    assert distribution(pl.Series(range(1, 102))) == expected


def test_distribution_of_nothing() -> None:
    assert distribution(pl.Series([], dtype=pl.UInt32)) == {}
