"""From raw texts to class probabilities: the one way in which a trained model is used, served or not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from textrnn.modeling.batches import Tokens, predict
from textrnn.modeling.forward import Network
from textrnn.modeling.model_files import not_of_one_model, read_model
from textrnn.text.reading import read, truncation


class Predictor:
    """A saved model with its tokenizer, vocabulary and classes.

    Attributes:
        cut_short: of how many texts, since the start, it did not read every token.

    Args:
        folder: `runs/<experiment>/model/<seed>/`, or a copy of it.
        threads: how many compute at the same time.

    Raises:
        TextrnnError: the folder holds no saved model.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._threads = threads
        threadpool_limits(1, "blas")  # of this process: a thread takes a batch, not a part of a little matrix product
        self.cut_short = 0
        weights, self._encoder, self._experiment = read_model(folder)
        try:
            self._network = Network(self._experiment, list(weights.values()), len(self.classes))
        except (ValueError, StopIteration):
            raise not_of_one_model(folder) from None

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
        return predict(self._network.logits, tokens, self._threads)

    def table(self, texts: pl.Series) -> pl.DataFrame:
        """Returns `label` (str) and, for each class, `probability_<class>` (float32): a row per text."""
        probabilities = self.probabilities(texts)
        labels = [self.classes[index] for index in probabilities.argmax(axis=1)]
        columns = {f"probability_{name}": probabilities[:, index] for index, name in enumerate(self.classes)}
        return pl.DataFrame({"label": pl.Series(labels, dtype=pl.String), **columns})
