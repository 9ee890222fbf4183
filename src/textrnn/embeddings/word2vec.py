"""Trains word vectors on the corpus itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

SEED = 0
"""One fixed seed: the vectors are one artifact, which all seeds of a study share."""


def train(
    ids: pl.Series, words: Sequence[str], dimension: int, epochs: int, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns skip-gram vectors (Mikolov et al., NeurIPS 2013) of the words in encoded texts.

    The result is the same to the last byte in every run: gensim with one worker, seeded, and
    without Python's own hashes, which differ between processes.

    Args:
        ids: list<int32>, one text per row, as positions in `words`.
        words: the vocabulary. It has decided already which words are too rare, so all are trained.
        window: how many words to the left and to the right of a word are its context, at most.

    Returns:
        rows float32 [n, dimension] and index int64 [n]: `rows[i]` is the vector of `words[index[i]]`.
    """
    from gensim.models import Word2Vec  # takes a second to import, which other sources need not wait for

    names = np.array(words, dtype=object)
    model = Word2Vec(
        [names[text.to_numpy()].tolist() for text in ids],
        sg=1,
        vector_size=dimension,
        epochs=epochs,
        window=window,
        min_count=1,
        workers=1,
        seed=SEED,
    )
    positions = {word: position for position, word in enumerate(words)}
    index = np.array([positions[word] for word in model.wv.index_to_key], dtype=np.int64)
    return model.wv.vectors, index
