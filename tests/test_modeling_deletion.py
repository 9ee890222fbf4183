"""Words are deleted in the order of their attributions, and at random, from a model whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from textrnn.modeling import deletion
from textrnn.modeling.attributions import Explanation, Word
from textrnn.modeling.deletion import DELETION_SCHEMA, SHARES, deletion_rows, deletions
from textrnn.modeling.explanation import Explainer
from textrnn.modeling.linear import LinearModel

WEIGHTS = {"good": 2.0, "fine": 1.0, "bad": -1.5, "film": 0.5}
TEXT = "film bad good fine"
ADDS = (0.5, -1.5, 2.0, 1.0)


@pytest.fixture
def explainer(tmp_path: Path) -> Explainer:
    LinearModel(("rotten", "fresh"), 1, [*WEIGHTS], np.array([[*WEIGHTS.values()]]), np.zeros(1)).save(tmp_path / "m")
    return Explainer(tmp_path / "m")


def chance(odds: float) -> float:
    return 1 / (1 + np.exp(-odds))


def test_the_most_important_words_go_first(explainer: Explainer) -> None:
    """Of four words, 10 to 20 % are one, 30 to 50 % two, 60 and 70 % three, and more are all."""
    important, at_random = deletions(explainer.predictor, explainer.explain(pl.Series([TEXT])))
    left = [chance(odds) for odds in (2.0, 0.0, -1.0, -1.5, 0.0)]
    gone = [0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4]
    np.testing.assert_allclose(important, [[left[count] for count in gone]], rtol=1e-6)
    np.testing.assert_allclose(at_random[0, [0, -1]], [left[0], 0.5], rtol=1e-6)
    # A word at random leaves one of four odds, and five orders leave the mean of five such.
    possible = [chance(2.0 - odds) for odds in ADDS]
    assert min(possible) <= at_random[0, 1] <= max(possible)
    assert at_random[0, 1] == at_random[0, 2] > important[0, 1]


def test_random_orders_are_many_and_repeat(explainer: Explainer, monkeypatch: pytest.MonkeyPatch) -> None:
    found = explainer.explain(pl.Series([TEXT]))
    once, again = (deletions(explainer.predictor, found)[1] for _ in range(2))
    np.testing.assert_array_equal(once, again)
    monkeypatch.setattr(deletion, "ORDERS", 4000)
    many = deletions(explainer.predictor, found)[1]
    np.testing.assert_allclose(many[0, 1], np.mean([chance(2.0 - odds) for odds in ADDS]), atol=0.015)


def test_of_the_class_against_which_most_words_speak(explainer: Explainer) -> None:
    important, _ = deletions(explainer.predictor, explainer.explain(pl.Series(["good bad bad awful"])))
    assert important[0, 0] == pytest.approx(chance(2.0 - 1.5))
    (found,) = explainer.explain(pl.Series(["bad film"]))
    important, _ = deletions(explainer.predictor, [found])
    assert found.label == "rotten"
    np.testing.assert_allclose(important[0, [0, 5, 10]], [chance(1.0), chance(-0.5), 0.5], rtol=1e-6)


def test_words_that_are_not_read_are_gone_from_the_start(explainer: Explainer) -> None:
    words = [Word("good", "good", False, True, 2.0), Word("fine", "fine", True, True, None)]
    found = Explanation("fresh", chance(2.0), 2.0, 0.0, 0.0, words)
    important, at_random = deletions(explainer.predictor, [found])
    np.testing.assert_allclose(important[0], [chance(2.0)] + [0.5] * 10, rtol=1e-6)
    np.testing.assert_array_equal(at_random, important)


def test_the_table_has_a_row_per_text_and_share() -> None:
    found = np.arange(2 * 2 * len(SHARES), dtype=np.float32).reshape(2, 2, -1)
    table = deletion_rows(7, ["b", "a"], found)
    assert table.schema == DELETION_SCHEMA
    assert table.row(0) == (7, "b", 0.0, 0.0, 22.0)
    assert table.row(12) == (7, "a", 0.1, 12.0, 34.0)
    assert table.height == 22
