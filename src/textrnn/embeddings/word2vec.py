"""Trains word vectors on the corpus itself."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from textrnn.errors import TextrnnError
from textrnn.text.vocabulary import UNKNOWN

SEED = 0  # one seed: all seeds of a study share the vectors


def train(
    ids: pl.Series, words: Sequence[str], dimension: int, epochs: int, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns skip-gram vectors (Mikolov et al., NeurIPS 2013) of the words in encoded texts.

    The bytes are the same in every run: gensim with one worker, seeded, and without Python's own hashes.
    gensim silently drops the words of a text after the 10,000th, so a longer text is passed in pieces, and
    words on both sides of a boundary are no context of each other.

    Args:
        ids: list[int32], one text per row, as positions in `words`.
        words: the vocabulary. All its words are trained, however rare.
        window: the words to the left and to the right of a word that are its context, at most.

    Returns:
        rows float32 [n, dimension] and index int64 [n]: `rows[i]` is the vector of `words[index[i]]`. Reserved
        words have none, nor have words that training left at their random start: those without context, or
        that gensim's down-sampling of frequent words left out in every epoch.

    Raises `TextrnnError`: training has changed no vector.
    """
    from gensim.models.word2vec import MAX_WORDS_IN_BATCH, Word2Vec  # takes a second to import; other formats need none

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
    """Cuts a text into as few pieces of equal length as have at most `longest` words; the last may be shorter."""
    pieces = max(1, -(-len(words) // longest))
    length = max(1, -(-len(words) // pieces))
    return (words[begin : begin + length] for begin in range(0, max(1, len(words)), length))
