"""Ranking, the bar that NB-SVM sets, failures, and how all this reads."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from fake_runs import make_run, tiny_predictions
from rich.console import Console

from textrnn.comparison import leaderboard, tables
from textrnn.run_folder import RunFolder

NAN = "loss became NaN in epoch 3"


def _board(*runs: RunFolder) -> pd.DataFrame:
    return leaderboard.build(runs, tables.seed_scores(runs))


@pytest.fixture
def board(tmp_path: Path) -> pd.DataFrame:
    """One that beats NB-SVM, one that equals it, one that lost a seed, one that lost all."""
    return _board(
        make_run(tmp_path, "lstm-lost-one", seeds=[0, 1], failures={"1": NAN}, predictions=tiny_predictions(4)),
        make_run(tmp_path, "gru", seeds=[0, 1], predictions=tiny_predictions(2)),
        make_run(
            tmp_path,
            "majority",
            kind="baseline",
            params={"kind": "majority"},
            predictions=tiny_predictions(1),
        ),
        make_run(tmp_path, "nb-svm", kind="baseline", predictions=tiny_predictions(2), flops=0.0),
        make_run(tmp_path, "lstm-lost", seeds=[0, 1], failures={"0": NAN, "1": "loss became NaN in epoch 1"}),
        make_run(tmp_path, "lstm", seeds=[0, 1], predictions=tiny_predictions(3)),
    )


def test_ranks_experiments_by_validation_accuracy(board: pd.DataFrame) -> None:
    assert board["experiment"].tolist() == ["lstm", "gru", "nb-svm", "majority", "lstm-lost-one", "lstm-lost"]
    assert board["rank"].tolist()[:2] == [1, 2]
    assert board["rank"].isna().tolist() == [False, False, True, True, True, True]
    assert board["seeds"].tolist() == [2, 2, 1, 1, 1, 0]
    assert board["valid_accuracy"].tolist()[:5] == [0.75, 0.5, 0.5, 0.25, 1.0]
    assert board["test_accuracy"].tolist()[:5] == [0.6, 0.4, 0.4, 0.2, 0.8]


def test_equal_accuracy_does_not_beat(board: pd.DataFrame) -> None:
    beats = dict(zip(board["experiment"], board["beats_nb_svm"], strict=True))

    assert beats["lstm"]
    assert not beats["gru"]
    assert all(pd.isna(beats[name]) for name in ("nb-svm", "majority", "lstm-lost-one", "lstm-lost"))


def test_spread_is_over_seeds_with_n_minus_1(tmp_path: Path) -> None:
    run = make_run(tmp_path, "lstm", seeds=[0, 1])
    scores = tables.seed_scores([run])
    scores.loc[(scores["seed"] == 1) & (scores["split"] == "valid"), "accuracy"] = 0.95

    row = leaderboard.build([run], scores).iloc[0]

    assert row["valid_accuracy"] == 0.85
    assert row["valid_accuracy_std"] == 0.141421  # 0.2 / sqrt(2)
    assert leaderboard.score_text(row, "valid_accuracy") == "85.0 ± 14.1"


def test_the_test_split_ranks_nothing(tmp_path: Path) -> None:
    good, bad = tiny_predictions(4), tiny_predictions(3)
    first = make_run(tmp_path, "b-better-on-validation", predictions={"valid": good["valid"], "test": bad["test"]})
    second = make_run(tmp_path, "a-better-on-test", predictions={"valid": bad["valid"], "test": good["test"]})

    assert _board(second, first)["experiment"].tolist() == ["b-better-on-validation", "a-better-on-test"]


def test_ties_go_to_the_lower_validation_loss_then_to_the_name(tmp_path: Path) -> None:
    sure = tiny_predictions()
    for row in (0, 1, 2):
        sure["valid"][2][row] = [0.1, 0.9] if sure["valid"][1][row] else [0.9, 0.1]
    runs = [make_run(tmp_path, "b"), make_run(tmp_path, "a"), make_run(tmp_path, "z", predictions=sure)]

    assert _board(*runs)["experiment"].tolist() == ["z", "a", "b"]


def test_summary_answers_first_who_wins_and_who_misses_the_bar(board: pd.DataFrame) -> None:
    assert leaderboard.summary(board) == [
        "`lstm` ranks first of 2 experiments: 75.0 ± 0.0 % accuracy on validation "
        "(60.0 ± 0.0 % on test, mean ± standard deviation over 2 seeds).",
        "1 of 2 experiments does not beat NB-SVM (50.0 % on validation): `gru`.",
        "`lstm-lost-one` failed and has no rank (seed 1: loss became NaN in epoch 3).",
        "`lstm-lost` failed and has no rank (seed 0: loss became NaN in epoch 3; seed 1: loss became NaN in epoch 1).",
    ]


def test_summary_when_all_beat_the_bar(tmp_path: Path) -> None:
    bar = make_run(tmp_path, "nb-svm", kind="baseline", predictions=tiny_predictions(1))

    assert leaderboard.summary(_board(make_run(tmp_path, "lstm"), bar)) == [
        "`lstm` ranks first of 1 experiment: 75.0 % accuracy on validation (60.0 % on test, one seed).",
        "Every ranked experiment beats NB-SVM (25.0 % on validation).",
    ]


def test_a_study_without_nb_svm_says_so(tmp_path: Path) -> None:
    board = _board(make_run(tmp_path, "lstm"))

    assert board["beats_nb_svm"].isna().all()
    assert "no NB-SVM baseline" in leaderboard.summary(board)[1]


def test_nothing_finished(tmp_path: Path) -> None:
    board = _board(make_run(tmp_path, "lstm", failures={"0": NAN}))

    assert leaderboard.summary(board)[0] == "No experiment finished all its seeds, so none ranks first."
    assert "| `lstm`       |         failed |   failed |" in leaderboard.to_markdown(board, "cells")
    assert leaderboard.to_metrics(board) == {}


def test_the_best_of_several_nb_svm_baselines_is_the_bar(tmp_path: Path) -> None:
    board = _board(
        make_run(tmp_path, "lstm", predictions=tiny_predictions(3)),
        make_run(tmp_path, "weak", kind="baseline", predictions=tiny_predictions(1)),
        make_run(tmp_path, "strong", kind="baseline", predictions=tiny_predictions(4)),
    )

    assert not board.set_index("experiment").loc["lstm", "beats_nb_svm"]


def test_markdown_opens_with_the_answer(board: pd.DataFrame) -> None:
    page = leaderboard.to_markdown(board, "cells")

    assert page.splitlines()[0] == "# Leaderboard: cells"
    assert page.splitlines()[2].startswith("`lstm` ranks first")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    assert cells[0] == [
        "rank",
        "experiment",
        "validation %",
        "test %",
        "beats NB-SVM",
        "parameters",
        "training",
    ]
    assert cells[2] == ["1", "`lstm`", "75.0 ± 0.0", "60.0 ± 0.0", "yes", "640 k", "1.50 TFLOP"]
    assert cells[4] == ["", "`nb-svm`", "50.0", "40.0", "", "640 k", ""]
    assert "`dvc repro` makes this page." in page


def test_csv_has_plain_numbers(board: pd.DataFrame) -> None:
    lines = tables.to_csv(board).splitlines()

    assert lines[0].startswith("rank,experiment,kind,model,embedding,seeds,failures,valid_accuracy,valid_accuracy_std")
    assert lines[1].startswith("1,lstm,experiment,lstm,glove,2,,0.75,0.0,0.6,0.0,")
    assert lines[1].endswith(",True,640129,29441,1500000000000")
    assert lines[3].startswith(",nb-svm,baseline,nb_svm,,1,,0.5,,0.4,,")


def test_metrics_hold_the_means(board: pd.DataFrame) -> None:
    metrics = leaderboard.to_metrics(board)

    assert list(metrics) == ["lstm", "gru", "nb-svm", "majority", "lstm-lost-one"]
    assert metrics["lstm"]["valid_accuracy"] == 0.75
    assert list(metrics["lstm"]) == leaderboard.SCORES


def test_terminal_table_fits_80_columns(board: pd.DataFrame) -> None:
    board.loc[0, "experiment"] = "lstm-embedding-dropout"
    console = Console(width=80, file=StringIO())

    with console.capture() as shown:
        console.print(leaderboard.to_terminal(board))

    lines = shown.get().splitlines()
    words = " ".join(lines[1].split())
    assert words == "1 lstm-embedding-dropout 75.0 ± 0.0 60.0 ± 0.0 yes 640 k 1.50 TFLOP"
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, ""),
        (7, "7.00 FLOP"),
        (640_129, "640 kFLOP"),
        (999_600, "1.00 MFLOP"),
        (1_204_000_000_000, "1.20 TFLOP"),
        (5e21, "5.00e+03 EFLOP"),
    ],
)
def test_si(value: float, text: str) -> None:
    assert leaderboard.si(value, "FLOP") == text
