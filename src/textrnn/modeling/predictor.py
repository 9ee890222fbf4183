"""From raw texts to class probabilities: the one way in which a trained model is used, served or not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from textrnn.modeling.backend import allow_threads, predict_function
from textrnn.modeling.batches import Tokens
from textrnn.modeling.saved_model import load_model
from textrnn.modeling.training import predict
from textrnn.text.reading import read, truncation


class Predictor:
    """A saved model with its tokenizer, vocabulary and classes.

    Attributes:
        cut_short: of how many texts, since the start, it did not read every token.

    Args:
        folder: `runs/<experiment>/model/<seed>/`, or a copy of it.
        threads: how many compute at the same time. More than one only where nothing was computed before.

    Raises:
        TextrnnError: the folder holds no saved model.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        if threads > 1:
            allow_threads(threads)
        self._threads = threads
        self.cut_short = 0
        model, self._encoder, self._experiment = load_model(folder)
        self._forward = predict_function(model)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, in the order of the probabilities."""
        return self._encoder.classes

    def probabilities(self, texts: pl.Series) -> np.ndarray:
        """Returns float32 [texts, classes]; a text without any word is scored as one unknown word.

        Args:
            texts: str, none of them null.
        """
        if texts.is_empty():
            return np.empty((0, len(self.classes)), np.float32)
        encoded = pl.DataFrame({"ids": self._encoder.encode(texts)})
        self.cut_short += truncation(encoded["ids"].list.len(), self._experiment)["texts"]
        examples = encoded.lazy().with_columns(id=pl.lit(""), label=pl.lit(0, pl.Int32))
        tokens = Tokens(examples, partial(read, experiment=self._experiment))
        return predict(self._forward, tokens, self._threads)

    def table(self, texts: pl.Series) -> pl.DataFrame:
        """Returns `label` (str) and, for each class, `probability_<class>` (float32): a row per text."""
        probabilities = self.probabilities(texts)
        labels = [self.classes[index] for index in probabilities.argmax(axis=1)]
        columns = {f"probability_{name}": probabilities[:, index] for index, name in enumerate(self.classes)}
        return pl.DataFrame({"label": pl.Series(labels, dtype=pl.String), **columns})
