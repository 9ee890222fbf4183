"""From raw texts to class probabilities: the one way to use a trained model, served or not."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from textrnn.errors import DAMAGE, REDO, TextrnnError
from textrnn.modeling.batches import Tokens, predict
from textrnn.modeling.forward import Network
from textrnn.modeling.linear import LINEAR, LinearModel
from textrnn.modeling.model_files import ENSEMBLE, mismatch, read_ensemble, read_model
from textrnn.text.encoder import never_empty
from textrnn.text.tokenizer import tokenize
from textrnn.text.vocabulary import UNKNOWN

UNFAMILIAR = "it has no word that the model knows"  # the column `warning` of a text whose label means nothing


def output_columns(classes: Iterable[str]) -> dict[str, type[pl.DataType]]:
    """Returns the columns of `Predictor.table` and their types.

    `words` counts the words of the text, `known_words` those that the model knows; `warning` is empty if it knows any.
    """
    probabilities = dict.fromkeys((f"probability_{name}" for name in classes), pl.Float32)
    return {"label": pl.String, **probabilities, "words": pl.Int64, "known_words": pl.Int64, "warning": pl.String}


class Predictor:
    """A saved model with its tokenizer, vocabulary and classes.

    `folder` is `runs/<name>/model/<seed>/`, or a copy of it; `threads` batches are computed at once. `cut_short` counts
    the texts so far that were longer than the model reads, `unfamiliar` those in `table` without a word that it knows.
    Raises `TextrnnError` if the folder holds no saved model or a damaged one, also later, if its probabilities are not
    finite.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        threadpool_limits(1, "blas")  # of this process: a thread takes a batch, not a part of a small matrix product
        self.unfamiliar = 0
        self._folder = folder
        self._model = _load(folder, threads)
        self.classes = self._model.classes

    @property
    def cut_short(self) -> int:
        """How many texts were longer than the model reads."""
        return self._model.cut_short

    def probabilities(self, texts: pl.Series) -> np.ndarray:
        """Returns float32 [texts, classes] for `texts` (str, none null); a text without words counts as one unknown."""
        return self._probabilities(tokenize(texts))

    def words(self, texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Returns how many words each of `texts` (str) has, and how many of these the model knows: int64 [texts]."""
        return self._words(tokenize(texts))

    def table(self, texts: pl.Series) -> pl.DataFrame:
        """Returns a row per text with `output_columns`."""
        tokens = tokenize(texts)
        probabilities = self._probabilities(tokens)
        labels = [self.classes[index] for index in probabilities.argmax(axis=1)]
        words, known = self._words(tokens)
        self.unfamiliar += int((known == 0).sum())
        warnings = ["" if count else UNFAMILIAR for count in known]
        schema = output_columns(self.classes)
        return pl.DataFrame(dict(zip(schema, [labels, *probabilities.T, words, known, warnings], strict=True)), schema)

    def _probabilities(self, tokens: pl.Series) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            probabilities = self._model.probabilities(tokens)
        if not np.isfinite(probabilities).all():
            raise TextrnnError(f"{self._folder} is damaged: its probabilities are no numbers. {REDO}")
        return probabilities

    def _words(self, tokens: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        return tokens.list.len().cast(pl.Int64).to_numpy(), self._model.known(tokens)


class _Model(Protocol):
    """What any kind of saved model does with tokens, list[str] [texts]."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def cut_short(self) -> int: ...

    def probabilities(self, tokens: pl.Series) -> np.ndarray:
        """Returns float32 [texts, classes]."""

    def known(self, tokens: pl.Series) -> np.ndarray:
        """Returns how many of each text's words the model knows, int64 [texts]."""


def _load(folder: Path, threads: int) -> _Model:
    if (folder / ENSEMBLE).is_file():
        return _Ensemble(folder, threads)
    return LinearModel.load(folder) if (folder / LINEAR).is_file() else _TrainedNetwork(folder, threads)


class _TrainedNetwork:
    """A network, the words that it knows, and what it reads of a text."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._threads = threads
        self.cut_short = 0
        weights, self._encoder, self._experiment = read_model(folder)
        self.classes = self._encoder.classes
        try:
            self._network = Network(self._experiment, list(weights.values()), len(self.classes))
        except (*DAMAGE, StopIteration):
            raise mismatch(folder) from None

    def probabilities(self, tokens: pl.Series) -> np.ndarray:
        """As `_Model.probabilities`."""
        if tokens.is_empty():
            return np.empty((0, len(self.classes)), np.float32)
        read = Tokens([never_empty(self._encoder.vocabulary.lookup(tokens))], self._experiment)
        self.cut_short += read.truncated["texts"]
        return predict(self._network.logits, read, self._threads)

    def known(self, tokens: pl.Series) -> np.ndarray:
        """As `_Model.known`."""
        ids = self._encoder.vocabulary.lookup(tokens)
        return (ids.list.len().cast(pl.Int64) - ids.list.count_matches(UNKNOWN)).to_numpy()


class _Ensemble:
    """Models whose probabilities are averaged. It knows as many words of a text as that of them that knows most."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._members = [
            (member.weight / len(member.seeds), _load(folder / each, threads))
            for member in read_ensemble(folder)
            for each in member.folders
        ]
        self.classes = self._members[0][1].classes
        if any(model.classes != self.classes for _, model in self._members):
            raise TextrnnError(f"{folder} is damaged: its members have different classes. {REDO}")

    @property
    def cut_short(self) -> int:
        """Texts that are too long for one of them are too long for the one that reads least."""
        return max(model.cut_short for _, model in self._members)

    def probabilities(self, tokens: pl.Series) -> np.ndarray:
        """As `_Model.probabilities`."""
        total = np.zeros((len(tokens), len(self.classes)))
        for weight, model in self._members:
            total += weight * model.probabilities(tokens)
        return total.astype(np.float32)

    def known(self, tokens: pl.Series) -> np.ndarray:
        """As `_Model.known`."""
        most: np.ndarray = np.max([model.known(tokens) for _, model in self._members], axis=0)
        return most
