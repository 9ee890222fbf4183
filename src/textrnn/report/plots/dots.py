"""Pictures with a row per run, or per change of a factor: a dot, with its band or whisker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from textrnn.analysis.comparisons import BASELINE, BEST, DECLARED
from textrnn.analysis.leaderboard import nb_svm
from textrnn.analysis.run_tables import SPLITS
from textrnn.report.plots.sheet import COLOURS, INK, MUTED, heading, percent
from textrnn.report.summary import score_text
from textrnn.wording import count, points

_VERDICTS = {"better": "#0072B2", "unclear": MUTED, "worse": "#D55E00"}
_ROW, _LETTER = 0.27, 0.075
"""Inches of a row, and of a letter."""


def leaderboard(board: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """A row per run, a panel per split, a line at NB-SVM.

    The panel for validation shows how much the seed matters: one standard deviation as a band. The panel for test
    shows how precise the number is: the 95 % interval as a whisker.

    Args:
        board: `leaderboard.build(…)`
        scores: `run_tables.seed_scores(…)`
    """
    rows = board[board["valid_accuracy"].notna()].reset_index(drop=True)
    figure = Figure(figsize=(8.4, _ROW * max(len(rows), 2)))
    panels = figure.subplots(1, 2, sharex=True, sharey=True, gridspec_kw={"wspace": 0.04})
    lowest, highest = _accuracy_range(rows, scores)
    panels[0].set(xlim=(lowest, highest + 0.35 * (highest - lowest)), ylim=(len(rows) - 0.4, -0.6), yticks=[])
    bar = nb_svm(board)
    for axes, split, title in zip(panels, SPLITS, ("Validation accuracy", "Test accuracy"), strict=True):
        axes.set_title(title, pad=20, fontsize=11)
        axes.xaxis.set_major_formatter(percent)
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], min_n_ticks=2))
        axes.spines["left"].set_visible(False)
        own = scores[scores["split"] == split]
        for place, (_, row) in enumerate(rows.iterrows()):
            seeds = own.loc[own["experiment"] == row["experiment"], "accuracy"]
            _run(axes, place, row, split, seeds.to_numpy(), lowest)
        if bar is not None:
            accuracy = bar[f"{split}_accuracy"]
            axes.axvline(accuracy, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            above = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"NB-SVM {accuracy:.1%}", (accuracy, 1), (0, 4), fontsize=8, **above)
    left = 0.2 + _LETTER * max((len(name) for name in rows["experiment"]), default=0)
    for place, (_, row) in enumerate(rows.iterrows()):
        rank = "" if pd.isna(row["rank"]) else str(row["rank"])
        _write(panels[0], place, 0, -left - 0.1, rank, ha="right", color=MUTED)
        look = {"color": COLOURS[row["model"]], "weight": "bold" if rank == "1" else "normal"}
        _write(panels[0], place, 0, -left, row["experiment"], **look)
    # One line above: the cells that occur, and ensembles, each in its colour, and the meaning of the marks.
    top = 1 + 0.73 / figure.get_figheight()
    x = -left / figure.get_figwidth()
    for model in sorted(set(rows.loc[rows["kind"] != "baseline", "model"]), key=[*COLOURS].index):
        figure.text(x, top, model, color=COLOURS[model], fontweight="bold", va="top")
        x += (0.09 * len(model) + 0.2) / figure.get_figwidth()
    marks = (
        "Large dots: means (hollow: no rank); small ones: seeds.\n"
        "Bands: ± one standard deviation over seeds; whiskers: 95 % intervals."
    )
    figure.text(1, top, marks, ha="right", va="top", fontsize=8.5, color=MUTED)
    return figure


def factors(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows about a factor, those of one factor together, in the order of the first of each."""
    rows = comparisons[~comparisons["about"].isin([BASELINE, BEST, DECLARED])]
    return rows.iloc[pd.factorize(rows["about"])[0].argsort(kind="stable")].reset_index(drop=True)


def effects(comparisons: pd.DataFrame) -> Figure:
    """A dot and its whisker per change of a level, factor by factor, in points of accuracy.

    Args:
        comparisons: at least one row about a factor: `about`, `first` and `second` (its levels), `pairs` (averaged),
            `difference`, `low`, `high` (fractions, second minus first), and the `verdict` on the second: better,
            unclear or worse.
    """
    rows = factors(comparisons)
    topics = rows["about"].str.replace("_", " ")
    changes = rows["first"] + " → " + rows["second"]
    change_left = 0.25 + _LETTER * max(changes.str.len())
    left = change_left + 0.25 + _LETTER * max(topics.str.len())
    figure = Figure(figsize=(4.4, _ROW * len(rows)))
    text = (
        "Change of test accuracy, the rest equal; whiskers: 95 % intervals.\n"
        "Filled: better or worse beyond chance, corrected for many comparisons; hollow: unclear."
    )
    heading(figure, "What a factor is worth", text, left)
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for place, (_, row) in enumerate(rows.iterrows()):
        if not place or topics[place] != topics[place - 1]:
            _write(axes, place, 0, -left, topics[place], weight="bold")
            if place:
                edges = -left / 4.4, 1 + 1.1 / 4.4
                at: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "clip_on": False}
                axes.plot(edges, (place - 0.5,) * 2, color="#DDDDDD", linewidth=0.8, **at)
        _write(axes, place, 0, -change_left, changes[place])
        is_clear = row["verdict"] != "unclear"
        difference, low, high = 100 * row[["difference", "low", "high"]].astype("float64")
        colour = _VERDICTS[row["verdict"]]
        axes.plot([low, high], [place, place], "|-", color=colour, linewidth=1.4, markersize=6)
        fill = colour if is_clear else "white"
        axes.plot(difference, place, "o", color=colour, markerfacecolor=fill, markersize=6.5, markeredgewidth=1.4)
        _write(axes, place, 1, 0.45, points(row["difference"]), ha="right", weight="bold" if is_clear else "normal")
        _write(axes, place, 1, 0.55, count(row["pairs"], "pair"), fontsize=8, color=MUTED)
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=[], xlabel="points of accuracy")
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], min_n_ticks=3))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}".replace("-", "−") if value else "0")
    return figure


def _write(axes: Axes, place: int, x: float, inches: float, text: str, **look: Any) -> None:
    """Writes into a row, so many inches from the axes' left (x = 0) or right edge (x = 1)."""
    at: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "va": "center"}
    axes.annotate(text, (x, place), (72 * inches, 0), annotation_clip=False, **at, **look)


def _accuracy_range(rows: pd.DataFrame, scores: pd.DataFrame) -> tuple[float, float]:
    """The range of accuracies to show; an outlier below (majority, say) becomes an arrow."""
    means = rows[["valid_accuracy", "test_accuracy"]].to_numpy()
    if not means.size:
        return 0.0, 0.8
    first, third = np.quantile(means, [0.25, 0.75])
    fence = first - 3 * max(third - first, 0.01)
    shown = pd.concat([scores["accuracy"], rows["test_low"], rows["test_high"]])
    inside = shown[shown >= fence]
    margin = 0.03 * (inside.max() - inside.min()) + 0.002
    return float(inside.min() - margin), float(inside.max() + margin)


def _run(axes: Axes, place: int, row: pd.Series, split: str, seeds: np.ndarray, lowest: float) -> None:
    score = f"{split}_accuracy"
    mean, std, colour = row[score], row[f"{score}_std"], COLOURS[row["model"]]
    low, high = (row["test_low"], row["test_high"]) if split == "test" else (np.nan, np.nan)
    number = score_text(row, score) if np.isnan(low) else f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    _write(axes, place, 1, -0.02, number, ha="right", color=MUTED, fontsize=8)
    if min(mean, low) < lowest:
        axes.plot(lowest, place, marker="<", color=colour, markersize=5, clip_on=False)
    if mean < lowest:
        _write(axes, place, 0, 0.08, f"{mean:.1%}", fontsize=8)
        return
    if not np.isnan(low):
        axes.plot([low, high], [place, place], "|-", color=colour, linewidth=1.2, markersize=6)
    elif not pd.isna(std):
        axes.fill_between([mean - std, mean + std], place - 0.13, place + 0.13, color=colour, alpha=0.25, linewidth=0)
    if len(seeds) > 1:
        axes.plot(seeds, np.full(len(seeds), place), "o", color=colour, markersize=2.8, markeredgewidth=0)
    fill, rim = ("white", colour) if pd.isna(row["rank"]) else (colour, "white")
    axes.plot(mean, place, "o", markersize=7.5, markerfacecolor=fill, markeredgecolor=rim, markeredgewidth=1.2)
