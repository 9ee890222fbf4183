"""The leaderboard: one row per run, ranked by validation accuracy.

The test split ranks nothing: it shows how certain the ranking is. Baselines are placed by their accuracy, without a
rank. A run with a failed seed comes last, without a rank: the mean of its finished seeds would be too optimistic. An
ensemble has a rank, and one result like a baseline: its interval is over texts, and about these trained members.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pandas as pd

from textrnn.analysis.comparisons import BASELINE, BEST
from textrnn.analysis.examples import Groups
from textrnn.analysis.run_tables import DIGITS, SPLITS
from textrnn.analysis.significance import SeedPrior, contrast, vote
from textrnn.modeling.scores import METRICS
from textrnn.run_folder import RunFolder

SCORES = [f"{split}_{metric}" for metric, split in product(METRICS, SPLITS)]


def build(runs: Sequence[RunFolder], scores: pd.DataFrame, groups: Groups) -> pd.DataFrame:
    """Returns the leaderboard, best first.

    Columns: `rank`, `experiment`, `kind`, `model` (`Run.model`), `embedding`, `seeds` (how many finished), `failures`,
    each of `SCORES` with its `…_std` (over seeds, n - 1; empty for one seed), `test_low` and `test_high` (95 % interval
    of the mean test accuracy over seeds and examples, `significance.contrast`), `vote_accuracy`, `vote_low` and
    `vote_high` (test accuracy of the seeds' mean probabilities and its interval, `significance.vote`; empty for one
    seed), `parameters`, `trainable_parameters`, `training_flops`. Equal accuracy is ranked by validation log loss, then
    by name. `scores` are `run_tables.seed_scores(runs)`.
    """
    prior = SeedPrior.of_runs(runs, "test")
    table = pd.DataFrame([_row(run, scores, groups, prior) for run in runs])
    table = (
        table.assign(failed=table["failures"] != "")
        .sort_values(["failed", "valid_accuracy", "valid_log_loss", "experiment"], ascending=[True, False, True, True])
        .reset_index(drop=True)
        .drop(columns="failed")
    )
    ranked = (table["kind"] != "baseline") & (table["failures"] == "")
    table.insert(0, "rank", ranked.cumsum().astype("Int64").where(ranked))
    return table


def best(board: pd.DataFrame) -> str | None:
    """Returns the experiment or ensemble that ranks first, None where none has a rank."""
    first = board.loc[board["rank"] == 1, "experiment"]
    return str(first.iloc[0]) if len(first) else None


def judge(board: pd.DataFrame, comparisons: pd.DataFrame) -> pd.DataFrame:
    """Returns `board` with the verdicts of `comparisons.comparisons(…)`.

    New columns: `against_nb_svm` (`better`, `unclear` or `worse`; empty where nothing was compared)
    and `against_best` (the same against the first by rank; empty for itself and without a rank).
    """
    bar = nb_svm(board)
    rows = comparisons[["about", "first", "second", "verdict"]].astype(str)
    verdicts = {(about, first, second): verdict for about, first, second, verdict in rows.to_numpy().tolist()}
    return board.assign(
        **{
            column: [verdicts.get((about, first, name), "") for name in board["experiment"]]
            for column, about, first in (
                ("against_nb_svm", BASELINE, None if bar is None else bar["experiment"]),
                ("against_best", BEST, best(board)),
            )
        }
    )


def nb_svm(table: pd.DataFrame) -> pd.Series | None:
    """Returns the row of the study's (best) NB-SVM baseline, None where it has none."""
    rows = table[(table["model"] == "nb_svm") & (table["failures"] == "")]
    return rows.iloc[0] if len(rows) else None


def to_metrics(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Returns the `SCORES` of every run that has some, for `dvc metrics`."""
    rows = table.set_index("experiment")[SCORES].dropna(how="all")
    return {str(name): {score: float(row[score]) for score in SCORES} for name, row in rows.iterrows()}


def _row(run: RunFolder, scores: pd.DataFrame, groups: Groups, prior: SeedPrior) -> dict[str, Any]:
    row: dict[str, Any] = {
        "experiment": run.name,
        "kind": run.kind,
        "model": run.model,
        "embedding": run.params.get("embedding", ""),
        "seeds": len(run.finished_seeds),
        "failures": run.failure or "",
    }
    own = scores[scores["experiment"] == run.name]
    # Rounded before they are ranked: a tie in the csv is a tie.
    for metric, split in product(METRICS, SPLITS):
        values = own.loc[own["split"] == split, metric].astype("float64")
        row[f"{split}_{metric}"] = round(values.mean(), DIGITS)
        row[f"{split}_{metric}_std"] = round(values.std(ddof=1), DIGITS)
    row |= dict.fromkeys(("test_low", "test_high", "vote_accuracy", "vote_low", "vote_high"), float("nan"))
    if run.finished_seeds:
        each = [run.probabilities(seed, "test") for seed in run.finished_seeds]
        ids, labels, _ = each[0]
        of_text = groups("test", ids)
        mean = contrast([run.correct("test")], [1.0], of_text, prior)
        row["test_low"], row["test_high"] = mean.accuracy_interval()
        if len(each) > 1:
            voted = vote([probabilities for *_, probabilities in each], labels, of_text)
            row["vote_accuracy"] = voted.value
            row["vote_low"], row["vote_high"] = voted.accuracy_interval()
    row["parameters"] = run.parameters.get("total", 0)
    row["trainable_parameters"] = run.parameters.get("trainable", 0)
    row["training_flops"] = round(run.flops.get("training", 0.0))
    return row
