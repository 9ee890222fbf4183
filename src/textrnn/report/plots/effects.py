"""What each factor is worth, as a picture: differences between levels, the rest equal."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from textrnn.analysis.comparisons import BASELINE, BEST, DECLARED
from textrnn.report.plots.sheet import INK, MUTED

_COLOURS = {"better": "#0072B2", "unclear": MUTED, "worse": "#D55E00"}


def factors(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows about a factor, those of one factor together, in the order of the first of each."""
    rows = comparisons[~comparisons["about"].isin([BASELINE, BEST, DECLARED])]
    return rows.iloc[pd.factorize(rows["about"])[0].argsort(kind="stable")].reset_index(drop=True)


def effects(comparisons: pd.DataFrame) -> Figure:
    """A dot and its whisker per change of a level, factor by factor, in points of accuracy.

    Args:
        comparisons: at least one row about a factor: `about`, `first` and `second` (its levels),
            `pairs` (averaged), `difference`, `low`, `high` (fractions, second minus first), and the
            `verdict` on the second: better, unclear or worse.
    """
    rows = factors(comparisons)
    topics = rows["about"].str.replace("_", " ")
    changes = rows["first"] + " → " + rows["second"]
    # Everything in inches, so that one row and forty look alike.
    topic_width, change_width = (0.25 + 0.075 * max(texts.str.len()) for texts in (topics, changes))
    names = 0.15 + topic_width + change_width
    width, height = names + 4.4 + 1.25, 0.27 * len(rows) + 1.45
    figure = Figure(figsize=(width, height))
    figure.text(0.15 / width, 1 - 0.32 / height, "What a factor is worth", fontsize=12, fontweight="bold")
    text = (
        "Change of test accuracy, the rest equal; whiskers: 95 % intervals.\n"
        "Filled: better or worse beyond chance, corrected for many comparisons; hollow: unclear."
    )
    figure.text(0.15 / width, 1 - 0.42 / height, text, fontsize=8.5, color=MUTED, va="top")
    axes = figure.add_axes((names / width, 0.5 / height, 4.4 / width, 1 - 1.45 / height))
    inch = 1 / 4.4
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    starts = topics != topics.shift()
    for place, row in enumerate(rows.itertuples()):
        at: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
        if starts[place]:
            axes.text((0.15 - names) * inch, place, topics[place], weight="bold", **at)
            if place:
                edges = ((0.15 - names) * inch, 1 + 1.1 * inch)
                axes.plot(edges, (place - 0.5,) * 2, transform=at["transform"], color="#DDDDDD", lw=0.8, clip_on=False)
        axes.text((0.15 + topic_width - names) * inch, place, changes[place], **at)
        colour = _COLOURS[str(row.verdict)]
        difference, low, high = 100 * rows.loc[place, ["difference", "low", "high"]].to_numpy(dtype="float64")
        axes.plot([low, high], [place, place], "|-", color=colour, linewidth=1.4, markersize=6)
        fill = "white" if row.verdict == "unclear" else colour
        axes.plot(difference, place, "o", color=colour, markerfacecolor=fill, markersize=6.5, markeredgewidth=1.4)
        number = f"{difference:+z.1f}".replace("-", "−")
        axes.text(1 + 0.45 * inch, place, number, ha="right", weight="normal" if fill == "white" else "bold", **at)
        pairs = "1 pair" if row.pairs == 1 else f"{row.pairs} pairs"
        axes.text(1 + 0.55 * inch, place, pairs, fontsize=8, color=MUTED, **at)
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=[], xlabel="points of accuracy")
    axes.grid(visible=True, axis="x")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], min_n_ticks=3))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}".replace("-", "−") if value else "0")
    return figure
