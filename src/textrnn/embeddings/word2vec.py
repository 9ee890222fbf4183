"""Trains word vectors on the corpus itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from textrnn.errors import TextrnnError
from textrnn.text.vocabulary import UNKNOWN

SEED = 0
"""One fixed seed: the vectors are one artifact, which all seeds of a study share."""


def train(
    ids: pl.Series, words: Sequence[str], dimension: int, epochs: int, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns skip-gram vectors (Mikolov et al., NeurIPS 2013) of the words in encoded texts.

    The result is the same to the last byte in every run: gensim with one worker, seeded, and
    without Python's own hashes, which differ between processes.

    gensim silently drops what comes after the first 10,000 words of a text. A longer one is given in
    as few pieces of equal length as that allows; words on both sides of a boundary are no context of
    each other.

    Args:
        ids: list<int32>, one text per row, as positions in `words`.
        words: the vocabulary. It has decided already which words are too rare, so all are trained.
        window: how many words to the left and to the right of a word are its context, at most.

    Returns:
        rows float32 [n, dimension] and index int64 [n]: `rows[i]` is the vector of `words[index[i]]`.
        A word has none where training left it at its random start: it never had a context, or
        gensim's down-sampling of frequent words left it out in every epoch. Reserved words have none.

    Raises:
        TextrnnError: training has moved no word.
    """
    from gensim.models.word2vec import MAX_WORDS_IN_BATCH, Word2Vec  # takes a second to import: random rows need none

    names = np.array(words, dtype=object)
    texts = [piece for text in ids for piece in _pieces(names[text.to_numpy()].tolist(), MAX_WORDS_IN_BATCH)]
    model = Word2Vec(sg=1, vector_size=dimension, epochs=epochs, window=window, min_count=1, workers=1, seed=SEED)
    model.build_vocab(texts)
    start = model.wv.vectors.copy()
    model.train(texts, total_examples=model.corpus_count, epochs=model.epochs)

    positions = {word: position for position, word in enumerate(words)}
    index = np.array([positions[word] for word in model.wv.index_to_key], dtype=np.int64)
    learned = (model.wv.vectors != start).any(axis=1) & (index > UNKNOWN)
    if not learned.any():
        raise TextrnnError(
            f"word2vec has learned no vector from {len(ids):,} texts: it needs texts of at least two known words, and "
            "some hundred of them. Give more texts, or choose published vectors or 'random' as the embedding's source."
        )
    return model.wv.vectors[learned], index[learned]


def _pieces(words: list[str], longest: int) -> Iterator[list[str]]:
    """Cuts a text into as few pieces as have at most `longest` words; all have the same length, the last up to that."""
    pieces = max(1, -(-len(words) // longest))
    length = max(1, -(-len(words) // pieces))
    return (words[begin : begin + length] for begin in range(0, max(1, len(words)), length))
