"""What a trained network remembers: how much each word still moves the loss, by its distance from the end of the text.

The measure is the norm of the gradient of one text's loss by a word's vector. If every step back shrinks it by a
factor, the gradient vanishes, and training cannot learn from early words (Bengio, Simard & Frasconi, IEEE Transactions
on Neural Networks 1994). A gradient is local: a saturated unit has a small one, even if it holds what it read.
"""

from typing import Any

import numpy as np
import polars as pl

from textrnn.modeling.backend import gradient_function, keras
from textrnn.modeling.batches import Tokens, length_buckets
from textrnn.modeling.scaled import behind_embedding

DISTANCES = 200  # the largest number of distances: 0 is the last token, 1 the one before it
TEXTS = 500  # the largest number of texts
BATCH = 128

GRADIENT_SCHEMA = pl.Schema({"seed": pl.Int32, "id": pl.String, "distance": pl.Int32, "norm": pl.Float32})


def long_texts(lengths: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns the rows to measure, int64 [texts], and the number of distances: the same texts at each.

    That number is the length that a quarter of the texts reach, at most `DISTANCES`. The rows are the first `TEXTS`
    texts that reach it. `lengths` are tokens per text, int64 [examples], of at least one example.
    """
    quarter = -(-len(lengths) // 4)
    distances = min(int(np.sort(lengths)[-quarter]), DISTANCES)
    return np.flatnonzero(lengths >= distances)[:TEXTS], distances


def gradient_norms(model: keras.Model, tokens: Tokens, rows: np.ndarray, distances: int) -> np.ndarray:
    """Returns the norm of the gradient at each of `distances` from the end of each text, float32 [rows, distances].

    The gradient is that of the cross-entropy of the text's label, without dropout, label smoothing and L2, by the
    output of the embedding. `rows` int64 are texts of at least `distances` tokens.
    """
    assert (tokens.lengths[rows] >= distances).all(), "a text is too short"
    network = behind_embedding(model)

    def loss(vectors: Any, ids: Any, labels: Any) -> Any:
        """The sum over texts: they do not affect each other, so its gradient is that of each text's loss."""
        logits = network([ids, vectors], training=False)
        return keras.ops.sum(keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))

    gradient = gradient_function(model.get_layer("embedding"), loss)
    norms = np.empty((len(rows), distances), np.float32)
    for batch in length_buckets(tokens.lengths[rows], BATCH):
        texts = rows[batch]
        inputs = [keras.ops.convert_to_tensor(array) for array in (tokens.padded(texts), tokens.labels[texts])]
        vectors = keras.ops.convert_to_numpy(gradient(*inputs))
        by_position = np.linalg.norm(vectors.astype(np.float64), axis=2)  # the square of a small float32 is 0
        position = tokens.lengths[texts][:, None] - 1 - np.arange(distances)
        norms[batch] = np.take_along_axis(by_position, position, axis=1)
    return norms


def gradient_rows(seed: int, ids: list[str], norms: np.ndarray) -> pl.DataFrame:
    """Returns a row per text and distance, `seed, id, distance, norm`, from `norms` float32 [ids, distances]."""
    texts, distances = norms.shape
    columns = {
        "seed": np.full(norms.size, seed),
        "id": np.repeat(ids, distances).tolist(),
        "distance": np.tile(np.arange(distances), texts),
        "norm": norms.ravel(),
    }
    return pl.DataFrame(columns, GRADIENT_SCHEMA)
