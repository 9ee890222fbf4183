"""A recurrent language model, trained step by step on windows of texts.

    ids -> embedding -> dropout -> cell x layers (a dropout behind each) -> projection -> product with all vectors

Every step splits its texts into `PARTS` that need nothing of each other until their gradients are added, in a fixed
order. So two cores share a step, and the result has the same bytes with one. Of a bidirectional model, which is two
models with one embedding, a part is a direction.

**Sampled softmax.** The loss of a word is log Z minus its score, where Z sums the exponentials of all words' scores.
Training estimates Z from the right word and some others, the same for all words of a step, so that their scores are one
matrix product. Each of these is drawn with a probability of its own, by which its exponential is divided: then the
estimate of Z has no bias (Horvitz & Thompson, JASA 1952; for softmax Bengio & Senécal, AISTATS 2003). Frequent words
are drawn always, and none is drawn twice (systematic sampling: Madow, Annals of Mathematical Statistics 1949).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from textrnn.config.pretraining import Pretraining
from textrnn.modeling.backend import jit_compile, keras
from textrnn.modeling.optimizers import OPTIMIZERS
from textrnn.modeling.recurrence import CELLS
from textrnn.text.vocabulary import PADDING

PARTS = 2

POWER = 0.75
"""Of a word's frequency, to which its probability to be drawn is proportional (Mikolov et al., NeurIPS 2013)."""

FIRST = PADDING + 1
"""The first word that a text can have."""

ops = keras.ops
Tensor = Any


class LanguageModel(keras.Model):
    """From ids `int32 [PARTS, texts, time]` and drawn words `int32 [samples]` to states, and with targets to the loss.

    Its recurrent layers go on from where the last step left them, until `reset`. The vector of padding is zeros at
    first; an autoencoder trains it as the mark behind the text that it has read.

    Args:
        settings: of the model.
        start: the first vectors, float32 [words, dimension].
        counts: how often each word occurs in the texts, int64 [words].
        steps: of the whole training, over which the learning rate falls.
        words: to predict in a mean step. The loss of a step is divided by this, so each word weighs the same.
    """

    def __init__(self, settings: Pretraining, start: np.ndarray, counts: np.ndarray, steps: int, words: float) -> None:
        super().__init__(name="language_model")
        self._settings, self._words_per_step = settings, words
        size, dimension = start.shape
        self.vectors = self._weight("embeddings", start)
        # The loss starts at that of words' frequencies.
        self.bias = self._weight("bias", np.log(np.maximum(counts, 1) / counts.sum()).astype(np.float32))
        self.chances = inclusion_chances(counts, settings.samples) if 0 < settings.samples < size - FIRST else None
        if self.chances is not None:
            self._log_chances = ops.log(np.maximum(self.chances, 1e-30).astype(np.float32))  # padding is never drawn
        self.drops_vectors = keras.layers.SpatialDropout1D(settings.spatial_dropout)
        self.drops_outputs = keras.layers.SpatialDropout1D(settings.dropout)
        self.directions = [
            [self._cell(settings) for _ in range(settings.layers)] for _ in range(1 + settings.bidirectional)
        ]
        self.projections = [
            keras.layers.Dense(dimension, use_bias=False) if settings.units != dimension else keras.layers.Identity()
            for _ in self.directions
        ]
        texts = -(-settings.batch_size // (PARTS // len(self.directions)))
        kinds = 2 if settings.cell == "lstm" else 1
        zeros = np.zeros((texts, settings.units), np.float32)
        self._states = [
            [[self._weight("state", zeros, False) for _ in range(kinds)] for _ in range(settings.layers)]
            for _ in range(PARTS)
        ]
        self.nats, self.predicted = keras.metrics.Sum(name="nats"), keras.metrics.Sum(name="predicted")
        self.compile(
            optimizer=OPTIMIZERS["adam"](
                learning_rate=keras.optimizers.schedules.ExponentialDecay(
                    settings.learning_rate, decay_steps=steps, decay_rate=settings.decay
                ),
                global_clipnorm=settings.gradient_clip,
            ),
            jit_compile=jit_compile,
        )
        self((np.zeros((PARTS, 1, 1), np.int32), np.zeros(0, np.int32)))  # builds the layers
        self.reset()
        self.optimizer.build(self.trainable_variables)

    def call(self, inputs: tuple[Tensor, Tensor], training: bool = False) -> list[Tensor]:
        """Returns what is compared with words' vectors, float32 [texts, time, dimension] for each part."""
        ids, _ = inputs
        return [self._read(part, ids[part], training) for part in range(PARTS)]

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """Returns nats for the words of `y`, int32 [PARTS, texts, time], over those of a mean step; 0 is no word.

        In training it is estimated from the words drawn. Nats and words are also added to the metrics.
        """
        drawn = x[1] if training and self.chances is not None else None
        nats = ops.sum(ops.stack([self._nats(states, y[part], drawn) for part, states in enumerate(y_pred)]))
        self.nats.update_state(nats)
        self.predicted.update_state(ops.sum(ops.cast(y != PADDING, "float32")))
        return nats / self._words_per_step

    @property
    def flops(self) -> float:
        """The operations of the forward pass in training, for a word that is read: see `cost.py`.

        A score takes as many as a word's vector has numbers; those of the words drawn are computed, or those of all.
        """
        kernels = sum(math.prod(weight.shape) for weight in self.trainable_weights if "kernel" in weight.name)
        words, dimension = self.vectors.shape
        scored = words if self.chances is None else 1 + round(self.chances.sum())
        return 2.0 * float(kernels / len(self.directions) + scored * dimension)

    def reset(self) -> None:
        """Starts new texts."""
        for state in self._flat_states():
            state.assign(ops.zeros_like(state))

    def layer_weights(self) -> list[np.ndarray]:
        """Returns the weights of the recurrent layers, in the order in which a classifier makes these."""
        layers = [direction[place] for place in range(self._settings.layers) for direction in self.directions]
        return [ops.convert_to_numpy(weight) for layer in layers for weight in layer.weights]

    def _read(self, part: int, ids: Tensor, training: bool) -> Tensor:
        direction = part % len(self.directions)
        sequence = self.drops_vectors(ops.take(self.vectors, ids, axis=0), training=training)
        for layer, states in zip(self.directions[direction], self._states[part], strict=True):
            texts = ops.shape(ids)[0]
            sequence, *last = layer(sequence, initial_state=[state[:texts] for state in states], training=training)
            for state, new in zip(states, last, strict=True):
                state.assign(ops.concatenate([new, state[texts:]]))
            sequence = self.drops_outputs(sequence, training=training)
        return self.projections[direction](sequence)

    def _nats(self, states: Tensor, targets: Tensor, drawn: Tensor | None) -> Tensor:
        """The sum over `targets`, int32 [texts, time]."""
        rows, words = ops.reshape(states, (-1, self.vectors.shape[1])), ops.reshape(targets, (-1,))
        score = ops.sum(rows * ops.take(self.vectors, words, axis=0), axis=1) + ops.take(self.bias, words)
        if drawn is None:
            total = ops.logsumexp(ops.matmul(rows, ops.transpose(self.vectors[FIRST:])) + self.bias[FIRST:], axis=1)
        else:
            others = ops.matmul(rows, ops.transpose(ops.take(self.vectors, drawn, axis=0)))
            others += ops.take(self.bias, drawn) - ops.take(self._log_chances, drawn)
            others = ops.where(words[:, None] == drawn[None, :], -1e9, others)  # the right word counts once
            total = ops.logaddexp(score, ops.logsumexp(others, axis=1))
        return ops.sum(ops.where(words == PADDING, 0.0, total - score))

    def _cell(self, settings: Pretraining) -> keras.layers.Layer:
        return CELLS[settings.cell](
            settings.units,
            return_sequences=True,
            return_state=True,
            recurrent_weight_dropout=settings.recurrent_weight_dropout,
        )

    def _flat_states(self) -> list[Any]:
        return [state for part in self._states for layer in part for state in layer]

    def _weight(self, name: str, value: np.ndarray, trainable: bool = True) -> Any:
        weight = self.add_weight(shape=value.shape, initializer="zeros", trainable=trainable, name=name)
        weight.assign(value)
        return weight


def inclusion_chances(counts: np.ndarray, samples: int) -> np.ndarray:
    """Returns the probability with which each word is among `samples` drawn ones, float64 [words]; they add up to it.

    Probabilities are proportional to `counts` (int64 [words]) to the power `POWER`, those above 1 are 1, and every
    word except padding has one.
    """
    weights = np.maximum(counts, 1) ** POWER
    weights[:FIRST] = 0
    chances = np.zeros(len(weights))
    while True:
        open_ = (chances < 1) & (weights > 0)
        chances[open_] = weights[open_] * ((samples - (~open_ & (weights > 0)).sum()) / weights[open_].sum())
        if (chances <= 1).all():
            return chances
        chances = np.minimum(chances, 1)


def draw_words(chances: np.ndarray, at: float) -> np.ndarray:
    """Returns different words, each with its probability if `at` is uniform in [0, 1): int32 [sum of `chances`]."""
    ends = np.cumsum(chances, dtype=np.float64)
    count = round(ends[-1])
    drawn = np.searchsorted(ends * (count / ends[-1]), at + np.arange(count), side="right")
    return np.minimum(drawn, len(chances) - 1).astype(np.int32)
