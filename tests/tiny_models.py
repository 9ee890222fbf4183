"""Texts, embeddings and weights that are small enough to compute by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from tiny_experiments import make_experiment

from textrnn.modeling.backend import keras
from textrnn.modeling.batches import Tokens

TEXTS = [[2, 3, 4, 5], [6], [3, 3], [5, 1, 2], [4, 6, 2, 3, 5]]
LABELS = [0, 1, 1, 0, 1]


def make_tokens(texts: Sequence[Sequence[int]] = TEXTS, labels: Sequence[int] = LABELS) -> Tokens:
    """A split whose examples are named `0`, `1`, …"""
    ids = [str(index) for index in range(len(texts))]
    whole = make_experiment(max_tokens=1000)
    return Tokens([pl.Series(texts, dtype=pl.List(pl.Int32))], whole, pl.Series(ids), np.array(labels, np.int32))


def make_embedding(seed: int = 0, words: int = 7, dimension: int = 3) -> np.ndarray:
    """Float32 [words, dimension], row 0 zeros."""
    matrix = np.random.default_rng(seed).normal(0, 1, (words, dimension)).astype(np.float32)
    matrix[0] = 0
    return matrix


def scramble(model: keras.Model) -> None:
    """Sets every weight, biases too, to a number of its own; the padding row stays zero."""
    # With most seeds some weights have no gradient: ReLUs are dead, or a maximum is where no state came before.
    rng = np.random.default_rng(22)
    weights = [rng.normal(0, 0.7, weight.shape).astype(np.float32) for weight in model.weights]
    weights[0][0] = 0
    model.set_weights(weights)


def set_constant(model: keras.Model, value: float) -> None:
    """Sets every weight but the padding row to `value`."""
    weights = [np.full(weight.shape, value, np.float32) for weight in model.weights]
    weights[0][0] = 0
    model.set_weights(weights)
