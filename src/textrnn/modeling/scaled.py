"""A trained network whose words are there to a share: their vectors are scaled, from zeros to what they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from textrnn.config.experiment import Experiment
from textrnn.modeling.backend import gradient_function, keras, predict_function
from textrnn.modeling.batches import Tokens
from textrnn.modeling.saved_model import load_model
from textrnn.text.encoder import never_empty
from textrnn.text.vocabulary import PADDING, UNKNOWN

ops = keras.ops
Tensor = Any


def behind_embedding(model: keras.Model) -> keras.Model:
    """Returns the network from ids `int32 [batch, time]` and vectors `float32 [batch, time, features]` to logits."""
    return keras.Model([model.input, model.get_layer("embedding").output], model.output)


class Scale(keras.layers.Layer):
    """Multiplies the vectors of words by one `share`; padding, which `padding: left` reads like a word, stays."""

    def build(self, vectors_shape: Any, ids_shape: Any) -> None:
        """Adds the share, at first 1."""
        self.share = self.add_weight(shape=(), initializer="ones", trainable=False, name="share")

    def call(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """Returns float32 [batch, time, features]."""
        words = ops.expand_dims(ops.not_equal(ids, PADDING), -1)
        return ops.where(words, vectors * ops.cast(self.share, vectors.dtype), vectors)


class ScaledNetwork:
    """The network that was saved in `folder`. Raises `TextrnnError`: it holds none."""

    def __init__(self, folder: Path) -> None:
        model, encoder, self._experiment = load_model(folder)
        self._vocabulary = encoder.vocabulary
        embedding, network, scale = model.get_layer("embedding"), behind_embedding(model), Scale()
        scaled = network([model.input, scale(embedding.output, model.input)])
        self._embedding = ops.convert_to_numpy(embedding.embeddings).astype(np.float64)
        self._share = scale.share
        self._logits = predict_function(keras.Model(model.input, scaled))

        def total(vectors: Tensor, ids: Tensor, labels: Tensor) -> Tensor:
            """The sum over texts, which do not affect each other, of the log-odds of a text's label."""
            logits = network([ids, vectors], training=False)
            own = ops.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
            return ops.sum(ops.sum(own * logits, axis=1) - ops.logsumexp(logits - 1e9 * own, axis=1))

        self._gradient = gradient_function(lambda ids: scale(embedding(ids), ids), total)

    def knows(self, words: pl.Series) -> np.ndarray:
        """Returns which of `words` (str) the network knows, bool [words]."""
        ids = self._vocabulary.lookup(words.implode()).explode()
        return (ids != UNKNOWN).to_numpy()

    def read(self, tokens: pl.Series, labels: np.ndarray) -> ScaledTexts:
        """Returns what it reads of `tokens`, list[str] [texts]; `labels` int [texts] are the classes of interest."""
        ids = _padded(never_empty(self._vocabulary.lookup(tokens)), self._experiment)
        lengths = tokens.list.len().cast(pl.Int32).to_list()
        # Numbers in the place of words are read as these are: so each place knows its word. A text without words has 0.
        places = pl.Series([[*range(1, length + 1)] or [0] for length in lengths], dtype=pl.List(pl.Int32))
        return ScaledTexts(self, ids, _padded(places, self._experiment), labels.astype(np.int32), max(lengths))

    def log_odds(self, ids: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
        """Returns those of `labels` against all other classes, float64 [texts], with the words there to a `share`."""
        self._share.assign(share)
        logits = ops.convert_to_numpy(self._logits(ops.convert_to_tensor(ids))).astype(np.float64)
        own = np.arange(len(labels)), labels
        others = np.copy(logits)
        others[own] = -np.inf
        odds: np.ndarray = logits[own] - np.logaddexp.reduce(others, axis=1)
        return odds

    def slopes(self, ids: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
        """Returns the derivative of `log_odds` by the share of the word at each place, float64 [texts, time]."""
        self._share.assign(share)
        gradient = self._gradient(ops.convert_to_tensor(ids), ops.convert_to_tensor(labels))
        slopes: np.ndarray = (self._embedding[ids] * ops.convert_to_numpy(gradient)).sum(axis=2)
        return slopes


@dataclass(frozen=True)
class ScaledTexts:
    """Texts as one network reads them: `ids` and `places` (of the word in its text, from 1), int32 [texts, time]."""

    network: ScaledNetwork
    ids: np.ndarray
    places: np.ndarray
    labels: np.ndarray
    words: int

    @property
    def reads(self) -> np.ndarray:
        """Which words of each text are read, bool [texts, words]."""
        return self._by_word(self.places > 0)

    def log_odds(self, share: float) -> np.ndarray:
        """See `ScaledNetwork.log_odds`."""
        return self.network.log_odds(self.ids, self.labels, share)

    def slopes(self, share: float) -> np.ndarray:
        """Returns their derivative by the share of each word, float64 [texts, words]; 0 of a word that is not read."""
        return self._by_word(self.network.slopes(self.ids, self.labels, share))

    def _by_word(self, values: np.ndarray) -> np.ndarray:
        found = np.zeros((len(values), 1 + self.words), values.dtype)
        np.put_along_axis(found, self.places, values, axis=1)
        return found[:, 1:]


def _padded(texts: pl.Series, experiment: Experiment) -> np.ndarray:
    return Tokens([texts], experiment).padded(np.arange(len(texts)))
