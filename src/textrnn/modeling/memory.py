"""What a trained network remembers: how much each word still moves the loss, by its distance from the end of the text.

The measure is the norm of the gradient of one text's loss with respect to a word's vector. Where it
shrinks by a factor with every step back, the gradient vanishes, and training cannot learn from
early words (Bengio, Simard & Frasconi, IEEE Transactions on Neural Networks 1994). A gradient is
local: a saturated unit has a small one, too, though it may hold on to what it read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from textrnn.modeling.backend import gradient_function, keras
from textrnn.modeling.batches import Tokens, length_buckets

DISTANCES = 200
"""The most that are measured: 0 is the last token, 1 the one before it."""
TEXTS = 500
"""The most that are measured."""
BATCH = 128

GRADIENT_SCHEMA: dict[str, type[pl.DataType]] = {
    "seed": pl.Int32,
    "id": pl.String,
    "distance": pl.Int32,
    "norm": pl.Float32,
}


def long_texts(lengths: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns the rows to measure, int64 [texts], and at how many distances: the same texts at each.

    The number of distances is the length that a quarter of the texts reach, at most `DISTANCES`.
    Of the texts that reach it, these are the first, at most `TEXTS`.

    Args:
        lengths: tokens per text, int64 [examples], at least one example.
    """
    quarter = -(-len(lengths) // 4)
    distances = min(int(np.sort(lengths)[-quarter]), DISTANCES)
    return np.flatnonzero(lengths >= distances)[:TEXTS], distances


def gradient_norms(model: keras.Model, tokens: Tokens, rows: np.ndarray, distances: int) -> np.ndarray:
    """Returns the norm of the gradient at each of `distances` from the end of each text, float32 [rows, distances].

    The loss is the cross-entropy of the text's label, without dropout, label smoothing and L2; the
    gradient is that with respect to the embedding's output.

    Args:
        model: as `build_classifier` makes it.
        rows: of `tokens`, int64 [rows], each a text of at least `distances` tokens.
    """
    assert (tokens.lengths[rows] >= distances).all(), "a text is too short"
    gradient = _input_gradient(model)
    norms = np.empty((len(rows), distances), np.float32)
    for batch in length_buckets(tokens.lengths[rows], BATCH):
        texts = rows[batch]
        inputs = [keras.ops.convert_to_tensor(array) for array in (tokens.padded(texts), tokens.labels[texts])]
        vectors = keras.ops.convert_to_numpy(gradient(*inputs))
        by_position = np.linalg.norm(vectors.astype(np.float64), axis=2)  # a small float32 has the square 0
        position = tokens.lengths[texts][:, None] - 1 - np.arange(distances)
        norms[batch] = np.take_along_axis(by_position, position, axis=1)
    return norms


def gradient_rows(seed: int, ids: list[str], norms: np.ndarray) -> pl.DataFrame:
    """Returns `seed, id, distance, norm`: a row per text and distance.

    Args:
        ids: the texts' names, str [texts]
        norms: float32 [texts, distances], as `gradient_norms` returns it
    """
    texts, distances = norms.shape
    return pl.DataFrame(
        {
            "seed": np.full(norms.size, seed, np.int32),
            "id": [name for name in ids for _ in range(distances)],
            "distance": np.tile(np.arange(distances, dtype=np.int32), texts),
            "norm": norms.ravel(),
        },
        schema=GRADIENT_SCHEMA,
    )


def _input_gradient(model: keras.Model) -> Callable[[Any, Any], Any]:
    """Returns what makes ids `int32 [batch, time]` and labels `int32 [batch]` gradients `[batch, time, dimension]`.

    Texts do not act on each other, so the gradient of the sum of their losses is that of each.
    """
    embedding = model.get_layer("embedding")
    network = keras.Model([model.input, embedding.output], model.output)

    def loss(vectors: Any, ids: Any, labels: Any) -> Any:
        logits = network([ids, vectors], training=False)
        return keras.ops.sum(keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))

    return gradient_function(embedding, loss)
