"""Do attributions name the words that a model needs? The probability of its prediction falls when they are deleted.

It should fall faster than without as many words at random (Samek et al., IEEE Transactions on Neural Networks and
Learning Systems 2017; of texts, Arras et al., PLOS ONE 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import polars as pl

from textrnn.modeling.attributions import Explanation
from textrnn.modeling.predictor import Predictor

SHARES = tuple(tenths / 10 for tenths in range(11))
"""Of the words that the model reads of a text; a part of a word is a whole one."""

ORDERS = 5
"""Random orders of each text's words, whose probabilities are averaged."""

DELETION_SCHEMA = pl.Schema(
    {"seed": pl.Int32, "id": pl.String, "share": pl.Float64, "important": pl.Float32, "random": pl.Float32}
)


def deletions(predictor: Predictor, explanations: Sequence[Explanation]) -> np.ndarray:
    """Returns the probability of each prediction without a share of the words, float32 [2, explanations, shares].

    First without the words that speak most for it, then without words at random. Words that the model does not read,
    because the text is too long, are deleted from the start.
    """
    texts, labels = [], []
    for row, each in enumerate(explanations):
        read = [word for word in each.words if word.attribution is not None]
        tokens = [word.token for word in read]
        draw = np.random.default_rng(row)
        important = np.argsort([-(word.attribution or 0.0) for word in read], kind="stable")
        for order in (important, *(draw.permutation(len(tokens)) for _ in range(ORDERS))):
            for share in SHARES:
                kept = np.sort(order[ceil(share * len(tokens) - 1e-9) :])
                texts.append(" ".join(tokens[place] for place in kept))
                labels.append(predictor.classes.index(each.label))
    chances = predictor.probabilities(pl.Series(texts, dtype=pl.String))[np.arange(len(labels)), labels]
    by_order = chances.reshape(len(explanations), 1 + ORDERS, len(SHARES))
    found: np.ndarray = np.stack([by_order[:, 0], by_order[:, 1:].mean(axis=1)])
    return found


def deletion_rows(seed: int, ids: Sequence[str], found: np.ndarray) -> pl.DataFrame:
    """Returns a row per text and share, with `DELETION_SCHEMA`, from `deletions(…)`."""
    important, at_random = found.reshape(2, -1)
    columns = {
        "seed": [seed] * len(important),
        "id": np.repeat(list(ids), len(SHARES)).tolist(),
        "share": SHARES * len(ids),
        "important": important,
        "random": at_random,
    }
    return pl.DataFrame(columns, DELETION_SCHEMA)
