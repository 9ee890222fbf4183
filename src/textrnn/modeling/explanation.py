"""Why a model says what it says: how much each word of a text speaks for the class that is predicted.

What is explained is the class' log-odds against all other classes: of two classes, the difference of their logits.
Integrated gradients (Sundararajan, Taly & Yan, ICML 2017) follow it from a text whose words have zero vectors
to the text itself, and give each word its share of the difference. An ensemble is explained as one function of what all
its members read: its log-odds are those of the average probability, and n-grams are there to a share as vectors are.

Of a linear model the log-odds are a sum of weights, so that each word's share is known without integration. With three
classes or more NB-SVM has a model for each class against the rest; if it is no member of an ensemble, that of the
predicted class is explained, before its probability is scaled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from scipy.special import expit

from textrnn.modeling.attributions import EXACT, LEAST, Explanation, Word
from textrnn.modeling.batches import length_buckets
from textrnn.modeling.contributions import Contributions
from textrnn.modeling.linear import LINEAR, LinearModel
from textrnn.modeling.model_files import ENSEMBLE, read_ensemble
from textrnn.modeling.predictor import Predictor
from textrnn.text.spelling import spellings
from textrnn.text.tokenizer import tokenize

STEPS, MOST_STEPS = 16, 1024
"""Points of the integral (Gauss-Legendre) at first; twice as many until it is exact enough, up to the most."""

BATCH = 64


class _Texts(Protocol):
    """Texts as one model reads them, whose words are there to a share."""

    @property
    def reads(self) -> np.ndarray:
        """Which words are read, bool [texts, words]."""

    def log_odds(self, share: float) -> np.ndarray:
        """Of the classes of interest against all others, float64 [texts]."""

    def slopes(self, share: float) -> np.ndarray:
        """Their derivative by the share of each word, float64 [texts, words]."""


class _Part(Protocol):
    """A model, alone or in an ensemble."""

    def knows(self, words: pl.Series) -> np.ndarray:
        """Which of `words` (str) it knows, bool [words]."""

    def read(self, tokens: pl.Series, labels: np.ndarray) -> _Texts:
        """Of `tokens`, list[str] [texts], what it reads; `labels` are the classes of interest, int [texts]."""


class Explainer:
    """Explains what the model in `folder` predicts; arguments and errors are those of `Predictor`."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.predictor = Predictor(folder, threads)
        folders = list(_folders(folder, 1.0))
        self._weights = np.array([[weight] for weight, _ in folders])
        self._parts = [_part(each, is_alone=len(folders) == 1) for _, each in folders]

    def explain(self, texts: pl.Series) -> list[Explanation]:
        """Returns an explanation of the predicted class for each of `texts` (str, none null)."""
        found: dict[int, Explanation] = {}
        for rows in length_buckets(tokenize(texts).list.len().to_numpy(), BATCH):
            found |= zip(rows.tolist(), self._explain(texts.gather(rows)), strict=True)
        return [found[row] for row in range(len(texts))]

    def _explain(self, texts: pl.Series) -> Iterator[Explanation]:
        table, tokens, classes = self.predictor.table(texts), tokenize(texts), self.predictor.classes
        labels = np.array([classes.index(label) for label in table["label"]], np.int64)
        distinct = tokens.explode(empty_as_null=False).unique()
        is_known = dict(zip(distinct, np.any([part.knows(distinct) for part in self._parts], axis=0), strict=True))
        parts = [part.read(tokens, labels) for part in self._parts]
        reads = np.any([part.reads for part in parts], axis=0)
        attributions, whole, without = self._integrate(parts, tokens, labels)
        errors = _errors(attributions, whole, without)
        for row, spelled in enumerate(spellings(texts, tokens)):
            words = [
                Word(word, token, apart, bool(is_known[token]), float(value) if is_read else None)
                for (word, apart), token, value, is_read in zip(
                    spelled, tokens[row], attributions[row], reads[row], strict=False
                )
            ]
            label, warning = table["label"][row], table["warning"][row]
            probability = table[f"probability_{label}"][row]
            odds = float(whole[row]), float(without[row])
            yield Explanation(label, probability, *odds, float(errors[row]), words, warning)

    def _integrate(
        self, parts: Sequence[_Texts], tokens: pl.Series, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The attributions float64 [texts, words], and the log-odds with and without the words, float64 [texts]."""
        whole, without = (self._log_odds(np.array([part.log_odds(share) for part in parts])) for share in (1.0, 0.0))
        empty = tokens.list.len().to_numpy() == 0  # of such a text a network reads one unknown word
        without[empty] = whole[empty]
        attributions = np.zeros(parts[0].reads.shape)
        rows, steps = np.flatnonzero(~empty), STEPS
        while len(rows):
            few = [part.read(tokens.gather(rows), labels[rows]) for part in self._parts]
            integral = self._integral(few, steps)
            attributions[rows, : integral.shape[1]] = integral
            rows = rows[_errors(integral, whole[rows], without[rows]) > EXACT]
            steps *= 2
            if steps > MOST_STEPS:
                break
        return attributions, whole, without

    def _integral(self, parts: Sequence[_Texts], steps: int) -> np.ndarray:
        """Gauss-Legendre quadrature over the share of the words, float64 [texts, words]."""
        total = np.zeros(parts[0].reads.shape)
        for point, weight in zip(*np.polynomial.legendre.leggauss(steps), strict=True):
            share = (1 + point) / 2
            factors = self._factors(parts, share)
            for factor, part in zip(factors, parts, strict=True):
                total += weight / 2 * factor[:, None] * part.slopes(share)
        return total

    def _log_odds(self, each: np.ndarray) -> np.ndarray:
        """Those of the average probability, float64 [texts], from those of each part, float64 [parts, texts]."""
        if len(each) == 1:
            alone: np.ndarray = each[0]
            return alone
        own, others = ((self._weights * expit(odds)).sum(axis=0) for odds in (each, -each))
        together: np.ndarray = np.log(own) - np.log(others)
        return together

    def _factors(self, parts: Sequence[_Texts], share: float) -> np.ndarray:
        """The derivative of these log-odds by those of each part, float64 [parts, texts]."""
        if len(parts) == 1:
            return np.ones((1, len(parts[0].reads)))
        each = np.array([part.log_odds(share) for part in parts])
        own, others = self._weights * expit(each), self._weights * expit(-each)
        factors: np.ndarray = own * expit(-each) * (1 / own.sum(axis=0) + 1 / others.sum(axis=0))
        return factors


def _errors(attributions: np.ndarray, whole: np.ndarray, without: np.ndarray) -> np.ndarray:
    """See `Explanation.error`; float64 [texts]."""
    difference = whole - without
    errors: np.ndarray = np.abs(attributions.sum(axis=1) - difference) / np.maximum(np.abs(difference), LEAST)
    return errors


def _folders(folder: Path, weight: float) -> Iterator[tuple[float, Path]]:
    """The models in a saved one, each with its weight: itself, or the members of an ensemble and of those in it."""
    if not (folder / ENSEMBLE).is_file():
        yield weight, folder
        return
    for member in read_ensemble(folder):
        for each in member.folders:
            yield from _folders(folder / each, weight * member.weight / len(member.seeds))


def _part(folder: Path, is_alone: bool) -> _Part:
    if (folder / LINEAR).is_file():
        return Contributions(LinearModel.load(folder), is_alone)
    from textrnn.modeling.scaled import ScaledNetwork  # imports TensorFlow

    return ScaledNetwork(folder)
