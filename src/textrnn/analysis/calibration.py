"""How far a model's probabilities can be trusted, as they are and after temperature scaling.

Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017: one number, the
temperature, divides all logits. It is fitted on the validation split, and judged on the test split.
It makes a model more or less sure of its answers, and never changes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from textrnn.analysis import metrics
from textrnn.modeling.scores import LEAST, log_loss
from textrnn.run_folder import RunFolder

LOWEST, HIGHEST = 0.05, 20.0
"""Limits of a temperature. A model that is right about every validation text would drive it to 0."""

COLUMNS = ("ece", "temperature", "ece_scaled", "log_loss", "log_loss_scaled")


def calibration(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Returns `experiment` and `COLUMNS` of every run with a finished seed: means over seeds, on the test split.

    Columns: `ece` (expected calibration error) and `log_loss` as predicted, both `…_scaled` after
    temperature scaling, and the `temperature`, above 1 where the model was too sure.
    """
    rows = []
    for run in runs:
        seeds = [_seed(run, seed) for seed in run.finished_seeds]
        if seeds:
            rows.append((run.name, *np.mean(seeds, axis=0).tolist()))
    return pd.DataFrame(rows, columns=["experiment", *COLUMNS])


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the temperature under which `labels` are most likely, between `LOWEST` and `HIGHEST`.

    Args:
        labels: int [examples]
        probabilities: float [examples, classes]
    """
    logits = _logits(probabilities)
    own = np.arange(len(labels)), labels

    def loss(log_temperature: float) -> float:
        return -float(_log_softmax(logits / exp(log_temperature))[own].mean())

    found = minimize_scalar(loss, bounds=(log(LOWEST), log(HIGHEST)), method="bounded", options={"xatol": 1e-6})
    # Four digits: processors that add in another order still agree on them.
    return round(exp(found.x), 4)


def scale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns `probabilities` (float [examples, classes]) at that temperature, as float64."""
    scaled: np.ndarray = np.exp(_log_softmax(_logits(probabilities) / temperature))
    return scaled


def _seed(run: RunFolder, seed: int) -> tuple[float, ...]:
    """Values of `COLUMNS`."""
    _, valid_labels, valid = run.probabilities(seed, "valid")
    _, labels, test = run.probabilities(seed, "test")
    temperature = fit_temperature(valid_labels, valid)
    (ece, loss), (ece_scaled, loss_scaled) = (
        (
            metrics.calibration_error(metrics.reliability(labels, probabilities)),
            log_loss(labels, probabilities),
        )
        for probabilities in (test, scale(test, temperature))
    )
    return ece, temperature, ece_scaled, loss, loss_scaled


def _logits(probabilities: np.ndarray) -> np.ndarray:
    """Log probabilities are logits except for a constant. As in `log_loss`, 0 counts as `LEAST`."""
    logits: np.ndarray = np.log(np.maximum(probabilities.astype(np.float64), LEAST))
    return logits


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs
