"""Pictures of searches: what the best settings cost, how optimistic they are, and what each knob does."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator

from textrnn.report.plots.lettering import label
from textrnn.report.plots.sheet import COLOURS, INK, MARKERS, MUTED, Sheet, heading, percent
from textrnn.wording import estimate, points, setting

_BEST = "#D55E00"
_FEW, _LETTERS, _TITLE = 8, 38, 26
"""A whole number with fewer values is drawn as a choice; a panel is as wide as so many letters, a line of its title and
the importance as so many."""


def searches(tables: Mapping[str, pd.DataFrame], scores: pd.DataFrame, models: Mapping[str, str]) -> Figure:
    """What each search found at what cost, what its winner reaches with fresh seeds, and which knobs matter.

    Args:
        tables: `searches.searches(…)`, at least one search.
        scores: `run_tables.seed_scores(…)`
        models: the cell of each search's winner, among those of other runs.
    """
    table, best, shares = tables["searches"], tables["search_best"], tables["search_knobs"].dropna(subset="importance")
    looks = _looks({name: models[name] for name in table["search"]})
    knobs = shares["knob"].unique()
    count = 3 if len(knobs) else 2
    height = max(2.4, 0.36 * len(table), 0.2 * len(knobs))
    figure = Figure(figsize=(4.2 * count - 0.9, height))
    text = (
        "Best values are those of trials that reached the last rung. Winners: hollow in the search, small dots with "
        "the study's seeds,\nfilled the mean of these; at the right the search's optimism in points, with its 95 % "
        "interval."
    )
    heading(figure, "Searches", text)
    panels = figure.subplots(1, count, gridspec_kw={"wspace": 0.6, "width_ratios": (3.4, 2.8, 2.0)[:count]})
    _progress(panels[0], table, best, looks, 0.16 / height)
    _optimism(panels[1], table, scores, looks)
    if len(knobs):
        _importance(panels[2], shares, looks)
    return figure


def _looks(models: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The look of each search: its cell's colour, or where two have the same cell, other colours."""
    palette = dict.fromkeys(COLOURS[model] for model in models.values())
    if len(palette) < len(models):
        palette = dict.fromkeys(COLOURS.values())
    looks = zip(models, cycle(palette), cycle(MARKERS), strict=False)
    return {name: {"color": colour, "marker": marker, "markersize": 4} for name, colour, marker in looks}


def _progress(
    axes: Axes, table: pd.DataFrame, best: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]], line: float
) -> None:
    """A falling line per search, named at its end; names are at least a `line`, a share of the height, apart."""
    for row in table.to_dict("records"):
        own = best[best["search"] == row["search"]]
        places = [*own["flops"], row["flops"]], [*own["value"], own["value"].iloc[-1]]
        axes.step(*places, where="post", markevery=range(len(own)), **looks[row["search"]])
    axes.set(
        title="Best value by cost",
        xlabel="floating-point operations of the whole search",
        ylabel="validation log loss",
        xlim=(0, None),
    )
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter())
    bottom, top = axes.get_ylim()
    lowest = -1.0
    for name, value in best.groupby("search", sort=False)["value"].min().sort_values(kind="stable").items():
        lowest = max(lowest + line, (value - bottom) / (top - bottom))
        at: dict[str, Any] = {"transform": axes.transAxes, "va": "center", "fontsize": 8}
        axes.text(1.02, lowest, str(name), color=looks[str(name)]["color"], **at)


def _optimism(axes: Axes, table: pd.DataFrame, scores: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> None:
    own = scores[scores["split"] == "valid"]
    for place, row in enumerate(table.to_dict("records")):
        colour = looks[row["search"]]["color"]
        fresh = own.loc[own["experiment"] == row["search"], "accuracy"]
        axes.plot([row["accuracy"], row["accuracy_again"]], [place, place], color=colour, linewidth=1.4)
        axes.plot(fresh, np.full(len(fresh), place), "o", color=colour, markersize=2.8, markeredgewidth=0)
        mark: dict[str, Any] = {"marker": "o", "markersize": 7.5, "markeredgewidth": 1.4, "markeredgecolor": colour}
        axes.plot(row["accuracy"], place, markerfacecolor="white", **mark)
        axes.plot(row["accuracy_again"], place, markerfacecolor=colour, **mark)
        optimism = estimate(row["accuracy_optimism"], row["accuracy_low"], row["accuracy_high"], points)
        at: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
        axes.annotate(row["search"], (0, place), (0, 8), color=colour, fontsize=8, **at)
        axes.annotate(optimism, (1, place), (0, 8), ha="right", color=MUTED, fontsize=8, **at)
    axes.set(title="The winners", ylim=(len(table) - 0.6, -0.7), yticks=[], xlabel="validation accuracy")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(percent)
    axes.margins(x=0.12)


def _importance(axes: Axes, shares: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> None:
    wide = shares.pivot(index="knob", columns="search", values="importance").astype(float)
    wide = wide.loc[wide.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    height = 0.75 / len(looks)
    for number, (name, look) in enumerate(looks.items()):
        if name in wide:
            axes.barh(np.arange(len(wide)) + (number + 0.5) * height - 0.375, wide[name], height, color=look["color"])
    axes.set_yticks(range(len(wide)), wide.index.str.replace("_", " "))
    axes.set(title="Which knobs matter", ylim=(len(wide) - 0.4, -0.6), xlabel="importance")
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(percent)


def knobs(name: str, tables: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel per knob of one search, most important first: the value of every trial by its setting.

    Args:
        tables: `searches.searches(…)`, with a search of that `name`.
    """
    keys = ("searches", "search_knobs", "search_trials", "search_values")
    summary, space, trials, values = (tables[key][tables[key]["search"] == name] for key in keys)
    trials = trials[trials["outcome"] != "refused"].set_index("trial")
    first = values[values["rung"] == 1].set_index("trial")["value"].reindex(trials.index)
    low, top = _range(pd.concat([trials["value"], first]).dropna())
    shown = trials.assign(
        value=trials["value"].mask(trials["outcome"] == "diverged").fillna(top).clip(upper=top),
        first=first.clip(upper=top),
        jitter=0.5 * ((trials.index * 0.618034) % 1 - 0.5),
    )
    stages = _stages(shown, int(summary["winner"].iloc[0]))
    text = (
        "Validation log loss of every trial where it ended, by the setting of each knob; a line leads from its first "
        "rung to its last.\nIn grey: the knob's importance. At the upper edge: diverged, or higher than the axis."
    )
    sheet = Sheet(len(space), 4, (2.35, 1.75), (0.2, 0.55), (f"What each knob does: {name}", text))
    for index, knob in enumerate(space.to_dict("records")):
        axes = sheet.axes(index)
        place = _places(axes, knob, shown)
        for look, rows in stages.values():
            own = shown.loc[rows]
            # One path, broken between trials, is a fraction of so many.
            ways = own[["value", "first"]].assign(gap=np.nan).to_numpy().ravel()
            axes.plot(np.repeat(place[rows], 3), ways, color=look["color"], linewidth=0.7, alpha=0.5)
            axes.plot(place[rows], own["value"], clip_on=False, **look)
        margin = 0.04 * (top - low)
        axes.set(ylim=(low - margin, top + margin))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        sheet.label(axes, index, "", "validation log loss")
        axes.tick_params(labelbottom=True)
        axes.set_title(fill(knob["knob"].replace("_", " "), _TITLE))
        if not pd.isna(knob["importance"]):
            axes.set_title(percent(round(knob["importance"], 2), 0), loc="right", color=MUTED, fontweight="normal")
    sheet.key({stage: look for stage, (look, _) in stages.items()})
    return sheet.figure


def _stages(trials: pd.DataFrame, winner: int) -> dict[str, tuple[dict[str, Any], pd.Index]]:
    """How far trials came: the look of their marks, and which they are. The start has a ring, too."""
    point = {"linestyle": "none", "markeredgewidth": 0}
    numbers = trials.index.to_series()
    diverged, won = trials["outcome"] == "diverged", numbers == winner
    finished = (trials["outcome"] == "finished") & ~won
    stages = {
        "diverged": (diverged, {**point, "marker": "x", "color": MUTED, "markersize": 4.5, "markeredgewidth": 1.2})
    }
    rungs = trials["rung"].max()
    for rung in range(1, rungs + 1):
        cut = (trials["outcome"] == "cut") & (trials["rung"] == rung)
        look = {**point, "marker": "o", "color": _blue((rung - 1) / rungs), "markersize": 3.2 + 0.5 * rung}
        stages[f"cut in rung {rung}"] = cut, look
    stages["finished"] = finished, {**point, "marker": "D", "color": _blue(1), "markersize": 5}
    stages["the winner"] = won, {**point, "marker": "*", "color": _BEST, "markersize": 12, "zorder": 4}
    ring = {"marker": "o", "color": INK, "markerfacecolor": "none", "markersize": 9, "zorder": 5}
    stages["the start's settings"] = numbers == 0, {"linestyle": "none", **ring}
    return {stage: (look, trials.index[own]) for stage, (own, look) in stages.items() if own.any()}


def _blue(depth: float) -> str:
    return to_hex(colormaps["Blues"](0.4 + 0.55 * depth))


def _range(values: pd.Series) -> tuple[float, float]:
    """From the lowest value to the highest that is no outlier."""
    first, third = values.quantile([0.25, 0.75])
    return values.min(), max(values[values <= third + 3 * (third - first)].max(), values.min() + 1e-3)


def _places(axes: Axes, knob: Any, trials: pd.DataFrame) -> pd.Series:
    """Where each trial is on the axis of a knob: numbers to scale with `off` before them, choices side by side."""
    settings, jitter = trials[knob["knob"]], trials["jitter"]
    if knob["choices"]:
        return jitter + _side_by_side(axes, settings, knob["choices"].split(", "))
    numbers = pd.to_numeric(settings)
    if not knob["log"] and knob["high"] - knob["low"] < _FEW and (numbers.dropna() % 1 == 0).all():
        names = [str(number) for number in range(int(knob["low"]), int(knob["high"]) + 1)]
        return jitter + _side_by_side(axes, settings, names)
    if knob["log"] or (knob["optional"] and knob["low"] > 0):  # then 0 is off
        numbers = numbers.where(numbers > 0)
    ends = min(knob["low"], numbers.min()), max(knob["high"], numbers.max())
    scale = np.log10 if knob["log"] else np.asarray
    low, high = map(float, scale(ends))
    decades = high - low
    steps = (1,) if decades > 2.5 else (1, 3) if decades > 1.4 else (1, 2, 5)
    locator = LogLocator(subs=steps) if knob["log"] else MaxNLocator(4)
    ticks = {float(scale(tick)): setting(tick) for tick in locator.tick_values(*ends) if ends[0] <= tick <= ends[1]}
    margin, off = 0.06 * (high - low), low - 0.2 * (high - low)
    is_off = knob["optional"] or numbers.isna().any()
    axes.set_xticks([off, *ticks] if is_off else [*ticks], ["off", *ticks.values()] if is_off else [*ticks.values()])
    axes.set_xlim(off - 2 * margin if is_off else low - margin, high + margin)
    return pd.Series(scale(numbers), trials.index).fillna(off + 4 * margin * jitter)


def _side_by_side(axes: Axes, settings: pd.Series, names: list[str]) -> pd.Series:
    """The place of each trial's setting among `names` and what else occurs, such as `off`."""
    written = settings.map(setting)
    places = {name: place for place, name in enumerate(dict.fromkeys([*names, *written]))}
    lines = 2 if sum(len(name) + 2 for name in places) > _LETTERS else 1
    names = [label(name, max(lines * _LETTERS // len(places) - 1, 4)) for name in places]
    axes.set_xticks(range(len(places)), ["\n" * (place % lines) + name for place, name in enumerate(names)])
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.grid(visible=False, axis="x")
    return written.map(places)
