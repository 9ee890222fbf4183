"""Scores of a classifier on one split, for one seed: the same functions for trainings, MLflow and reports.

Everywhere, `labels` is int [examples] and `probabilities` float [examples, classes]; the predicted class is the most
probable one, the first of them when several are. NumPy only, because every training imports this module.
"""

import numpy as np

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss")

LEAST = float(np.finfo(np.float32).tiny)
"""Replaces smaller probabilities: the smallest normal float32, 1.2e-38. They are stored as float32, so a larger bound
would hide how confident a mistake is; without one, a single example could make the log loss infinite."""


def scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Returns each of `METRICS`."""
    functions = (accuracy, balanced_accuracy, macro_f1, roc_auc, log_loss)
    return {score.__name__: score(labels, probabilities) for score in functions}


def final_scores(split: str, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Returns each of `METRICS` for a trained model on `split`, as `valid_accuracy`, `valid_log_loss`."""
    return {f"{split}_{name}": score for name, score in scores(labels, probabilities).items()}


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the share of examples whose label is the predicted class."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean of the classes' recall, equally weighted; a class without examples does not count.

    With classes of equal size it is the accuracy (Brodersen et al., ICPR 2010).
    """
    examples = np.bincount(labels)
    right = np.bincount(labels[probabilities.argmax(axis=1) == labels], minlength=len(examples))
    occurs = examples > 0
    return float(np.mean(right[occurs] / examples[occurs]))


def macro_f1(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean of the classes' F1, equally weighted; a class that does not occur has 0."""
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    right, actual, answered = (
        np.bincount(each, minlength=classes) for each in (labels[labels == predicted], labels, predicted)
    )
    return float(np.mean(2 * right / np.maximum(actual + answered, 1)))


def roc_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the area under the ROC curve: the last class when there are two, else the mean of each against the rest.

    It is NaN where one of these classes has every label, or none.
    """
    classes = probabilities.shape[1]
    scored = [1] if classes == 2 else range(classes)
    return float(np.mean([_rank_sum(labels == each, probabilities[:, each]) for each in scored]))


def _rank_sum(positive: np.ndarray, score: np.ndarray) -> float:
    """Share of the pairs of a positive and a negative example that `score` ranks correctly; ties count half."""
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    own, others = int(positive.sum()), int((~positive).sum())
    if not own or not others:
        return float("nan")
    return float((rank[positive].sum() - own * (own + 1) / 2) / (own * others))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean of -ln p(label), in nats. Probabilities below `LEAST` count as `LEAST`; NaN stays NaN."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.mean(np.log(np.maximum(chosen, LEAST))))
