"""The leaderboard as a picture: dots, bands and whiskers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from textrnn.analysis.leaderboard import nb_svm
from textrnn.analysis.run_tables import SPLITS
from textrnn.report.plots.sheet import COLOURS, INK, LABELS, MUTED, percent
from textrnn.report.summary import score_text


def leaderboard(board: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """A row per run, a panel per split, a line where NB-SVM is.

    The two panels answer two questions. Validation: how much does the seed matter, one standard
    deviation as a band. Test: how precise is the number, the 95 % interval as a whisker.

    Args:
        board: `leaderboard.build(…)`
        scores: `run_tables.seed_scores(…)`
    """
    rows = board[board["valid_accuracy"].notna()].reset_index(drop=True)
    # Everything in inches, so that one row and forty look alike.
    names = 0.6 + 0.075 * max((len(name) for name in rows["experiment"]), default=0)
    width, height = names + 8.5, 0.27 * max(len(rows), 2) + 1.15
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    figure.subplots_adjust(names / width, 0.3 / height, 0.995, 1 - 0.85 / height, wspace=0.04)
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
            seeds = own.loc[own["experiment"] == row["experiment"], "accuracy"].to_numpy()
            _dot(axes, place, row, split, seeds, lowest)
        if bar is not None:
            accuracy = bar[f"{split}_accuracy"]
            axes.axvline(accuracy, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            above = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center"}
            axes.annotate(f"NB-SVM {accuracy:.1%}", (accuracy, 1), (0, 4), fontsize=8, **above)
    inch = 1 / (panels[0].get_position().width * width)
    for place, (_, row) in enumerate(rows.iterrows()):
        at = {"transform": panels[0].get_yaxis_transform(), "va": "center"}
        rank = "" if pd.isna(row["rank"]) else str(row["rank"])
        look = {"color": COLOURS[row["model"]], "weight": "bold" if rank == "1" else "normal"}
        panels[0].text((0.3 - names) * inch, place, rank, ha="right", color=MUTED, **at)
        panels[0].text((0.4 - names) * inch, place, row["experiment"], **look, **at)
    _key(figure, rows, 0.4 / width, 1 - 0.12 / height)
    return figure


def _key(figure: Figure, rows: pd.DataFrame, x: float, y: float) -> None:
    """One line above: the cells that occur, each in its colour, and what the marks mean."""
    for model in [model for model in LABELS if (rows["model"] == model).any()]:
        figure.text(x, y, LABELS[model], color=COLOURS[model], fontweight="bold", va="top")
        x += (0.09 * len(LABELS[model]) + 0.2) / figure.get_figwidth()
    marks = (
        "Large dots: means (hollow: no rank); small ones: seeds.\n"
        "Bands: ± one standard deviation over seeds; whiskers: 95 % intervals."
    )
    figure.text(0.995, y, marks, ha="right", va="top", fontsize=8.5, color=MUTED)


def _accuracy_range(rows: pd.DataFrame, scores: pd.DataFrame) -> tuple[float, float]:
    """The accuracies worth their space: a lone straggler (majority, say) is pointed at instead."""
    means = rows[["valid_accuracy", "test_accuracy"]].to_numpy()
    if not means.size:
        return 0.0, 0.8
    first, third = np.quantile(means, [0.25, 0.75])
    fence = first - 3 * max(third - first, 0.01)
    shown = pd.concat([scores["accuracy"], rows["test_low"], rows["test_high"]])
    inside = shown[shown >= fence]
    margin = 0.03 * (inside.max() - inside.min()) + 0.002
    return float(inside.min() - margin), float(inside.max() + margin)


def _dot(axes: Axes, place: int, row: pd.Series, split: str, seeds: np.ndarray, lowest: float) -> None:
    score = f"{split}_accuracy"
    mean, std, colour = row[score], row[f"{score}_std"], COLOURS[row["model"]]
    low, high = (row["test_low"], row["test_high"]) if split == "test" else (np.nan, np.nan)
    number = score_text(row, score) if np.isnan(low) else f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    edge: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 8}
    axes.text(0.995, place, number, ha="right", color=MUTED, **edge)
    if min(mean, low) < lowest:
        axes.plot(lowest, place, marker="<", color=colour, markersize=5, clip_on=False)
    if mean < lowest:
        axes.text(0.02, place, f"{mean:.1%}", **edge)
        return
    if not np.isnan(low):
        axes.plot([low, high], [place, place], "|-", color=colour, linewidth=1.2, markersize=6)
    elif not pd.isna(std):
        axes.fill_between([mean - std, mean + std], place - 0.13, place + 0.13, color=colour, alpha=0.25, linewidth=0)
    if len(seeds) > 1:
        axes.plot(seeds, np.full(len(seeds), place), "o", color=colour, markersize=2.8, markeredgewidth=0)
    fill, rim = ("white", colour) if pd.isna(row["rank"]) else (colour, "white")
    axes.plot(mean, place, "o", markersize=7.5, markerfacecolor=fill, markeredgecolor=rim, markeredgewidth=1.2)
