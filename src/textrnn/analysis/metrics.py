"""Confusion and calibration of a classifier on one split, for one seed; its scores are in `modeling/scores.py`.

Arguments are as there.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn import metrics

BINS = 10


def confusion(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns int64 [actual class, predicted class]: how many examples fell where."""
    every_class = list(range(probabilities.shape[1]))
    counts: np.ndarray = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), labels=every_class)
    return counts


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Compares how sure a classifier is with how often it is right.

    The confidence (probability of the predicted class) lies between 1/classes and 1; that range is
    cut into `bins` of equal width. (Guo et al., ICML 2017, cut 0 to 1 into 15.)

    Returns:
        A row per bin that is not empty: mean `confidence`, `accuracy`, `count` of examples.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    edges = np.linspace(1 / probabilities.shape[1], 1, bins + 1)
    # An upper edge belongs to its bin, so that a confidence of 1 is in the last one.
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    used = count > 0
    return pd.DataFrame(
        {
            "confidence": np.bincount(place, confidence, bins)[used] / count[used],
            "accuracy": np.bincount(place, correct, bins)[used] / count[used],
            "count": count[used],
        }
    )


def calibration_error(curve: pd.DataFrame) -> float:
    """Returns the expected calibration error of a `reliability` curve (Naeini et al., AAAI 2015).

    It is the distance between confidence and accuracy, averaged over examples: 0 is perfect.
    """
    distance = (curve["confidence"] - curve["accuracy"]).abs()
    return float((distance * curve["count"]).sum() / curve["count"].sum())
