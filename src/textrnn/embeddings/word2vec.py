"""Trains word vectors on the corpus itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, repeat
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from textrnn.errors import TextrnnError
from textrnn.text.vocabulary import UNKNOWN

if TYPE_CHECKING:
    from gensim.models.word2vec import Word2Vec

SEED = 0  # one seed: all seeds of a study share the vectors

SHARDS = 2
"""Parts of a large corpus that are trained side by side, however many cores there are: it changes the vectors."""

ROUND = 2_000_000
"""Words after which the shards' weights are averaged. A corpus with fewer is trained in one piece."""

FREQUENT = 2_000
"""Occurrences from which on a word is down-sampled, if not even more frequent words alone are."""

RATE, SAMPLE = 0.025, 1e-3
"""gensim's learning rate, and the share of the corpus from which on it down-samples a word."""


def train(
    ids: pl.Series, words: Sequence[str], dimension: int, epochs: int, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns skip-gram vectors (Mikolov et al., NeurIPS 2013) of the words in encoded texts.

    The bytes are the same in every run, with any number of cores: gensim with one worker, seeded, and without Python's
    own hashes. gensim silently drops the words of a text after the 10,000th, so a longer text is passed in pieces, and
    words on both sides of a boundary are no context of each other.

    With `ROUND` words or more a corpus is trained in shards (`_train_in_shards`), and words are down-sampled that occur
    more than `FREQUENT` times, not only those above gensim's share. Both save time.

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
    total = sum(map(len, texts))
    rounds = total // ROUND
    model = Word2Vec(
        sg=1,
        vector_size=dimension,
        epochs=epochs,
        window=window,
        min_count=1,
        alpha=RATE * SHARDS if rounds else RATE,
        sample=min(SAMPLE, FREQUENT / max(total, 1)),
        workers=1,
        seed=SEED,
    )
    model.build_vocab(texts)
    start = model.wv.vectors.copy()
    if rounds:
        _train_in_shards(model, texts, rounds)
    else:
        model.train(texts, total_examples=len(texts), epochs=epochs)

    positions = {word: position for position, word in enumerate(words)}
    index = np.array([positions[word] for word in model.wv.index_to_key], dtype=np.int64)
    learned = (model.wv.vectors != start).any(axis=1) & (index > UNKNOWN)
    if not learned.any():
        raise TextrnnError(
            f"word2vec has learned no vector from {len(ids):,} texts: it needs texts of at least two known words, and "
            "some hundred of them. Give more texts, or choose published vectors or 'random' as the embedding's source."
        )
    return model.wv.vectors[learned], index[learned]


def _train_in_shards(model: Word2Vec, texts: list[list[str]], rounds: int) -> None:
    """Trains as `model.train` does, each epoch in so many rounds, and each round in `SHARDS` threads.

    In a round every shard trains a copy of the weights on a part of the texts, and then the copies are averaged
    (McDonald et al., NAACL 2010). The average moves as far as one model that reads all parts where the learning rate
    is `SHARDS` times that model's (linear scaling, Goyal et al., 2017). gensim computes outside of Python's lock.
    """
    shards = [model, *(copy.deepcopy(model) for _ in range(SHARDS - 1))]
    for number, shard in enumerate(shards):
        shard.random.seed(SEED + number)
    ends = np.cumsum([len(text) for text in texts])
    cuts = np.searchsorted(ends, ends[-1] * np.arange(1, rounds * SHARDS) / (rounds * SHARDS), side="right")
    parts = [texts[begin:end] for begin, end in pairwise([0, *cuts.tolist(), len(texts)])]
    rates = np.linspace(model.alpha, model.min_alpha, model.epochs * rounds + 1)
    with ThreadPoolExecutor(SHARDS) as pool:
        for step, (first, last) in enumerate(pairwise(rates.tolist())):
            at = step % rounds * SHARDS
            list(pool.map(_train_once, shards, parts[at : at + SHARDS], repeat(first), repeat(last)))
            _average([shard.wv.vectors for shard in shards])
            _average([shard.syn1neg for shard in shards])


def _train_once(model: Word2Vec, texts: list[list[str]], first: float, last: float) -> None:
    """Trains on the texts once, with a learning rate that falls from `first` to `last`."""
    model.train(texts, total_examples=len(texts), epochs=1, start_alpha=first, end_alpha=last)


def _average(weights: list[np.ndarray]) -> None:
    """Puts the mean of the arrays into each of them."""
    mean = sum(weights[1:], start=weights[0]) / np.float32(len(weights))
    for array in weights:
        array[:] = mean


def _pieces(words: list[str], longest: int) -> Iterator[list[str]]:
    """Cuts a text into as few pieces of equal length as have at most `longest` words; the last may be shorter."""
    pieces = max(1, -(-len(words) // longest))
    length = max(1, -(-len(words) // pieces))
    return (words[begin : begin + length] for begin in range(0, max(1, len(words)), length))
