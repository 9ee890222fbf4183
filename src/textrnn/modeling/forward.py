"""The forward pass of a trained classifier in NumPy: prediction without TensorFlow.

It is the same function as the Keras model of `classifier.py`, from the same weights; a test compares them. TensorFlow's
import takes longer than scoring ten thousand texts, and would be most of what a served model installs.

Sequences are float32 [features, time, batch]: so the gates of a step are rows, and splitting them copies nothing. A
recurrent layer computes nothing for padding behind a text: longer texts come first in a batch, so the texts that a step
still reads are its first columns. The first such layer multiplies its kernel with each distinct word of a batch once.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from textrnn.config.experiment import RECURRENT_CELLS, Experiment
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
        each = iter(weights[1:])
        if experiment.cell in RECURRENT_CELLS:
            layers = experiment.layers * (1 + experiment.bidirectional)
            self._weights = [*[_gates(experiment, each) for _ in range(layers)], *each]
        else:
            self._weights = [*each]
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
        real = ids != PADDING if self._experiment.padding == "right" else np.ones_like(ids, bool)
        order = np.argsort(-real.sum(axis=1), kind="stable")
        words, real = ids[order].T, real[order].T
        recurrent = self._experiment.cell in RECURRENT_CELLS
        sequence = words[None] if recurrent else np.take(self._embedding, words, axis=1)
        if self._experiment.cell == "feedforward":
            features = self._read_out([sequence], real, weights)
            for _ in range(self._experiment.layers):
                features = np.maximum(_dense(features, weights, units), 0)
        else:
            features = self._encode(sequence, real, weights)
        sorted_logits = _dense(features, weights, self._classes)
        if next(weights, None) is not None:
            raise ValueError("There are more weights than layers.")
        logits: np.ndarray = np.empty_like(sorted_logits)
        logits[order] = sorted_logits
        return logits

    def _encode(self, sequence: Array, real: Array, weights: Weights) -> Array:
        """Returns the readout float32 [batch, features] of the last layer; `real` is bool [time, batch].

        The first layer reads float32 [features, time, batch], or, if it is recurrent, ids int32 [1, time, batch].
        """
        encode = self._convolve if self._experiment.cell == "conv1d" else self._recur
        for layer in range(self._experiment.layers):
            last = layer == self._experiment.layers - 1
            read = [sequence, *([_reverse(sequence, real)] if self._experiment.bidirectional else [])]
            # Keras sorts layers by their distance from the end: a direction that is reversed again comes first.
            order = 1 if last and self._experiment.readout != "attention" else -1
            directions = [encode(way, real, weights) for way in read[::order]][::order]
            if last:
                return self._read_out(directions, real, weights)
            sequence = _align(directions, real)
            if self._experiment.cell == "conv1d":
                sequence, real = _pool(sequence * real), real[::POOLED]
        raise AssertionError("layers >= 1")

    def _convolve(self, sequence: Array, real: Array, weights: Weights) -> Array:
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

    def _recur(self, sequence: Array, real: Array, weights: Weights) -> Array:
        """Returns the outputs float32 [units, time, batch] of a layer in one direction; zeros behind a text."""
        time, batch = real.shape
        units = self._experiment.units
        step = STEPS[self._experiment.cell]
        kernel, recurrent, bias, later = next(weights)
        read = self._reader(sequence, kernel, bias)
        output, cell = np.zeros((2, units, batch), np.float32)
        outputs = np.zeros((units, time, batch), np.float32)
        for t, texts in enumerate(real.sum(axis=1).tolist()):
            last, held = output[:, :texts], cell[:, :texts]
            output, cell = step(read(t, texts), recurrent @ last, later, last, held)
            outputs[:, t, :texts] = output
        return outputs

    def _reader(self, sequence: Array, kernel: Array, bias: Array) -> Callable[[int, int], Array]:
        """Returns the function from a step t and a number of texts to what these bring, float32 [gates, texts].

        That is the product of `kernel`, float32 [features, gates], with what the first texts read at t, and `bias`.
        """
        if sequence.dtype == np.float32:
            rows, column = kernel.T, bias[:, None]
            return lambda t, texts: rows @ sequence[:, t, :texts] + column
        used = np.zeros(self._embedding.shape[1], bool)
        used[sequence] = True
        words = np.flatnonzero(used)
        table = self._embedding[:, words].T @ kernel + bias
        rows = np.empty(len(used), np.intp)
        rows[words] = np.arange(len(words))
        places = rows[sequence[0]]
        return lambda t, texts: table.take(places[t, :texts], axis=0).T

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


def _gates(experiment: Experiment, weights: Weights) -> tuple[Array, Array, Array, Array]:
    """Returns the weights of a recurrent layer in one direction.

    That is from input to gates float32 [features, gates] and [gates], from the last output to gates float32
    [gates, units], and for a GRU what is added behind that, float32 [gates, 1]. Gates that take a sigmoid come first,
    and what goes into them is halved, which is exact: sigmoid(x) = tanh(x / 2) / 2 + 1 / 2, and NumPy has a fast tanh.
    """
    kernel, recurrent, bias = next(weights), next(weights), next(weights)
    cell, units = experiment.cell, experiment.units
    gates = {"simple_rnn": 1, "lstm": 4, "gru": 3}[cell] * units
    _shaped(kernel, (len(kernel), gates))
    _shaped(recurrent, (units, gates))
    _shaped(bias, (2, gates) if cell == "gru" else (gates,))
    order = np.arange(gates)
    if cell == "lstm":
        order = np.r_[: 2 * units, 3 * units : gates, 2 * units : 3 * units]
    halved = np.ones(gates, np.float32)
    halved[: gates - units] /= 2
    kernel, recurrent, bias = (each[..., order] * halved for each in (kernel, recurrent, bias))
    of_input, *later = bias if cell == "gru" else [bias]
    return kernel, np.ascontiguousarray(recurrent.T), of_input, later[0][:, None] if later else None


# A step goes from what the input and what the last output bring, float32 [gates, texts], what a GRU adds to the latter,
# and the last output and cell state, float32 [units, texts], to the next output and cell state. Only an LSTM has a cell
# state. What the last output brings is overwritten, for fewer new arrays.


def _simple_rnn(inputs: Array, again: Array, later: Array, output: Array, cell: Array) -> tuple[Array, Array]:
    again += inputs
    return np.tanh(again, out=again), cell


def _lstm(inputs: Array, again: Array, later: Array, output: Array, cell: Array) -> tuple[Array, Array]:
    again += inputs
    np.tanh(again, out=again)
    let_in, kept, let_out, candidate = again.reshape(4, *output.shape)
    _end_sigmoid(again[: 3 * len(output)])
    candidate *= let_in
    kept *= cell
    kept += candidate
    let_out *= np.tanh(kept)
    return let_out, kept


def _gru(inputs: Array, again: Array, later: Array, output: Array, cell: Array) -> tuple[Array, Array]:
    again += later
    update, reset, candidate = again.reshape(3, *output.shape)
    opened = again[: 2 * len(output)]
    opened += inputs[: 2 * len(output)]
    np.tanh(opened, out=opened)
    _end_sigmoid(opened)
    candidate *= reset
    candidate += inputs[2 * len(output) :]
    np.tanh(candidate, out=candidate)
    update *= output - candidate
    update += candidate
    return update, cell


STEPS: dict[str, Callable[..., tuple[Array, Array]]] = {"simple_rnn": _simple_rnn, "lstm": _lstm, "gru": _gru}


def _end_sigmoid(tanh: Array) -> None:
    """Makes sigmoids of the hyperbolic tangents of half their arguments, in place."""
    tanh *= np.float32(0.5)
    tanh += np.float32(0.5)


def _dense(features: Array, weights: Weights, size: int) -> Array:
    return features @ next(weights) + _bias(weights, size)


def _bias(weights: Weights, size: int) -> Array:
    return _shaped(next(weights), (size,))


def _shaped(weight: Array, shape: tuple[int, ...]) -> Array:
    if weight.shape != shape:
        raise ValueError(f"A weight must have the shape {shape}. Received: {weight.shape}.")
    return weight


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
