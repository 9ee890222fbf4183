"""The data quality page, made from what the data stages really report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fake_runs import make_run

from textrnn.config.sections import Encode
from textrnn.corpus.quality import quality_report
from textrnn.corpus.tables import Corpus
from textrnn.embeddings.matrix import Embedding
from textrnn.errors import TextrnnError
from textrnn.report import data_quality
from textrnn.run_folder import RunFolder
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


def _page(scratch: Path, runs: Sequence[RunFolder] = ()) -> list[str]:
    frames = {
        "train": _frame(["a good film", "a bad film", "a bad film"], "x"),
        "valid": _frame(["a bad film", "very good"], "y"),
        "test": _frame(["dull", "good good good good"], "y"),
    }
    corpus = Corpus("tiny", ("neg", "pos"), frames)
    quality = quality_report(
        corpus, {"label 'plot'": 1097}, {"train": 2}, {"test": {"asked": 0.2, "rows": 0.62, "largest_group": 0.6}}
    )
    settings = Encode(vocabulary_size=10, min_count=1)
    corpus.save(scratch, quality)
    (scratch / "tokens").mkdir()
    encoder, report = encode_corpus(scratch, settings, scratch / "tokens")
    vocabulary = encoder.vocabulary
    embedding = Embedding.build(vocabulary, np.ones((1, 4), np.float32), np.array([2]))
    coverage: dict[str, Any] = {
        "source": "glove-50d",
        **embedding.coverage(vocabulary, np.ones(len(vocabulary), np.int64)),
    }
    coverage["most_frequent_uncovered"]["`"] = 1
    return data_quality.to_markdown(
        quality, report, {"glove": coverage}, runs or _runs(scratch), ["licence", "citation"]
    ).splitlines()


def _runs(scratch: Path) -> list[RunFolder]:
    """Two that read three words at most, one that reads two, and a baseline, which reads all."""
    by_limit = {
        3: {"valid": {"texts": 0, "tokens": 0}, "test": {"texts": 1, "tokens": 1}},
        2: {"test": {"texts": 1, "tokens": 2}},
    }
    runs = [
        make_run(scratch, name, params={"cell": "lstm", "max_tokens": limit}, truncated=by_limit[limit])
        for name, limit in {"lstm": 3, "gru": 3, "short": 2}.items()
    ]
    return [*runs, make_run(scratch, "nb-svm", kind="baseline")]


def _row(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def _cells(page: list[str], after: str, row: str) -> list[str]:
    section = page[page.index(after) :]
    return next(_row(line) for line in section if line.startswith(f"| {row} "))


def test_page_counts_what_was_kept_left_out_and_shared(tmp_path: Path) -> None:
    page = _page(tmp_path)

    assert _cells(page, "# Data quality: tiny", "train")[:6] == ["train", "3", "2", "1", "1", "1"]
    assert "- label 'plot': 1,097" in page
    assert "- train: its text is in a later split, too: 2" in page
    assert _cells(page, "## Shared between splits", "train and valid") == ["train and valid", "1", "0"]
    assert _cells(page, "## Shared between splits", "valid and test") == ["valid and test", "0", "1"]


def test_page_shows_what_encoding_lost_and_vectors_lack(tmp_path: Path) -> None:
    page = _page(tmp_path)

    # `dull` and nothing else is unknown: 1 of 5 tokens. Then `good good good good` is cut to three, or two.
    assert _cells(page, "## Tokens", "test") == ["test", "5", "20.0%", "0"]
    assert [row for row in map(_row, page) if row[:1] in (["2"], ["3"])] == [
        ["2", "1", "test", "1", "2", "40.0%"],
        ["3", "2", "valid", "0", "0", "0.0%"],
        ["3", "2", "test", "1", "1", "20.0%"],
    ]
    assert _cells(page, "## Vectors", "`glove`")[:3] == ["`glove`", "glove-50d", "4"]
    assert any(line.startswith("- `glove`: ") and "`good` 1" in line for line in page)
    assert any("`` ` `` 1" in line for line in page)


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextrnnError, match=r"quality\.json: no such report.*dvc repro"):
        data_quality.read_report(tmp_path / "quality.json")


def test_page_shows_what_is_not_stated_and_how_far_the_splits_are_from_what_was_asked(tmp_path: Path) -> None:
    page = _page(tmp_path)
    assert "Not stated in the catalog: licence, citation." in page
    assert _cells(page, "# Data quality: tiny", "test")[:1] == ["test"]
    assert ["test", "20.0%", "62.0%", "60.0%"] in map(_row, page)


def test_names_of_strangers_break_no_table_and_no_list() -> None:
    names = ("a|b", "_private_", "$5 to $10", "<b>", "`x`")
    frame = pl.DataFrame({"id": ["1"], "text": ["a"], "label": ["a|b"], "group": ["g"]})
    corpus = Corpus("tiny", names, dict.fromkeys(("train", "valid", "test"), frame))
    quality = quality_report(corpus, {"label '|*x*'": 1}, {}, {})
    tokens = {"vocabulary": 3, "distinct_words_in_train": 1, "splits": {}}
    page = data_quality.to_markdown(quality, tokens, {}, [], []).splitlines()
    header, ruler = next((line, page[row + 1]) for row, line in enumerate(page) if line.startswith("| split"))
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", header)[1:-1]]
    assert len(cells) == ruler.count("|") - 1
    assert cells[2:7] == [r"a\|b", r"\_private\_", r"\$5 to \$10", r"\<b\>", r"\`x\`"]
    assert any(line.startswith(r"- label '\|\*x\*': 1") for line in page)


def test_unknown_words_are_counted_for_each_embedding_and_use(tmp_path: Path) -> None:
    counts = {"tokens": 200, "unknown": 0, "texts": 0}
    unknown = {"train": counts, "valid": {"tokens": 50, "unknown": 5, "texts": 2}}
    runs = [
        make_run(
            tmp_path,
            name,
            params={"cell": "lstm", "embedding": "glove", "trainable_embedding": trained, "rare_word_dropout": rate},
            unknown=unknown,
        )
        for name, trained, rate in (("frozen", False, 0.0), ("tuned", True, 1.0), ("again", True, 0.0))
    ]
    page = _page(tmp_path, runs)
    assert [row for row in map(_row, page) if row[1:2] in (["frozen"], ["trained"])] == [
        ["`glove`", "frozen", "1", "train", "200", "0.0%", "0"],
        ["`glove`", "frozen", "1", "valid", "50", "10.0%", "2"],
        ["`glove`", "trained", "2", "train", "200", "0.0%", "0"],
        ["`glove`", "trained", "2", "valid", "50", "10.0%", "2"],
    ]
    assert any("No unknown word occurs in the training of `frozen`, `again`, so" in line for line in page)
