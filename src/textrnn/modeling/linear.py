"""A linear model of word n-grams, with which baselines predict: without scikit-learn, from files that hold no code.

linear.json   the classes, and the largest n
ngrams.txt    an n-gram per line, its words separated by spaces
weights.npz   `weights` float64 [models, n-grams] and `bias` float64 [models]
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from textrnn.arrays import check_numbers, checked_classes, read_arrays
from textrnn.errors import readable

LINEAR = "linear.json"

MOST_WORDS = 5  # of an n-gram, as in `BaselineParams`

SLICE = 1 << 12  # texts whose n-grams are in memory at a time


@dataclass(frozen=True)
class LinearModel:
    """Logistic models of the distinct n-grams of a text: one of class 1, or of more than two classes one for each.

    Attributes:
        classes: their names.
        size: the largest n.
        ngrams: each is its words, separated by spaces.
        weights: float64 [models, n-grams]
        bias: float64 [models]
    """

    classes: tuple[str, ...]
    size: int
    ngrams: list[str]
    weights: np.ndarray
    bias: np.ndarray

    cut_short = 0  # texts that it does not read to their end

    def save(self, folder: Path) -> None:
        """Writes the model into `folder`, which is made."""
        folder.mkdir(parents=True)
        text = json.dumps({"classes": self.classes, "size": self.size}, indent=2, ensure_ascii=False)
        (folder / LINEAR).write_text(text + "\n", encoding="utf-8", newline="\n")
        (folder / "ngrams.txt").write_text("".join(f"{each}\n" for each in self.ngrams), encoding="utf-8", newline="\n")
        np.savez(folder / "weights.npz", allow_pickle=False, weights=self.weights, bias=self.bias)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: a file is missing.
            TextrnnError: one is damaged, or they were not saved together.
        """
        with readable(folder):
            content = json.loads((folder / LINEAR).read_text(encoding="utf-8"))
            classes, size = checked_classes(content["classes"]), content["size"]
            if type(size) is not int or not 1 <= size <= MOST_WORDS:
                raise ValueError(f"{LINEAR}: size is from 1 to {MOST_WORDS}, and it is {size!r}")
            ngrams = (folder / "ngrams.txt").read_bytes().decode("utf-8").split("\n")[:-1]
            if len(set(ngrams)) < len(ngrams):
                raise ValueError("ngrams.txt: an n-gram occurs twice")
            arrays = read_arrays(folder / "weights.npz")
            models = 1 if len(classes) == 2 else len(classes)
            check_numbers(arrays["weights"], models, len(ngrams), what="weights")
            # The bias of a class that never occurs is infinite.
            check_numbers(np.nan_to_num(arrays["bias"], nan=np.nan), models, what="bias")
        return cls(classes, size, ngrams, arrays["weights"], arrays["bias"])

    def probabilities(self, tokens: pl.Series) -> np.ndarray:
        """Returns float32 [texts, classes] for tokens list[str] [texts]."""
        starts = range(0, max(len(tokens), 1), SLICE)
        logits = np.concatenate([self._logits(tokens.slice(start, SLICE)) for start in starts])
        positive = 1 / (1 + np.exp(-logits))
        each = np.concatenate([1 - positive, positive], axis=1) if len(self.bias) == 1 else positive
        shares: np.ndarray = (each / each.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares

    def known(self, tokens: pl.Series) -> np.ndarray:
        """Returns how many of each text's words are n-grams of the model, int64 [texts]."""
        known: np.ndarray = np.bincount(self._find(tokens, 1)["text"].to_numpy(), minlength=len(tokens))
        return known

    def _logits(self, tokens: pl.Series) -> np.ndarray:
        """float64 [texts, models]"""
        found = [self._find(tokens, size) for size in range(1, self.size + 1)]
        # Each n-gram once; sorted, so that sums have one order.
        text, place = pl.concat(found).unique().sort("text", "place").get_columns()
        sums = [np.bincount(text.to_numpy(), each[place.to_numpy()], len(tokens)) for each in self.weights]
        logits: np.ndarray = np.stack(sums, axis=1) + self.bias
        return logits

    def _find(self, tokens: pl.Series, size: int) -> pl.DataFrame:
        """Returns `text` and `place` (in `ngrams`) of each n-gram of `size` words that the model has."""
        words = tokens.alias("word").to_frame().with_row_index("text").explode("word").drop_nulls()
        gram = pl.concat_str([pl.col("word").shift(-ahead) for ahead in range(size)], separator=" ")
        grams = words.select("text", end=pl.col("text").shift(1 - size), ngram=gram)
        inside = grams.filter(pl.col("text") == pl.col("end"))
        return inside.join(self._places, on="ngram").select("text", "place")

    @cached_property
    def _places(self) -> pl.DataFrame:
        return pl.DataFrame({"ngram": pl.Series(self.ngrams, dtype=pl.String)}).with_row_index("place")
