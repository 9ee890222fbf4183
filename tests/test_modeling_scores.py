"""Scores against values worked out by hand, and against scikit-learn's."""

from __future__ import annotations

import json
from math import log
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_runs import alone, make_run
from sklearn import metrics

from textrnn.analysis import leaderboard, run_tables
from textrnn.analysis.calibration import calibration
from textrnn.modeling.scores import LEAST, METRICS, scores
from textrnn.tracking import runs

LABELS = np.array([0, 1, 1, 0])
# Right, right, wrong, right; the probabilities of class 1 rank 3 of the 4 pairs correctly.
PROBABILITIES = np.array([[0.8, 0.2], [0.4, 0.6], [0.75, 0.25], [0.7, 0.3]], np.float32)


def test_binary_scores() -> None:
    found = scores(LABELS, PROBABILITIES)
    assert tuple(found) == METRICS
    assert found["accuracy"] == 0.75
    # Class 0: precision 2/3, recall 1; class 1: precision 1, recall 1/2.
    assert found["balanced_accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert found["roc_auc"] == 0.75
    assert found["log_loss"] == pytest.approx(-(log(0.8) + log(0.6) + log(0.25) + log(0.7)) / 4)


def test_three_classes_with_one_never_predicted() -> None:
    labels = np.array([0, 1, 2, 2, 0])
    probabilities = np.array(
        [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.3, 0.6], [0.2, 0.2, 0.6], [0.6, 0.1, 0.3]], np.float32
    )
    found = scores(labels, probabilities)
    assert found["accuracy"] == 0.8
    # Class 0: 2 of 3 predicted, both found; class 1: none; class 2: perfect.
    assert found["balanced_accuracy"] == pytest.approx((1 + 0 + 1) / 3)
    assert found["macro_f1"] == pytest.approx((4 / 5 + 0 + 1) / 3)
    assert found["roc_auc"] == pytest.approx(1)
    assert found["log_loss"] == pytest.approx(-(log(0.7) + log(0.4) + 3 * log(0.6)) / 5)


def test_majority_predictor_has_no_ranking_skill() -> None:
    found = scores(LABELS, np.full((4, 2), 0.5, np.float32))
    assert (found["accuracy"], found["roc_auc"]) == (0.5, 0.5)
    assert found["log_loss"] == pytest.approx(log(2))


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_are_scikit_learns(classes: int) -> None:
    draw = np.random.default_rng(classes)
    labels = draw.integers(0, classes, 400)
    probabilities = draw.dirichlet(np.ones(classes), 400).round(2).astype(np.float32) + np.float32(0.01)  # with ties
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    exact = probabilities.astype(np.float64) / probabilities.astype(np.float64).sum(axis=1, keepdims=True)
    found = scores(labels, probabilities)
    assert found["accuracy"] == metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, probabilities.argmax(1)))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(labels, probabilities.argmax(axis=1), average="macro"))
    areas = [metrics.roc_auc_score(labels == each, probabilities[:, each]) for each in range(classes)]
    assert found["roc_auc"] == pytest.approx(areas[1] if classes == 2 else np.mean(areas))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(labels, exact), rel=1e-6)


def test_a_split_of_one_class_has_no_ranking_and_its_recall() -> None:
    found = scores(np.array([1, 1]), PROBABILITIES[:2])
    assert np.isnan(found["roc_auc"])
    assert found["balanced_accuracy"] == 0.5


def test_a_class_counts_by_its_recall_however_few_examples_it_has() -> None:
    """Four of five of class 0 are right, and the one of class 2 is wrong; class 1 has none, and is predicted once."""
    probabilities = np.eye(3)[[0, 0, 1, 0, 0, 0]]
    found = scores(np.array([0, 0, 0, 0, 0, 2]), probabilities)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["balanced_accuracy"] == pytest.approx((4 / 5 + 0) / 2)


@pytest.mark.parametrize(("wrong", "cost"), [(0.0, -log(LEAST)), (1e-30, 30 * log(10)), (1e-9, 9 * log(10))])
def test_a_confident_mistake_costs_the_same_in_mlflow_metrics_files_leaderboard_and_calibration(
    tmp_path: Path, wrong: float, cost: float
) -> None:
    rows = [[1 - wrong, wrong], [0.25, 0.75], [0.5, 0.5], [0.75, 0.25]]
    run = make_run(tmp_path, "lstm", predictions=dict.fromkeys(("valid", "test"), (list("abcd"), [1, 1, 0, 0], rows)))
    expected = (cost - 2 * log(0.75) + log(2)) / 4

    logged = runs.scores(run, 0)  # the metrics of the MLflow run
    board = leaderboard.build([run], run_tables.seed_scores([run]), alone)
    (written,) = leaderboard.to_metrics(board).values()
    written = json.loads(json.dumps(written))

    assert logged["test_log_loss"] == pytest.approx(expected, rel=1e-6)
    assert set(logged) == set(written)
    assert written == pytest.approx(logged, abs=5e-7)
    assert pd.Series(logged)[list(written)].tolist() == pytest.approx(board.iloc[0][list(written)].tolist(), abs=5e-7)
    assert calibration([run]).iloc[0]["log_loss"] == logged["test_log_loss"]
