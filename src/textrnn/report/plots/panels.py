"""Pictures with a panel per run: learning curves, confusion, reliability; and accuracy by length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from textrnn.analysis.calibration import calibration_error
from textrnn.report.plots.lettering import labels, width
from textrnn.report.plots.sheet import COLOURS, INK, MUTED, Sheet, percent, present

NUMBERED, CELLS = 20, 12_000
"""Matrices of at most so many classes show numbers; a picture has at most so many cells."""


def learning_curves(curves: pd.DataFrame, models: Mapping[str, str]) -> Figure:
    """Per experiment accuracy above loss, on scales that all share."""
    names = present(curves, models)
    text = "Validation in colour, training in grey; thin lines are seeds, thick ones their mean."
    sheet = Sheet(len(names), 5, (2.1, 2.2), (0.2, 0.5), ("Learning curves", text))
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
        upper.yaxis.set_major_formatter(percent)
        upper.tick_params(labelbottom=False)
        sheet.title(upper, name, models[name])
    return sheet.figure


def _curve(axes: Axes, own: pd.DataFrame, column: str, colour: str) -> None:
    wide = own.pivot(index="epoch", columns="seed", values=column)
    axes.plot(wide.index, wide, color=colour, linewidth=0.7, alpha=0.45)
    # The mean ends with the first seed that stopped early: it would jump there.
    together = wide.dropna().mean(axis=1)
    axes.plot(together.index, together, color=colour, linewidth=1.8, marker="o" if len(together) == 1 else None)


def _padded(values: pd.DataFrame) -> tuple[float, float]:
    """A common range for all panels. Of a loss that explodes, the highest 1 % may be outside."""
    finite = values.to_numpy(dtype="float64")
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return 0.0, 1.0
    low, high = finite.min(), np.quantile(finite, 0.99)
    margin = 0.06 * (high - low) + 0.005
    return float(low - margin), float(high + margin)


def confusion(counts: pd.DataFrame, models: Mapping[str, str]) -> Figure:
    """A matrix per run, each row (actual class) in percent; of many classes the first runs only, without numbers."""
    names, classes = present(counts, models), list(dict.fromkeys(counts["actual"]))
    written = labels(classes)
    shown = names[: max(1, CELLS // max(len(classes), 1) ** 2)]
    numbered = len(classes) <= NUMBERED
    cell = (0.34, 0.3) if numbered else (0.16, 0.16)
    panel = (max(1.75, cell[0] * len(classes)), max(0.9, cell[1] * len(classes)))
    turn = len(classes) > 3 or 0.075 * max(map(width, written), default=0) * len(classes) > panel[0]
    text = "Percent of each actual class, all seeds together."
    if len(shown) < len(names):
        text += f" The first {len(shown)} of {len(names)} runs; confusion.csv has all."
    columns = 6 if len(classes) <= 5 else 4 if numbered else 2
    sheet = Sheet(len(shown), columns, panel, (0.15, 0.4), ("Confusion on the test split", text))
    for index, name in enumerate(shown):
        axes = sheet.axes(index)
        own = counts[counts["experiment"] == name].pivot(index="actual", columns="predicted", values="count")
        matrix = own.loc[classes, classes].to_numpy(dtype="float64")
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)  # a class may have no test text
        axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1.15, edgecolors="white", linewidth=1.5)
        for (actual, predicted), value in np.ndenumerate(share) if numbered else ():
            ink = "white" if value > 0.6 else INK
            axes.text(predicted + 0.5, actual + 0.5, f"{100 * value:.0f}", ha="center", va="center", color=ink)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        middles = np.arange(len(classes)) + 0.5
        axes.set_xticks(middles, written, rotation=90 * turn)
        axes.set_yticks(middles, written)
        sheet.label(axes, index, "predicted", "actual")
        sheet.title(axes, name, models[name])
    return sheet.figure


def reliability(curves: pd.DataFrame, models: Mapping[str, str]) -> Figure:
    """Accuracy against confidence: a line per seed, with a dot per bin, sized by the bin's number of texts."""
    names = present(curves, models)
    text = (
        "Accuracy of a seed at each level of its confidence; below the diagonal: overconfident. "
        "ECE: mean distance, mean over seeds."
    )
    sheet = Sheet(len(names), 6, (1.75, 1.75), (0.15, 0.4), ("Reliability on the test split", text))
    lowest = min(curves["confidence"].min(), curves["accuracy"].min()) - 0.05 if names else 0.0
    for index, name in enumerate(names):
        axes = sheet.axes(index)
        own, colour = curves[curves["experiment"] == name], COLOURS[models[name]]
        axes.plot([0, 1], [0, 1], color="#AAAAAA", linewidth=1, zorder=1)
        seeds = [curve for _, curve in own.groupby("seed")]
        for curve in seeds:
            share = (curve["count"] / curve["count"].sum()).to_numpy(dtype="float64")
            places = curve["confidence"], curve["accuracy"]
            axes.plot(*places, color=colour, linewidth=0.7, alpha=0.7)
            axes.scatter(*places, s=3 + 80 * share, color=colour, alpha=0.7, linewidths=0, zorder=3)
        error = np.mean([calibration_error(curve) for curve in seeds])
        axes.text(0.05, 0.9, f"ECE {error:.1%}", transform=axes.transAxes, fontsize=8)
        axes.set(xlim=(lowest, 1.06), ylim=(lowest, 1.06))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4))
            axis.set_major_formatter(percent)
        sheet.label(axes, index, "confidence", "accuracy")
        sheet.title(axes, name, models[name])
    return sheet.figure


def accuracy_by_length(table: pd.DataFrame, colour: str) -> Figure:
    """A dot per group of lengths, with a band of one standard deviation over seeds."""
    text = "Validation split; bands: one standard deviation over seeds."
    sheet = Sheet(1, 1, (5.0, 2.6), (0, 0), ("Accuracy by text length", text))
    axes = sheet.axes(0)
    places, std = np.arange(len(table)), table["std"].fillna(0)
    axes.bar(places, 2 * std, 0.5, table["accuracy"] - std, color=colour, alpha=0.25)
    axes.plot(places, table["accuracy"], "o-", color=colour, linewidth=1.2)
    axes.set_xticks(places, [f"{row.length}\n{row.texts:,} texts" for row in table.itertuples()])
    axes.yaxis.set_major_formatter(percent)
    axes.set(xlabel="tokens", ylabel="accuracy")
    return sheet.figure


def deletion(table: pd.DataFrame, models: Mapping[str, str]) -> Figure:
    """A panel per run: the probability of the predicted class by the share of the words deleted, in two orders.

    Args:
        table: `experiment`, `share`, and the probabilities `important` and `random`, each with its limits `…_low` and
            `…_high`.
        models: the cell, or kind of baseline, of each run, in the leaderboard's order.
    """
    names = present(table, models)
    text = (
        "Probability of the predicted class on validation texts, in colour without the most important words,\n"
        "dashed without as many at random; bands: 95 % intervals."
    )
    sheet = Sheet(len(names), 4, (2.3, 2.0), (0.35, 0.45), ("Do attributions name the words that count?", text))
    for index, name in enumerate(names):
        axes, own = sheet.axes(index), table[table["experiment"] == name].sort_values("share")
        for order, colour, line in (("random", MUTED, "--"), ("important", COLOURS[models[name]], "-")):
            limits = own[f"{order}_low"], own[f"{order}_high"]
            axes.fill_between(own["share"], *limits, color=colour, alpha=0.18, linewidth=0)
            axes.plot(own["share"], own[order], color=colour, linewidth=1.6, linestyle=line)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4))
            axis.set_major_formatter(percent)
        sheet.label(axes, index, "words deleted", "probability")
        sheet.title(axes, name, models[name])
    return sheet.figure
