"""The loop of our own against Keras' layers: same weights, same outputs, same gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from textrnn.modeling import recurrence
from textrnn.modeling.backend import keras, on_cpu_tensorflow

if not on_cpu_tensorflow:
    pytest.skip("Keras loops here: the loop of our own is TensorFlow's, on a processor", allow_module_level=True)

import tensorflow as tf

BATCH, FEATURES, UNITS = 3, 4, 2
CELLS = ("SimpleRNN", "LSTM", "GRU")


def pair(name: str, **settings: float) -> list[keras.layers.Layer]:
    """Keras' layer and ours with the same random weights, biases too."""
    layers = [getattr(place, name)(UNITS, return_sequences=True, **settings) for place in (keras.layers, recurrence)]
    draw = np.random.default_rng(0)
    for layer in layers:
        layer.build((BATCH, None, FEATURES))
    weights = [draw.normal(0, 0.7, weight.shape) for weight in layers[0].get_weights()]
    for layer in layers:
        layer.set_weights(weights)
    return layers


def gradients(layer: keras.layers.Layer, training: bool) -> Any:
    """From inputs and weights of a loss: the outputs, and the gradients of their weighted sum by inputs and weights."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, size)) for size in (FEATURES, UNITS)], autograph=False)
    def compute(inputs: tf.Tensor, loss_weights: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training)
            loss = tf.reduce_sum(outputs * loss_weights)
        return [outputs, *tape.gradient(loss, [inputs, *(weight.value for weight in layer.trainable_weights)])]

    return compute


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_outputs_and_gradients_are_keras(name: str, training: bool) -> None:
    """With fewer steps than a round of the loop takes, with just as many, and with a round that is not full."""
    keras_own, ours = (gradients(layer, training) for layer in pair(name))
    for steps in (1, 3, 4, 9):
        draw = np.random.default_rng(steps)
        inputs, loss_weights = (draw.normal(size=(BATCH, steps, size)).astype(np.float32) for size in (FEATURES, UNITS))
        expected = keras_own(inputs, loss_weights)
        assert len(expected) == 5
        for one, other in zip(ours(inputs, loss_weights), expected, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", CELLS)
def test_weights_have_keras_names_and_shapes(name: str) -> None:
    theirs, ours = ([(weight.name, weight.shape) for weight in layer.weights] for layer in pair(name))
    assert ours == theirs


@pytest.mark.parametrize("name", CELLS)
def test_with_recurrent_dropout_keras_loops_in_training_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = pair(name, recurrent_dropout=0.5)[1]
    ours = []
    zeros = tf.zeros((BATCH, 1, UNITS))
    monkeypatch.setattr(type(layer), "outputs", lambda *_: ours.append(True) or zeros)
    inputs = np.ones((BATCH, 1, FEATURES), np.float32)
    layer(inputs, training=True)
    assert not ours
    layer(inputs, training=False)
    assert ours
