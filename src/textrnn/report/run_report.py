"""What a reviewer wants to see of one run: pictures, mistakes, and what its embedding learned.

All about the validation split, so that nobody tunes on the test split while looking at it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from textrnn.analysis import run_tables, slices
from textrnn.analysis.word_vectors import NEIGHBOURS, nearest, trained_embedding
from textrnn.embeddings.matrix import Embedding
from textrnn.report.plots import draw
from textrnn.report.rendering import write_csv
from textrnn.run_folder import RunFolder
from textrnn.text.vocabulary import UNKNOWN, Vocabulary

MISTAKES = 50
PROBES, FREQUENT = 20, 5000
"""Neighbours are those of the words that training moved most, of this many most frequent ones."""


def write(folder: Path, run: RunFolder, texts: pl.DataFrame) -> None:
    """Writes the run's pictures as SVG and its most confident mistakes as csv into `folder`.

    Args:
        texts: `id` and `text` (str) and `tokens` (how many the network reads, int) of the validation split.
    """
    draw.run(folder, run.model, run_tables.build([run]), accuracy_by_length(run, texts))
    write_csv(folder / "mistakes.csv", mistakes(run, texts).to_pandas())


def accuracy_by_length(run: RunFolder, texts: pl.DataFrame) -> pd.DataFrame:
    """Returns `length` (as `11-20`), `texts` of that length, `accuracy` (mean over seeds) and `std`; no empty row."""
    lengths = dict(zip(texts["id"], texts["tokens"], strict=True))
    ids, _, _ = run.probabilities(run.finished_seeds[0], "valid")
    names, group = slices.ranges(np.array([lengths[name] for name in ids]), slices.TOKENS)
    by_seed = pd.DataFrame(run.correct("valid").T).groupby(group).mean()
    return pd.DataFrame(
        {
            "length": [names[place] for place in by_seed.index],
            "texts": np.bincount(group)[by_seed.index],
            "accuracy": by_seed.mean(axis=1),
            "std": by_seed.std(axis=1, ddof=1),
        }
    )


def mistakes(run: RunFolder, texts: pl.DataFrame) -> pl.DataFrame:
    """Returns the most confident mistakes of the seeds' mean probabilities, the most confident first.

    Columns: `id`, `label`, `predicted` (str), `confidence` (mean over seeds of the predicted class' probability),
    `wrong_seeds`, `text`.
    """
    by_seed = [run.probabilities(seed, "valid") for seed in run.finished_seeds]
    ids, labels, _ = by_seed[0]
    probabilities = np.mean([each for _, _, each in by_seed], axis=0)
    table = pl.DataFrame(
        {
            "id": ids,
            "label": [run.classes[label] for label in labels],
            "predicted": [run.classes[label] for label in probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1).round(4),
            "wrong_seeds": np.sum([each.argmax(axis=1) != labels for _, _, each in by_seed], axis=0),
        }
    )
    wrong = table.filter(pl.col("label") != pl.col("predicted")).sort(["confidence", "id"], descending=[True, False])
    return wrong.head(MISTAKES).join(texts.select("id", "text"), on="id", how="left", maintain_order="left")


def neighbours(before: np.ndarray, after: np.ndarray, vocabulary: Vocabulary) -> pl.DataFrame:
    """Returns what training did to the words that it moved most, of the most frequent ones.

    Args:
        before, after: float32 [vocabulary, dimension]

    Returns:
        `word`, `moved` (length of the difference), and the nearest words by cosine, `before` and `after`.
    """
    frequent = slice(UNKNOWN + 1, UNKNOWN + 1 + FREQUENT)
    words = np.array(vocabulary.words[frequent])
    sides = {"before": before[frequent].astype(np.float64), "after": after[frequent].astype(np.float64)}
    moved = np.linalg.norm(sides["after"] - sides["before"], axis=1)
    probes = np.argsort(-moved, kind="stable")[:PROBES]
    nearby = {
        side: [", ".join(words[near]) for near in nearest(vectors, vectors[probes], probes[:, None], NEIGHBOURS)]
        for side, vectors in sides.items()
    }
    return pl.DataFrame({"word": words[probes], "moved": moved[probes].round(4), **nearby})


def learned(run: RunFolder, embedding: Embedding, vocabulary: Vocabulary) -> pl.DataFrame:
    """Returns the `neighbours` table of the first finished seed of a run that trained its embedding."""
    seed = run.finished_seeds[0]
    before, after = embedding.of_vocabulary.draw(seed), trained_embedding(run, seed, vocabulary).matrix
    return neighbours(before, after, vocabulary)
