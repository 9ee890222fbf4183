"""How far a model's probabilities can be trusted, as predicted and after temperature scaling.

Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017: all logits are divided by one
number, the temperature. It is fitted on the validation split and evaluated on the test split. It changes a model's
confidence and never its answers.

Everywhere, `labels` is int [examples] and `probabilities` float [examples, classes].
"""

from collections.abc import Sequence
from math import exp, log

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from textrnn.modeling.scores import LEAST, log_loss
from textrnn.run_folder import RunFolder

BINS = 10
LOWEST, HIGHEST = 0.05, 20.0
"""Limits of a temperature. A model that is correct about every validation text would drive it to 0."""

COLUMNS = ("ece", "temperature", "ece_scaled", "log_loss", "log_loss_scaled")


def calibration(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Returns `experiment` and `COLUMNS` of every run with a finished seed: means over seeds, on the test split.

    Columns: `ece` (expected calibration error) and `log_loss` as predicted, both `…_scaled` after temperature scaling,
    and the `temperature`, above 1 where the model was overconfident.
    """
    rows = []
    for run in runs:
        seeds = [_seed(run, seed) for seed in run.finished_seeds]
        if seeds:
            rows.append((run.name, *np.mean(seeds, axis=0).tolist()))
    return pd.DataFrame(rows, columns=["experiment", *COLUMNS])


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Compares a classifier's confidence, the probability of the predicted class, with its accuracy.

    Confidence is between 1/classes and 1; that range is cut into `bins` of equal width. (Guo et al. cut 0 to 1
    into 15.)

    Returns:
        A row per bin that is not empty: mean `confidence`, `accuracy`, `count` of examples.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    edges = np.linspace(1 / probabilities.shape[1], 1, bins + 1)
    # An upper edge belongs to its bin, so that a confidence of 1 is in the last one.
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    means = {
        name: np.bincount(place, values, bins)[count > 0] / count[count > 0]
        for name, values in (("confidence", confidence), ("accuracy", correct))
    }
    return pd.DataFrame({**means, "count": count[count > 0]})


def calibration_error(curve: pd.DataFrame) -> float:
    """Returns the expected calibration error of a `reliability` curve (Naeini et al., AAAI 2015).

    It is the distance between confidence and accuracy, averaged over examples: 0 is perfect.
    """
    distance = (curve["confidence"] - curve["accuracy"]).abs()
    return float((distance * curve["count"]).sum() / curve["count"].sum())


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the temperature under which `labels` are most likely, between `LOWEST` and `HIGHEST`."""
    logits = _logits(probabilities)
    own = np.arange(len(labels)), labels

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits / exp(log_temperature), axis=1)[own].mean())

    found = minimize_scalar(loss, bounds=(log(LOWEST), log(HIGHEST)), method="bounded", options={"xatol": 1e-6})
    # Four digits, on which processors that add in another order agree.
    return round(exp(found.x), 4)


def scale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns `probabilities` at that temperature, as float64."""
    scaled: np.ndarray = np.exp(log_softmax(_logits(probabilities) / temperature, axis=1))
    return scaled


def _seed(run: RunFolder, seed: int) -> tuple[float, ...]:
    """Values of `COLUMNS`."""
    _, labels, test = run.probabilities(seed, "test")
    temperature = fit_temperature(*run.probabilities(seed, "valid")[1:])
    (ece, loss), (ece_scaled, loss_scaled) = (
        (calibration_error(reliability(labels, probabilities)), log_loss(labels, probabilities))
        for probabilities in (test, scale(test, temperature))
    )
    return ece, temperature, ece_scaled, loss, loss_scaled


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """Log probabilities, which are logits up to a constant; as in `log_loss`, 0 counts as `LEAST`."""
    logits: np.ndarray = np.log(np.maximum(probabilities.astype(np.float64), LEAST))
    return logits
