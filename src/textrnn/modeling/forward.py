"""The forward pass of a trained classifier in NumPy: what predicts from a saved model.

The same function as the Keras model of `classifier.py`, from the same weights; a test holds every
kind of network against it. So whoever uses a model needs no TensorFlow, whose import takes longer
than ten thousand texts do, and which would be most of what a served model installs.

Sequences lie as [features, time, batch]: there the gates of a step are rows, and taking them apart copies nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from textrnn.config.params import POOLED, Experiment
from textrnn.text.vocabulary import PADDING

Array = Any  # np.ndarray, of which mypy knows too little
Weights = Iterator[Array]
Step = Callable[[Array, Array], None]
"""Brings the output of a step up to date, float32 [units, batch], from its gates, which it may overwrite."""


class Network:
    """A network that can do nothing but predict.

    Args:
        weights: those of the Keras model, in its order; the embedding first.

    Raises:
        ValueError: they are not those of such an experiment.
    """

    def __init__(self, experiment: Experiment, weights: list[np.ndarray], classes: int) -> None:
        self._experiment = experiment
        self._weights = weights[1:]
        self._embedding = np.array(weights[0].T, order="C")  # [dimension, vocabulary]
        if experiment.padding == "right":  # a convolution must not see it; the others never do
            self._embedding[:, PADDING] = 0
        self._classes = classes
        words = experiment.max_tokens if experiment.readout == "flatten" else 1
        self.logits(np.full((1, words), PADDING + 1, np.int32))  # fails where the weights are others

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Returns float32 [batch, classes] for token ids int32 [batch, time], padded as the experiment says."""
        weights = iter(self._weights)
        real = ids.T != PADDING if self._experiment.padding == "right" else np.ones_like(ids.T, bool)
        sequence = np.take(self._embedding, ids.T, axis=1)
        if self._experiment.cell == "feedforward":
            features = self._read_out(sequence, real)
            for _ in range(self._experiment.layers):
                features = np.maximum(_dense(features, weights, self._experiment.units), 0)
        else:
            features = self._encoded(sequence, real, weights)
        logits: np.ndarray = _dense(features, weights, self._classes)
        if next(weights, None) is not None:
            raise ValueError("There are more weights than layers.")
        return logits

    def _encoded(self, sequence: Array, real: Array, weights: Weights) -> Array:
        """Returns the readout float32 [batch, features] of the last layer; `real` is bool [time, batch]."""
        encode = self._convolved if self._experiment.cell == "conv1d" else self._recurrent
        for layer in range(self._experiment.layers):
            last = layer == self._experiment.layers - 1
            read = [sequence, *([_reversed(sequence, real)] if self._experiment.bidirectional else [])]
            # Keras lists layers by their distance from the end: a direction that is turned around again comes first.
            directions = [encode(way, weights) for way in (read if last else read[::-1])]
            if last:
                return np.concatenate([self._read_out(states, real) for states in directions], axis=1)
            *backwards, forwards = directions
            sequence = np.concatenate([forwards, *(_reversed(states, real) for states in backwards)])
            if self._experiment.cell == "conv1d":
                sequence, real = _pooled(sequence * real), real[::POOLED]
        raise AssertionError("layers >= 1")

    def _convolved(self, sequence: Array, weights: Weights) -> Array:
        """Returns float32 [units, time, batch]: a convolution as wide as its kernel, `same` padding, above zero."""
        kernel = next(weights)
        width, features, _ = kernel.shape
        _, time, batch = sequence.shape
        before = (width - 1) // 2
        padded = np.pad(sequence, ((0, 0), (before, width - 1 - before), (0, 0)))
        output = np.repeat(_bias(weights, self._experiment.units)[:, None], time * batch, axis=1)
        for place in range(width):
            output += kernel[place].T @ padded[:, place : place + time].reshape(features, -1)
        return np.maximum(output, 0, out=output).reshape(-1, time, batch)

    def _recurrent(self, sequence: Array, weights: Weights) -> Array:
        """Returns the outputs float32 [units, time, batch] of a layer in one direction."""
        features, time, batch = sequence.shape
        units = self._experiment.units
        kernel, step = CELLS[self._experiment.cell](next(weights), next(weights), next(weights))
        column = np.ones((features + units + 1, batch), np.float32)  # input, last output, and 1 for the bias
        output = column[features:-1]
        output[:] = 0
        gates = np.empty((len(kernel), batch), np.float32)
        outputs = np.empty((units, time, batch), np.float32)
        for t in range(time):
            column[:features] = sequence[:, t]
            step(np.matmul(kernel, column, out=gates), output)
            outputs[:, t] = output
        return outputs

    def _read_out(self, sequence: Array, real: Array) -> Array:
        """Returns float32 [batch, features]."""
        lengths, kind = real.sum(axis=0, dtype=np.int32), self._experiment.readout
        if kind == "flatten":
            return sequence.transpose(2, 1, 0).reshape(len(lengths), -1)
        if kind == "last":
            return sequence[:, lengths - 1, np.arange(len(lengths))].T
        if kind == "max":
            return np.where(real, sequence, np.float32(-1e9)).max(axis=1).T
        return (np.where(real, sequence, np.float32(0)).sum(axis=1) / lengths.astype(np.float32)).T


def _simple_rnn(kernel: Array, recurrent: Array, bias: Array) -> tuple[Array, Step]:
    """Returns all weights of a step as float32 [gates, features + units + 1], and the rest of it."""

    def step(gates: Array, output: Array) -> None:
        np.tanh(gates, out=output)

    return _joined(kernel, recurrent, bias), step


def _lstm(kernel: Array, recurrent: Array, bias: Array) -> tuple[Array, Step]:
    """As `_simple_rnn`. Keras' gates: input, forget, candidate, output."""
    units = len(recurrent)
    of_input, of_forget, of_candidate, of_output = np.split(_joined(kernel, recurrent, bias), 4)
    cell = np.zeros((units, 1), np.float32)

    def step(gates: Array, output: Array) -> None:
        nonlocal cell
        np.tanh(gates, out=gates)
        _become_sigmoids(gates[: 3 * units])
        let_in, kept, let_out, candidate = gates.reshape(4, units, -1)
        cell = kept * cell
        cell += np.multiply(let_in, candidate, out=candidate)
        np.tanh(cell, out=output)
        output *= let_out

    return np.concatenate([of_input / 2, of_forget / 2, of_output / 2, of_candidate]), step


def _gru(kernel: Array, recurrent: Array, bias: Array) -> tuple[Array, Step]:
    """As `_simple_rnn`. Keras' gates: update, reset, candidate, with the reset after the product."""
    units = len(recurrent)
    of_input = _joined(kernel, np.zeros_like(recurrent), bias[0])
    of_output = _joined(np.zeros_like(kernel), recurrent, bias[1])

    def step(gates: Array, output: Array) -> None:
        opening = gates[: 2 * units]
        _become_sigmoids(np.tanh(opening, out=opening))
        update, reset, candidate, from_output = gates.reshape(4, units, -1)
        candidate += np.multiply(reset, from_output, out=from_output)
        np.tanh(candidate, out=candidate)
        output -= candidate
        output *= update
        output += candidate

    opening = (of_input + of_output)[: 2 * units] / 2
    return np.concatenate([opening, of_input[2 * units :], of_output[2 * units :]]), step


CELLS = {"simple_rnn": _simple_rnn, "lstm": _lstm, "gru": _gru}


def _joined(kernel: Array, recurrent: Array, bias: Array) -> Array:
    """Joins Keras' weights `[features, gates]`, `[units, gates]` and `[gates]`, transposed."""
    return np.concatenate([kernel, recurrent, bias[None]]).T


def _become_sigmoids(tanhs: Array) -> None:
    """Makes the sigmoid of x of tanh(x / 2), in place: NumPy has no sigmoid, and a fast tanh."""
    tanhs *= 0.5
    tanhs += 0.5


def _dense(features: Array, weights: Weights, size: int) -> Array:
    return features @ next(weights) + _bias(weights, size)


def _bias(weights: Weights, size: int) -> Array:
    bias = next(weights)
    if bias.shape != (size,):
        raise ValueError(f"A bias must have the shape ({size},). Received: {bias.shape}.")
    return bias


def _pooled(sequence: Array) -> Array:
    """The maximum of every `POOLED` positions; what the last ones lack is zero."""
    features, time, batch = sequence.shape
    filled = np.pad(sequence, ((0, 0), (0, -time % POOLED), (0, 0)))
    return filled.reshape(features, -1, POOLED, batch).max(axis=2)


def _reversed(sequence: Array, real: Array) -> Array:
    """Turns each text around within its own length."""
    position, lengths = np.arange(len(real))[:, None], real.sum(axis=0)
    source = np.where(position < lengths, lengths - 1 - position, position)
    return np.take_along_axis(sequence, source[None], axis=1)
