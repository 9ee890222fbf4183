"""A corpus with odd names, groups, repeated and Korean texts, recomputed with pandas and scikit-learn alone."""

from __future__ import annotations

import io
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import metrics
from sklearn.model_selection import GroupShuffleSplit

from textrnn.config.catalog import CorpusEntry
from textrnn.config.sections import Encode, Prepare
from textrnn.corpus.formats import read_corpus
from textrnn.corpus.quality import quality_report
from textrnn.corpus.splits import split_corpus
from textrnn.corpus.tables import Corpus
from textrnn.embeddings.matrix import Embedding
from textrnn.modeling.scores import scores
from textrnn.text.encoding import encode_corpus
from textrnn.text.tokenizer import tokenize

CLASSES = ["$5 to $10", "a|b", "좋다"]
WORDS = ["영화", "재밌어요", "café", "good", "bad", "the", "a", "film", '5"', "x,y"]
PREPARE = Prepare(valid=0.2, test=0.25, seed=5, leakage="drop", unlabelled=False)


def _rows() -> pd.DataFrame:
    """400 rows: 40 groups, blank and missing ones, every seventh text repeated, every third in NFD."""
    draw = np.random.default_rng(1)
    rows: list[dict[str, Any]] = []
    for row in range(400):
        text = " ".join(draw.choice(WORDS, draw.integers(1, 9))) + f" no{row}"
        if row % 7 == 6:
            text = rows[int(draw.integers(row))]["text"]
        form = "NFD" if row % 3 else "NFC"
        group = ["", "  ", None, "nan"][row % 4] if row % 5 == 0 else f"g|{int(draw.zipf(1.4)) % 40} é"
        label = [*CLASSES, "뺀다"][int(draw.integers(4))]
        named = {"text": text, "label": label, "group": group}
        rows.append({key: value and unicodedata.normalize(form, value) for key, value in named.items()})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def expected() -> dict[str, pd.DataFrame]:
    """The splits as pandas and scikit-learn make them of the file."""
    frame = pd.read_csv(io.StringIO(_rows().to_csv(index=False, quoting=1)))
    frame["id"] = [str(row) for row in range(1, len(frame) + 1)]
    for name in ("text", "label", "group"):
        frame[name] = frame[name].map(lambda value: unicodedata.normalize("NFC", value), na_action="ignore")
    frame = frame[frame["label"] != "뺀다"].reset_index(drop=True)
    frame["group"] = frame["group"].where(frame["group"].fillna("").str.strip() != "")
    pool = frame.assign(unit=frame["group"].fillna("\0row " + frame["id"]))
    splits, count = {}, pool["unit"].nunique()
    for name, share in (("test", 0.25), ("valid", 0.2)):
        splitter = GroupShuffleSplit(1, test_size=round(share * count), random_state=5)
        _, rows = next(splitter.split(pool, groups=pool["unit"]))
        splits[name] = pool.iloc[np.sort(rows)]
        pool = pool.drop(index=pool.index[rows])
    later = pd.concat([splits["valid"], splits["test"]])
    return {
        "train": pool[~pool["text"].isin(later["text"])],
        "valid": splits["valid"][~splits["valid"]["text"].isin(splits["test"]["text"])],
        "test": splits["test"],
        "drawn": pd.concat([pool, later]),
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("recomputed")
    _rows().to_csv(folder / "corpus.csv", index=False, quoting=1)
    entry = CorpusEntry.model_validate(
        {"source": "file:corpus.csv", "sha256": "0" * 64, "format": "csv", "classes": CLASSES, "skip_labels": ["뺀다"],
         "columns": {"text": "text", "label": "label", "group": "group"}}
    )  # fmt: skip
    raw = read_corpus(folder / "corpus.csv", entry)
    frames, dropped, drawn = split_corpus(raw.frame, PREPARE)
    corpus = Corpus("mine", tuple(CLASSES), frames)
    quality = quality_report(corpus, raw.skipped, dropped, drawn)
    corpus.save(folder, quality)
    return corpus, quality, folder


def test_rows_ids_and_splits(found: tuple[Corpus, dict[str, Any], Path], expected: dict[str, pd.DataFrame]) -> None:
    for split, frame in found[0].frames.items():
        for column in ("id", "text", "label", "group"):
            wanted = [None if pd.isna(value) else value for value in expected[split][column].tolist()]
            assert frame[column].to_list() == wanted, (split, column)


def test_counts_of_the_quality_report(
    found: tuple[Corpus, dict[str, Any], Path], expected: dict[str, pd.DataFrame]
) -> None:
    quality, drawn = found[1], expected["drawn"]
    assert quality["skipped"] == {"label '뺀다'": int((_rows()["label"].map(_composed) == "뺀다").sum())}
    for split in ("train", "valid", "test"):
        frame = expected[split]
        per_class = frame["label"].value_counts()
        assert quality["rows"][split] == {"all": len(frame), "per_class": {name: per_class[name] for name in CLASSES}}
        assert quality["duplicate_texts"]["within"][split] == int(frame["text"].duplicated().sum())
        assert quality["groups"]["count"][split] == frame["group"].nunique()
        lengths = frame["text"].str.split().map(len)
        assert quality["words_per_text"][split]["mean"] == round(lengths.mean(), 2)
        assert quality["words_per_text"][split]["p90"] == lengths.quantile(0.9, "lower")
    assert set(quality["groups"]["across"].values()) == {0}
    assert quality["drawn"]["test"]["rows"] == round(len(expected["test"]) / len(drawn), 6)
    largest = drawn["unit"].value_counts().iloc[0] / len(drawn)
    assert quality["drawn"]["valid"]["largest_group"] == round(largest, 6)


def test_vocabulary_unknown_words_and_coverage(
    found: tuple[Corpus, dict[str, Any], Path], expected: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    encoder, report = encode_corpus(found[2], Encode(vocabulary_size=12, min_count=1), tmp_path)
    tokens = {split: tokenize(pl.Series(expected[split]["text"].tolist())).to_list() for split in found[0].frames}
    counts = Counter(word for text in tokens["train"] for word in text)
    words = [word for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))][:10]
    assert list(encoder.vocabulary.words[2:]) == words
    for split, texts in tokens.items():
        unknown = sum(word not in words for text in texts for word in text)
        assert report["splits"][split]["tokens"] == sum(map(len, texts))
        assert report["splits"][split]["unknown_tokens"] == unknown
    embedding = Embedding.build(encoder.vocabulary, np.ones((3, 2), np.float32), np.array([2, 4, 6]))
    running = np.array([0, counts.total() - sum(counts[word] for word in words), *(counts[word] for word in words)])
    covered = embedding.coverage(encoder.vocabulary, running)["running_words"]
    assert (covered["covered"], covered["total"]) == (sum(counts[words[i]] for i in (0, 2, 4)), counts.total())


def test_metrics(expected: dict[str, pd.DataFrame]) -> None:
    labels = expected["test"]["label"].map(CLASSES.index).to_numpy()
    probabilities = np.random.default_rng(2).dirichlet(np.ones(3), len(labels)).astype(np.float32)
    ours, predicted = scores(labels, probabilities), probabilities.argmax(axis=1)
    exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    assert ours == pytest.approx(
        {
            "accuracy": np.mean(predicted == labels),
            "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
            "macro_f1": metrics.f1_score(labels, predicted, average="macro"),
            "roc_auc": metrics.roc_auc_score(labels, exact, multi_class="ovr"),
            "log_loss": -np.mean(np.log(exact[np.arange(len(labels)), labels])),
        },
        abs=1e-6,
    )


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
