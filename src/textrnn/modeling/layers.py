"""Layers that know where a right-padded text ends.

With padding on the right, the forward states at real positions never see it. So no step needs a
mask: it is enough to read at the end of the text, to pool over real positions only, and to turn a
text around within its own length for the backward direction. That is exact, and several times
faster than a mask at every step.

What depends on where a text ends takes the token ids `int32 [batch, time]` beside the sequence
`float32 [batch, time, features]`: position t of row i is real when `ids[i, t] != 0`.
"""

from __future__ import annotations

from typing import Any

from textrnn.config.params import POOLED
from textrnn.modeling.backend import keras
from textrnn.text.vocabulary import PADDING

ops = keras.ops
Tensor = Any

FIXED = "fixed"
"""The name of the embedding's rows that training does not change."""


def swapped(sequence: Tensor) -> Tensor:
    """Returns [time, batch, ...] for [batch, time, ...], and the other way round.

    On a processor a recurrent layer computes with time first. Where a swap follows upon a swap, TensorFlow
    leaves out both: so what stands before and behind such a layer has time first, too.
    """
    return ops.swapaxes(sequence, 0, 1)


def _real(ids: Tensor) -> Tensor:
    """bool [batch, time, 1]: where a text has a token."""
    return ops.expand_dims(ops.not_equal(ids, PADDING), -1)


def _lengths(ids: Tensor) -> Tensor:
    """int32 [batch, 1]: tokens per text."""
    return ops.sum(ops.cast(ops.not_equal(ids, PADDING), "int32"), axis=1, keepdims=True)


def _picked(sequence: Tensor, at: Tensor) -> Tensor:
    """Returns `sequence[i, at[i, j]]` as float32 [batch, n, features], for `at` int32 [batch, n].

    As `take_along_axis`, which picks every number by itself, and its gradient puts every one back by itself.
    Rows are counted with time first: see `swapped`.
    """
    batch = ops.shape(at)[0]
    rows = ops.expand_dims(ops.arange(batch), -1) + batch * at
    return swapped(ops.take(ops.reshape(swapped(sequence), (-1, sequence.shape[-1])), swapped(rows), axis=0))


@keras.saving.register_keras_serializable("textrnn")
class Embedding(keras.layers.Embedding):
    """Keras', with `fixed_rows` more rows, which training neither sees nor changes.

    A training step takes time for every row that could change, whether it occurs in the batch or not.

    Args:
        time_major: whether a swap follows, see `swapped`.
    """

    def __init__(
        self, input_dim: int, output_dim: int, fixed_rows: int = 0, time_major: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(input_dim, output_dim, **kwargs)
        self.fixed_rows, self.time_major = fixed_rows, time_major

    def build(self, input_shape: Any = None) -> None:
        """Adds the fixed rows behind those that Keras has."""
        super().build(input_shape)
        if self.fixed_rows:
            self.fixed = self.add_weight(
                shape=(self.fixed_rows, self.output_dim), initializer="zeros", trainable=False, name=FIXED
            )

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns float32 [batch, time, features]."""
        rows = self.embeddings
        if self.fixed_rows and not training:
            rows = ops.concatenate([rows, self.fixed])
        ids = swapped(inputs) if self.time_major else inputs
        vectors = ops.cast(ops.take(rows, ids, axis=0), self.compute_dtype)
        return swapped(vectors) if self.time_major else vectors

    def compute_output_spec(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns the shape and type of what `call` returns."""
        return super().compute_output_spec(inputs)

    def get_config(self) -> dict[str, Any]:
        """Returns what Keras needs to make this layer again."""
        return {**super().get_config(), "fixed_rows": self.fixed_rows, "time_major": self.time_major}


@keras.saving.register_keras_serializable("textrnn")
class ZeroPadding(keras.layers.Layer):
    """Sets the sequence to zero at padding, as if each text stood alone between zeros."""

    def call(self, sequence: Tensor, ids: Tensor) -> Tensor:
        """Returns float32 [batch, time, features]."""
        return sequence * ops.cast(_real(ids), sequence.dtype)


@keras.saving.register_keras_serializable("textrnn")
class ReverseText(keras.layers.Layer):
    """Turns each text around within its own length; padding stays where it is.

    For a text of length 3: positions `a b c 0 0` become `c b a 0 0`.
    """

    def call(self, sequence: Tensor, ids: Tensor) -> Tensor:
        """Returns float32 [batch, time, features]."""
        position = ops.expand_dims(ops.arange(ops.shape(ids)[1]), 0)
        length = _lengths(ids)
        source = ops.where(position < length, length - 1 - position, position)
        return _picked(sequence, source)


@keras.saving.register_keras_serializable("textrnn")
class PoolText(keras.layers.Layer):
    """Takes the maximum of every `POOLED` positions, from the text's start on.

    What is pooled is 0 at padding and nowhere less, so padding takes no part.
    """

    def call(self, sequence: Tensor) -> Tensor:
        """Returns float32 [batch, time / POOLED rounded up, features]."""
        behind = ops.zeros_like(sequence[:, :1])
        filled = ops.concatenate([sequence, *[behind] * (POOLED - 1)], axis=1)
        return ops.max_pool(filled, POOLED, strides=POOLED, padding="valid", data_format="channels_last")


@keras.saving.register_keras_serializable("textrnn")
class Readout(keras.layers.Layer):
    """Makes one vector of a sequence: its `last` real state, or `max` or `mean` over real positions.

    It does so in the precision of the weights: bfloat16 can count to 256 only.
    """

    def __init__(self, kind: str, **kwargs: Any) -> None:
        super().__init__(**{"dtype": keras.config.dtype_policy().variable_dtype, **kwargs})
        self.kind = kind

    def call(self, sequence: Tensor, ids: Tensor) -> Tensor:
        """Returns float32 [batch, features]."""
        if self.kind == "last":
            return ops.squeeze(_picked(sequence, _lengths(ids) - 1), 1)
        if self.kind == "max":
            return ops.max(ops.where(_real(ids), sequence, -1e9), axis=1)
        total = ops.sum(sequence * ops.cast(_real(ids), sequence.dtype), axis=1)
        return total / ops.cast(_lengths(ids), sequence.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns what Keras needs to make this layer again."""
        return {**super().get_config(), "kind": self.kind}
