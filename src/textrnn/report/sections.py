"""What the sections of the report show: numbers for the template `report.md.jinja`, which has the words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from textrnn.analysis.comparisons import BASELINE, BEST, DECLARED
from textrnn.analysis.leaderboard import main_cells, score_text
from textrnn.analysis.metrics import BINS
from textrnn.analysis.slices import EVIDENCE
from textrnn.report.templates import rows

MEASURES = {"best_epoch": "validation, best epoch", "last_epoch": "validation, last epoch", "test": "test"}
DISTANCES = (0, 1, 2, 5, 10, 20, 50, 100)
"""Of the distances from a text's end, those in the table, besides the farthest."""


@dataclass(frozen=True)
class Report:
    """What the report is made of. A table may be empty: its section then says why nothing is shown.

    Attributes:
        study: its name.
        corpus: its name.
        summary: the answers in plain sentences, `leaderboard.summary(…)`.
        board: `leaderboard.build(…)`.
        tables: `comparisons`, `learning_curves`, `memory`, `slices`, `hardest`, `calibration`,
            `words`, `neighbours`, `analogies`, `published`, `protocol`, `flattery`.
        data_quality: `data_quality.to_markdown(…)`.
    """

    study: str
    corpus: str
    summary: Sequence[str]
    board: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    data_quality: str

    @property
    def title(self) -> str:
        return f"Study {self.study} on {self.corpus}"


def numbers(report: Report) -> dict[str, Any]:
    """Returns what the template shows: every table of the report as rows, by its name, and what the sections add."""
    board, tables = report.board, report.tables
    return {
        "title": report.title,
        "study": report.study,
        "summary": report.summary,
        # Without its title, its headings one level lower.
        "data_quality": re.sub(r"^##", "###", report.data_quality.partition("\n")[2], flags=re.MULTILINE),
        **{name: rows(table) for name, table in tables.items()},
        **leaderboard(board),
        **published(tables["published"]),
        "added": {row["what"]: row for row in rows(tables["flattery"])},
        **effects(tables["comparisons"]),
        "curves": learning_curves(tables["learning_curves"], board),
        **memory(tables["memory"]),
        **errors(tables["slices"], board),
        "BINS": BINS,
        "drawn": drawn_embeddings(tables, board),
    }


def leaderboard(board: pd.DataFrame) -> dict[str, Any]:
    """Returns the rows, the largest number of finished `seeds`, and whether any run has a vote of seeds."""
    seeds = int(board.loc[board["kind"] == "experiment", "seeds"].max())
    return {
        "board": rows(board),
        "seeds": seeds,
        "voted": board["vote_accuracy"].notna().any(),
        "reach": "over seeds and texts (of a single seed over texts only)" if seeds > 1 else "over texts only",
        "main_cells": main_cells,
        "score_text": score_text,
    }


def published(figures: pd.DataFrame) -> dict[str, Any]:
    """Returns how many figures are `alike`, and how each of the `measures` is called."""
    return {"alike": int((figures["verdict"] == "alike").sum()), "measures": MEASURES}


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


def learning_curves(curves: pd.DataFrame, board: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns a row per experiment, in the leaderboard's order, of means over seeds: where its training ends."""
    found = []
    for name in board["experiment"][board["experiment"].isin(curves["experiment"])]:
        own = curves[curves["experiment"] == name]
        last = own.loc[own.groupby("seed")["epoch"].idxmax()]
        # A seed whose loss was never a number has no best epoch.
        finite = own[own["val_loss"].notna()]
        best = finite.loc[finite.groupby("seed")["val_loss"].idxmin()]
        found.append(
            {
                "experiment": name,
                "epochs": last["epoch"].mean(),
                "best_epoch": best["epoch"].mean(),
                "val_loss": best["val_loss"].mean(),
                "accuracy": last["accuracy"].mean(),
                "val_accuracy": last["val_accuracy"].mean(),
                "gap": (last["accuracy"] - last["val_accuracy"]).mean(),
            }
        )
    return found


def memory(gradients: pd.DataFrame) -> dict[str, Any]:
    """Returns the `distances` to show, the farthest one, how many texts, and by which factor gradients have `faded`."""
    if gradients.empty:
        return {}
    farthest = gradients["distance"].max()
    last = gradients[gradients["distance"] == farthest]
    faded = last[["experiment"]].assign(factor=1 / last["norm"], low=1 / last["high"], high=1 / last["low"])
    return {
        "farthest": farthest,
        "distances": sorted({*gradients["distance"]} & {*DISTANCES} | {farthest}),
        "texts": gradients["texts"].max(),
        "faded": rows(faded),
    }


def errors(slices: pd.DataFrame, board: pd.DataFrame) -> dict[str, Any]:
    """Returns the `change` of accuracy from the nearest to the farthest evidence, of networks and the linear model.

    The linear model shows what else differs in such texts. None where one of the two was not measured.
    """
    # A group of so few texts that it has no interval is left out.
    groups = slices[slices["by"] == EVIDENCE].dropna(subset=["low", "high"])
    accuracy = groups.pivot(index="order", columns="experiment", values="accuracy").dropna()
    runs = board[board["experiment"].isin(accuracy.columns)]
    networks, linear = runs[runs["kind"] == "experiment"], runs[runs["model"] == "nb_svm"]
    change = None
    if len(accuracy) > 1 and len(networks) and len(linear):
        by_run = accuracy.iloc[-1] - accuracy.iloc[0]
        near, far = (groups.loc[groups["order"] == order, "group"].iloc[0] for order in accuracy.index[[0, -1]])
        of_networks, of_linear = ([(name, by_run[name]) for name in own["experiment"]] for own in (networks, linear))
        change = {"near": near, "far": far, "networks": of_networks, "linear": of_linear}
    return {"EVIDENCE": EVIDENCE, "change": change}


def drawn_embeddings(tables: Mapping[str, pd.DataFrame], board: pd.DataFrame) -> list[str]:
    """Returns the embeddings that start at random: they have no neighbours and no analogies."""
    known = {*tables["neighbours"]["embedding"], *tables["analogies"]["embedding"]}
    return [name for name in dict.fromkeys(board["embedding"]) if name and name not in known]
