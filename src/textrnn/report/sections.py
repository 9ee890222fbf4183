"""What the sections of the report show: numbers for `templates/report.md`, which has the words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isinf
from typing import Any

import pandas as pd

from textrnn.analysis.calibration import BINS
from textrnn.analysis.comparisons import BASELINE, BEST, DECLARED
from textrnn.analysis.leaderboard import SCORES
from textrnn.analysis.run_tables import SPLITS
from textrnn.analysis.searches import OUTCOMES
from textrnn.analysis.slices import EVIDENCE
from textrnn.modeling.attributions import Explanation
from textrnn.report import explained
from textrnn.report.rendering import Row, grouped, rows
from textrnn.report.summary import main_cells, score_text, si
from textrnn.wording import code, estimate, percent, points, setting, two_digits

MEASURES = {"best_epoch": "validation, best epoch", "last_epoch": "validation, last epoch", "test": "test"}
DISTANCES = (0, 1, 2, 5, 10, 20, 50, 100)
"""Of the distances from a text's end, those in the table, besides the farthest."""

DELETED, FIRST = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0), 0.2
"""Of the shares of words that are deleted, those in the table, and the one of which a sentence speaks."""

MOST_TRIALS = 10
"""So many of the best trials of a search are in its table."""


@dataclass(frozen=True)
class Report:
    """What the report is made of. A table may be empty: its section then says why nothing is shown.

    Attributes:
        summary: the answers in plain sentences, `summary.summary(…)`.
        board: `leaderboard.build(…)`.
        tables: `comparisons`, `ensembles`, `learning_curves`, `memory`, `slices`, `hardest`, `deletion`, `mistakes`,
            `calibration`, `words`, `neighbours`, `analogies`, `language_models`, `published`, `protocol`, `optimism`,
            `data_size.TABLES`, and those of `searches.searches(…)`.
        data_quality: `data_quality.to_markdown(…)`.
        refit: the runs that learned from validation texts in a second training.
    """

    study: str
    corpus: str
    summary: Sequence[str]
    board: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    data_quality: str
    refit: Sequence[str] = ()


def numbers(report: Report) -> dict[str, Any]:
    """Returns what the template shows: every table of the report as rows, by its name, and what the sections add."""
    board, tables = report.board, report.tables
    return {
        "study": report.study,
        "corpus": report.corpus,
        "summary": report.summary,
        "refit": report.refit,
        # Without its title, its headings one level lower.
        "data_quality": re.sub(r"^##", "###", report.data_quality.partition("\n")[2], flags=re.MULTILINE),
        **{name: rows(table) for name, table in tables.items()},
        **leaderboard(board),
        "published": rows(tables["published"].assign(figure=tables["published"]["measure"].map(MEASURES))),
        "added": {row["what"]: row for row in rows(tables["optimism"])},
        "language_models": language_models(tables["language_models"]),
        **searches(tables),
        **effects(tables["comparisons"]),
        **data_size(tables),
        "curves": learning_curves(tables["learning_curves"], board),
        **memory(tables["memory"]),
        **errors(tables["slices"], board),
        **explanations(tables["deletion"], tables["mistakes"]),
        "bins": BINS,
        **embeddings(tables, board),
    }


def leaderboard(board: pd.DataFrame) -> dict[str, Any]:
    """Returns the rows with their scores in words, how many `seeds` finished, and what intervals `reach` over.

    A split's balanced accuracies are empty if they repeat its accuracies, as where classes are of equal size.
    """
    found = []
    for (_, row), cells in zip(board.iterrows(), rows(board), strict=True):
        place, *_, size, flops = main_cells(row)
        scores = {score: score_text(row, score) for score in SCORES}
        found.append({**cells, **scores, "place": place, "size": size, "flops": flops})
    for split in SPLITS:
        plain, balanced = f"{split}_accuracy", f"{split}_balanced_accuracy"
        if all(row[plain] == row[balanced] for row in found):  # a table leaves an empty column out
            found = [{**row, balanced: ""} for row in found]
    seeds = int(board.loc[board["kind"] == "experiment", "seeds"].max())
    reach = "over seeds and texts (of a single seed over texts only)" if seeds > 1 else "over texts only"
    return {"board": found, "seeds": seeds, "reach": reach}


def searches(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Returns the searches with their winners in words, their `rungs`, best trials, and the importance of knobs."""
    trials, knobs, values = tables["search_trials"], tables["search_knobs"], tables["search_values"]
    own_knobs = knobs.groupby("search", sort=False)["knob"].agg(list).to_dict()
    ranked = trials.sort_values("rank")
    best = {}
    for name, own in own_knobs.items():
        shown = ranked[(ranked["search"] == name) & (ranked["rank"] <= MOST_TRIALS)]
        best[name] = rows(shown.assign(**shown[own].map(setting)))
    found = []
    for row in rows(tables["searches"]):
        (winner,) = (trial for trial in best[row["search"]] if trial["trial"] == row["winner"])
        outcomes = ", ".join(f"{row[outcome]} {outcome}" for outcome in OUTCOMES[:-1] if row[outcome])
        settings = ", ".join(code(f"{knob}: {winner[knob]}") for knob in own_knobs[row["search"]])
        found.append({**row, "outcomes": outcomes, "settings": settings, "operations": si(row["flops"], "FLOP")})
    budget = values.groupby(["search", "rung", "epochs", "seeds"], sort=False)["value"]
    known = knobs.dropna(subset="importance")
    shares = known.pivot(index="knob", columns="search", values="importance").reindex(known["knob"].unique())
    return {
        "searches": found,
        "rungs": rows(budget.agg(["size", "min", "median"]).reset_index()),
        "best_trials": [(name, own, {knob: f"{{{knob}}}" for knob in own_knobs[name]}) for name, own in best.items()],
        "importance": rows(shares.reset_index()),
        "importance_columns": {code(name): f"{{{name}:percent}}" for name in known["search"].unique()},
    }


def language_models(table: pd.DataFrame) -> list[Row]:
    """Returns a row per language model, with its sizes in words."""
    found = rows(table)
    return [{**row, "size": si(row["parameters"], ""), "operations": si(row["flops"], "FLOP")} for row in found]


def effects(comparisons: pd.DataFrame) -> dict[str, Any]:
    """Returns the comparisons by kind, and the factors of `no_effect` with the largest one that is still possible."""
    kinds = {kind: comparisons[comparisons["about"] == kind] for kind in (BASELINE, BEST, DECLARED)}
    factors = comparisons[~comparisons["about"].isin(list(kinds))]
    found = factors.loc[factors["verdict"] != "unclear", "about"]
    unclear = factors[~factors["about"].isin(found)]
    limits = unclear[["low", "high"]].abs().max(axis=1).groupby(unclear["about"], sort=False).max()
    return {
        "factors": rows(factors),
        "no_effect": list(limits.sort_values().items()),
        **{kind: rows(table) for kind, table in kinds.items()},
    }


def data_size(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Returns accuracies and differences, a column per number of texts; meetings in words; laws that fail a check."""
    gaps = tables["data_size_gaps"]
    found = {}
    for name, table, row, value, form in (
        ("by_size", tables["data_size"], "line", "accuracy", percent),
        ("gaps_by_size", gaps.assign(pair=gaps["first"] + " " + gaps["second"]), "pair", "difference", points),
    ):
        own, sizes = _spread(rows(table.sort_values("texts", kind="stable")), row, "texts", value, form)
        found[name] = own, {f"{size:,} texts": cell for size, cell in sizes.items()}
    meetings = rows(tables["data_size_meetings"])
    for each in meetings:
        beyond = f"more than {each['most']:,}"
        limits = [beyond if isinf(each[key]) else two_digits(each[key]) for key in ("texts", "low", "high")]
        each["texts"], each["interval"] = limits[0], " to ".join(dict.fromkeys(limits[1:]))
    # As they are printed: an interval that ends at 0.0 includes 0.
    checks = rows(tables["data_size_laws"].dropna(subset="off").round({"off_low": 3, "off_high": 3}))
    doubtful = [each for each in checks if not each["off_low"] <= 0 <= each["off_high"]]
    return {**found, "data_size_meetings": meetings, "doubtful_laws": doubtful}


def learning_curves(curves: pd.DataFrame, board: pd.DataFrame) -> list[Row]:
    """Returns a row per experiment, in the leaderboard's order: the last and the best epoch, means over seeds."""
    by_run = ["experiment", "seed"]
    last = curves.loc[curves.groupby(by_run)["epoch"].idxmax()]
    last = last.assign(gap=last["accuracy"] - last["val_accuracy"])
    # A seed whose loss was never a number has no best epoch.
    finite = curves[curves["val_loss"].notna()]
    best = finite.loc[finite.groupby(by_run)["val_loss"].idxmin()].add_prefix("best_")
    means = last.groupby("experiment")[["epoch", "accuracy", "val_accuracy", "gap"]].mean()
    means = means.join(best.groupby("best_experiment")[["best_epoch", "best_val_loss"]].mean())
    return rows(means.loc[[name for name in board["experiment"] if name in means.index]].reset_index())


def memory(gradients: pd.DataFrame) -> dict[str, Any]:
    """Returns rows and columns of the table, the farthest distance, how many texts, and how much gradients `faded`."""
    if gradients.empty:
        return {}
    farthest = gradients["distance"].max()
    last = gradients[gradients["distance"] == farthest]
    faded = last[["experiment"]].assign(factor=1 / last["norm"], low=1 / last["high"], high=1 / last["low"])
    shown = gradients[gradients["distance"].isin([*DISTANCES, farthest])].sort_values("distance", kind="stable")
    found, distances = _spread(rows(shown), "experiment", "distance", "norm", two_digits)
    return {
        "farthest": farthest,
        "texts": gradients["texts"].max(),
        "faded": rows(faded) if farthest else [],
        "gradients": found,
        "distances": {f"{distance} from the end": cell for distance, cell in distances.items()},
    }


def errors(slices: pd.DataFrame, board: pd.DataFrame) -> dict[str, Any]:
    """Returns a table by kind of text, and the change of accuracy from the nearest to the farthest evidence.

    The change is that of networks and of the linear model, which shows what else differs in such texts; None where one
    of the two was not measured.
    """
    sliced = []
    for by, own in grouped(rows(slices), "by"):
        found, experiments = _spread(own, "order", "experiment", "accuracy", percent)
        columns = {code(name): cell for name, cell in experiments.items()}
        sliced.append((by, sorted(found, key=lambda row: int(row["order"])), columns))
    # A group of so few texts that it has no interval is left out.
    groups = slices[slices["by"] == EVIDENCE].dropna(subset=["low", "high"])
    accuracy = groups.pivot(index="order", columns="experiment", values="accuracy").dropna()
    runs = board[board["experiment"].isin(accuracy.columns)]
    networks, linear = runs[runs["kind"] == "experiment"], runs[runs["model"] == "nb_svm"]
    change = None
    if len(accuracy) > 1 and len(networks) and len(linear):
        by_run = accuracy.iloc[-1] - accuracy.iloc[0]
        ends = [groups.loc[groups["order"] == order, "group"].iloc[0] for order in accuracy.index[[0, -1]]]
        change = (*ends, *([(name, by_run[name]) for name in own["experiment"]] for own in (networks, linear)))
    return {"evidence": EVIDENCE, "sliced": sliced, "change_by_distance": change}


def explanations(deletion: pd.DataFrame, mistakes: pd.DataFrame) -> dict[str, Any]:
    """Returns the table of deletions, those `at_first` as sentences need them, and the mistakes with their words."""
    named = ["experiment", "seed", "id", "class"]
    deleted = rows(deletion[deletion["share"].round(1).isin(DELETED)])
    found = []
    for _, group in mistakes.groupby(named, sort=False):
        words = rows(group)
        text = Explanation.of_record({**words[0], "words": words})
        found.append({**words[0], **explained.rows([text])[0]})
    return {"deleted": deleted, "at_first": [row for row in deleted if row["share"] == FIRST], "explained": found}


def embeddings(tables: Mapping[str, pd.DataFrame], board: pd.DataFrame) -> dict[str, Any]:
    """Returns the embeddings that are `drawn` at random, which nothing was asked, and the map's words by class."""
    asked, words = tables["analogies"], tables["words"]
    known = {*tables["neighbours"]["embedding"], *asked["embedding"]}
    by_class = words.groupby(["experiment", "klass"], sort=False)["word"].agg(list).reset_index(name="words")
    return {
        "analogies": rows(asked.assign(yes_or_no=asked["right"].map({True: "yes", False: "no"}))),
        "drawn": [name for name in dict.fromkeys(board["embedding"]) if name and name not in known],
        "word_classes": grouped(rows(by_class), "experiment"),
    }


def _spread(
    own: Sequence[Row], row: str, column: str, value: str, form: Callable[[float], str]
) -> tuple[list[Row], dict[Any, str]]:
    """A row for each value of `row`, with `cells` of estimates, and the cell's template for each value of `column`."""
    names = list(dict.fromkeys(each[column] for each in own))
    found = []
    for _, group in grouped(own, row):
        texts = {each[column]: estimate(each[value], each["low"], each["high"], form) for each in group}
        most = max(each["texts"] for each in group)
        found.append({**group[0], "texts": most, "cells": [texts.get(name, "") for name in names]})
    return found, {name: f"{{cells[{place}]}}" for place, name in enumerate(names)}
