"""Pictures of a study and of a run, as SVG whose bytes repeat. They show the numbers of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from textrnn.analysis.searches import FIGURES
from textrnn.analysis.searches import searches as in_numbers
from textrnn.report.plots import panels
from textrnn.report.plots.dots import effects, factors, leaderboard
from textrnn.report.plots.insight import data_size, memory, slices, words
from textrnn.report.plots.search import knobs, searches
from textrnn.report.plots.sheet import COLOURS, drawing, save
from textrnn.search.result import SearchResult


def study(folder: Path, board: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> None:
    """Writes a study's pictures as `.svg` into `folder`.

    Always `leaderboard`, `learning_curves`, `confusion` and `reliability`; and, where their table has something to
    show, `effects` (of `comparisons`), `data_size`, `memory`, `slices`, `deletion`, `words`, `searches`, and for each
    search `search_<name>`. Runs are in the leaderboard's order; one without a finished seed is only in the learning
    curves.

    Args:
        board: `leaderboard.build(…)`
        tables: `run_tables.build(…)`, and those for the other pictures.
    """
    models = dict(zip(board["experiment"], board["model"], strict=True))
    more = {name: table for name, table in tables.items() if len(table)}
    with drawing():
        save(folder, "leaderboard", leaderboard(board, tables["scores"]))
        save(folder, "learning_curves", panels.learning_curves(tables["learning_curves"], models))
        _outcomes(folder, tables, models)
        if "comparisons" in more and len(factors(more["comparisons"])):
            save(folder, "effects", effects(more["comparisons"]))
        if "data_size" in more:
            meetings, laws = (tables[f"data_size_{each}"] for each in ("meetings", "laws"))
            save(folder, "data_size", data_size(more["data_size"], meetings, laws))
        if "memory" in more:
            save(folder, "memory", memory(more["memory"]))
        # A group of so few texts that it has no interval is in the table only.
        if "slices" in more and len(shown := more["slices"].dropna(subset=["low", "high"])):
            save(folder, "slices", slices(shown, models))
        if "deletion" in more:
            save(folder, "deletion", panels.deletion(more["deletion"], models))
        if "words" in more:
            save(folder, "words", words(more["words"]))
        if "searches" in more:
            save(folder, "searches", searches(more, tables["scores"], models))
            for name in more["searches"]["search"]:
                save(folder, f"search_{name}", knobs(name, more))


def leaderboard_as_png(folder: Path, board: pd.DataFrame, scores: pd.DataFrame) -> Path:
    """Writes the picture `leaderboard` into `folder`, for what shows no SVG."""
    with drawing():
        return save(folder, "leaderboard", leaderboard(board, scores), "png")


def run(folder: Path, model: str, tables: Mapping[str, pd.DataFrame], by_length: pd.DataFrame) -> None:
    """Writes the pictures of a single run: those with a panel per run, and `accuracy_by_length`.

    Args:
        model: its cell, or the kind of baseline.
        tables: `run_tables.build([run])`
        by_length: `run_report.accuracy_by_length(…)`
    """
    models = dict.fromkeys(tables["scores"]["experiment"], model)
    with drawing():
        if len(tables["learning_curves"]):
            save(folder, "learning_curves", panels.learning_curves(tables["learning_curves"], models))
        _outcomes(folder, tables, models)
        save(folder, "accuracy_by_length", panels.accuracy_by_length(by_length, COLOURS[model]))


def search(folder: Path, result: SearchResult) -> None:
    """Writes the pictures of a single search: `searches`, without its winner trained again, and `search_<name>`."""
    scores = pd.DataFrame(columns=["experiment", "seed", "split", *FIGURES.values()])
    tables = in_numbers([result], scores)
    with drawing():
        save(folder, "searches", searches(tables, scores, {result.name: result.experiment.cell}))
        save(folder, f"search_{result.name}", knobs(result.name, tables))


def _outcomes(folder: Path, tables: Mapping[str, pd.DataFrame], models: Mapping[str, str]) -> None:
    save(folder, "confusion", panels.confusion(tables["confusion"], models))
    save(folder, "reliability", panels.reliability(tables["reliability"], models))
