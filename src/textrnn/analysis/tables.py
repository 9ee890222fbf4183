"""Tidy tables over run folders: what the leaderboard, the pictures and `dvc plots` are made of.

In each table the column `experiment` holds a run's name, a baseline's too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from textrnn.analysis import metrics
from textrnn.errors import TextrnnError
from textrnn.modeling.scores import METRICS, scores
from textrnn.run_folder import HELD_OUT, RunFolder

SPLITS = ("valid", "test")
DIGITS = 6
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "gradient_norm", HELD_OUT)


def build(runs: Sequence[RunFolder]) -> dict[str, pd.DataFrame]:
    """Returns the tables `scores`, `learning_curves`, `confusion` and `reliability`.

    Raises:
        TextrnnError: as in `check_comparable`.
    """
    check_comparable(runs)
    return {
        "scores": seed_scores(runs),
        "learning_curves": learning_curves(runs),
        "confusion": confusion(runs),
        "reliability": reliability(runs),
    }


def to_csv(table: pd.DataFrame) -> str:
    """Returns `table` as csv: every number plain, none with more than six decimals."""
    return str(table.round(DIGITS).to_csv(index=False, lineterminator="\n"))


def check_comparable(runs: Sequence[RunFolder]) -> None:
    """Makes sure that all runs predicted the same examples, in the same order, with the same classes.

    Raises:
        TextrnnError: names two runs that did not, or one whose predictions are no numbers.
    """
    first: dict[str, tuple[RunFolder, list[str], np.ndarray]] = {}
    for run in runs:
        for split, seed in product(SPLITS, run.finished_seeds):
            ids, labels, probabilities = run.probabilities(seed, split)
            if not ids or not np.isfinite(probabilities).all():
                what = "predictions that are not finite numbers" if ids else "no predictions"
                raise TextrnnError(
                    f"runs/{run.name} has {what} for seed {seed} on {split!r}; a seed that finished has a "
                    f"probability for every example. Delete runs/{run.name} and run `dvc repro`."
                )
            other, other_ids, other_labels = first.setdefault(split, (run, ids, labels))
            if run.classes != other.classes or ids != other_ids or not np.array_equal(labels, other_labels):
                raise TextrnnError(
                    f"runs/{other.name} and runs/{run.name} (seed {seed}) cannot be compared: on {split!r} "
                    "their classes, or their ids and labels in order, differ. Runs of one study come from "
                    "the same token tables: bring them up to date with `dvc repro`."
                )


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
    """Returns `experiment, seed, epoch` and each of `CURVES` that any run has; a failed seed's epochs are there too."""
    tables = [run.history.assign(experiment=run.name) for run in runs if len(run.history)]
    known = {column for table in tables for column in table}
    columns = ["experiment", "seed", "epoch", *(curve for curve in CURVES if curve in known or not tables)]
    return pd.concat(tables or [pd.DataFrame(columns=columns)], ignore_index=True)[columns]


def confusion(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Returns `experiment, actual, predicted, count` on the test split, counted over all seeds."""
    rows = []
    for run in runs:
        if run.finished_seeds:
            counts = np.sum([metrics.confusion(*_test(run, seed)) for seed in run.finished_seeds], axis=0)
            pairs = product(enumerate(run.classes), repeat=2)
            rows += [(run.name, actual, predicted, counts[i, j]) for (i, actual), (j, predicted) in pairs]
    return pd.DataFrame(rows, columns=["experiment", "actual", "predicted", "count"])


def reliability(runs: Sequence[RunFolder]) -> pd.DataFrame:
    """Returns `experiment, seed, confidence, accuracy, count` per bin on the test split, for each finished seed."""
    columns = ["experiment", "seed", "confidence", "accuracy", "count"]
    tables = [
        metrics.reliability(*_test(run, seed)).assign(experiment=run.name, seed=seed)[columns]
        for run in runs
        for seed in run.finished_seeds
    ]
    return pd.concat(tables or [pd.DataFrame(columns=columns)], ignore_index=True)


def _test(run: RunFolder, seed: int) -> tuple[np.ndarray, np.ndarray]:
    _, labels, probabilities = run.probabilities(seed, "test")
    return labels, probabilities
