"""From raw texts to class probabilities: the one way to use a trained model, served or not."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from textrnn.modeling.batches import Tokens, predict
from textrnn.modeling.forward import Network
from textrnn.modeling.model_files import mismatch, read_model
from textrnn.text.encoder import never_empty
from textrnn.text.vocabulary import UNKNOWN

UNFAMILIAR = "none of its words is known"  # the column `warning` of a text whose label means nothing


def output_columns(classes: Iterable[str]) -> dict[str, type[pl.DataType]]:
    """Returns the columns of `Predictor.table` and their types.

    `words` counts the words of the text, `known_words` those that the model knows; `warning` is empty if it knows any.
    """
    probabilities = dict.fromkeys((f"probability_{name}" for name in classes), pl.Float32)
    return {"label": pl.String, **probabilities, "words": pl.Int64, "known_words": pl.Int64, "warning": pl.String}


class Predictor:
    """A saved model with its tokenizer, vocabulary and classes.

    `folder` is `runs/<experiment>/model/<seed>/`, or a copy of it; `threads` batches are computed at once. Since the
    start, `cut_short` texts were longer than the model reads, and `table` scored `unfamiliar` texts of which the model
    knows no word. Raises `TextrnnError`: the folder holds no saved model.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._threads = threads
        threadpool_limits(1, "blas")  # of this process: a thread takes a batch, not a part of a small matrix product
        self.cut_short = self.unfamiliar = 0
        weights, self._encoder, self._experiment = read_model(folder)
        self.classes = self._encoder.classes
        try:
            self._network = Network(self._experiment, list(weights.values()), len(self.classes))
        except (ValueError, StopIteration):
            raise mismatch(folder) from None

    def probabilities(self, texts: pl.Series) -> np.ndarray:
        """Returns float32 [texts, classes] for `texts` (str, none null); a text without words counts as one unknown."""
        return self._probabilities(self._encoder.lookup(texts))

    def table(self, texts: pl.Series) -> pl.DataFrame:
        """Returns a row per text with `output_columns`."""
        ids = self._encoder.lookup(texts)
        probabilities = self._probabilities(ids)
        labels = [self.classes[index] for index in probabilities.argmax(axis=1)]
        words = ids.list.len().cast(pl.Int64)
        known = words - ids.list.count_matches(UNKNOWN)
        self.unfamiliar += int((known == 0).sum())
        warnings = ["" if count else UNFAMILIAR for count in known]
        schema = output_columns(self.classes)
        return pl.DataFrame(dict(zip(schema, [labels, *probabilities.T, words, known, warnings], strict=True)), schema)

    def _probabilities(self, ids: pl.Series) -> np.ndarray:
        """The same for word indices, list[int32]."""
        if ids.is_empty():
            return np.empty((0, len(self.classes)), np.float32)
        tokens = Tokens([never_empty(ids)], self._experiment)
        self.cut_short += tokens.truncated["texts"]
        return predict(self._network.logits, tokens, self._threads)
