"""Ranking, the bar that NB-SVM sets, failures, and how all this reads."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from fake_runs import alone, make_run, tiny_predictions
from rich.console import Console

from textrnn.analysis import leaderboard, tables
from textrnn.run_folder import RunFolder

NAN = "loss became NaN in epoch 3"


def _board(*runs: RunFolder) -> pd.DataFrame:
    return leaderboard.build(runs, tables.seed_scores(runs), alone)


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


def _verdicts(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    """What `comparisons` says, as far as the leaderboard reads it."""
    return pd.DataFrame(rows, columns=["about", "first", "second", "verdict"])


JUDGED = _verdicts(
    ("baseline", "majority", "lstm", "worse"),
    ("baseline", "nb-svm", "lstm", "better"),
    ("baseline", "nb-svm", "gru", "unclear"),
    ("cell", "lstm", "gru", "worse"),
    ("best", "lstm", "gru", "worse"),
)


def test_verdicts_are_those_against_nb_svm_and_the_best(board: pd.DataFrame) -> None:
    judged = leaderboard.judge(board, JUDGED).set_index("experiment")
    assert judged["against_nb_svm"].to_dict() == {
        "lstm": "better",
        "gru": "unclear",
        **dict.fromkeys(("nb-svm", "majority", "lstm-lost-one", "lstm-lost"), ""),
    }
    assert judged["against_best"].to_dict() == {**dict.fromkeys(judged.index, ""), "gru": "worse"}
    assert leaderboard.best(board) == "lstm"


def test_intervals_are_over_examples_and_with_several_seeds_over_both(tmp_path: Path) -> None:
    ids, labels = [str(row) for row in range(10)], [0] * 8 + [1] * 2
    table = dict.fromkeys(("valid", "test"), (ids, labels, [[0.9, 0.1]] * 10))
    row = _board(make_run(tmp_path, "nb-svm", kind="baseline", predictions=table)).iloc[0]
    spread = 2.262157 * (0.16 / 9) ** 0.5  # 8 of 10: Student's t, 9 degrees of freedom; variance 0.16 * 10 / 9 / 10
    assert (row["test_low"], row["test_high"]) == pytest.approx((0.8 - spread, 1.0))
    assert row[["vote_accuracy", "vote_low", "vote_high"]].isna().all()  # nobody votes alone

    # Two seeds that agree: no variance between them.
    row = _board(make_run(tmp_path, "lstm", seeds=[0, 1], predictions=table)).iloc[0]
    assert (row["test_low"], row["test_high"]) == pytest.approx((0.8 - spread, 1.0))
    assert (row["vote_accuracy"], row["vote_low"]) == (0.8, pytest.approx(0.8 - spread))


def test_the_vote_is_of_probabilities_not_of_answers(tmp_path: Path) -> None:
    """Two seeds are a little wrong, one is very right."""
    run = make_run(tmp_path, "lstm", seeds=[0, 1, 2])
    sure = {0: 0.4, 1: 0.4, 2: 0.9}
    rows = run.predictions.select("seed", "label").iter_rows()
    both = [[1 - sure[seed], sure[seed]] if label else [sure[seed], 1 - sure[seed]] for seed, label in rows]
    run.__dict__["predictions"] = run.predictions.with_columns(probability=pl.Series(both, dtype=pl.List(pl.Float32)))
    row = _board(run).iloc[0]
    assert row["test_accuracy"] == pytest.approx(1 / 3, abs=1e-6)
    assert row["vote_accuracy"] == 1


def test_spread_is_over_seeds_with_n_minus_1(tmp_path: Path) -> None:
    run = make_run(tmp_path, "lstm", seeds=[0, 1])
    scores = tables.seed_scores([run])
    scores.loc[(scores["seed"] == 1) & (scores["split"] == "valid"), "accuracy"] = 0.95

    row = leaderboard.build([run], scores, alone).iloc[0]

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
    assert leaderboard.summary(leaderboard.judge(board, JUDGED)) == [
        "`lstm` ranks first of 2 experiments: 75.0 ± 0.0 % accuracy on validation "
        "(60.0 ± 0.0 % on test, mean ± standard deviation over 2 seeds; 95 % interval 0.0 to 100.0; "
        "the seeds' vote 60.0).",
        "On the test split it is better than every other experiment, beyond chance.",
        "1 of 2 experiments (`lstm`) beats NB-SVM (40.0 % on test) beyond chance: "
        "1 cannot be told apart from it (`gru`).",
        "`lstm-lost-one` failed and has no rank (seed 1: loss became NaN in epoch 3).",
        "`lstm-lost` failed and has no rank (seed 0: loss became NaN in epoch 3; seed 1: loss became NaN in epoch 1).",
    ]


def test_summary_names_who_cannot_be_told_apart_as_long_as_they_are_few(tmp_path: Path) -> None:
    names = [f"lstm-{place}" for place in range(9)]
    board = _board(*(make_run(tmp_path, name) for name in names), make_run(tmp_path, "nb-svm", kind="baseline"))
    against = [("baseline", "nb-svm", name, "worse") for name in names]
    few = [
        ("best", "lstm-0", name, "unclear" if name < "lstm-3" else "worse" if name < "lstm-7" else "better")
        for name in names[1:]
    ]
    many = [("best", "lstm-0", name, "unclear") for name in names[1:]]
    seeds, group, bar = leaderboard.summary(leaderboard.judge(board, _verdicts(*against, *few)))[1:]
    assert seeds.startswith("With one seed, intervals and tests are about these trained models")
    assert group == (
        "On the test split it cannot be told apart from 2 others (`lstm-1`, `lstm-2`), "
        "is better than 4 others (`lstm-3`, `lstm-4`, `lstm-5`, `lstm-6`) beyond chance, and is worse than "
        "2 others (`lstm-7`, `lstm-8`) beyond chance."
    )
    assert bar == "No experiment beats NB-SVM (60.0 % on test) beyond chance: 9 worse."
    group = leaderboard.summary(leaderboard.judge(board, _verdicts(*against, *many)))[2]
    assert group == "On the test split it cannot be told apart from 8 others."


def test_summary_when_all_beat_the_bar(tmp_path: Path) -> None:
    bar = make_run(tmp_path, "nb-svm", kind="baseline", predictions=tiny_predictions(1))
    board = leaderboard.judge(_board(make_run(tmp_path, "lstm"), bar), JUDGED)

    assert leaderboard.summary(board)[2:] == ["Every ranked experiment beats NB-SVM (20.0 % on test) beyond chance."]


def test_a_study_without_nb_svm_or_without_the_comparison_says_so(tmp_path: Path) -> None:
    board = leaderboard.judge(_board(make_run(tmp_path, "lstm")), _verdicts())
    assert "no NB-SVM baseline" in leaderboard.summary(board)[2]
    bar = make_run(tmp_path, "nb-svm", kind="baseline", predictions=tiny_predictions(1))
    board = leaderboard.judge(_board(make_run(tmp_path, "gru"), bar), _verdicts())
    assert leaderboard.summary(board)[2] == "The study declares no comparison with NB-SVM (20.0 % on test)."


def test_nothing_finished(tmp_path: Path) -> None:
    board = _board(make_run(tmp_path, "lstm", failures={"0": NAN}))

    board = leaderboard.judge(board, _verdicts())
    assert leaderboard.summary(board)[0] == "No experiment finished all its seeds, so none ranks first."
    assert leaderboard.main_cells(board.iloc[0])[:4] == ["", "lstm", "failed", "failed"]
    assert leaderboard.best(board) is None
    assert leaderboard.to_metrics(board) == {}


def test_the_best_of_several_nb_svm_baselines_is_the_bar(tmp_path: Path) -> None:
    board = _board(
        make_run(tmp_path, "lstm", predictions=tiny_predictions(3)),
        make_run(tmp_path, "weak", kind="baseline", predictions=tiny_predictions(1)),
        make_run(tmp_path, "strong", kind="baseline", predictions=tiny_predictions(4)),
    )
    verdicts = _verdicts(("baseline", "weak", "lstm", "better"), ("baseline", "strong", "lstm", "worse"))

    assert leaderboard.judge(board, verdicts).set_index("experiment").loc["lstm", "against_nb_svm"] == "worse"


def test_csv_has_plain_numbers(board: pd.DataFrame) -> None:
    lines = tables.to_csv(board).splitlines()

    assert lines[0].startswith("rank,experiment,kind,model,embedding,seeds,failures,valid_accuracy,valid_accuracy_std")
    assert lines[1].startswith("1,lstm,experiment,lstm,glove,2,,0.75,0.0,0.6,0.0,")
    assert lines[1].endswith(",640129,29441,1500000000000")
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
        console.print(leaderboard.to_terminal(leaderboard.judge(board, JUDGED)))

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
        console.print(leaderboard.to_terminal(leaderboard.judge(board, JUDGED), console.width))

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
    assert leaderboard.si(value, "FLOP") == text
