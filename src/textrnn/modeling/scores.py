"""The two numbers that training itself looks at; all others are computed where runs are compared."""

from __future__ import annotations

import numpy as np


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the share of labels `int32 [examples]` that are likeliest in `float32 [examples, classes]`."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean of -ln p(label), in nats; arguments as for `accuracy`.

    A probability of 0 counts as the smallest float32 above it, so one example cannot make the mean
    infinite; NaN stays NaN.
    """
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.mean(np.log(np.maximum(chosen, np.finfo(np.float32).tiny))))


def final_scores(split: str, labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Returns both for a trained model on `split`, as `valid_accuracy`, `valid_log_loss`."""
    return {f"{split}_{score.__name__}": score(labels, probabilities) for score in (accuracy, log_loss)}
