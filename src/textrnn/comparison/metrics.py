"""Numbers from labels and probabilities: how good a classifier is on one split, for one seed.

Everywhere, `labels` is int [examples] and `probabilities` float [examples, classes]; the predicted
class is the most probable one, the first of them when several are.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn import metrics

METRICS = ("accuracy", "macro_f1", "roc_auc", "log_loss")
BINS = 10


def scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Returns each of `METRICS`.

    `macro_f1` weighs every class alike. `roc_auc` is that of the last class when there are two,
    else the mean over classes, each against the rest. `log_loss` is in nats; probabilities are
    float32, so one that rounded to 0 counts as that type's resolution, 1.2e-7.
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    # float32 rows sum to 1 only to seven digits: scikit-learn wants better than that.
    exact = np.clip(probabilities.astype(np.float64), np.finfo(np.float32).eps, 1)
    exact /= exact.sum(axis=1, keepdims=True)
    every_class = list(range(classes))
    if classes == 2:
        roc_auc = metrics.roc_auc_score(labels, exact[:, 1])
    else:
        roc_auc = metrics.roc_auc_score(labels, exact, multi_class="ovr", average="macro", labels=every_class)
    return {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "macro_f1": float(metrics.f1_score(labels, predicted, labels=every_class, average="macro", zero_division=0.0)),
        "roc_auc": float(roc_auc),
        "log_loss": float(metrics.log_loss(labels, exact, labels=every_class)),
    }


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
