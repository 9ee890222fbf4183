"""Batches of texts of similar length: little padding, and none where lengths agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from textrnn.modeling.backend import keras

LENGTH_JITTER = 2.0
"""Tokens, uniform: texts change neighbours from epoch to epoch, and batches stay almost even."""


class Tokens:
    """One split's encoded texts, held flat: `ids`, `labels`, and every token in one array.

    Attributes:
        ids: the examples' names, str [examples]
        labels: int32 [examples]
        lengths: tokens per text, int64 [examples]
    """

    def __init__(self, ids: list[str], texts: pl.Series, labels: np.ndarray) -> None:
        self.ids = ids
        self.labels = labels
        self.lengths = texts.list.len().to_numpy().astype(np.int64)
        self._values = texts.explode().to_numpy().astype(np.int32)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])

    @classmethod
    def load(cls, path: Path) -> Tokens:
        """Reads a table with `id, ids (list<int32>), label`, as `encode_corpus` writes it."""
        table = pl.read_parquet(path)
        return cls(table["id"].to_list(), table["ids"], table["label"].to_numpy())

    def __len__(self) -> int:
        return len(self.lengths)

    def padded(self, rows: np.ndarray) -> np.ndarray:
        """Returns int32 [rows, longest of them], each text from the left, zeros behind it."""
        lengths = self.lengths[rows][:, None]
        position = np.arange(lengths.max())[None, :]
        inside = position < lengths
        source = np.where(inside, self._starts[rows][:, None] + position, 0)
        return np.where(inside, self._values[source], 0).astype(np.int32)


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
    return _second_differs(batches, [int(lengths[rows].max()) for rows in batches])


def _second_differs(batches: list[np.ndarray], widths: list[int]) -> list[np.ndarray]:
    """Keras takes an axis on which the first two batches agree for a constant one: show it that widths vary."""
    for index in range(1, len(batches)):
        if widths[index] != widths[0]:
            batches[1], batches[index] = batches[index], batches[1]
            break
    return batches


class Batches(keras.utils.PyDataset):
    """What `model.fit` and `model.predict` read: ids `int32 [batch, time]`, one-hot `float32 [batch, classes]`."""

    def __init__(self, tokens: Tokens, rows: list[np.ndarray], classes: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.rows = rows
        self.targets = np.eye(classes, dtype=np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.rows[index]
        return self.tokens.padded(rows), self.targets[self.tokens.labels[rows]]
