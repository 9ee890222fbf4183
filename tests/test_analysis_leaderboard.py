"""Ranking, the bar that NB-SVM sets, and failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from fake_boards import JUDGED, NAN, board_of, board_of_six, verdicts
from fake_runs import alone, make_run, tiny_predictions

from textrnn.analysis import leaderboard, run_tables
from textrnn.report.rendering import write_csv
from textrnn.report.summary import summary


@pytest.fixture
def board(tmp_path: Path) -> pd.DataFrame:
    return board_of_six(tmp_path)


def test_ranks_experiments_by_validation_accuracy(board: pd.DataFrame) -> None:
    assert board["experiment"].tolist() == ["lstm", "gru", "nb-svm", "majority", "lstm-lost-one", "lstm-lost"]
    assert board["rank"].tolist()[:2] == [1, 2]
    assert board["rank"].isna().tolist() == [False, False, True, True, True, True]
    assert board["seeds"].tolist() == [2, 2, 1, 1, 1, 0]
    assert board["valid_accuracy"].tolist()[:5] == [0.75, 0.5, 0.5, 0.25, 1.0]
    assert board["test_accuracy"].tolist()[:5] == [0.6, 0.4, 0.4, 0.2, 0.8]


def test_verdicts_are_those_against_nb_svm_and_the_best(board: pd.DataFrame) -> None:
    judged = leaderboard.judge(board, JUDGED).set_index("experiment")
    assert judged["against_nb_svm"].to_dict() == {
        "lstm": "better",
        "gru": "unclear",
        **dict.fromkeys(("nb-svm", "majority", "lstm-lost-one", "lstm-lost"), ""),
    }
    assert judged["against_best"].to_dict() == {**dict.fromkeys(judged.index, ""), "gru": "worse"}
    assert leaderboard.best(board) == "lstm"


def test_an_ensemble_has_a_rank_and_one_result(tmp_path: Path) -> None:
    vote: dict[str, Any] = {"kind": "ensemble", "params": {"of": ["lstm", "nb-svm"], "weights": "fitted"}}
    board = board_of(
        make_run(tmp_path, "lstm", seeds=[0, 1]),
        make_run(tmp_path, "vote", **vote, predictions=tiny_predictions(4)),
        make_run(tmp_path, "lost", **vote, failures={"0": "its member gru has no finished seed"}),
    )
    assert board["experiment"].tolist() == ["vote", "lstm", "lost"]
    assert board["rank"].tolist()[:2] == [1, 2]
    assert board["model"].tolist() == ["ensemble", "lstm", "ensemble"]
    assert board["valid_accuracy_std"].isna().tolist() == [True, False, True]
    assert board["test_high"].notna().tolist() == [True, True, False]
    judged = summary(board.assign(against_nb_svm="", against_best=""))
    first = (
        "`vote` ranks first of 1 experiment and 1 ensemble: 100.0 % accuracy on validation (80.0 % on test; 95 % inter"
    )
    assert judged[0].startswith(first)
    assert not [sentence for sentence in judged if sentence.startswith("With one seed")]
    assert "`lost` failed and has no rank (seed 0: its member gru has no finished seed)." in judged


def test_intervals_are_over_examples_and_with_several_seeds_over_both(tmp_path: Path) -> None:
    ids, labels = [str(row) for row in range(10)], [0] * 8 + [1] * 2
    table = dict.fromkeys(("valid", "test"), (ids, labels, [[0.9, 0.1]] * 10))
    row = board_of(make_run(tmp_path, "nb-svm", kind="baseline", predictions=table)).iloc[0]
    spread = 2.262157 * (0.16 / 9) ** 0.5  # 8 of 10: Student's t, 9 degrees of freedom; variance 0.16 * 10 / 9 / 10
    assert (row["test_low"], row["test_high"]) == pytest.approx((0.8 - spread, 1.0))
    assert row[["vote_accuracy", "vote_low", "vote_high"]].isna().all()  # nobody votes alone

    # Two seeds that agree: no variance between them.
    row = board_of(make_run(tmp_path, "lstm", seeds=[0, 1], predictions=table)).iloc[0]
    assert (row["test_low"], row["test_high"]) == pytest.approx((0.8 - spread, 1.0))
    assert (row["vote_accuracy"], row["vote_low"]) == (0.8, pytest.approx(0.8 - spread))


def test_the_vote_is_of_probabilities_not_of_answers(tmp_path: Path) -> None:
    """Two seeds are a little wrong, one is very right."""
    run = make_run(tmp_path, "lstm", seeds=[0, 1, 2])
    sure = {0: 0.4, 1: 0.4, 2: 0.9}
    rows = run.predictions.select("seed", "label").iter_rows()
    both = [[1 - sure[seed], sure[seed]] if label else [sure[seed], 1 - sure[seed]] for seed, label in rows]
    run.__dict__["predictions"] = run.predictions.with_columns(probability=pl.Series(both, dtype=pl.List(pl.Float32)))
    row = board_of(run).iloc[0]
    assert row["test_accuracy"] == pytest.approx(1 / 3, abs=1e-6)
    assert row["vote_accuracy"] == 1


def test_spread_is_over_seeds_with_n_minus_1(tmp_path: Path) -> None:
    run = make_run(tmp_path, "lstm", seeds=[0, 1])
    scores = run_tables.seed_scores([run])
    scores.loc[(scores["seed"] == 1) & (scores["split"] == "valid"), "accuracy"] = 0.95

    row = leaderboard.build([run], scores, alone).iloc[0]

    assert row["valid_accuracy"] == 0.85
    assert row["valid_accuracy_std"] == 0.141421  # 0.2 / sqrt(2)


def test_the_test_split_ranks_nothing(tmp_path: Path) -> None:
    good, bad = tiny_predictions(4), tiny_predictions(3)
    first = make_run(tmp_path, "b-better-on-validation", predictions={"valid": good["valid"], "test": bad["test"]})
    second = make_run(tmp_path, "a-better-on-test", predictions={"valid": bad["valid"], "test": good["test"]})

    assert board_of(second, first)["experiment"].tolist() == ["b-better-on-validation", "a-better-on-test"]


def test_ties_go_to_the_lower_validation_loss_then_to_the_name(tmp_path: Path) -> None:
    sure = tiny_predictions()
    for row in (0, 1, 2):
        sure["valid"][2][row] = [0.1, 0.9] if sure["valid"][1][row] else [0.9, 0.1]
    runs = [make_run(tmp_path, "b"), make_run(tmp_path, "a"), make_run(tmp_path, "z", predictions=sure)]

    assert board_of(*runs)["experiment"].tolist() == ["z", "a", "b"]


def test_nothing_finished(tmp_path: Path) -> None:
    board = board_of(make_run(tmp_path, "lstm", failures={"0": NAN}))

    assert leaderboard.best(board) is None
    assert leaderboard.to_metrics(board) == {}


def test_the_best_of_several_nb_svm_baselines_is_the_bar(tmp_path: Path) -> None:
    board = board_of(
        make_run(tmp_path, "lstm", predictions=tiny_predictions(3)),
        make_run(tmp_path, "weak", kind="baseline", predictions=tiny_predictions(1)),
        make_run(tmp_path, "strong", kind="baseline", predictions=tiny_predictions(4)),
    )
    given = verdicts(("baseline", "weak", "lstm", "better"), ("baseline", "strong", "lstm", "worse"))

    assert leaderboard.judge(board, given).set_index("experiment").loc["lstm", "against_nb_svm"] == "worse"


def test_csv_has_plain_numbers(board: pd.DataFrame, tmp_path: Path) -> None:
    write_csv(tmp_path / "leaderboard.csv", board)
    lines = (tmp_path / "leaderboard.csv").read_text().splitlines()

    assert lines[0].startswith("rank,experiment,kind,model,embedding,seeds,failures,valid_accuracy,valid_accuracy_std")
    assert lines[1].startswith("1,lstm,experiment,lstm,glove,2,,0.75,0.0,0.6,0.0,")
    assert lines[1].endswith(",640129,29441,1500000000000")
    assert lines[3].startswith(",nb-svm,baseline,nb_svm,,1,,0.5,,0.4,,")


def test_metrics_hold_the_means(board: pd.DataFrame) -> None:
    metrics = leaderboard.to_metrics(board)

    assert list(metrics) == ["lstm", "gru", "nb-svm", "majority", "lstm-lost-one"]
    assert metrics["lstm"]["valid_accuracy"] == 0.75
    assert list(metrics["lstm"]) == leaderboard.SCORES
