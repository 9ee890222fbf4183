"""The data quality page, made from what the data stages really report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from textrnn.comparison import data_quality
from textrnn.corpus.quality import quality_report
from textrnn.corpus.tables import Corpus
from textrnn.embeddings.matrix import Embedding
from textrnn.errors import TextrnnError
from textrnn.params import Encode
from textrnn.text.encoding import encode_corpus


def _frame(texts: list[str], group: str) -> pl.DataFrame:
    rows = range(len(texts))
    return pl.DataFrame(
        {
            "id": [f"{group}{row}" for row in rows],
            "text": texts,
            "label": [("neg", "pos")[row % 2] for row in rows],
            "group": [group for _ in rows],
        }
    )


def _page() -> list[str]:
    frames = {
        "train": _frame(["a good film", "a bad film", "a bad film"], "x"),
        "valid": _frame(["a bad film", "very good"], "y"),
        "test": _frame(["dull", "good good good good"], "y"),
    }
    corpus = Corpus("tiny", ("neg", "pos"), frames)
    quality = quality_report(corpus, {"label 'plot'": 1097}, {"train": 2})
    settings = Encode(vocabulary_size=10, min_count=1, max_tokens=3, keep="start")
    encoder, _, report = encode_corpus(corpus, settings)
    vocabulary = encoder.vocabulary
    embedding = Embedding.build(vocabulary, np.ones((1, 4), np.float32), np.array([2]))
    coverage: dict[str, Any] = {
        "source": "glove-50d",
        **embedding.coverage(vocabulary, np.ones(len(vocabulary), np.int64)),
    }
    coverage["most_frequent_uncovered"]["`"] = 1
    return data_quality.to_markdown(quality, report, {"glove": coverage}).splitlines()


def _cells(page: list[str], after: str, row: str) -> list[str]:
    section = page[page.index(after) :]
    return next([c.strip() for c in line.split("|")[1:-1]] for line in section if line.startswith(f"| {row} "))


def test_page_counts_what_was_kept_left_out_and_shared() -> None:
    page = _page()

    assert _cells(page, "# Data quality: tiny", "train")[:6] == ["train", "3", "2", "1", "1", "1"]
    assert "- label 'plot': 1,097" in page
    assert "- train: its text stands in a later split: 2" in page
    assert _cells(page, "## Shared between splits", "train and valid") == ["train and valid", "1", "0"]
    assert _cells(page, "## Shared between splits", "valid and test") == ["valid and test", "0", "1"]


def test_page_tells_what_encoding_lost_and_vectors_lack() -> None:
    page = _page()

    # `good good good good` is cut to three; `dull` and nothing else is unknown: 1 of 4 tokens.
    assert _cells(page, "## Tokens", "test") == ["test", "5", "25.0%", "1", "1", "0"]
    assert _cells(page, "## Vectors", "`glove`")[:3] == ["`glove`", "glove-50d", "4"]
    assert any(line.startswith("- `glove`: ") and "`good` 1" in line for line in page)
    assert any("`` ` `` 1" in line for line in page)


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"quality\.json: no such report.*dvc repro"):
        data_quality.read_report(tmp_path / "quality.json")
