"""Metrics against values worked out by hand."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from textrnn.comparison import metrics

LABELS = np.array([0, 1, 1, 0])
# Right, right, wrong, right; the probabilities of class 1 rank 3 of the 4 pairs correctly.
PROBABILITIES = np.array([[0.8, 0.2], [0.4, 0.6], [0.75, 0.25], [0.7, 0.3]], np.float32)


def test_binary_scores() -> None:
    scores = metrics.scores(LABELS, PROBABILITIES)

    assert list(scores) == list(metrics.METRICS)
    assert scores["accuracy"] == 0.75
    # Class 0: precision 2/3, recall 1; class 1: precision 1, recall 1/2.
    assert scores["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert scores["roc_auc"] == 0.75
    assert scores["log_loss"] == pytest.approx(-(log(0.8) + log(0.6) + log(0.25) + log(0.7)) / 4)


def test_three_classes_with_one_never_predicted() -> None:
    labels = np.array([0, 1, 2, 2, 0])
    probabilities = np.array(
        [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.3, 0.6], [0.2, 0.2, 0.6], [0.6, 0.1, 0.3]], np.float32
    )

    scores = metrics.scores(labels, probabilities)

    assert scores["accuracy"] == 0.8
    # Class 0: 2 of 3 predicted, both found; class 1: none; class 2: perfect.
    assert scores["macro_f1"] == pytest.approx((4 / 5 + 0 + 1) / 3)
    assert scores["roc_auc"] == pytest.approx(1)
    assert scores["log_loss"] == pytest.approx(-(log(0.7) + log(0.4) + 3 * log(0.6)) / 5)


def test_majority_predictor_has_no_ranking_skill() -> None:
    scores = metrics.scores(LABELS, np.full((4, 2), 0.5, np.float32))

    assert scores["accuracy"] == 0.5
    assert scores["roc_auc"] == 0.5
    assert scores["log_loss"] == pytest.approx(log(2))


def test_a_certain_mistake_costs_the_resolution_of_float32() -> None:
    probabilities = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], np.float32)

    assert metrics.scores(LABELS, probabilities)["log_loss"] == pytest.approx(-log(2.0**-23) / 4, rel=1e-4)


def test_confusion_is_actual_by_predicted() -> None:
    assert metrics.confusion(LABELS, PROBABILITIES).tolist() == [[2, 0], [1, 1]]


def test_reliability_bins_between_chance_and_certainty() -> None:
    # Two bins: (0.5, 0.75] holds 0.6, 0.75 (its upper edge) and 0.7; (0.75, 1] holds 0.8.
    curve = metrics.reliability(LABELS, PROBABILITIES, bins=2)

    assert curve["count"].tolist() == [3, 1]
    assert curve["confidence"].tolist() == pytest.approx([(0.6 + 0.75 + 0.7) / 3, 0.8])
    assert curve["accuracy"].tolist() == pytest.approx([2 / 3, 1])
    # |2.05 - 2| + |0.8 - 1|, over 4 examples.
    assert metrics.calibration_error(curve) == pytest.approx((0.05 + 0.2) / 4)


def test_reliability_leaves_empty_bins_out() -> None:
    curve = metrics.reliability(np.array([0, 1]), np.array([[1, 0], [0.5, 0.5]], np.float32))

    assert curve.to_dict("list") == {"confidence": [0.5, 1.0], "accuracy": [0.0, 1.0], "count": [1, 1]}
