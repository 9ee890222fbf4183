"""Reliability by hand, and temperature scaling where the right temperature is known."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_runs import make_run
from scipy.special import softmax

from textrnn.analysis.calibration import (
    HIGHEST,
    LOWEST,
    calibration,
    calibration_error,
    fit_temperature,
    reliability,
    scale,
)
from textrnn.run_folder import prediction_rows

LABELS = np.array([0, 1, 0, 1])


def answers(right: int, sure: float) -> np.ndarray:
    """float32 [4, 2]: the first `right` answers are right, and the model is always as sure."""
    own = np.where(np.arange(4) < right, sure, 1 - sure)
    return np.where(LABELS[:, None] == [0, 1], own[:, None], 1 - own[:, None]).astype(np.float32)


def test_reliability_bins_between_chance_and_certainty() -> None:
    # Two bins: (0.5, 0.75] holds 0.6, 0.75 (its upper edge) and 0.7; (0.75, 1] holds 0.8. The third is wrong.
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6], [0.75, 0.25], [0.7, 0.3]], np.float32)
    curve = reliability(np.array([0, 1, 1, 0]), probabilities, bins=2)

    assert curve["count"].tolist() == [3, 1]
    assert curve["confidence"].tolist() == pytest.approx([(0.6 + 0.75 + 0.7) / 3, 0.8])
    assert curve["accuracy"].tolist() == pytest.approx([2 / 3, 1])
    # |2.05 - 2| + |0.8 - 1|, over 4 examples.
    assert calibration_error(curve) == pytest.approx((0.05 + 0.2) / 4)


def test_reliability_leaves_empty_bins_out() -> None:
    curve = reliability(np.array([0, 1]), np.array([[1, 0], [0.5, 0.5]], np.float32))

    assert curve.to_dict("list") == {"confidence": [0.5, 1.0], "accuracy": [0.0, 1.0], "count": [1, 1]}


@pytest.mark.parametrize("truth", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_recovered(truth: float) -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 2, (20_000, 3))
    labels = (draw.random((20_000, 1)) > softmax(logits, axis=1).cumsum(axis=1)[:, :2]).sum(axis=1)
    predicted = softmax(truth * logits, axis=1).astype(np.float32)
    assert fit_temperature(labels, predicted) == pytest.approx(truth, rel=0.03)


def test_temperature_by_hand() -> None:
    # Three of four are right. Odds of 9 to 1 (90 %) become 3 to 1 (75 %) when their logarithm is halved.
    assert fit_temperature(LABELS, answers(3, 0.9)) == pytest.approx(2, abs=2e-4)
    # Not sure enough: odds of 1.5 to 1.
    assert fit_temperature(LABELS, answers(3, 0.6)) == pytest.approx(log(1.5) / log(3), abs=2e-4)
    # Certain, and once wrong: a probability of 0 counts as 2 ** -126, so the temperature would be 80.
    assert fit_temperature(LABELS, answers(3, 1.0)) == pytest.approx(HIGHEST, abs=2e-4)
    np.testing.assert_allclose(scale(answers(3, 0.9), 2.0), answers(3, 0.75), atol=1e-6)


def test_a_perfect_model_gets_the_lowest_temperature() -> None:
    assert LOWEST <= fit_temperature(LABELS, answers(4, 0.6)) < 1.1 * LOWEST


@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.0, 20.0])
def test_the_answer_never_changes(temperature: float) -> None:
    probabilities = softmax(np.random.default_rng(1).normal(0, 4, (500, 5)), axis=1).astype(np.float32)
    probabilities[0] = [0, 0, 1, 0, 0]
    scaled = scale(probabilities, temperature)
    np.testing.assert_array_equal(scaled.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    if temperature == 1:
        np.testing.assert_allclose(scaled, probabilities, atol=1e-6)


def test_the_table_holds_means_over_seeds_on_the_test_split(tmp_path: Path) -> None:
    """Validation gives the temperatures 2 and 1; the test split, where half is right, is judged."""
    run = make_run(tmp_path, "lstm", seeds=[0, 1])
    pl.concat(
        [
            prediction_rows(seed, split, [f"{split}-{row}" for row in range(4)], LABELS, answers(right, sure))
            for seed, sure in ((0, 0.9), (1, 0.75))
            for split, right in (("valid", 3), ("test", 2))
        ]
    ).write_parquet(run.path / "predictions.parquet")
    failed = make_run(tmp_path, "gru", failures={"0": "the loss is not a number"})

    table = calibration([failed, run])

    loss, loss_scaled = (-(log(sure) + log(1 - sure)) / 2 for sure in (0.9, 0.75))
    assert table["experiment"].tolist() == ["lstm"]
    assert table.iloc[0, 1:].to_dict() == pytest.approx(
        {
            "ece": (0.4 + 0.25) / 2,
            "temperature": 1.5,
            "ece_scaled": 0.25,
            "log_loss": (loss + loss_scaled) / 2,
            "log_loss_scaled": loss_scaled,
        },
        abs=1e-4,
    )
