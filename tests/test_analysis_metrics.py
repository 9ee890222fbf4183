"""Metrics against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from textrnn.analysis import metrics

LABELS = np.array([0, 1, 1, 0])
# Right, right, wrong, right; the probabilities of class 1 rank 3 of the 4 pairs correctly.
PROBABILITIES = np.array([[0.8, 0.2], [0.4, 0.6], [0.75, 0.25], [0.7, 0.3]], np.float32)


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
