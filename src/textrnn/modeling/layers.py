"""Keras layers that know where a right-padded text ends.

With padding on the right, the forward states at real positions never see it. So no step needs a mask: it is enough to
read at the end of the text, to pool over real positions, and to reverse a text within its own length for the backward
direction. That is exact, and several times faster than a mask at every step.

Layers that depend on the end of a text take the sequence `float32 [batch, time, features]` and the token ids
`int32 [batch, time]`: position t of row i is real when `ids[i, t] != 0`.
"""

from typing import Any

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
    `is_time_major` vectors are looked up time-major, for a layer that transposes them next.
    """

    def __init__(
        self, input_dim: int, output_dim: int, fixed_rows: int = 0, is_time_major: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(input_dim, output_dim, **kwargs)
        self.fixed_rows, self.is_time_major = fixed_rows, is_time_major

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
        ids = time_major(inputs) if self.is_time_major else inputs
        vectors = ops.cast(ops.take(rows, ids, axis=0), self.compute_dtype)
        return time_major(vectors) if self.is_time_major else vectors

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


class Readout(keras.layers.Layer):
    """Makes one vector of a sequence: its `last` real state, or `max` or `mean` over real positions.

    It computes in the precision of the weights: bfloat16 can count to 256 only.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(dtype=keras.config.dtype_policy().variable_dtype)
        self.kind = kind

    def call(self, sequence: Tensor, ids: Tensor) -> Tensor:
        """Returns float32 [batch, features]."""
        if self.kind == "last":
            return ops.squeeze(_rows_at(sequence, _lengths(ids) - 1), 1)
        if self.kind == "max":
            return ops.max(ops.where(_real(ids), sequence, -1e9), axis=1)
        total = ops.sum(sequence * ops.cast(_real(ids), sequence.dtype), axis=1)
        return total / ops.cast(_lengths(ids), sequence.dtype)
