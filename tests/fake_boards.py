"""Leaderboards of made-up runs, and verdicts on them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from fake_runs import alone, make_run, tiny_predictions

from textrnn.analysis import leaderboard, run_tables
from textrnn.run_folder import RunFolder

NAN = "loss became NaN in epoch 3"


def board_of(*runs: RunFolder) -> pd.DataFrame:
    return leaderboard.build(runs, run_tables.seed_scores(runs), alone)


def board_of_six(folder: Path) -> pd.DataFrame:
    """One that beats NB-SVM, one that equals it, one that lost a seed, one that lost all; both baselines."""
    majority = {"kind": "majority"}
    return board_of(
        make_run(folder, "lstm-lost-one", seeds=[0, 1], failures={"1": NAN}, predictions=tiny_predictions(4)),
        make_run(folder, "gru", seeds=[0, 1], predictions=tiny_predictions(2)),
        make_run(folder, "majority", kind="baseline", params=majority, predictions=tiny_predictions(1)),
        make_run(folder, "nb-svm", kind="baseline", predictions=tiny_predictions(2), flops=0.0),
        make_run(folder, "lstm-lost", seeds=[0, 1], failures={"0": NAN, "1": "loss became NaN in epoch 1"}),
        make_run(folder, "lstm", seeds=[0, 1], predictions=tiny_predictions(3)),
    )


def verdicts(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    """What `comparisons` says, as far as the leaderboard reads it."""
    return pd.DataFrame(rows, columns=["about", "first", "second", "verdict"])


JUDGED = verdicts(
    ("baseline", "majority", "lstm", "worse"),
    ("baseline", "nb-svm", "lstm", "better"),
    ("baseline", "nb-svm", "gru", "unclear"),
    ("cell", "lstm", "gru", "worse"),
    ("best", "lstm", "gru", "worse"),
)
