"""What each word of a text adds to the decision of a linear model: the weights of the n-grams that it is part of.

The weight of an n-gram is divided equally among its words; if it occurs again, which does not count again, among all.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from scipy.special import expit

from textrnn.modeling.linear import LinearModel


class Contributions:
    """Reads texts for a linear `model`; if it `is_alone`, the decision of the class' own model is explained."""

    def __init__(self, model: LinearModel, is_alone: bool) -> None:
        self.model, self.is_alone = model, is_alone

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each n-gram is in the model."""
        return {ngram: place for place, ngram in enumerate(self.model.ngrams)}

    def knows(self, words: pl.Series) -> np.ndarray:
        """Returns which of `words` (str) the model knows, bool [words]."""
        return np.array([word in self.places for word in words], bool)

    def read(self, tokens: pl.Series, labels: np.ndarray) -> LinearTexts:
        """Returns what it reads of `tokens`, list[str] [texts]; `labels` int [texts] are the classes of interest."""
        lengths = tokens.list.len().to_numpy()
        values = np.zeros((len(tokens), len(self.model.bias), int(lengths.max())))
        for text, words in enumerate(tokens.to_list()):
            places = defaultdict[int, list[int]](list)
            for size in range(1, self.model.size + 1):
                for start in range(len(words) - size + 1):
                    place = self.places.get(" ".join(words[start : start + size]))
                    if place is not None:
                        places[place] += range(start, start + size)
            for place, own in places.items():
                for at in own:
                    values[text, :, at] += self.model.weights[:, place] / len(own)
        reads = np.arange(values.shape[2]) < lengths[:, None]
        bias = self.model.bias
        if len(bias) == 1:  # the model of class 1: what speaks for it speaks against class 0
            bias, values = np.concatenate([-bias, bias]), np.concatenate([-values, values], axis=1)
        return LinearTexts(values, bias, labels, reads, self.is_alone or len(self.model.bias) == 1)


@dataclass(frozen=True)
class LinearTexts:
    """Texts as one linear model reads them.

    Attributes:
        values: what each word adds to the decision for each class, float64 [texts, classes, words].
        bias: the decision without words, float64 [classes].
        labels: the classes of interest, int [texts].
        reads: which words there are, bool [texts, words].
        is_decision: whether the log-odds are those of the class' own model, and not scaled with the other classes'.
    """

    values: np.ndarray
    bias: np.ndarray
    labels: np.ndarray
    reads: np.ndarray
    is_decision: bool

    def log_odds(self, share: float) -> np.ndarray:
        """Returns those of `labels`, float64 [texts], with all n-grams there to a `share`."""
        rows, decisions = np.arange(len(self.labels)), self._decisions(share)
        own: np.ndarray = decisions[rows, self.labels]
        if self.is_decision:
            return own
        chances = expit(decisions)
        mine = chances[rows, self.labels]
        odds: np.ndarray = np.log(mine) - np.log(chances.sum(axis=1) - mine)
        return odds

    def slopes(self, share: float) -> np.ndarray:
        """Returns their derivative by the share of each word, float64 [texts, words]."""
        rows = np.arange(len(self.labels))
        factors = np.zeros((len(rows), len(self.bias)))
        if self.is_decision:
            factors[rows, self.labels] = 1
        else:
            decisions = self._decisions(share)
            chances, changes = expit(decisions), expit(decisions) * expit(-decisions)
            mine = chances[rows, self.labels]
            factors = -changes / (chances.sum(axis=1) - mine)[:, None]
            factors[rows, self.labels] = expit(-decisions)[rows, self.labels]
        slopes: np.ndarray = np.einsum("tc,tcw->tw", factors, self.values)
        return slopes

    def _decisions(self, share: float) -> np.ndarray:
        decisions: np.ndarray = self.bias + share * self.values.sum(axis=2)
        return decisions
