"""Averages the probabilities of runs, and makes one model of theirs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from textrnn.errors import TextrnnError
from textrnn.modeling.model_files import Member, write_ensemble
from textrnn.modeling.scores import LEAST
from textrnn.run_folder import RunFolder

DIGITS = 4  # of fitted weights: processors that add in another order agree on these


def fit_weights(labels: np.ndarray, probabilities: np.ndarray) -> list[float]:
    """Returns the weights, at least 0 and with the sum 1, under which the average has the lowest log loss.

    The log loss is convex in them, so there is one lowest value (stacking: Breiman, Machine Learning 1996).

    Args:
        labels: int [examples]
        probabilities: float [members, examples, classes]

    Raises `TextrnnError`: there are fewer examples than members.
    """
    members, examples, _ = probabilities.shape
    if examples < members:
        raise TextrnnError(
            f"{examples} validation texts cannot say how much each of {members} members counts: set weights to equal."
        )
    chances = np.maximum(probabilities[:, np.arange(examples), labels].astype(np.float64), LEAST)  # of the label

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = weights @ chances
        return -float(np.log(mixed).mean()), -(chances / mixed).mean(axis=1)

    found = minimize(
        loss,
        np.full(members, 1 / members),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * members,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    fitted = np.maximum(found.x, 0).round(DIGITS)
    fitted[fitted.argmax()] += 1 - fitted.sum()
    return [float(weight) for weight in fitted.round(DIGITS)]


def mean_probabilities(run: RunFolder, split: str) -> np.ndarray:
    """Returns the mean over a run's finished seeds, float64 [examples, classes]."""
    each = np.array([run.probabilities(seed, split)[2] for seed in run.finished_seeds], np.float64)
    mean: np.ndarray = each.mean(axis=0)
    return mean


def save_ensemble(folder: Path, members: Sequence[Member], runs: Sequence[RunFolder]) -> None:
    """Writes one model of the models of `runs` into the new folder `folder`; it needs no other folder.

    Of a member whose weight is 0 there is the name alone.
    """
    folder.mkdir(parents=True)
    for member, run in zip(members, runs, strict=True):
        for inside in member.folders:
            shutil.copytree(run.path / "model" / Path(inside).name, folder / inside)
    write_ensemble(folder, members)
