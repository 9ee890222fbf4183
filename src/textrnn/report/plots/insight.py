"""Pictures of what a network does: how far it remembers, what it needs, where it errs, what its embedding learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, product
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from textrnn.report.plots.lettering import label, labels, width
from textrnn.report.plots.sheet import MARKERS, Sheet, line_looks, percent, present

_CLASS_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222")
_LETTER, _LINE = 0.06, 0.12
"""Inches of a letter and a line of 7-point text."""

_KEYS = 24
"""A column of the key has at most so many lines, which is the height of the map of words."""


def memory(table: pd.DataFrame) -> Figure:
    """How fast the gradient fades with the distance from the end: a line per experiment, on a log scale.

    Args:
        table: `experiment`, `cell`, `distance` (0 is the last token), and `norm` with its interval `low`, `high`:
            relative to that at distance 0, and positive.
    """
    curves = {str(name): rows.sort_values("distance") for name, rows in table.groupby("experiment", sort=False)}
    # The key lists the lines from top to bottom as they end.
    names = sorted(curves, key=lambda name: -curves[name]["norm"].iloc[-1])
    looks = line_looks({name: curves[name]["cell"].iloc[0] for name in names})
    text = "Norm of the loss gradient at a word, relative to that at the last one; bands: 95 % intervals."
    sheet = Sheet(1, 1, (5.4, 3.0), (0, 0), ("How far back a cell remembers", text))
    axes = sheet.axes(0)
    for name, look in looks.items():
        own = curves[name]
        axes.fill_between(own["distance"], own["low"], own["high"], color=look["color"], alpha=0.15, linewidth=0)
        axes.plot(own["distance"], own["norm"], markevery=max(1, len(own) // 10), **look)
    axes.set(yscale="log", xlabel="distance from the end of the text, in tokens", ylabel="relative gradient norm")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    for power in axes.get_yticklabels(which="both"):
        power.set_parse_math(True)
    sheet.key(looks)
    return sheet.figure


def data_size(table: pd.DataFrame, meetings: pd.DataFrame, laws: pd.DataFrame) -> Figure:
    """Accuracy by the number of training texts, and what twice the most would bring: a line for each `line`.

    Args:
        table: `line`, `use` (of the embedding), `texts`, and `accuracy` with its interval `low`, `high`.
        meetings: of two lines, the one `behind` with the `fewest` texts, and at how many `texts` it no longer is.
        laws: of the lines that follow one `line`, the `most` texts, and the extrapolated `accuracy` with `low`, `high`.
    """
    looks = line_looks(dict(zip(table["line"], table["use"], strict=True)))
    text = (
        "Accuracy on the test split; bands: 95 % intervals. Crosses: where lines meet.\n"
        "Open marks: twice as many texts, by a fitted power law."
    )
    sheet = Sheet(1, 1, (5.4, 3.4), (0, 0), ("How much data it takes", text))
    axes = sheet.axes(0)
    for number, (line, look) in enumerate(looks.items()):
        own = table[table["line"] == line]
        axes.fill_between(own["texts"], own["low"], own["high"], color=look["color"], alpha=0.12, linewidth=0)
        axes.plot(own["texts"], own["accuracy"], **look)
        law = laws[(laws["line"] == line) & laws["accuracy"].notna()]
        # Shifted, so that no whisker hides another.
        places = 2 * law["most"] * 1.05 ** (number - (len(looks) - 1) / 2)
        axes.vlines(places, law["low"], law["high"], color=look["color"], alpha=0.45, linewidth=1)
        axes.plot(places, law["accuracy"], **look, markerfacecolor="white")
    met = meetings[meetings["texts"].between(meetings["fewest"], np.inf, inclusive="neither")]
    for behind, texts in zip(met["behind"], met["texts"], strict=True):
        own = table[table["line"] == behind]
        height = np.interp(np.log(texts), np.log(own["texts"]), own["accuracy"])
        axes.plot(texts, height, "x", color="black", markersize=6, markeredgewidth=1.2, zorder=5)
    axes.set(xscale="log", xlabel="training texts", ylabel="accuracy")
    sizes = sorted({*table["texts"], *(2 * laws.loc[laws["accuracy"].notna(), "most"])})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(percent)
    sheet.key(looks)
    return sheet.figure


def slices(table: pd.DataFrame, models: Mapping[str, str]) -> Figure:
    """Accuracy in groups of texts: a panel per way to group them, a line per experiment.

    Args:
        table: `experiment`, `by`, `group` with its `order` and number of `texts`, and `accuracy` with its interval
            `low`, `high`.
        models: the cell, or kind of baseline, of each run, in the leaderboard's order.
    """
    looks = line_looks({name: models[name] for name in present(table, models)})
    panels = dict(iter(table.groupby("by", sort=False)))
    text = "Accuracy on the validation split, with 95 % intervals; below each group the number of its texts."
    sheet = Sheet(len(panels), 2, (3.5, 1.9), (0.25, 0.85), ("Where they err", text))
    margin = 0.05 * (table["high"].max() - table["low"].min()) + 0.005
    bounds = (table["low"].min() - margin, table["high"].max() + margin)
    for index, (by, rows) in enumerate(panels.items()):
        axes = sheet.axes(index)
        groups = rows.drop_duplicates("group").sort_values("order")
        place = {group: number for number, group in enumerate(groups["group"])}
        for number, (name, look) in enumerate(looks.items()):
            own = rows[rows["experiment"] == name].sort_values("order")
            # Shifted, so that no whisker hides another.
            places = np.array([place[group] for group in own["group"]]) + 0.09 * (number - (len(looks) - 1) / 2)
            axes.vlines(places, own["low"], own["high"], color=look["color"], alpha=0.45, linewidth=1)
            axes.plot(places, own["accuracy"], **look)
        axes.set_xticks(range(len(groups)), [f"{row.group}\n{row.texts:,}" for row in groups.itertuples()])
        axes.set(xlim=(-0.5, len(groups) - 0.5), ylim=bounds)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(percent)
        sheet.label(axes, index, "", "accuracy")
        axes.tick_params(labelbottom=True)
        axes.set_title(str(by))
    sheet.key(looks)
    return sheet.figure


def words(table: pd.DataFrame) -> Figure:
    """A map of words before and after training, in the colour of the class that each indicates.

    Args:
        table: a row per word, at most 40 to be legible: `word`, `klass`, and its places `x_before`, `y_before`,
            `x_after`, `y_after`.
    """
    classes = list(dict.fromkeys(table["klass"]))
    marks = zip(classes, labels(classes), cycle(_CLASS_COLOURS), cycle(MARKERS), strict=False)
    looks: dict[str, dict[str, Any]] = {
        klass: {"label": written, "color": colour, "marker": marker, "markersize": 3.5, "linestyle": "none"}
        for klass, written, colour, marker in marks
    }
    text = "The words that indicate a class most strongly, in two dimensions. Both maps have the same axes."
    panel = (4.5, 4.2)
    sheet = Sheet(2, 2, panel, (0.2, 0), ("What the embedding learned", text))
    written = [label(word) for word in table["word"]]
    points = table[["x_before", "y_before", "x_after", "y_after"]].to_numpy(dtype="float64").reshape(-1, 2)
    # Moves and scales both clouds, both directions alike, into a panel, with room for the words.
    low, high = points.min(axis=0), points.max(axis=0)
    scale = ((np.array(panel) - (1.0, 0.4)) / np.maximum(high - low, 1e-12)).min()
    clouds = ((points - (low + high) / 2) * scale + np.array(panel) / 2).reshape(-1, 2, 2)
    for index, title in enumerate(("before training", "after training")):
        axes, cloud = sheet.axes(index), clouds[:, index]
        centres = place_words(cloud, written, panel)
        for klass, word, point, centre in zip(table["klass"], written, cloud, centres, strict=True):
            look = looks[klass]
            axes.plot(*point, **look)
            reach = np.array([_LETTER * width(word) / 2, _LINE / 2])
            end = np.clip(point, centre - reach, centre + reach)
            axes.plot(*zip(point, end, strict=True), color=look["color"], linewidth=0.5, alpha=0.5)
            axes.text(centre[0], centre[1], word, fontsize=7, color=look["color"], ha="center", va="center")
        axes.set(xlim=(0, panel[0]), ylim=(0, panel[1]), xticks=[], yticks=[], title=title)
        axes.spines[:].set_visible(True)
    sheet.key(looks, ceil(len(looks) / _KEYS))
    return sheet.figure


def place_words(points: np.ndarray, names: Sequence[str], panel: tuple[float, float]) -> np.ndarray:
    """Returns where to write each word: next to its point, where it covers as little as possible.

    Each word in turn, three times over, takes the place that covers least of the points and of the other words; of
    equal places the nearest, to the right first.

    Args:
        points: float [words, 2], in inches
        panel: its size in inches; places that reach beyond it are a last resort.

    Returns:
        float [words, 2], the centres of the words.
    """
    around = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)]
    steps = np.array([np.multiply(way, far) for far, way in product((0.04, 0.1, 0.18, 0.28, 0.4), around)])
    reaches = np.array([[_LETTER * width(name) / 2, _LINE / 2] for name in names])
    centres, written = points.astype(np.float64), np.zeros_like(reaches)
    for index in [*range(len(names))] * 3:
        others = np.arange(len(names)) != index
        low = np.concatenate([points - 0.03, (centres - written)[others]])
        high = np.concatenate([points + 0.03, (centres + written)[others]])
        places = points[index] + np.sign(steps) * reaches[index] + steps
        start, end = places - reaches[index], places + reaches[index]
        shared = np.minimum(end[:, None], high) - np.maximum(start[:, None], low)
        covered = np.maximum(shared, 0).prod(axis=2).sum(axis=1)
        outside = ((start < 0) | (end > panel)).any(axis=1)
        centres[index], written[index] = places[np.argmin(covered + outside)], reaches[index]
    return centres
