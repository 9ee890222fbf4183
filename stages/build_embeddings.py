"""Stage `build_embeddings@<embedding>`: vocabulary and word vectors -> the matrix a network starts from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from textrnn.config.catalog import MADE_HERE
from textrnn.config.plan import EmbeddingPlan, load_planned_stage
from textrnn.embeddings import word2vec
from textrnn.embeddings.matrix import Embedding
from textrnn.embeddings.sources import read_vectors
from textrnn.stage import only_file, run_stage, write_folder
from textrnn.text.vocabulary import Vocabulary


def main(plan: Path, downloads: Path, tokens: Path, folder: Path) -> None:
    """Builds the embedding of PLAN in FOLDER, from its DOWNLOADS and the TOKENS folder."""
    settings = load_planned_stage(plan, EmbeddingPlan).settings
    vocabulary = Vocabulary.load(tokens / "vocabulary.txt")

    embedding = Embedding.build(vocabulary, *_vectors(settings, downloads, tokens, vocabulary))
    running = pl.read_parquet(tokens / "train.parquet", columns=["ids"])["ids"].list.explode().to_numpy()
    coverage = embedding.coverage(vocabulary, np.bincount(running, minlength=len(vocabulary)))
    with write_folder(folder) as fresh:
        embedding.save(fresh, {"source": settings.embedding.source, **coverage})


def _vectors(
    settings: EmbeddingPlan, downloads: Path, tokens: Path, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
    """Vectors float32 [n, dimension], their positions in the vocabulary and behind it, and the words behind it."""
    made, entry = settings.embedding, settings.entry
    if entry.format not in MADE_HERE:
        found = read_vectors(only_file(downloads), entry, vocabulary.words, made.file_words)
        return found.rows, found.index, found.further
    assert made.dimension  # what is made here states its settings: `Params.check_against` has seen to it
    if entry.format == "random":
        return np.empty((0, made.dimension), dtype=np.float32), np.empty(0, dtype=np.int64), ()
    assert made.epochs
    assert made.window
    # Unlabelled texts too, where the study has them; validation and test texts, never.
    files = [tokens / "train.parquet", tokens / "unlabelled.parquet"]
    ids = pl.concat([pl.read_parquet(file, columns=["ids"]) for file in files if file.is_file()])["ids"]
    return *word2vec.train(ids, vocabulary.words, made.dimension, made.epochs, made.window), ()


if __name__ == "__main__":
    run_stage(main)
