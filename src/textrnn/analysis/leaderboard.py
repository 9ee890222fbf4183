"""The leaderboard: one row per run, ranked by validation accuracy, as a table and on the terminal.

The test split ranks nothing: it says how sure one can be of what the ranking shows. Experiments have
a rank; a baseline stands where its accuracy puts it, without one. A run that lost a seed stands
last, without a rank: the mean of the seeds that survived would flatter it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from textrnn.analysis.comparisons import BASELINE, BEST
from textrnn.analysis.sampling import Units, seed_prior
from textrnn.analysis.significance import SeedPrior, contrast, vote
from textrnn.analysis.tables import DIGITS, SPLITS
from textrnn.errors import TextrnnError
from textrnn.modeling.scores import METRICS
from textrnn.run_folder import RunFolder

READABLE = 20
"""So many letters of a name stay in one line on any terminal."""

NAMED = 6
"""So many experiments at most are named in a sentence."""

SCORES = [f"{split}_{metric}" for metric, split in product(METRICS, SPLITS)]


def build(runs: Sequence[RunFolder], scores: pd.DataFrame, units: Units) -> pd.DataFrame:
    """Returns the leaderboard, best first.

    Columns: `rank`, `experiment`, `kind`, `model` (the cell, or the kind of baseline), `embedding`,
    `seeds` (how many finished), `failures`, each of `SCORES` with its `…_std` (over seeds, n - 1;
    empty for one seed), `test_low` and `test_high` (95 % interval of the mean test accuracy over both
    seeds and examples, `significance.contrast`; of examples alone where there is one seed),
    `vote_accuracy`, `vote_low` and `vote_high` (test accuracy of the seeds' mean probabilities and its
    interval, `significance.vote`; empty for one seed), `parameters`, `trainable_parameters`,
    `training_flops`. Equal accuracy is ranked by validation log loss, then by name.

    Args:
        scores: `tables.seed_scores(runs)`
        units: the corpus' units of sampling.
    """
    prior = seed_prior(runs, "test")
    table = pd.DataFrame([_row(run, scores, units, prior) for run in runs])
    table = (
        table.assign(failed=table["failures"] != "")
        .sort_values(["failed", "valid_accuracy", "valid_log_loss", "experiment"], ascending=[True, False, True, True])
        .reset_index(drop=True)
        .drop(columns="failed")
    )
    ranked = (table["kind"] == "experiment") & (table["failures"] == "")
    table.insert(0, "rank", ranked.cumsum().astype("Int64").where(ranked))
    return table


def best(board: pd.DataFrame) -> str | None:
    """Returns the experiment that ranks first, `None` where none has a rank."""
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
    names, best_one = board["experiment"], best(board)
    against = [verdicts.get((BASELINE, None if bar is None else bar["experiment"], name), "") for name in names]
    return board.assign(
        against_nb_svm=against, against_best=[verdicts.get((BEST, best_one, name), "") for name in names]
    )


def nb_svm(table: pd.DataFrame) -> pd.Series | None:
    """Returns the row of the study's (best) NB-SVM baseline, `None` where it has none."""
    rows = table[(table["model"] == "nb_svm") & (table["failures"] == "")]
    return rows.iloc[0] if len(rows) else None


def to_metrics(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Returns the `SCORES` of every run that has some, for `dvc metrics`."""
    rows = table.set_index("experiment")[SCORES].dropna(how="all")
    return {str(name): {score: float(row[score]) for score in SCORES} for name, row in rows.iterrows()}


def summary(table: pd.DataFrame) -> list[str]:
    """Returns the answers in plain sentences: who is first, who misses the bar, what failed."""
    experiments = table[table["rank"].notna()]
    sentences = [_first(experiments), _seeds(experiments), _group(experiments), _against(nb_svm(table), experiments)]
    for _, row in table[table["failures"] != ""].iterrows():
        sentences.append(f"`{row['experiment']}` failed and has no rank ({row['failures']}).")
    return [sentence for sentence in sentences if sentence]


def to_terminal(table: pd.DataFrame, width: int = 80) -> Table:
    """Returns a rich table that fits `width` columns: where that is too few for all, the last columns are left out."""
    headers = ("", "experiment", "valid %", "test %", "NB-SVM", "params", "training")
    rows = [main_cells(row) for _, row in table.iterrows()]
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    widths[1] = min(widths[1], READABLE)  # a longer name is folded
    while len(widths) > 2 and sum(widths) + 2 * (len(widths) - 1) > width:
        widths.pop()
    sheet = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    for header in headers[: len(widths)]:
        is_name = header == "experiment"
        sheet.add_column(header, justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold")
    for cells, failures, kind in zip(rows, table["failures"], table["kind"], strict=True):
        sheet.add_row(*cells[: len(widths)], style="red" if failures else "cyan" if kind == "baseline" else "")
    return sheet


def show(report: Path, console: Console) -> None:
    """Prints the leaderboard in the folder `report` and what it answers.

    Raises:
        TextrnnError: there is none.
    """
    file = report / "leaderboard.csv"
    if not file.is_file():
        raise TextrnnError(f"{report} holds no leaderboard.csv. Run `dvc repro`.")
    table = pd.read_csv(file, keep_default_na=False, na_values=[""], dtype={"experiment": str, "embedding": str})
    table = table.astype({"rank": "Int64"})
    table = table.fillna({"failures": "", "embedding": "", "against_nb_svm": "", "against_best": ""})
    console.print(to_terminal(table, console.width))
    for sentence in summary(table):
        console.print("\n" + sentence.replace("`", ""), markup=False)
    console.print(f"\nMore in {report}/index.html", markup=False, soft_wrap=True)


def score_text(row: pd.Series, score: str) -> str:
    """`79.4 ± 0.3` for what is shown in percent, `0.874 ± 0.003` for the rest; no seed, no number."""
    value, std = row[score], row[f"{score}_std"]
    if pd.isna(value):
        return "failed"
    factor, digits = (100, 1) if score.endswith(("accuracy", "f1")) else (1, 3)
    text = f"{value * factor:.{digits}f}"
    return text if pd.isna(std) else f"{text} ± {std * factor:.{digits}f}"


def si(value: float, unit: str = "") -> str:
    """Returns `value` with three digits, as in `1.20 TFLOP` or `640 k`; nothing for 0."""
    if not value:
        return ""
    prefixes = ["", "k", "M", "G", "T", "P", "E"]
    while float(f"{value:.3g}") >= 1000 and len(prefixes) > 1:
        value, prefixes = value / 1000, prefixes[1:]
    return f"{value:#.3g}".rstrip(".") + f" {prefixes[0]}{unit}".rstrip()


def _row(run: RunFolder, scores: pd.DataFrame, units: Units, prior: SeedPrior) -> dict[str, Any]:
    row: dict[str, Any] = {
        "experiment": run.name,
        "kind": run.kind,
        "model": run.params["cell" if run.kind == "experiment" else "kind"],
        "embedding": run.params.get("embedding", ""),
        "seeds": len(run.finished_seeds),
        "failures": run.failure or "",
    }
    own = scores[scores["experiment"] == run.name]
    # Rounded before they are ranked: what is a tie in the csv is a tie.
    for metric, split in product(METRICS, SPLITS):
        values = own.loc[own["split"] == split, metric].astype("float64")
        row[f"{split}_{metric}"] = round(values.mean(), DIGITS)
        row[f"{split}_{metric}_std"] = round(values.std(ddof=1), DIGITS)
    row |= dict.fromkeys(("test_low", "test_high", "vote_accuracy", "vote_low", "vote_high"), float("nan"))
    if run.finished_seeds:
        each = [run.probabilities(seed, "test") for seed in run.finished_seeds]
        ids, labels, _ = each[0]
        belongs = units("test", ids)
        mean = contrast([run.correct("test")], [1.0], belongs, prior)
        row["test_low"], row["test_high"] = mean.accuracy_interval()
        if len(each) > 1:
            voted = vote([probabilities for *_, probabilities in each], labels, belongs)
            row["vote_accuracy"] = voted.value
            row["vote_low"], row["vote_high"] = voted.accuracy_interval()
    row["parameters"] = run.parameters.get("total", 0)
    row["trainable_parameters"] = run.parameters.get("trainable", 0)
    row["training_flops"] = round(run.flops.get("training", 0.0))
    return row


def _first(experiments: pd.DataFrame) -> str:
    if experiments.empty:
        return "No experiment finished all its seeds, so none ranks first."
    best = experiments.iloc[0]
    is_one = best["seeds"] == 1
    seeds = ", one seed" if is_one else f", mean ± standard deviation over {best['seeds']} seeds"
    voted = "" if is_one else f"; the seeds' vote {100 * best['vote_accuracy']:.1f}"
    return (
        f"`{best['experiment']}` ranks first of {_count(len(experiments), 'experiment')}: "
        f"{score_text(best, 'valid_accuracy')} % accuracy on validation "
        f"({score_text(best, 'test_accuracy')} % on test{seeds}; 95 % interval "
        f"{100 * best['test_low']:.1f} to {100 * best['test_high']:.1f}{voted})."
    )


def _seeds(experiments: pd.DataFrame) -> str:
    """What a single seed cannot tell."""
    if (experiments["seeds"] > 1).all():
        return ""
    return (
        "With one seed, intervals and tests are about these trained models: whether their settings are better, "
        "and not this seed lucky, takes more seeds."
    )


def _group(experiments: pd.DataFrame) -> str:
    """Which experiments the first cannot be told apart from."""
    if len(experiments) < 2:
        return ""
    others = {
        verdict: experiments.loc[experiments["against_best"] == verdict, "experiment"]
        for verdict in ("unclear", "worse", "better")
    }
    if len(others["worse"]) == len(experiments) - 1:
        return "On the test split it is better than every other experiment, beyond chance."
    parts = [
        text.format(_count(len(others[verdict]), "other") + _listed(others[verdict]))
        for verdict, text in (
            ("unclear", "cannot be told apart from {}"),
            ("worse", "is better than {} beyond chance"),
            ("better", "is worse than {} beyond chance"),
        )
        if len(others[verdict])
    ]
    listed = ", ".join(parts[:-1]) + ", and " + parts[-1] if len(parts) > 1 else "".join(parts)
    return f"On the test split it {listed}." if parts else ""


def _against(bar: pd.Series | None, experiments: pd.DataFrame) -> str:
    if bar is None:
        return "The study has no NB-SVM baseline, so nothing says what a linear model reaches here."
    if experiments.empty:
        return ""
    reach = f"NB-SVM ({score_text(bar, 'test_accuracy')} % on test)"
    if (experiments["against_nb_svm"] == "").any():
        return f"The study declares no comparison with {reach}."
    verdicts = {verdict: names["experiment"] for verdict, names in experiments.groupby("against_nb_svm")}
    better = len(verdicts.get("better", ()))
    if better == len(experiments):
        return f"Every ranked experiment beats {reach} beyond chance."
    who = f"{better} of {_count(len(experiments), 'experiment')}{_listed(verdicts['better'])}" if better else ""
    verb = "beats" if better <= 1 else "beat"
    parts = [
        f"{len(verdicts[verdict])} {text}{_listed(verdicts[verdict])}"
        for verdict, text in (("unclear", "cannot be told apart from it"), ("worse", "worse"))
        if verdict in verdicts
    ]
    return f"{who or 'No experiment'} {verb} {reach} beyond chance: {', '.join(parts)}."


def _listed(names: pd.Series) -> str:
    """Names in brackets, as long as a sentence can hold them: the table shows all."""
    return f" ({', '.join(f'`{name}`' for name in names)})" if len(names) <= NAMED else ""


def main_cells(row: pd.Series) -> list[str]:
    """Returns what a reader compares: rank, name, validation and test accuracy, verdict, parameters, operations."""
    rank = "" if pd.isna(row["rank"]) else str(row["rank"])
    return [
        rank + ("≈" if row["against_best"] == "unclear" else ""),
        row["experiment"],
        score_text(row, "valid_accuracy"),
        score_text(row, "test_accuracy"),
        row["against_nb_svm"],
        si(row["parameters"]),
        si(row["training_flops"], "FLOP"),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
