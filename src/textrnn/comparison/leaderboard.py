"""The leaderboard: one row per run, ranked by validation accuracy, as table, Markdown and terminal.

The test split is reported and decides nothing. Experiments have a rank; a baseline stands where
its accuracy puts it, without one. A run that lost a seed stands last, without a rank: the mean of
the seeds that survived would flatter it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from textrnn.comparison.metrics import METRICS
from textrnn.comparison.tables import DIGITS, SPLITS
from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder

SCORES = [f"{split}_{metric}" for metric, split in product(METRICS, SPLITS)]


def build(runs: Sequence[RunFolder], scores: pd.DataFrame) -> pd.DataFrame:
    """Returns the leaderboard, best first.

    Columns: `rank`, `experiment`, `kind`, `model` (the cell, or the kind of baseline), `embedding`,
    `seeds` (how many finished), `failures`, each of `SCORES` with its `…_std` (over seeds, n - 1;
    empty for one seed), `beats_nb_svm` (empty for who has no rank, and in a study without
    NB-SVM), `parameters`, `trainable_parameters`, `training_flops`. Equal accuracy is ranked by
    validation log loss, then by name.

    Args:
        scores: `tables.seed_scores(runs)`
    """
    table = pd.DataFrame([_row(run, scores) for run in runs])
    table = (
        table.assign(failed=table["failures"] != "")
        .sort_values(["failed", "valid_accuracy", "valid_log_loss", "experiment"], ascending=[True, False, True, True])
        .reset_index(drop=True)
        .drop(columns="failed")
    )
    ranked = (table["kind"] == "experiment") & (table["failures"] == "")
    table.insert(0, "rank", ranked.cumsum().astype("Int64").where(ranked))
    bar = nb_svm(table)
    beats = table["valid_accuracy"] > (0 if bar is None else bar["valid_accuracy"])
    beats_column = beats.astype("boolean").where(ranked & (bar is not None))
    table.insert(list(table).index("parameters"), "beats_nb_svm", beats_column)
    return table


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
    sentences = [_first(experiments), _against(nb_svm(table), experiments)]
    for _, row in table[table["failures"] != ""].iterrows():
        sentences.append(f"`{row['experiment']}` failed and has no rank ({row['failures']}).")
    return [sentence for sentence in sentences if sentence]


def to_terminal(table: pd.DataFrame) -> Table:
    """Returns a rich table that fits 80 columns."""
    sheet = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    for header in ("", "experiment", "valid %", "test %", "> NB-SVM", "params", "training"):
        is_name = header == "experiment"  # the only one to give way when the terminal is narrow
        sheet.add_column(header, justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold")
    for _, row in table.iterrows():
        style = "red" if row["failures"] else "cyan" if row["kind"] == "baseline" else ""
        sheet.add_row(*_main_cells(row), style=style)
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
    table = table.astype({"rank": "Int64", "beats_nb_svm": "boolean"}).fillna({"failures": "", "embedding": ""})
    console.print(to_terminal(table))
    for sentence in summary(table):
        console.print("\n" + sentence.replace("`", ""), markup=False)
    console.print(f"\nMore in {report}/leaderboard.md", markup=False, soft_wrap=True)


def to_markdown(table: pd.DataFrame, study: str) -> str:
    """Returns the page `leaderboard.md`; the pictures and the csv that it shows lie beside it."""
    rows = [row for _, row in table.iterrows()]
    more = [[f"`{row['experiment']}`", *(score_text(row, score) for score in SCORES[2:])] for row in rows]
    main = [[rank, f"`{name}`", *rest] for rank, name, *rest in map(_main_cells, rows)]
    main_header = ["rank", "experiment", "validation %", "test %", "beats NB-SVM", "parameters", "training"]
    more_header = ["experiment", "F1 %, valid", "F1 %, test", "ROC AUC, valid", "ROC AUC, test"]
    more_header += ["log loss, valid", "log loss, test"]
    return "\n\n".join(
        [
            f"# Leaderboard: {study}",
            *summary(table),
            "![Validation and test accuracy of every run](leaderboard.svg)",
            _markdown_table(main_header, main),
            "## More metrics",
            _markdown_table(more_header, more),
            _NOTES,
        ]
    )


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


_NOTES = """\
## What the columns mean

- **validation %, test %**: accuracy, mean ± standard deviation over seeds. The standard deviation says how
  much the seed matters, not how precisely a split of this size measures. The validation split ranks; the test
  split decides nothing.
- **beats NB-SVM**: whether the mean validation accuracy is above that of NB-SVM, a linear model over word
  n-grams (Wang & Manning, ACL 2012). Baselines have no rank.
- **parameters**: all of them, frozen embeddings included. **training**: floating-point operations of one
  seed's training, which every machine counts alike.
- **F1**: macro F1, every class weighs the same. **ROC AUC**: of the last class when there are two, else the
  mean of each class against the rest. **log loss**: in nats, lower is better.

All digits are in [leaderboard.csv](leaderboard.csv), each seed's in [scores.csv](scores.csv). More
pictures: [learning curves](learning_curves.svg), [confusion matrices](confusion.svg),
[reliability](reliability.svg). What the corpus is like:
[data quality](data_quality.md).

`dvc repro` makes this page.
"""


def _row(run: RunFolder, scores: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {
        "experiment": run.name,
        "kind": run.kind,
        "model": run.params["cell" if run.kind == "experiment" else "kind"],
        "embedding": run.params.get("embedding", ""),
        "seeds": len(run.finished_seeds),
        "failures": "; ".join(
            f"seed {seed}: {run.failures[str(seed)]}" for seed in run.seeds if str(seed) in run.failures
        ),
    }
    own = scores[scores["experiment"] == run.name]
    # Rounded before they are ranked: what is a tie in the csv is a tie.
    for metric, split in product(METRICS, SPLITS):
        values = own.loc[own["split"] == split, metric].astype("float64")
        row[f"{split}_{metric}"] = round(values.mean(), DIGITS)
        row[f"{split}_{metric}_std"] = round(values.std(ddof=1), DIGITS)
    row["parameters"] = run.parameters.get("total", 0)
    row["trainable_parameters"] = run.parameters.get("trainable", 0)
    row["training_flops"] = round(run.flops.get("training", 0.0))
    return row


def _first(experiments: pd.DataFrame) -> str:
    if experiments.empty:
        return "No experiment finished all its seeds, so none ranks first."
    best = experiments.iloc[0]
    seeds = f", mean ± standard deviation over {best['seeds']} seeds" if best["seeds"] > 1 else ", one seed"
    return (
        f"`{best['experiment']}` ranks first of {_count(len(experiments), 'experiment')}: "
        f"{score_text(best, 'valid_accuracy')} % accuracy on validation "
        f"({score_text(best, 'test_accuracy')} % on test{seeds})."
    )


def _against(bar: pd.Series | None, experiments: pd.DataFrame) -> str:
    if bar is None:
        return "The study has no NB-SVM baseline, so nothing says what a linear model reaches here."
    if experiments.empty:
        return ""
    behind = experiments.loc[~experiments["beats_nb_svm"].astype(bool), "experiment"]
    reach = f"NB-SVM ({score_text(bar, 'valid_accuracy')} % on validation)"
    if behind.empty:
        return f"Every ranked experiment beats {reach}."
    verb = "does" if len(behind) == 1 else "do"
    names = ", ".join(f"`{name}`" for name in behind)
    return f"{len(behind)} of {_count(len(experiments), 'experiment')} {verb} not beat {reach}: {names}."


def _main_cells(row: pd.Series) -> list[str]:
    beats = row["beats_nb_svm"]
    return [
        "" if pd.isna(row["rank"]) else str(row["rank"]),
        row["experiment"],
        score_text(row, "valid_accuracy"),
        score_text(row, "test_accuracy"),
        "" if pd.isna(beats) else "yes" if beats else "no",
        si(row["parameters"]),
        si(row["training_flops"], "FLOP"),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _markdown_table(header: list[str], rows: list[list[str]]) -> str:
    align = ["left" if name == "experiment" else "right" for name in header]
    return str(tabulate(rows, header, tablefmt="pipe", colalign=align, disable_numparse=True))
