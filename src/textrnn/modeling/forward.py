"""The forward pass of a trained classifier in NumPy: prediction without TensorFlow.

It is the same function as the Keras model of `classifier.py`, from the same weights; a test compares them. TensorFlow's
import takes longer than scoring ten thousand texts, and would be most of what a served model installs.

Sequences are float32 [features, time, batch]: so the gates of a step are rows, and splitting them copies nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from textrnn.config.experiment import Experiment
from textrnn.modeling.convolution import POOLED
from textrnn.text.vocabulary import PADDING

Array = Any  # np.ndarray, whose operators mypy cannot type
Weights = Iterator[Array]


class Network:
    """The network of `experiment` for prediction, with the `weights` of the Keras model in its order.

    Raises `ValueError` or `StopIteration` if the weights are not those of such an experiment.
    """

    def __init__(self, experiment: Experiment, weights: list[np.ndarray], classes: int) -> None:
        self._experiment = experiment
        self._weights = weights[1:]
        self._embedding = np.array(weights[0].T, order="C")  # [dimension, vocabulary]
        if experiment.padding == "right":  # a convolution must not see padding; recurrent cells never do
            self._embedding[:, PADDING] = 0
        self._classes = classes
        words = experiment.max_tokens if experiment.readout == "flatten" else 1
        if self.logits(np.full((1, words), PADDING + 1, np.int32)).shape != (1, classes):  # most others fail within
            raise ValueError("The weights are those of another architecture.")

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Returns float32 [batch, classes] for token ids int32 [batch, time], padded as the experiment says."""
        weights, units = iter(self._weights), self._experiment.units
        real = ids.T != PADDING if self._experiment.padding == "right" else np.ones_like(ids.T, bool)
        sequence = np.take(self._embedding, ids.T, axis=1)
        if self._experiment.cell == "feedforward":
            features = self._read_out([sequence], real, weights)
            for _ in range(self._experiment.layers):
                features = np.maximum(_dense(features, weights, units), 0)
        else:
            features = self._encode(sequence, real, weights)
        logits: np.ndarray = _dense(features, weights, self._classes)
        if next(weights, None) is not None:
            raise ValueError("There are more weights than layers.")
        return logits

    def _encode(self, sequence: Array, real: Array, weights: Weights) -> Array:
        """Returns the readout float32 [batch, features] of the last layer; `real` is bool [time, batch]."""
        encode = self._convolve if self._experiment.cell == "conv1d" else self._recur
        for layer in range(self._experiment.layers):
            last = layer == self._experiment.layers - 1
            read = [sequence, *([_reverse(sequence, real)] if self._experiment.bidirectional else [])]
            # Keras sorts layers by their distance from the end: a direction that is reversed again comes first.
            order = 1 if last and self._experiment.readout != "attention" else -1
            directions = [encode(way, weights) for way in read[::order]][::order]
            if last:
                return self._read_out(directions, real, weights)
            sequence = _align(directions, real)
            if self._experiment.cell == "conv1d":
                sequence, real = _pool(sequence * real), real[::POOLED]
        raise AssertionError("layers >= 1")

    def _convolve(self, sequence: Array, weights: Weights) -> Array:
        """Returns float32 [units, time, batch]: a convolution with `same` padding and ReLU."""
        kernel = next(weights)
        width, features, _ = kernel.shape
        _, time, batch = sequence.shape
        before = (width - 1) // 2
        padded = np.pad(sequence, ((0, 0), (before, width - 1 - before), (0, 0)))
        output = np.repeat(_bias(weights, self._experiment.units)[:, None], time * batch, axis=1)
        for place in range(width):
            output += kernel[place].T @ padded[:, place : place + time].reshape(features, -1)
        return np.maximum(output, 0).reshape(-1, time, batch)

    def _recur(self, sequence: Array, weights: Weights) -> Array:
        """Returns the outputs float32 [units, time, batch] of a layer in one direction."""
        _, time, batch = sequence.shape
        join, step = CELLS[self._experiment.cell]
        kernel = join(next(weights), next(weights), next(weights))
        one = np.ones((1, batch), np.float32)
        output = cell = np.zeros((self._experiment.units, batch), np.float32)
        outputs = np.empty((self._experiment.units, time, batch), np.float32)
        for t in range(time):
            gates = kernel @ np.concatenate([sequence[:, t], output, one])
            output, cell = step(gates, output, cell)
            outputs[:, t] = output
        return outputs

    def _read_out(self, directions: list[Array], real: Array, weights: Weights) -> Array:
        """Returns float32 [batch, features]."""
        kind = self._experiment.readout
        if kind == "attention":
            return _attend(_align(directions, real), real, weights)
        kinds = ("last", "max", "mean") if kind == "concat" else (kind,)
        return np.concatenate([POOLINGS[each](states, real) for states in directions for each in kinds]).T


def _attend(sequence: Array, real: Array, weights: Weights) -> Array:
    """Returns float32 [batch, features]: the mean weighted by additive attention to a learned query."""
    features, time, batch = sequence.shape
    kernel, bias = next(weights), _bias(weights, features)
    hidden = np.tanh(kernel.T @ sequence.reshape(features, -1) + bias[:, None])
    scores = np.where(real, (next(weights).T @ hidden).reshape(time, batch), np.float32(-1e9))
    shares = np.exp(scores - scores.max(axis=0))
    return ((sequence * shares).sum(axis=1) / shares.sum(axis=0)).T


# A pooling goes from a sequence float32 [features, time, batch] and its real positions to float32 [features, batch].


def _flatten(sequence: Array, real: Array) -> Array:
    return sequence.swapaxes(0, 1).reshape(-1, sequence.shape[2])


def _last(sequence: Array, real: Array) -> Array:
    return sequence[:, real.sum(axis=0) - 1, np.arange(sequence.shape[2])]


def _max(sequence: Array, real: Array) -> Array:
    return np.where(real, sequence, np.float32(-1e9)).max(axis=1)


def _mean(sequence: Array, real: Array) -> Array:
    return np.where(real, sequence, np.float32(0)).sum(axis=1) / real.sum(axis=0).astype(np.float32)


POOLINGS = {"flatten": _flatten, "last": _last, "max": _max, "mean": _mean}


def _join(kernel: Array, recurrent: Array, bias: Array) -> Array:
    """Returns Keras' weights of a step as float32 [gates, features + units + 1]."""
    return np.concatenate([kernel, recurrent, bias[None]]).T


def _join_lstm(kernel: Array, recurrent: Array, bias: Array) -> Array:
    """The same, with the candidate last, behind the three gates that take a sigmoid."""
    let_in, forget, candidate, let_out = np.split(_join(kernel, recurrent, bias), 4)
    return np.concatenate([let_in, forget, let_out, candidate])


def _join_gru(kernel: Array, recurrent: Array, bias: Array) -> Array:
    """The same; the candidate's part from the input and that from the output stay apart, as two gates."""
    opening = 2 * len(recurrent)
    of_input = _join(kernel, np.zeros_like(recurrent), bias[0])
    of_output = _join(np.zeros_like(kernel), recurrent, bias[1])
    return np.concatenate([(of_input + of_output)[:opening], of_input[opening:], of_output[opening:]])


# A step goes from the gates float32 [gates, batch], and the last output and cell state float32 [units, batch], to the
# next output and cell state. Only an LSTM has a cell state.


def _simple_rnn(gates: Array, output: Array, cell: Array) -> tuple[Array, Array]:
    return np.tanh(gates), cell


def _lstm(gates: Array, output: Array, cell: Array) -> tuple[Array, Array]:
    opened, candidate = np.split(gates, [3 * len(output)])
    let_in, kept, let_out = np.split(_sigmoid(opened), 3)
    candidate = np.tanh(candidate)
    cell = kept * cell + let_in * candidate
    output = let_out * np.tanh(cell)
    return output, cell


def _gru(gates: Array, output: Array, cell: Array) -> tuple[Array, Array]:
    opened, of_input, of_output = np.split(gates, [2 * len(output), 3 * len(output)])
    update, reset = np.split(_sigmoid(opened), 2)
    candidate = np.tanh(of_input + reset * of_output)
    return candidate + update * (output - candidate), cell


CELLS: dict[str, tuple[Callable[..., Array], Callable[..., tuple[Array, Array]]]] = {
    "simple_rnn": (_join, _simple_rnn),
    "lstm": (_join_lstm, _lstm),
    "gru": (_join_gru, _gru),
}


def _sigmoid(x: Array) -> Array:
    """NumPy has no sigmoid, and a fast tanh."""
    return np.float32(0.5) * np.tanh(np.float32(0.5) * x) + np.float32(0.5)


def _dense(features: Array, weights: Weights, size: int) -> Array:
    return features @ next(weights) + _bias(weights, size)


def _bias(weights: Weights, size: int) -> Array:
    bias = next(weights)
    if bias.shape != (size,):
        raise ValueError(f"A bias must have the shape ({size},). Received: {bias.shape}.")
    return bias


def _pool(sequence: Array) -> Array:
    """The maximum of every `POOLED` positions; the last ones are filled up with zeros."""
    features, time, batch = sequence.shape
    filled = np.pad(sequence, ((0, 0), (0, -time % POOLED), (0, 0)))
    return filled.reshape(features, -1, POOLED, batch).max(axis=2)


def _align(directions: list[Array], real: Array) -> Array:
    """Joins the states of each word, which a second direction has in reverse."""
    return np.concatenate([directions[0], *(_reverse(states, real) for states in directions[1:])])


def _reverse(sequence: Array, real: Array) -> Array:
    """Reverses each text within its own length."""
    position, lengths = np.arange(len(real))[:, None], real.sum(axis=0)
    source = np.where(position < lengths, lengths - 1 - position, position)
    return np.take_along_axis(sequence, source[None], axis=1)
