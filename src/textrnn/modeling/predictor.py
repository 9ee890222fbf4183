"""From raw texts to class probabilities: the one way in which a trained model is used, served or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from textrnn.modeling.batches import Tokens, predict
from textrnn.modeling.forward import Network
from textrnn.modeling.model_files import not_of_one_model, read_model
from textrnn.text.encoder import never_empty
from textrnn.text.reading import read, truncation
from textrnn.text.vocabulary import UNKNOWN

UNFAMILIAR = "none of its words is known"
"""What the column `warning` says of a text whose label means nothing."""


class Predictor:
    """A saved model with its tokenizer, vocabulary and classes.

    Attributes:
        cut_short: of how many texts, since the start, it did not read every token.
        unfamiliar: of how many texts, since the start, `table` scored although it knows none of their words.

    Args:
        folder: `runs/<experiment>/model/<seed>/`, or a copy of it.
        threads: how many compute at the same time.

    Raises:
        TextrnnError: the folder holds no saved model.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._threads = threads
        threadpool_limits(1, "blas")  # of this process: a thread takes a batch, not a part of a little matrix product
        self.cut_short = self.unfamiliar = 0
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
        return self._probabilities(self._encoder.encode(texts))

    def table(self, texts: pl.Series) -> pl.DataFrame:
        """Returns a row per text.

        Columns: `label` (str); `probability_<class>` (float32) for each class; `words` (int64), how many the text has;
        `known_words` (int64), how many of them the model knows; `warning` (str), empty where it knows any.
        """
        ids = self._encoder.lookup(texts)
        probabilities = self._probabilities(never_empty(ids))
        labels = [self.classes[index] for index in probabilities.argmax(axis=1)]
        columns = {f"probability_{name}": probabilities[:, index] for index, name in enumerate(self.classes)}
        words = ids.list.len().cast(pl.Int64)
        known = words - ids.list.count_matches(UNKNOWN)
        self.unfamiliar += int((known == 0).sum())
        return pl.DataFrame(
            {"label": pl.Series(labels, dtype=pl.String), **columns, "words": words, "known_words": known}
        ).with_columns(warning=pl.when(known_words=0).then(pl.lit(UNFAMILIAR)).otherwise(pl.lit("")))

    def _probabilities(self, ids: pl.Series) -> np.ndarray:
        """The same for encoded texts, list[int32]."""
        if ids.is_empty():
            return np.empty((0, len(self.classes)), np.float32)
        self.cut_short += truncation(ids.list.len(), self._experiment)["texts"]
        examples = pl.LazyFrame({"ids": ids}).with_columns(id=pl.lit(""), label=pl.lit(0, pl.Int32))
        tokens = Tokens(examples, lambda rows: read(rows["ids"], self._experiment))
        return predict(self._network.logits, tokens, self._threads)
