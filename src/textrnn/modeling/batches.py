"""Batches of texts of similar length: little padding, and none where lengths agree."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from textrnn.config.params import Experiment
from textrnn.text.encoder import with_known
from textrnn.text.reading import read
from textrnn.text.vocabulary import PADDING, UNKNOWN, Vocabulary

LENGTH_JITTER = 2.0
"""Tokens, uniform: texts change neighbours from epoch to epoch, and batches stay almost even."""

SLICE = 1 << 14
"""Texts that are read at a time."""

PREDICTION_BATCH = 512


class Tokens:
    """One split's encoded texts, held flat: every token in one array, and nothing twice.

    Attributes:
        ids: the examples' names, str [examples]
        labels: int32 [examples]
        lengths: tokens per text, int64 [examples]
    """

    def __init__(self, table: pl.LazyFrame, reading: Callable[[pl.DataFrame], pl.Series] = itemgetter("ids")) -> None:
        """Reads `table` with the columns `id` (str), `ids` (list[int32]) and `label` (int32), in slices.

        `reading` makes of a slice what is kept of its texts, list[int32].
        """
        starts = range(0, max(table.select(pl.len()).collect().item(), 1), SLICE)

        def texts(start: int) -> pl.Series:
            return reading(table.slice(start, SLICE).drop("id", "label").collect())

        examples = table.select("id", "label").collect()
        self.ids = examples["id"]
        self.labels = examples["label"].to_numpy()
        self.lengths = np.concatenate([texts(start).list.len().cast(pl.Int64).to_numpy() for start in starts])
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._values = np.empty(self.lengths.sum(), np.int32)
        place = 0
        for start in starts:
            values = texts(start).explode(empty_as_null=False).to_numpy()
            self._values[place : place + len(values)] = values
            place += len(values)

    @classmethod
    def load(cls, path: Path, experiment: Experiment, vocabulary: Vocabulary | None = None) -> Self:
        """Reads what the network of `experiment` reads of the texts in a file that `encode_corpus` wrote.

        Args:
            vocabulary: what the network knows, if that is more than the study's vocabulary.
        """

        table = pl.scan_parquet(path)
        if vocabulary is None:
            return cls(table.select("id", "ids", "label"), lambda rows: read(rows["ids"], experiment))
        return cls(table, lambda rows: read(with_known(rows, vocabulary), experiment))

    def __len__(self) -> int:
        return len(self.lengths)

    def counts(self) -> np.ndarray:
        """Returns how often each word occurs, int64 [highest index + 1]."""
        counts = np.zeros(int(self._values.max(initial=0)) + 1, np.int64)
        for block, _ in self._blocks():
            counts += np.bincount(block, minlength=len(counts))
        return counts

    def unknown(self) -> dict[str, int]:
        """Returns how many `tokens` are read, how many of them are `unknown`, and in how many `texts` all are."""
        totals = np.zeros(3, np.int64)
        for block, starts in self._blocks():
            kinds = block != PADDING, block == UNKNOWN
            words, unknown = (np.add.reduceat(kind, starts, dtype=np.int64) for kind in kinds)
            totals += [words.sum(), unknown.sum(), (unknown == words).sum()]
        return dict(zip(("tokens", "unknown", "texts"), totals.tolist(), strict=True))

    def take(self, rows: np.ndarray) -> Self:
        """Returns the texts in `rows` (int [n]), in that order; their words are not copied."""
        taken = copy.copy(self)
        taken.ids, taken.labels, taken.lengths = self.ids[rows], self.labels[rows], self.lengths[rows]
        taken._starts = self._starts[rows]
        return taken

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the words of these texts, one text after the other, int32, and where each text starts, int64.

        Some texts at a time: finding words takes a multiple of the memory that they take.
        """
        for first in range(0, len(self), SLICE):
            lengths = self.lengths[first : first + SLICE]
            starts = np.cumsum(lengths) - lengths
            places = np.repeat(self._starts[first : first + SLICE] - starts, lengths) + np.arange(lengths.sum())
            yield self._values[places], starts

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """Returns int32 [rows, longest of them], each text from the left, zeros behind it."""
        lengths = self.lengths[rows][:, None]
        position = np.arange(lengths.max())[None, :]
        inside = position < lengths
        source = np.where(inside, self._starts[rows][:, None] + position, 0)
        return np.where(inside, self._values[source], 0).astype(np.int32)


def rare_word_chances(counts: np.ndarray, rate: float) -> np.ndarray:
    """Returns the probability with which training reads each word as unknown, float32 [words].

    It is a / (a + n) for a word that occurs n times (`Experiment.rare_word_dropout`).

    Args:
        counts: int64 [words], as `Tokens.counts` returns it.
        rate: a, above 0.
    """
    chances = (rate / (rate + counts)).astype(np.float32)
    chances[: UNKNOWN + 1] = 0
    return chances


def length_buckets(lengths: np.ndarray, batch_size: int, rng: np.random.Generator | None = None) -> list[np.ndarray]:
    """Returns the rows of each batch, texts of similar length together.

    With `rng` the texts of about one length, and the order of the batches, are drawn anew;
    without it both are fixed.
    """
    jitter = rng.uniform(0, LENGTH_JITTER, len(lengths)) if rng is not None else 0.0
    order = np.argsort(lengths + jitter, kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if rng is not None:
        batches = [batches[index] for index in rng.permutation(len(batches))]
    return batches


def predict(forward: Callable[[np.ndarray], Any], tokens: Tokens, threads: int = 1) -> np.ndarray:
    """Returns the probabilities `float32 [examples, classes]` of every text, in the order of `tokens`.

    Args:
        forward: from ids int32 [batch, time] to logits float32 [batch, classes].
        threads: so many batches at once.
    """
    batches = length_buckets(tokens.lengths, PREDICTION_BATCH)[::-1]  # the longest first: no thread waits for it alone
    with ThreadPoolExecutor(threads) as pool:
        logits_of = pool.map(lambda rows: np.asarray(forward(tokens.padded(rows))), batches)
        by_length = np.concatenate(list(logits_of))
    logits = np.empty(by_length.shape)
    logits[np.concatenate(batches)] = by_length
    with np.errstate(invalid="ignore"):  # of a training that diverged: what comes of it is NaN, and is told
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: np.ndarray = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities.astype(np.float32)
