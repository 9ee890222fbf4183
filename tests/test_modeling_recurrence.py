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
    monkeypatch.setattr(type(layer), "outputs", lambda *_: ours.append(True) or (zeros, []))
    inputs = np.ones((BATCH, 1, FEATURES), np.float32)
    layer(inputs, training=True)
    assert not ours
    layer(inputs, training=False)
    assert ours


@pytest.mark.parametrize("name", CELLS)
def test_without_a_part_of_the_recurrent_weights_both_loops_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight that is dropped has no gradient."""
    layers = [getattr(recurrence, name)(UNITS, return_sequences=True, recurrent_weight_dropout=0.5) for _ in range(2)]
    for layer, other in zip(layers, pair(name), strict=True):
        layer.build((BATCH, None, FEATURES))
        layer.set_weights(other.get_weights())
        layer.weight_seeds.state.assign([7, 0])
    draw = np.random.default_rng(0)
    inputs, loss_weights = (draw.normal(size=(BATCH, 9, size)).astype(np.float32) for size in (FEATURES, UNITS))
    fast = gradients(layers[0], training=True)(inputs, loss_weights)
    monkeypatch.setattr(recurrence, "on_cpu_tensorflow", False)
    of_keras = gradients(layers[1], training=True)(inputs, loss_weights)
    for one, other in zip(fast, of_keras, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-5, atol=2e-6)
    of_recurrent_kernel = fast[3].numpy()
    assert 0 < (of_recurrent_kernel == 0).sum() < of_recurrent_kernel.size


@pytest.mark.parametrize("name", CELLS)
def test_dropping_recurrent_weights_keeps_the_fast_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = getattr(recurrence, name)(UNITS, return_sequences=True, recurrent_weight_dropout=0.5)
    ours = []
    monkeypatch.setattr(type(layer), "outputs", lambda *_: ours.append(True) or (tf.zeros((1, BATCH, UNITS)), []))
    layer(np.ones((BATCH, 1, FEATURES), np.float32), training=True)
    assert ours


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_a_given_state_is_where_it_starts_and_the_last_one_comes_back(name: str, training: bool) -> None:
    """As in Keras, with no gradient to the given state."""
    draw = np.random.default_rng(1)
    kinds = 2 if name == "LSTM" else 1
    start = [tf.constant(draw.normal(size=(BATCH, UNITS)), tf.float32) for _ in range(kinds)]

    def compute(layer: keras.layers.Layer, inputs: tf.Tensor, loss_weights: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, *states = layer(inputs, initial_state=start, training=training)
            loss = tf.reduce_sum(outputs * loss_weights)
        return [outputs, *states, *tape.gradient(loss, [inputs, *(weight.value for weight in layer.trainable_weights)])]

    for steps in (1, 4, 9):
        inputs, loss_weights = (
            tf.constant(draw.normal(size=(BATCH, steps, size)), tf.float32) for size in (FEATURES, UNITS)
        )
        theirs, ours = (compute(layer, inputs, loss_weights) for layer in pair(name, return_state=True))
        assert len(ours) == 1 + kinds + 4
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-5, atol=2e-6)
