"""How optimistic random validation and picking the best epoch are; published figures next to ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_runs import alone, make_run
from scipy.stats import t
from tiny_experiments import PLAIN

from textrnn.analysis.protocol import protocol, published
from textrnn.config.params import Params
from textrnn.config.sections import Published
from textrnn.run_folder import HELD_OUT, RunFolder

SEEDS = (0, 1)
HELD = {0: (0.5, 0.9, 0.8), 1: (0.6, 0.7, 0.8)}
"""Accuracy on what is held out, by seed and epoch."""


def predictions(valid: int, test: int) -> dict[str, Any]:
    """The first so many of ten texts are right."""
    return {
        split: (
            [str(row) for row in range(10)],
            [0] * 10,
            [[0.9, 0.1] if row < right else [0.1, 0.9] for row in range(10)],
        )
        for split, right in {"valid": valid, "test": test}.items()
    }


def make(folder: Path, name: str, held: dict[int, tuple[float, ...]] | None = HELD, **changes: Any) -> RunFolder:
    """The validation loss is lowest in the second epoch."""
    plain = {"loss": 0.5, "accuracy": 0.5, "val_accuracy": 0.25, "learning_rate": 0.1, "gradient_norm": 1.0}
    history = [
        {"seed": seed, "epoch": epoch + 1, **plain, "val_loss": (0.3, 0.1, 0.2)[epoch]}
        | ({HELD_OUT: held[seed][epoch]} if held else {})
        for seed in SEEDS
        for epoch in range(3)
    ]
    params = {**PLAIN, **changes}
    return make_run(folder, name, params=params, seeds=SEEDS, history=history, predictions=predictions(7, 6))


def test_the_same_weights_are_measured_in_several_ways(tmp_path: Path) -> None:
    runs = [make(tmp_path, "last"), make(tmp_path, "stopped", early_stopping=2), make(tmp_path, "plain", held=None)]
    table, _ = protocol(runs, alone)
    assert table.columns.tolist() == ["experiment", "padding", "by_eye", "at_random", "by_group", "test"]
    assert table.to_numpy().tolist() == [
        ["last", "right", 0.85, 0.8, 0.7, 0.6],
        ["stopped", "right", 0.85, 0.8, 0.7, 0.6],
    ]
    apart = make(tmp_path / "more", "apart", held={0: (0.5, 0.9, 0.1), 1: (0.6, 0.7, 0.1)}, early_stopping=2)
    assert protocol([apart], alone)[0].loc[0, "at_random"] == pytest.approx(0.8)


def test_what_adds_is_averaged_over_experiments_and_has_both_kinds_of_chance(tmp_path: Path) -> None:
    runs = [make(tmp_path, "one"), make(tmp_path, "two"), make(tmp_path, "few", train_examples=3)]
    _, added = protocol(runs, alone)
    eye, random, both = added.itertuples(index=False)
    assert (eye.what, random.what, both.what) == ("picked by eye", "drawn at random", "both")
    assert (eye.difference, random.difference, both.difference) == pytest.approx((0.05, 0.1, 0.25))
    # By eye: 0.1 and 0 by seed, so the mean has the standard error 0.05, with one degree of freedom.
    assert (eye.low, eye.high) == pytest.approx(
        (0.05 - 0.05 * t.isf(0.025, 1), 0.05 + 0.05 * t.isf(0.025, 1)), abs=1e-5
    )
    # At random: both seeds agree, so all chance is that of ten texts, seven of them right.
    error = np.sqrt(0.7 * 0.3 / 9)
    assert random.high - random.difference == pytest.approx(error * t.isf(0.025, 9), abs=1e-5)


def test_a_study_that_holds_nothing_out_has_no_such_tables(tmp_path: Path) -> None:
    table, added = protocol([make(tmp_path, "plain", held=None)], alone)
    assert table.empty and added.empty


def test_published_figures_are_compared_with_ours(tmp_path: Path) -> None:
    runs = [make(tmp_path, "lstm"), make(tmp_path, "plain", held=None)]
    figures = [
        Published(experiment="lstm", measure="best_epoch", accuracy=0.9, source="a book"),
        Published(experiment="lstm", measure="last_epoch", accuracy=0.9, source="a book"),
        Published(experiment="plain", measure="last_epoch", accuracy=0.2, source="a book"),
        Published(
            experiment="lstm", measure="test", accuracy=0.7, source="a paper", uses=["ensemble"], chose_on="test"
        ),
        Published(experiment="gone", measure="test", accuracy=0.7, source="a paper"),
    ]
    params = Params.model_construct(published=figures)
    board = pd.DataFrame(
        {"experiment": ["lstm", "plain"], "test_accuracy": [0.6] * 2, "test_low": [0.5] * 2, "test_high": [0.65] * 2}
    )
    table = published(runs, params, board)
    assert table["experiment"].tolist() == ["lstm", "lstm", "plain", "lstm"]
    assert table["ours"].tolist() == pytest.approx([0.85, 0.8, 0.25, 0.6])
    assert table["verdict"].tolist() == ["alike", "lower", "higher", "lower"]
    assert table[["uses", "chose_on"]].to_numpy().tolist() == [["", ""]] * 3 + [["ensemble", "test"]]
    # Best epochs: 0.9 and 0.8 (the second seed's last one).
    table = published([make(tmp_path / "more", "lstm", held={0: (0.9, 0.1, 0.1), 1: (0.8, 0.1, 0.1)})], params, board)
    best = table.iloc[0]
    assert best["ours"] == pytest.approx(0.85)
    assert (best["low"], best["high"]) == pytest.approx((0.85 - 0.05 * t.isf(0.025, 1), 1.0), abs=1e-5)
