"""The leaderboard in sentences and on the terminal."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from fake_boards import JUDGED, NAN, board_of, board_of_six, verdicts
from fake_runs import make_run, tiny_predictions
from rich.console import Console

from textrnn.analysis import leaderboard
from textrnn.report.summary import main_cells, score_text, si, summary, to_terminal


@pytest.fixture
def board(tmp_path: Path) -> pd.DataFrame:
    return board_of_six(tmp_path)


def test_summary_answers_first_who_wins_and_who_misses_the_bar(board: pd.DataFrame) -> None:
    assert summary(leaderboard.judge(board, JUDGED)) == [
        "`lstm` ranks first of 2 experiments: 75.0 ± 0.0 % accuracy on validation "
        "(60.0 ± 0.0 % on test, mean ± standard deviation over 2 seeds; 95 % interval 0.0 to 100.0; "
        "the seeds' vote 60.0).",
        "On the test split it is better than every other experiment, beyond chance.",
        "Of 2 experiments, 1 (`lstm`) beats NB-SVM (40.0 % on test) beyond chance: "
        "1 cannot be told apart from it (`gru`).",
        "`lstm-lost-one` failed and has no rank (seed 1: loss became NaN in epoch 3).",
        "`lstm-lost` failed and has no rank (seed 0: loss became NaN in epoch 3; seed 1: loss became NaN in epoch 1).",
    ]


def test_summary_names_experiments_that_cannot_be_told_apart_if_they_are_few(tmp_path: Path) -> None:
    names = [f"lstm-{place}" for place in range(9)]
    board = board_of(*(make_run(tmp_path, name) for name in names), make_run(tmp_path, "nb-svm", kind="baseline"))
    against = [("baseline", "nb-svm", name, "worse") for name in names]
    few = [
        ("best", "lstm-0", name, "unclear" if name < "lstm-3" else "worse" if name < "lstm-7" else "better")
        for name in names[1:]
    ]
    many = [("best", "lstm-0", name, "unclear") for name in names[1:]]
    seeds, group, bar = summary(leaderboard.judge(board, verdicts(*against, *few)))[1:]
    assert seeds.startswith("With one seed, intervals and tests are about these trained models")
    assert group == (
        "On the test split it cannot be told apart from 2 others (`lstm-1`, `lstm-2`), "
        "is better than 4 others (`lstm-3`, `lstm-4`, `lstm-5`, `lstm-6`) beyond chance, and is worse than "
        "2 others (`lstm-7`, `lstm-8`) beyond chance."
    )
    assert bar == "No experiment beats NB-SVM (60.0 % on test) beyond chance: 9 are worse."
    group = summary(leaderboard.judge(board, verdicts(*against, *many)))[2]
    assert group == "On the test split it cannot be told apart from 8 others."


def test_summary_when_all_beat_the_bar(tmp_path: Path) -> None:
    bar = make_run(tmp_path, "nb-svm", kind="baseline", predictions=tiny_predictions(1))
    board = leaderboard.judge(board_of(make_run(tmp_path, "lstm"), bar), JUDGED)

    assert summary(board)[2:] == ["Every ranked experiment beats NB-SVM (20.0 % on test) beyond chance."]


def test_the_bar_is_beaten_by_some_of_experiments_and_ensembles_together(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name, kind="ensemble" if name == "vote" else "experiment") for name in ("gru", "vote")]
    bar = make_run(tmp_path, "nb-svm", kind="baseline", predictions=tiny_predictions(1))
    found = verdicts(("baseline", "nb-svm", "gru", "worse"), ("baseline", "nb-svm", "vote", "better"))
    assert summary(leaderboard.judge(board_of(*runs, bar), found))[-1] == (
        "Of 1 experiment and 1 ensemble, 1 (`vote`) beats NB-SVM (20.0 % on test) beyond chance: 1 is worse (`gru`)."
    )


def test_a_study_without_nb_svm_or_without_the_comparison_says_so(tmp_path: Path) -> None:
    board = leaderboard.judge(board_of(make_run(tmp_path, "lstm")), verdicts())
    assert "no NB-SVM baseline" in summary(board)[2]
    bar = make_run(tmp_path, "nb-svm", kind="baseline", predictions=tiny_predictions(1))
    board = leaderboard.judge(board_of(make_run(tmp_path, "gru"), bar), verdicts())
    assert summary(board)[2] == "The study declares no comparison with NB-SVM (20.0 % on test)."


def test_nothing_finished(tmp_path: Path) -> None:
    board = board_of(make_run(tmp_path, "lstm", failures={"0": NAN}))

    board = leaderboard.judge(board, verdicts())
    assert summary(board)[0] == "No experiment finished all its seeds, so none ranks first."
    assert main_cells(board.iloc[0])[:4] == ["", "lstm", "failed", "failed"]


def test_a_score_has_its_spread_where_there_are_several_seeds() -> None:
    row = pd.Series({"valid_accuracy": 0.85, "valid_accuracy_std": 0.141421, "test_log_loss": 0.5})
    row["test_log_loss_std"] = float("nan")

    assert score_text(row, "valid_accuracy") == "85.0 ± 14.1"
    assert score_text(row, "test_log_loss") == "0.500"


def test_terminal_table_fits_80_columns(board: pd.DataFrame) -> None:
    board.loc[0, "experiment"] = "lstm-embedding-dropout"
    console = Console(width=80, file=StringIO())

    with console.capture() as shown:
        console.print(to_terminal(leaderboard.judge(board, JUDGED)))

    lines = shown.get().splitlines()
    words = [" ".join(line.split()) for line in lines]
    assert words[1] == "1 lstm-embedding-dropout 75.0 ± 0.0 60.0 ± 0.0 640 k 1.50 TFLOP"  # by this name not compared
    assert words[2] == "2 gru 50.0 ± 0.0 40.0 ± 0.0 unclear 640 k 1.50 TFLOP"
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("width", "row"), [(68, "2 gru 50.0 ± 0.0 40.0 ± 0.0 unclear 640 k"), (40, "2 gru 50.0 ± 0.0"), (30, "2 gru")]
)
def test_on_a_narrow_terminal_names_stay_and_the_last_columns_go(board: pd.DataFrame, width: int, row: str) -> None:
    board.loc[0, "experiment"] = "lstm-embedding-dropout"
    console = Console(width=width, file=StringIO())

    with console.capture() as shown:
        console.print(to_terminal(leaderboard.judge(board, JUDGED), console.width))

    lines = [" ".join(line.split()) for line in shown.get().splitlines()]
    assert "lstm-embedding-" in lines[1]
    assert row in lines


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
    assert si(value, "FLOP") == text
