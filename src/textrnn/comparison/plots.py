"""Pictures of a study, as SVG whose bytes repeat: accuracy, learning curves, confusion, reliability.

They show what the tables next to them say. Text is drawn as outlines, so every viewer shows the
same; colours are those of Okabe & Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator

from textrnn.comparison import tables
from textrnn.comparison.leaderboard import nb_svm, score_text
from textrnn.comparison.metrics import calibration_error

COLOURS = {
    "simple_rnn": "#009E73",
    "lstm": "#0072B2",
    "gru": "#D55E00",
    "conv1d": "#CC79A7",
    "feedforward": "#E69F00",
    "nb_svm": "#222222",
    "majority": "#222222",
}
LABELS = {
    "simple_rnn": "SimpleRNN",
    "lstm": "LSTM",
    "gru": "GRU",
    "conv1d": "Conv1D",
    "feedforward": "Feedforward",
}
MUTED, INK = "#767676", "#222222"

_STYLE = {
    "svg.hashsalt": "textrnn",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": "#BBBBBB",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "grid.color": "#EEEEEE",
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def draw(folder: Path, board: pd.DataFrame, study: Mapping[str, pd.DataFrame]) -> None:
    """Writes `leaderboard`, `learning_curves`, `confusion` and `reliability` as `.svg` into `folder`.

    A user's own matplotlib settings have no say. Runs stand in the leaderboard's order; one
    without a finished seed is only in the learning curves.

    Args:
        board: `leaderboard.build(…)`
        study: `tables.build(…)`
    """
    models = dict(zip(board["experiment"], board["model"], strict=True))
    with style.context(["default", _STYLE]):
        figures = {
            "leaderboard": _leaderboard(board, study["scores"]),
            "learning_curves": _learning_curves(study["learning_curves"], models),
            "confusion": _confusion(study["confusion"], models),
            "reliability": _reliability(study["reliability"], models),
        }
        for name, figure in figures.items():
            metadata = {"Date": None, "Creator": None, "Title": name.replace("_", " ")}
            figure.savefig(folder / f"{name}.svg", format="svg", metadata=metadata)


def _leaderboard(board: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Dots and whiskers: a row per run, a panel per split, a line where NB-SVM is."""
    rows = board[board["valid_accuracy"].notna()].reset_index(drop=True)
    # Everything in inches, so that one row and forty look alike.
    names = 0.6 + 0.075 * max((len(name) for name in rows["experiment"]), default=0)
    width, height = names + 8.5, 0.27 * max(len(rows), 2) + 1.15
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    figure.subplots_adjust(names / width, 0.3 / height, 0.995, 1 - 0.85 / height, wspace=0.04)
    lowest, highest = _accuracy_range(rows, scores)
    panels[0].set(xlim=(lowest, highest + 0.2 * (highest - lowest)), ylim=(len(rows) - 0.4, -0.6), yticks=[])
    bar = nb_svm(board)
    for axes, split, title in zip(panels, tables.SPLITS, ("Validation accuracy", "Test accuracy"), strict=True):
        axes.set_title(title, pad=20, fontsize=11)
        axes.xaxis.set_major_formatter(_percent)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], min_n_ticks=2))
        axes.spines["left"].set_visible(False)
        own = scores[scores["split"] == split]
        for place, (_, row) in enumerate(rows.iterrows()):
            seeds = own.loc[own["experiment"] == row["experiment"], "accuracy"].to_numpy()
            _dot_and_whisker(axes, place, row, split, seeds, lowest)
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
    marks = "Large dots are means (hollow: no rank), small ones seeds, bands ± one standard deviation."
    figure.text(0.995, y, marks, ha="right", va="top", fontsize=8.5, color=MUTED)


def _accuracy_range(rows: pd.DataFrame, scores: pd.DataFrame) -> tuple[float, float]:
    """The accuracies worth their space: a lone straggler (majority, say) is pointed at instead."""
    means = rows[["valid_accuracy", "test_accuracy"]].to_numpy()
    if not means.size:
        return 0.0, 0.8
    first, third = np.quantile(means, [0.25, 0.75])
    fence = first - 3 * max(third - first, 0.01)
    inside = scores.loc[scores["accuracy"] >= fence, "accuracy"]
    margin = 0.03 * (inside.max() - inside.min()) + 0.002
    return float(inside.min() - margin), float(inside.max() + margin)


def _dot_and_whisker(axes: Axes, place: int, row: pd.Series, split: str, seeds: np.ndarray, lowest: float) -> None:
    score = f"{split}_accuracy"
    mean, std, colour = row[score], row[f"{score}_std"], COLOURS[row["model"]]
    edge: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 8}
    axes.text(0.995, place, score_text(row, score), ha="right", color=MUTED, **edge)
    if mean < lowest:
        axes.plot(lowest, place, marker="<", color=colour, markersize=5, clip_on=False)
        axes.text(0.02, place, f"{mean:.1%}", **edge)
        return
    if not pd.isna(std):
        axes.fill_between([mean - std, mean + std], place - 0.13, place + 0.13, color=colour, alpha=0.25, linewidth=0)
        axes.plot(seeds, np.full(len(seeds), place), "o", color=colour, markersize=2.8, markeredgewidth=0)
    fill, rim = ("white", colour) if pd.isna(row["rank"]) else (colour, "white")
    axes.plot(mean, place, "o", markersize=7.5, markerfacecolor=fill, markeredgecolor=rim, markeredgewidth=1.2)


def _learning_curves(curves: pd.DataFrame, models: dict[str, str]) -> Figure:
    """Per experiment accuracy over loss, on scales that all share."""
    names = _present(curves, models)
    text = "Validation in colour, training in grey; thin lines are seeds, thick ones their mean."
    sheet = _Sheet(len(names), 5, panel=(2.1, 2.2), gap=(0.2, 0.5), text=("Learning curves", text))
    ranges = {measure: _padded(curves[[measure, f"val_{measure}"]]) for measure in ("accuracy", "loss")}
    last = max(curves["epoch"].max(), 2) if names else 2
    for index, name in enumerate(names):
        own, colour = curves[curves["experiment"] == name], COLOURS[models[name]]
        halves = sheet.cell(index).subgridspec(2, 1, hspace=0.1)
        upper, lower = (sheet.figure.add_subplot(halves[half]) for half in (0, 1))
        for axes, measure in ((upper, "accuracy"), (lower, "loss")):
            _curve(axes, own, measure, MUTED)
            _curve(axes, own, f"val_{measure}", colour)
            axes.set(ylim=ranges[measure], xlim=(0.7, last + 0.3))
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            sheet.label(axes, index, "epoch" if measure == "loss" else "", measure)
        upper.yaxis.set_major_formatter(_percent)
        upper.tick_params(labelbottom=False)
        sheet.title(upper, name, models[name])
    return sheet.figure


def _curve(axes: Axes, own: pd.DataFrame, column: str, colour: str) -> None:
    wide = own.pivot(index="epoch", columns="seed", values=column)
    for seed in wide:
        axes.plot(wide.index, wide[seed], color=colour, linewidth=0.7, alpha=0.45)
    # Where a seed stopped early the mean of the others would jump: it ends there.
    together = wide.dropna().mean(axis=1)
    axes.plot(together.index, together, color=colour, linewidth=1.8, marker="o" if len(together) == 1 else None)


def _padded(values: pd.DataFrame) -> tuple[float, float]:
    """A common range for all panels. Of a loss that explodes, the highest 1 % may leave it."""
    finite = values.to_numpy(dtype="float64")
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return 0.0, 1.0
    low, high = finite.min(), np.quantile(finite, 0.99)
    margin = 0.06 * (high - low) + 0.005
    return float(low - margin), float(high + margin)


def _confusion(counts: pd.DataFrame, models: dict[str, str]) -> Figure:
    """A matrix per run, each row (actual class) in percent."""
    names, classes = _present(counts, models), list(dict.fromkeys(counts["actual"]))
    turn, longest = len(classes) > 3, max((len(name) for name in classes), default=0)
    sheet = _Sheet(
        len(names),
        6 if len(classes) <= 5 else 4,
        panel=(max(1.75, 0.34 * len(classes)), max(0.9, 0.3 * len(classes))),
        gap=(0.15, 0.4),
        text=("Confusion on the test split", "Percent of each actual class, all seeds together."),
        margin=(0.5 + 0.075 * longest, 0.5 + 0.075 * longest * turn),
    )
    for index, name in enumerate(names):
        axes = sheet.figure.add_subplot(sheet.cell(index))
        own = counts[counts["experiment"] == name].pivot(index="actual", columns="predicted", values="count")
        matrix = own.loc[classes, classes].to_numpy(dtype="float64")
        share = matrix / matrix.sum(axis=1, keepdims=True)
        axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1.15, edgecolors="white", linewidth=1.5)
        for (actual, predicted), value in np.ndenumerate(share):
            ink = "white" if value > 0.6 else INK
            axes.text(predicted + 0.5, actual + 0.5, f"{100 * value:.0f}", ha="center", va="center", color=ink)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        middles = np.arange(len(classes)) + 0.5
        axes.set_xticks(middles, classes, rotation=90 * turn)
        axes.set_yticks(middles, classes)
        sheet.label(axes, index, "predicted", "actual")
        sheet.title(axes, name, models[name])
    return sheet.figure


def _reliability(curves: pd.DataFrame, models: dict[str, str]) -> Figure:
    """Accuracy against confidence, a dot per bin, as large as the bin is full."""
    names = _present(curves, models)
    text = "How often a model is right when it is that sure; below the diagonal: too sure. ECE: mean distance."
    heading = ("Reliability on the test split", text)
    sheet = _Sheet(len(names), 6, panel=(1.75, 1.75), gap=(0.15, 0.4), text=heading)
    lowest = min(curves["confidence"].min(), curves["accuracy"].min()) - 0.05 if names else 0.0
    for index, name in enumerate(names):
        axes = sheet.figure.add_subplot(sheet.cell(index))
        own, colour = curves[curves["experiment"] == name], COLOURS[models[name]]
        share = (own["count"] / own["count"].sum()).to_numpy(dtype="float64")
        axes.plot([0, 1], [0, 1], color="#AAAAAA", linewidth=1, zorder=1)
        axes.plot(own["confidence"], own["accuracy"], color=colour, linewidth=1.2)
        axes.scatter(own["confidence"], own["accuracy"], s=8 + 120 * share, color=colour, linewidths=0, zorder=3)
        error = f"ECE {calibration_error(own):.1%}"
        axes.text(0.05, 0.9, error, transform=axes.transAxes, fontsize=8)
        axes.set(xlim=(lowest, 1.06), ylim=(lowest, 1.06))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4))
            axis.set_major_formatter(_percent)
        sheet.label(axes, index, "confidence", "accuracy")
        sheet.title(axes, name, models[name])
    return sheet.figure


def _percent(value: float, _position: float) -> str:
    return f"{100 * value:.4g}%"


def _present(table: pd.DataFrame, models: dict[str, str]) -> list[str]:
    """The runs that `table` knows, in the leaderboard's order."""
    known = set(table["experiment"])
    return [name for name in models if name in known]


class _Sheet:
    """Small multiples: `count` equal panels, at most `columns` side by side; sizes are in inches.

    The title, and below it how to read the picture, stand in the upper left corner. `margin` is
    the room for labels at the left and at the bottom.
    """

    def __init__(
        self,
        count: int,
        columns: int,
        panel: tuple[float, float],
        gap: tuple[float, float],
        text: tuple[str, str],
        margin: tuple[float, float] = (0.75, 0.55),
    ) -> None:
        self.count, self.columns, self.panel = count, max(1, min(columns, count)), panel
        rows, top = max(1, ceil(count / self.columns)), 0.95
        inner = (self.columns * (panel[0] + gap[0]) - gap[0], rows * (panel[1] + gap[1]) - gap[1])
        width, height = max(margin[0] + inner[0] + 0.15, 7.6), top + inner[1] + margin[1]
        self.figure = Figure(figsize=(width, height))
        self.figure.text(0.15 / width, 1 - 0.32 / height, text[0], fontsize=12, fontweight="bold")
        self.figure.text(0.15 / width, 1 - 0.53 / height, text[1], fontsize=8.5, color=MUTED)
        self._grid = self.figure.add_gridspec(
            rows,
            self.columns,
            left=margin[0] / width,
            right=(margin[0] + inner[0]) / width,
            bottom=margin[1] / height,
            top=1 - top / height,
            wspace=gap[0] / panel[0],
            hspace=gap[1] / panel[1],
        )

    def cell(self, index: int) -> SubplotSpec:
        """Returns where panel `index` goes, row by row."""
        return self._grid[divmod(index, self.columns)]

    def label(self, axes: Axes, index: int, x: str, y: str) -> None:
        """Labels the axes at the sheet's left and lower edge only."""
        first, last = index % self.columns == 0, index + self.columns >= self.count
        axes.tick_params(labelleft=first, labelbottom=last)
        axes.set_ylabel(y if first else "")
        axes.set_xlabel(x if last else "")

    def title(self, axes: Axes, name: str, model: str) -> None:
        """Writes a run's name above its panel, in its cell's colour, cut to what fits."""
        fits = int(self.panel[0] / 0.078)
        axes.set_title(name if len(name) <= fits else name[: fits - 1] + "…", color=COLOURS[model])
