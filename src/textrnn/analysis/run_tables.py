"""Tidy tables over run folders, the source of the leaderboard, the pictures and `dvc plots`.

In each table the column `experiment` holds a run's name, also that of a baseline.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from textrnn.analysis import calibration
from textrnn.analysis.examples import check_same_examples
from textrnn.modeling.scores import METRICS, scores
from textrnn.run_folder import HELD_OUT, RunFolder

SPLITS = ("valid", "test")
DIGITS = 6
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "gradient_norm", HELD_OUT)


def build(runs: Sequence[RunFolder]) -> dict[str, pd.DataFrame]:
    """Returns the tables `scores`, `learning_curves`, `confusion` and `reliability`.

    Raises `TextrnnError`: as in `check_same_examples`.
    """
    check_same_examples({f"runs/{run.name}": run for run in runs}, SPLITS)
    return {
        "scores": seed_scores(runs),
        "learning_curves": learning_curves(runs),
        "confusion": confusion(runs),
        "reliability": reliability(runs),
    }


def seed_scores(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Returns `experiment, seed, split` and each of `METRICS`: a row per finished seed and split."""
    rows = [
        {"experiment": run.name, "seed": seed, "split": split, **scores(labels, probabilities)}
        for run in runs
        for seed, split in product(run.finished_seeds, SPLITS)
        for _, labels, probabilities in [run.probabilities(seed, split)]
    ]
    return pd.DataFrame(rows, columns=["experiment", "seed", "split", *METRICS])


def learning_curves(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Returns `experiment, seed, epoch` and each of `CURVES` that any run has, also for failed seeds."""
    tables = [run.history.assign(experiment=run.name) for run in runs if len(run.history)]
    known = {column for table in tables for column in table}
    columns = ["experiment", "seed", "epoch", *(curve for curve in CURVES if curve in known or not tables)]
    return pd.concat(tables or [pd.DataFrame(columns=columns)], ignore_index=True)[columns]


def confusion(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Returns `experiment, actual, predicted, count` on the test split, counted over all seeds."""
    rows = []
    for run in runs:
        counts = np.zeros((len(run.classes), len(run.classes)), np.int64)
        for seed in run.finished_seeds:
            _, labels, probabilities = run.probabilities(seed, "test")
            np.add.at(counts, (labels, probabilities.argmax(axis=1)), 1)
        if run.finished_seeds:
            pairs = product(run.classes, repeat=2)
            rows += [(run.name, *pair, count) for pair, count in zip(pairs, counts.ravel(), strict=True)]
    return pd.DataFrame(rows, columns=["experiment", "actual", "predicted", "count"])


def reliability(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Returns `experiment, seed, confidence, accuracy, count` per bin on the test split, for each finished seed."""
    columns = ["experiment", "seed", "confidence", "accuracy", "count"]
    tables = [
        calibration.reliability(*run.probabilities(seed, "test")[1:]).assign(experiment=run.name, seed=seed)[columns]
        for run in runs
        for seed in run.finished_seeds
    ]
    return pd.concat(tables or [pd.DataFrame(columns=columns)], ignore_index=True)
