"""Keras layers that know where a right-padded text ends.

With padding on the right, the forward states at real positions never see it. So no step needs a mask: it is enough to
read at the end of the text, to pool over real positions, and to reverse a text within its own length for the backward
direction. That is exact, and several times faster than a mask at every step.

Layers that depend on the end of a text take the sequence `float32 [batch, time, features]` and the token ids
`int32 [batch, time]`: position t of row i is real when `ids[i, t] != 0`.
"""

from typing import Any

import numpy as np

from textrnn.modeling.backend import keras
from textrnn.modeling.convolution import POOLED
from textrnn.text.vocabulary import PADDING

ops = keras.ops
Tensor = Any

FIXED = "fixed"  # the name of the embedding's rows that training does not change


def time_major(sequence: Tensor) -> Tensor:
    """Returns [time, batch, ...] for [batch, time, ...], and the reverse.

    On a CPU recurrent layers compute time-major. Neighbouring layers are time-major too, so that transposes cancel.
    """
    return ops.swapaxes(sequence, 0, 1)


def _real(ids: Tensor) -> Tensor:
    """bool [batch, time, 1]: where a text has a token."""
    return ops.expand_dims(ops.not_equal(ids, PADDING), -1)


def _lengths(ids: Tensor) -> Tensor:
    """int32 [batch, 1]: tokens per text."""
    return ops.sum(ops.cast(ops.not_equal(ids, PADDING), "int32"), axis=1, keepdims=True)


def _rows_at(sequence: Tensor, positions: Tensor) -> Tensor:
    """Returns `sequence[i, positions[i, j]]`, float32 [batch, n, features], for `positions` int32 [batch, n].

    `take_along_axis` gathers number by number, and so does its gradient. This gathers rows, counted time-major.
    """
    batch = ops.shape(positions)[0]
    rows = ops.expand_dims(ops.arange(batch), -1) + batch * positions
    flat = ops.reshape(time_major(sequence), (-1, sequence.shape[-1]))
    return time_major(ops.take(flat, time_major(rows), axis=0))


class Embedding(keras.layers.Embedding):
    """Keras' embedding, followed by `fixed_rows` rows that training neither sees nor changes.

    A training step takes time for every row that could change, whether it occurs in the batch or not. With
    `is_time_major` vectors are looked up time-major, for a layer that transposes them next. With `counts`, which says
    how often the word of each row that can change occurs (int64 [input_dim]), vectors are normalized.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        fixed_rows: int = 0,
        is_time_major: bool = False,
        counts: np.ndarray | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_dim, output_dim, **kwargs)
        self.fixed_rows, self.is_time_major = fixed_rows, is_time_major
        self.frequencies = None if counts is None else counts / counts.sum()

    def build(self, input_shape: Any = None) -> None:
        """Adds the fixed rows."""
        super().build(input_shape)
        if self.fixed_rows:
            shape = (self.fixed_rows, self.output_dim)
            self.fixed = self.add_weight(shape=shape, initializer="zeros", trainable=False, name=FIXED)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns float32 [batch, time, features]."""
        has_fixed = self.fixed_rows and not training
        rows = ops.concatenate([self.embeddings, self.fixed]) if has_fixed else self.embeddings
        rows = self.normalized(rows)
        ids = time_major(inputs) if self.is_time_major else inputs
        vectors = ops.cast(ops.take(rows, ids, axis=0), self.compute_dtype)
        return time_major(vectors) if self.is_time_major else vectors

    def normalized(self, rows: Tensor) -> Tensor:
        """Returns `rows`, which start with those that can change, as they are read: float32 of the same shape.

        With `counts`, each dimension has the mean 0 and the variance 1 over the words that can change, weighted by
        their frequencies (Miyato, Dai & Goodfellow, ICLR 2017, 2.1). The fixed rows are moved and scaled with them.
        """
        if self.frequencies is None:
            return rows
        weights = ops.convert_to_tensor(self.frequencies[None], self.variable_dtype)
        centred = ops.cast(rows, self.variable_dtype)
        centred -= ops.matmul(weights, centred[: self.input_dim])
        variance = ops.matmul(weights, ops.square(centred[: self.input_dim]))
        return centred * ops.rsqrt(variance + keras.config.epsilon())

    def compute_output_spec(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns the shape and type of what `call` returns."""
        return super().compute_output_spec(inputs)


class ZeroPadding(keras.layers.Layer):
    """Sets the sequence to zero at padding."""

    def call(self, sequence: Tensor, ids: Tensor) -> Tensor:
        """Returns float32 [batch, time, features]."""
        return sequence * ops.cast(_real(ids), sequence.dtype)


class ReverseText(keras.layers.Layer):
    """Reverses each text within its own length: positions `a b c 0 0` become `c b a 0 0`."""

    def call(self, sequence: Tensor, ids: Tensor) -> Tensor:
        """Returns float32 [batch, time, features]."""
        position = ops.expand_dims(ops.arange(ops.shape(ids)[1]), 0)
        length = _lengths(ids)
        return _rows_at(sequence, ops.where(position < length, length - 1 - position, position))


class PoolText(keras.layers.Layer):
    """Takes the maximum of every `POOLED` positions. Its input is 0 at padding and nowhere less."""

    def call(self, sequence: Tensor) -> Tensor:
        """Returns float32 [batch, time / POOLED rounded up, features]."""
        zeros = ops.zeros_like(sequence[:, :1])
        filled = ops.concatenate([sequence, *[zeros] * (POOLED - 1)], axis=1)
        return ops.max_pool(filled, POOLED, strides=POOLED, padding="valid", data_format="channels_last")


class _Precise(keras.layers.Layer):
    """Computes in the precision of the weights: bfloat16 can count to 256 only."""

    def __init__(self) -> None:
        super().__init__(dtype=keras.config.dtype_policy().variable_dtype)


class Readout(_Precise):
    """Makes one vector of a sequence: its `last` real state, `max` or `mean` over real positions, or `concat`.

    `concat` joins the three in this order (Howard & Ruder, ACL 2018).
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def call(self, sequence: Tensor, ids: Tensor) -> Tensor:
        """Returns float32 [batch, features], of `concat` [batch, 3 features]."""
        if self.kind == "concat":
            return ops.concatenate([pool(sequence, ids) for pool in _POOLINGS.values()], axis=1)
        return _POOLINGS[self.kind](sequence, ids)


def _last(sequence: Tensor, ids: Tensor) -> Tensor:
    return ops.squeeze(_rows_at(sequence, _lengths(ids) - 1), 1)


def _max(sequence: Tensor, ids: Tensor) -> Tensor:
    return ops.max(ops.where(_real(ids), sequence, -1e9), axis=1)


def _mean(sequence: Tensor, ids: Tensor) -> Tensor:
    total = ops.sum(sequence * ops.cast(_real(ids), sequence.dtype), axis=1)
    return total / ops.cast(_lengths(ids), sequence.dtype)


_POOLINGS = {"last": _last, "max": _max, "mean": _mean}


class Attention(_Precise):
    """Makes one vector of a sequence: its mean over real positions, weighted by additive attention to a learned query.

    A position h has the score tanh(h W + b) q, and the softmax of the scores are the weights (Yang et al., NAACL 2016,
    section 2.2). W is as wide as h. `regularizer` is that of the matrices W and q.
    """

    def __init__(self, regularizer: keras.regularizers.Regularizer | None = None) -> None:
        super().__init__()
        self.regularizer = regularizer

    def build(self, sequence_shape: Any, ids_shape: Any) -> None:
        """Adds W `kernel`, b `bias` and q `query_kernel`."""
        size = sequence_shape[-1]
        matrix = {"initializer": "glorot_uniform", "regularizer": self.regularizer}
        self.kernel = self.add_weight(shape=(size, size), name="kernel", **matrix)
        self.bias = self.add_weight(shape=(size,), name="bias", initializer="zeros")
        self.query = self.add_weight(shape=(size, 1), name="query_kernel", **matrix)

    def call(self, sequence: Tensor, ids: Tensor) -> Tensor:
        """Returns float32 [batch, features]."""
        scores = ops.matmul(ops.tanh(ops.matmul(sequence, self.kernel) + self.bias), self.query)
        scores = ops.where(_real(ids), scores, -1e9)
        # Keras' own softmax warns where all texts have one word.
        shares = ops.exp(scores - ops.stop_gradient(ops.max(scores, axis=1, keepdims=True)))
        return ops.sum(sequence * shares, axis=1) / ops.sum(shares, axis=1)


class TemporalActivationRegularization(_Precise):
    """Adds to the loss `weight` times the mean squared difference between successive real positions of a sequence.

    It is the mean of a text's pairs and channels, then of texts, so neighbours in a batch do not matter. A text of one
    word has no pair, and adds 0. Merity, McCann & Socher, "Revisiting Activation Regularization for Language RNNs",
    2017.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def call(self, sequence: Tensor, ids: Tensor) -> Tensor:
        """Returns the sequence, float32 [batch, time, features]."""
        outputs, real = time_major(sequence), time_major(_real(ids))
        squares = ops.square(outputs[1:] - outputs[:-1]) * ops.cast(real[1:], outputs.dtype)
        pairs = ops.cast(ops.maximum(_lengths(ids) - 1, 1), outputs.dtype)
        self.add_loss(self.weight * ops.mean(ops.sum(squares, axis=0) / pairs))
        return sequence
