"""Word vectors trained on the reviews: here, and with gensim's single worker, the usual way to results that repeat."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import textbook
from benchmarks.data import Workplace
from benchmarks.measure import Claim, Figures, Result, alternate, best, faster, in_process

SIZE = 30_000
"""Words of the vocabulary."""

DIMENSION, EPOCHS, WINDOW = 100, 5, 5

Vectors = tuple[np.ndarray, np.ndarray]
"""Rows float32 [n, dimension], and their positions in the vocabulary, int64 [n]."""


def word2vec(work: Workplace) -> Result:
    """Skip-gram vectors of all reviews but those of the test split."""
    reviews, vocabulary = _encode(work), work.vocabulary(SIZE)
    contenders = {
        "textrnn": lambda _: in_process(_ours, reviews, vocabulary),
        "gensim": lambda _: in_process(_gensim, reviews, vocabulary),
    }
    measured = alternate(contenders, 1, work.say)
    ours, theirs = (best(measured[name]) for name in contenders)
    right, right_there = (best(measured[name], "accuracy") for name in contenders)
    memory, memory_there = (best(measured[name], "peak") / 2**20 for name in contenders)
    points = right - right_there
    worth = Claim(
        "the same: accuracy of a linear model of a review's mean vector",
        right,
        right_there,
        "%",
        f"{points:+.2f} points",
        "≥ -0.5 points",
        points >= -0.5,
    )
    return Result(
        [faster("gensim with one worker", ours, theirs, 2.67), worth],
        f"{int(measured['gensim'][0]['texts']):,} train and unlabelled reviews, {DIMENSION} dimensions, {EPOCHS} "
        f"epochs, a window of {WINDOW}, a vocabulary of {SIZE:,} words; gensim's other settings are its defaults. Both "
        "give the same bytes in every run. The linear model is a logistic regression on the train split's labels, its "
        f"accuracy that on the test split. Peak memory is {memory:,.0f} MiB here and {memory_there:,.0f} MiB there. "
        "Measured once.",
    )


def _encode(work: Workplace) -> Path:
    """Returns a table `ids` (list[int32]), `label` (str), `split` of all reviews."""
    from textrnn.text.tokenizer import tokenize
    from textrnn.text.vocabulary import Vocabulary

    file = work.scratch / "review-ids.parquet"
    reviews = pl.read_parquet(work.all_reviews())
    work.say("encoding all reviews")
    ids = Vocabulary.load(work.vocabulary(SIZE)).lookup(tokenize(reviews["text"]))
    reviews.select(ids.alias("ids"), "label", "split").write_parquet(file)
    return file


def _ours(reviews: Path, vocabulary: Path) -> Figures:
    from textrnn.embeddings.word2vec import train

    return _measured(reviews, vocabulary, train)


def _gensim(reviews: Path, vocabulary: Path) -> Figures:
    return _measured(reviews, vocabulary, textbook.gensim_word2vec)


def _measured(reviews: Path, vocabulary: Path, train: Callable[..., Vectors]) -> Figures:
    from benchmarks.measure import peak_memory
    from textrnn.text.vocabulary import Vocabulary

    table, words = pl.read_parquet(reviews), Vocabulary.load(vocabulary).words
    texts = table.filter(pl.col("split") != "test")["ids"]
    started = time.perf_counter()
    rows, index = train(texts, words, DIMENSION, EPOCHS, WINDOW)
    seconds, peak = time.perf_counter() - started, peak_memory()
    matrix = np.zeros((len(words), DIMENSION), np.float32)
    matrix[index] = rows
    return {"seconds": seconds, "peak": peak, "texts": len(texts), "accuracy": _accuracy(table, matrix)}


def _accuracy(table: pl.DataFrame, matrix: np.ndarray) -> float:
    """Accuracy on the test split, in percent, of logistic regression on mean vectors, fitted on the train split."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def means(texts: pl.Series) -> np.ndarray:
        return np.stack([matrix[text.to_numpy()].mean(axis=0) for text in texts])

    train, test = (table.filter(pl.col("split") == split) for split in ("train", "test"))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(means(train["ids"]), train["label"].to_numpy())
    return 100.0 * float(model.score(means(test["ids"]), test["label"].to_numpy()))
