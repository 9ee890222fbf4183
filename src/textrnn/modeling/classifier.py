"""From an experiment to a Keras model: embedding, encoder, readout, softmax head.

    ids -> embedding -> dropouts -> cell x layers -> readout -> dropout -> logits

The `feedforward` control has no sequence encoder: its dense layers stand behind the readout. Between
the layers of `conv1d` stands max pooling (both as in Chollet, Deep Learning with Python, 2017, 6.4).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from textrnn.config.params import CONVOLUTION_WIDTH, POOLED, Experiment
from textrnn.modeling.backend import jit_compile, keras, on_cpu_tensorflow, on_gpu_tensorflow
from textrnn.modeling.layers import Embedding, PoolText, Readout, ReverseText, ZeroPadding
from textrnn.modeling.optimizers import OPTIMIZERS
from textrnn.modeling.recurrence import GRU, LSTM, SimpleRNN

CELLS = {"simple_rnn": SimpleRNN, "lstm": LSTM, "gru": GRU}
Tensor = Any


def build_classifier(
    experiment: Experiment, embedding: np.ndarray, classes: int, seed: int, fixed_rows: int = 0
) -> keras.Model:
    """Returns a compiled model from token ids `int32 [batch, time]` to logits `float32 [batch, classes]`.

    Args:
        embedding: float32 [words, dimension], the embedding's first values; row 0 is padding.
        seed: of every initial weight and every dropout mask.
        fixed_rows: how many rows at the end belong to words that no training text has.
    """
    keras.utils.set_random_seed(seed)
    ids = keras.Input((None,), dtype="int32", name="ids")
    seen = len(embedding) - fixed_rows
    lookup = Embedding(
        seen,
        embedding.shape[1],
        fixed_rows,
        time_major=_swaps_meet(experiment),
        trainable=experiment.trainable_embedding,
        name="embedding",
    )
    sequence = _dropped(lookup(ids), experiment)
    words = ids if experiment.padding == "right" else keras.ops.ones_like(ids)  # there padding counts as a word
    if experiment.cell == "feedforward":
        features = _read_out(sequence, words, experiment)
        for _ in range(experiment.layers):
            features = keras.layers.Dense(experiment.units, "relu", kernel_regularizer=_l2(experiment))(features)
    else:
        features = _encoded(sequence, words, experiment)
    if experiment.dropout:
        features = keras.layers.Dropout(experiment.dropout)(features)
    full = keras.config.dtype_policy().variable_dtype  # also where the rest computes with fewer digits
    logits = keras.layers.Dense(classes, kernel_regularizer=_l2(experiment), dtype=full, name="logits")(features)
    model = keras.Model(ids, logits)
    lookup.set_weights([embedding[:seen], embedding[seen:]] if fixed_rows else [embedding])
    model.compile(
        optimizer=OPTIMIZERS[experiment.optimizer](
            learning_rate=experiment.learning_rate,
            global_clipnorm=experiment.gradient_clip,
            use_ema=experiment.ema is not None,
            ema_momentum=experiment.ema if experiment.ema is not None else 0.99,
        ),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=experiment.label_smoothing),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    model.optimizer.build(model.trainable_variables)
    nothing = np.zeros((1, classes), np.float32)
    model.compute_metrics(None, nothing, nothing)  # makes the counters, for which a step would be traced once more
    model.reset_metrics()
    return model


def _swaps_meet(experiment: Experiment) -> bool:
    """Whether what stands behind the embedding swaps batch and time at once: see `layers.swapped`."""
    dropping = experiment.embedding_dropout or experiment.spatial_dropout
    return on_cpu_tensorflow and experiment.cell in CELLS and not dropping


def _dropped(sequence: Tensor, experiment: Experiment) -> Tensor:
    """Whole words dropped (Gal & Ghahramani, NeurIPS 2016), then whole channels (Tompson et al., CVPR 2015)."""
    if experiment.embedding_dropout:
        sequence = keras.layers.Dropout(experiment.embedding_dropout, noise_shape=(None, None, 1))(sequence)
    if experiment.spatial_dropout:
        sequence = keras.layers.SpatialDropout1D(experiment.spatial_dropout)(sequence)
    return sequence


def _encoded(sequence: Tensor, ids: Tensor, experiment: Experiment) -> Tensor:
    """Returns the readout `float32 [batch, features]` of the last layer.

    A direction's last state is where that direction ends, so a bidirectional layer is read
    direction by direction, before the backward states are turned around again.
    """
    if experiment.cell == "conv1d":  # which would see what is at padding; the others never do
        sequence = ZeroPadding()(sequence, ids)
    for layer in range(experiment.layers):
        if experiment.cell == "conv1d":
            directions = [_convolution(experiment)(sequence)]
        else:
            directions = [_cell(experiment)(sequence)]
        if experiment.bidirectional:
            directions.append(_cell(experiment)(ReverseText()(sequence, ids)))
        if layer == experiment.layers - 1:
            return _joined([_read_out(states, ids, experiment) for states in directions])
        sequence = _joined([directions[0], *(ReverseText()(states, ids) for states in directions[1:])])
        if experiment.cell == "conv1d":
            sequence, ids = PoolText()(ZeroPadding()(sequence, ids)), ids[:, ::POOLED]
    raise AssertionError("layers >= 1")


def _read_out(states: Tensor, ids: Tensor, experiment: Experiment) -> Tensor:
    if experiment.readout == "flatten":
        return keras.layers.Reshape((experiment.max_tokens * states.shape[-1],))(states)
    return Readout(experiment.readout)(states, ids)


def _cell(experiment: Experiment) -> keras.layers.Layer:
    # On a GPU TensorFlow would cast bfloat16 to float32 for cuDNN, and back.
    full = keras.config.dtype_policy().variable_dtype if on_gpu_tensorflow else None
    return CELLS[experiment.cell](
        experiment.units,
        return_sequences=True,
        recurrent_dropout=experiment.recurrent_dropout,
        kernel_regularizer=_l2(experiment),
        recurrent_regularizer=_l2(experiment),
        dtype=full,
    )


def _convolution(experiment: Experiment) -> keras.layers.Layer:
    return keras.layers.Conv1D(
        experiment.units,
        CONVOLUTION_WIDTH,
        padding="same",
        data_format="channels_last",
        activation="relu",
        kernel_regularizer=_l2(experiment),
    )


def _joined(directions: list[Tensor]) -> Tensor:
    return directions[0] if len(directions) == 1 else keras.layers.Concatenate()(directions)


def _l2(experiment: Experiment) -> keras.regularizers.Regularizer | None:
    return keras.regularizers.L2(experiment.l2) if experiment.l2 else None
