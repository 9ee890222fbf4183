"""From an experiment to a Keras model: embedding, encoder, readout, softmax head.

    ids -> embedding -> dropouts -> cell x layers (with a dropout between) -> readout -> dropout -> logits

The `feedforward` control has no sequence encoder: its dense layers follow the readout. Max pooling separates the
layers of `conv1d` (both as in Chollet, Deep Learning with Python, 2017, 6.4).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from textrnn.config.experiment import Experiment
from textrnn.modeling.adversarial import AdversarialClassifier, adds_losses
from textrnn.modeling.backend import jit_compile, keras, on_cpu_tensorflow, on_gpu_tensorflow
from textrnn.modeling.convolution import CONVOLUTION_WIDTH, POOLED
from textrnn.modeling.layers import (
    Attention,
    Embedding,
    PoolText,
    Readout,
    ReverseText,
    TemporalActivationRegularization,
    ZeroPadding,
)
from textrnn.modeling.optimizers import OPTIMIZERS
from textrnn.modeling.rates import vary_by_layer
from textrnn.modeling.recurrence import CELLS

Tensor = Any


def build_classifier(
    experiment: Experiment,
    embedding: np.ndarray,
    classes: int,
    seed: int,
    fixed_rows: int = 0,
    counts: np.ndarray | None = None,
    layers: Sequence[np.ndarray] = (),
) -> keras.Model:
    """Returns a compiled model from token ids `int32 [batch, time]` to logits `float32 [batch, classes]`.

    Args:
        embedding: float32 [words, dimension], the embedding's first values; row 0 is padding.
        seed: of every initial weight and every dropout mask.
        fixed_rows: how many rows at the end belong to words that no training text has.
        counts: how often the other words occur in training, int64 [words]: normalizes the embedding by them.
        layers: the first weights of the recurrent layers, layer by layer and direction by direction; drawn if empty.
    """
    keras.utils.set_random_seed(seed)
    ids = keras.Input((None,), dtype="int32", name="ids")
    words = ids if experiment.padding == "right" else keras.ops.ones_like(ids)  # left padding counts as a word
    lookup = _embedding(experiment, embedding.shape, fixed_rows, counts)
    sequence = vectors = _drop(lookup(ids), experiment)
    if experiment.cell == "feedforward":
        features = _read_out([sequence], words, experiment)
        for _ in range(experiment.layers):
            features = keras.layers.Dense(experiment.units, "relu", kernel_regularizer=_l2(experiment))(features)
    else:
        features = _encode(sequence, words, experiment)
    if experiment.dropout:
        features = keras.layers.Dropout(experiment.dropout)(features)
    full = keras.config.dtype_policy().variable_dtype  # float32, also with mixed precision
    logits = keras.layers.Dense(classes, kernel_regularizer=_l2(experiment), dtype=full, name="logits")(features)
    if adds_losses(experiment):
        model = AdversarialClassifier(ids, vectors, logits, experiment)
    else:
        model = keras.Model(ids, logits)
    seen = len(embedding) - fixed_rows
    lookup.set_weights([embedding[:seen], embedding[seen:]] if fixed_rows else [embedding])
    if layers:
        recurrent = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]
        for weight, value in zip([each for layer in recurrent for each in layer.weights], layers, strict=True):
            weight.assign(value)
    _compile(model, experiment)
    return model


def _compile(model: keras.Model, experiment: Experiment) -> None:
    model.compile(
        optimizer=OPTIMIZERS[experiment.optimizer](
            learning_rate=experiment.learning_rate,
            weight_decay=experiment.weight_decay,
            global_clipnorm=experiment.gradient_clip,
            use_ema=experiment.ema is not None,
            ema_momentum=experiment.ema if experiment.ema is not None else 0.99,
        ),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=experiment.label_smoothing),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    depths = _depths(model, experiment) if vary_by_layer(experiment) else ()
    model.optimizer.build(model.trainable_variables, depths)
    nothing = np.zeros((1, model.output_shape[-1]), np.float32)
    model.compute_metrics(None, nothing, nothing)  # creates the counters; otherwise a step would be traced again
    model.reset_metrics()


def _depths(model: keras.Model, experiment: Experiment) -> list[int]:
    """Returns how deep below the head, which is at 0, each trainable variable is; directions of a layer are as deep."""
    kind = {"conv1d": keras.layers.Conv1D, "feedforward": keras.layers.Dense, **CELLS}[experiment.cell]
    inner = [layer for layer in model.layers if isinstance(layer, kind) and layer.name != "logits"]
    directions = 2 if experiment.bidirectional else 1
    deep = {layer.name: experiment.layers - place // directions for place, layer in enumerate(inner)}
    deep["embedding"] = experiment.layers + 1
    found = {id(weight): deep.get(layer.name, 0) for layer in model.layers for weight in layer.trainable_variables}
    return [found[id(weight)] for weight in model.trainable_variables]


def _embedding(experiment: Experiment, shape: tuple[int, ...], fixed_rows: int, counts: np.ndarray | None) -> Embedding:
    words, dimension = shape
    drops = experiment.embedding_dropout or experiment.spatial_dropout
    return Embedding(
        words - fixed_rows,
        dimension,
        fixed_rows,
        is_time_major=on_cpu_tensorflow and experiment.cell in CELLS and not drops,
        counts=counts,
        trainable=experiment.trainable_embedding,
        name="embedding",
    )


def _drop(sequence: Tensor, experiment: Experiment) -> Tensor:
    """Drops whole words (Gal & Ghahramani, NeurIPS 2016), then whole channels (Tompson et al., CVPR 2015)."""
    if experiment.embedding_dropout:
        sequence = keras.layers.Dropout(experiment.embedding_dropout, noise_shape=(None, None, 1))(sequence)
    if experiment.spatial_dropout:
        sequence = keras.layers.SpatialDropout1D(experiment.spatial_dropout)(sequence)
    return sequence


def _encode(sequence: Tensor, ids: Tensor, experiment: Experiment) -> Tensor:
    """Returns the readout `float32 [batch, features]` of the last layer."""
    if experiment.cell == "conv1d":  # a convolution would see padding; recurrent cells do not
        sequence = ZeroPadding()(sequence, ids)
    for layer in range(experiment.layers):
        directions = [_cell(experiment)(sequence)]
        if experiment.bidirectional:
            directions.append(_cell(experiment)(ReverseText()(sequence, ids)))
        if layer == experiment.layers - 1:
            return _read_out(_regularize(directions, ids, experiment), ids, experiment)
        sequence = _align(directions, ids)
        if experiment.layer_dropout:
            sequence = keras.layers.SpatialDropout1D(experiment.layer_dropout)(sequence)
        if experiment.cell == "conv1d":
            sequence, ids = PoolText()(ZeroPadding()(sequence, ids)), ids[:, ::POOLED]
    raise AssertionError("layers >= 1")


def _regularize(directions: list[Tensor], ids: Tensor, experiment: Experiment) -> list[Tensor]:
    """Adds temporal activation regularization; of two directions, each counts half."""
    weight = experiment.temporal_activation_regularization / len(directions)
    return [TemporalActivationRegularization(weight)(states, ids) for states in directions] if weight else directions


def _read_out(directions: list[Tensor], ids: Tensor, experiment: Experiment) -> Tensor:
    """Reads `directions`, each from where it starts to where it ends.

    The last state of a direction is where that direction ends. So each is read before the backward states are reversed
    again. Attention weighs a word, for which it needs the states of both directions at that word.
    """
    if experiment.readout == "attention":
        return Attention(_l2(experiment))(_align(directions, ids), ids)
    if experiment.readout == "flatten":
        size = experiment.max_tokens * directions[0].shape[-1]
        return _join([keras.layers.Reshape((size,))(states) for states in directions])
    return _join([Readout(experiment.readout)(states, ids) for states in directions])


def _align(directions: list[Tensor], ids: Tensor) -> Tensor:
    """Joins the states of each word, which a second direction has in reverse."""
    return _join([directions[0], *(ReverseText()(states, ids) for states in directions[1:])])


def _cell(experiment: Experiment) -> keras.layers.Layer:
    if experiment.cell == "conv1d":
        return keras.layers.Conv1D(
            experiment.units,
            CONVOLUTION_WIDTH,
            padding="same",
            data_format="channels_last",
            activation="relu",
            kernel_regularizer=_l2(experiment),
        )
    return CELLS[experiment.cell](
        experiment.units,
        return_sequences=True,
        recurrent_dropout=experiment.recurrent_dropout,
        recurrent_weight_dropout=experiment.recurrent_weight_dropout,
        kernel_regularizer=_l2(experiment),
        recurrent_regularizer=_l2(experiment),
        # On a GPU TensorFlow would cast bfloat16 to float32 for cuDNN, and back.
        dtype=keras.config.dtype_policy().variable_dtype if on_gpu_tensorflow else None,
    )


def _join(directions: list[Tensor]) -> Tensor:
    return directions[0] if len(directions) == 1 else keras.layers.Concatenate()(directions)


def _l2(experiment: Experiment) -> keras.regularizers.Regularizer | None:
    return keras.regularizers.L2(experiment.l2) if experiment.l2 else None
