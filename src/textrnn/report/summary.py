"""The leaderboard in sentences, and as a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from textrnn import wording
from textrnn.analysis.leaderboard import nb_svm
from textrnn.errors import TextrnnError
from textrnn.wording import count

READABLE = 20
"""Names of at most so many characters stay on one line on any terminal."""

NAMED = 6
"""A sentence names at most so many experiments."""


def summary(board: pd.DataFrame) -> list[str]:
    """Returns the answers in plain sentences: which ranks first, which do not beat NB-SVM, which failed."""
    ranked = board[board["rank"].notna()]
    sentences = [_first(ranked), _one_seed(ranked), _against_others(ranked), _against_nb_svm(nb_svm(board), ranked)]
    for _, row in board[board["failures"] != ""].iterrows():
        sentences.append(f"`{row['experiment']}` failed and has no rank ({row['failures']}).")
    return [sentence for sentence in sentences if sentence]


def answer(board: pd.DataFrame) -> str:
    """Returns in short whether something beats NB-SVM, and what ranks first."""
    ranked = board[board["rank"].notna()]
    first = (
        ""
        if ranked.empty
        else f"First: `{ranked.iloc[0]['experiment']}`, {score_text(ranked.iloc[0], 'test_accuracy')} %."
    )
    return " ".join(filter(None, [_against_nb_svm(nb_svm(board), ranked, details=False), first]))


def to_terminal(board: pd.DataFrame, width: int = 80) -> Table:
    """Returns a rich table that fits `width` columns: where that is too few for all, the last columns are left out."""
    headers = ("", "experiment", "valid %", "test %", "NB-SVM", "params", "training")
    rows = [main_cells(row) for _, row in board.iterrows()]
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    widths[1] = min(widths[1], READABLE)  # a longer name is folded
    while len(widths) > 2 and sum(widths) + 2 * (len(widths) - 1) > width:
        widths.pop()
    table = Table(box=None, padding=(0, 1), header_style="bold", pad_edge=False)
    for header in headers[: len(widths)]:
        is_name = header == "experiment"
        table.add_column(header, justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold")
    for cells, failures, kind in zip(rows, board["failures"], board["kind"], strict=True):
        table.add_row(*cells[: len(widths)], style="red" if failures else "cyan" if kind == "baseline" else "")
    return table


def read(report: Path) -> pd.DataFrame:
    """Returns the leaderboard in the folder `report`. Raises `TextrnnError` where there is none."""
    file = report / "leaderboard.csv"
    if not file.is_file():
        raise TextrnnError(f"{report} holds no leaderboard.csv. Run `dvc repro`.")
    gaps = ("embedding", "failures", "against_nb_svm", "against_best")
    words = dict.fromkeys(("experiment", *gaps), str)
    board = pd.read_csv(file, keep_default_na=False, na_values=[""], dtype=words)
    return board.astype({"rank": "Int64"}).fillna(dict.fromkeys(gaps, ""))


def show(report: Path, console: Console) -> None:
    """Prints the leaderboard in the folder `report` and its `summary`. Raises `TextrnnError` where there is none."""
    board = read(report)
    console.print(to_terminal(board, console.width))
    for sentence in summary(board):
        console.print("\n" + sentence.replace("`", ""), markup=False)
    console.print(f"\nMore in {report}/index.html", markup=False, soft_wrap=True)


def main_cells(row: pd.Series) -> list[str]:
    """Returns the main columns of a run: rank, name, validation and test accuracy, verdict, parameters, operations."""
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


def score_text(row: pd.Series, score: str) -> str:
    """Returns `79.4 ± 0.3` for scores in percent, `0.874 ± 0.003` for others, `failed` without a finished seed."""
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


def _first(ranked: pd.DataFrame) -> str:
    if ranked.empty:
        return "No experiment finished all its seeds, so none ranks first."
    best = ranked.iloc[0]
    seeds, voted = ", one seed" if best["kind"] == "experiment" else "", ""
    if best["seeds"] > 1:
        seeds = f", mean ± standard deviation over {best['seeds']} seeds"
        voted = f"; the seeds' vote {wording.percent(best['vote_accuracy'])}"
    return (
        f"`{best['experiment']}` ranks first of {_counted(ranked)}: "
        f"{score_text(best, 'valid_accuracy')} % accuracy on validation "
        f"({score_text(best, 'test_accuracy')} % on test{seeds}; 95 % interval "
        f"{wording.interval(best['test_low'], best['test_high'])}{voted})."
    )


def _one_seed(ranked: pd.DataFrame) -> str:
    if (ranked.loc[ranked["kind"] == "experiment", "seeds"] > 1).all():
        return ""
    return (
        "With one seed, intervals and tests are about these trained models: more seeds are needed to tell whether "
        "their settings are better or this seed is lucky."
    )


def _against_others(ranked: pd.DataFrame) -> str:
    """Which others the first cannot be told apart from."""
    others = {verdict: own["experiment"] for verdict, own in ranked.groupby("against_best") if verdict}
    if len(ranked) > 1 and len(others.get("worse", ())) == len(ranked) - 1:
        return f"On the test split it is better than every other {_noun(ranked)}, beyond chance."
    parts = [
        text.format(count(len(others[verdict]), "other") + _named(others[verdict]))
        for verdict, text in (
            ("unclear", "cannot be told apart from {}"),
            ("worse", "is better than {} beyond chance"),
            ("better", "is worse than {} beyond chance"),
        )
        if verdict in others
    ]
    listed = ", ".join(parts[:-1]) + ", and " + parts[-1] if len(parts) > 1 else "".join(parts)
    return f"On the test split it {listed}." if parts else ""


def _against_nb_svm(bar: pd.Series | None, ranked: pd.DataFrame, details: bool = True) -> str:
    if bar is None:
        return "The study has no NB-SVM baseline, so nothing shows what a linear model reaches here."
    if ranked.empty:
        return ""
    reach = f"NB-SVM ({score_text(bar, 'test_accuracy')} % on test)"
    if (ranked["against_nb_svm"] == "").any():
        return f"The study declares no comparison with {reach}."
    verdicts = {verdict: own["experiment"] for verdict, own in ranked.groupby("against_nb_svm")}
    better = len(verdicts.get("better", ()))
    if better == len(ranked):
        return f"Every ranked {_noun(ranked)} beats {reach} beyond chance."
    who = f"Of {_counted(ranked)}, {better}{_named(verdicts['better'])}" if better else f"No {_noun(ranked)}"
    worse = "is worse" if len(verdicts.get("worse", ())) == 1 else "are worse"
    parts = [
        f"{len(verdicts[verdict])} {text}{_named(verdicts[verdict])}"
        for verdict, text in (("unclear", "cannot be told apart from it"), ("worse", worse))
        if verdict in verdicts
    ]
    sentence = f"{who} {'beats' if better <= 1 else 'beat'} {reach} beyond chance"
    return f"{sentence}: {', '.join(parts)}." if details else f"{sentence}."


def _counted(ranked: pd.DataFrame) -> str:
    """`2 experiments and 1 ensemble`; kinds that do not occur are left out."""
    kinds = ranked["kind"].value_counts().sort_index(ascending=False)
    return " and ".join(count(int(number), str(kind)) for kind, number in kinds.items())


def _noun(ranked: pd.DataFrame) -> str:
    """What a ranked run is."""
    return " or ".join(sorted(set(ranked["kind"]), reverse=True))


def _named(names: Sequence[str] | pd.Series) -> str:
    """Names in brackets, where they are few enough; the table has all."""
    return f" ({wording.listed(names)})" if len(names) <= NAMED else ""
