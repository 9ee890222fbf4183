"""What all pictures share: colours, style, small multiples on a sheet, and SVG whose bytes repeat.

Text is drawn as outlines, so every viewer shows the same; colours are those of Okabe & Ito, which colour-blind readers
can tell apart. A figure is as large as its panels: what is outside of them, such as labels, heading and key, enlarges
the picture when it is saved.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D

from textrnn.report.plots import lettering

COLOURS = defaultdict(
    lambda: "#56B4E9",  # of a cell that has none of its own
    {
        "simple_rnn": "#009E73",
        "lstm": "#0072B2",
        "gru": "#D55E00",
        "conv1d": "#CC79A7",
        "feedforward": "#E69F00",
        "ensemble": "#882255",
        "nb_svm": "#222222",
        "majority": "#222222",
        "learned": "#222222",
        "frozen": "#0072B2",
        "fine-tuned": "#D55E00",
    },
)
MUTED, INK = "#767676", "#222222"
MARKERS = "os^Dv"
_DASHES = ("-", "--", ":", "-.")

_STYLE = {
    "svg.hashsalt": "textrnn",
    "svg.fonttype": "path",
    **{f"figure.subplot.{side}": float(side in ("right", "top")) for side in ("left", "bottom", "right", "top")},
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.15,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # `$5 to $10` is a class, no formula
    "text.color": INK,
    "legend.frameon": False,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
    "legend.fontsize": 8.5,
    "legend.labelcolor": "linecolor",
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
    **{
        f"{axis}tick.{key}": value
        for axis in "xy"
        for key, value in {"color": MUTED, "labelsize": 8, "major.size": 0, "minor.size": 0}.items()
    },
}


@contextmanager
def drawing() -> Iterator[None]:
    """The context in which figures are made and saved: a user's own matplotlib settings have no effect."""
    log = logging.getLogger("matplotlib.font_manager")
    before = log.level
    log.setLevel(logging.ERROR)  # a font of some other script may have no bold letters
    try:
        with style.context(["default", _STYLE]):
            yield
    finally:
        log.setLevel(before)


def save(folder: Path, name: str, figure: Figure, kind: str = "svg") -> Path:
    """Writes `folder/name.svg` (or `.png`), without a date, with fonts that have the letters of its text."""
    file, title = folder / f"{name}.{kind}", name.replace("_", " ")
    more: dict[str, Any] = (
        {"metadata": {"Title": title, "Date": None, "Creator": None}} if kind == "svg" else {"dpi": 144}
    )
    lettering.write(figure, lambda: figure.savefig(file, format=kind, **more))
    return file


def percent(value: float, _position: float) -> str:
    """Formats a tick of an axis of fractions."""
    return f"{100 * value:.4g}%"


def present(table: pd.DataFrame, models: Mapping[str, str]) -> list[str]:
    """Returns the runs that `table` has, in the order of `models`, which is that of the leaderboard."""
    known = set(table["experiment"])
    return [name for name in models if name in known]


def line_looks(models: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Returns the look of each run's line: its cell's colour, dashed where that comes again, and a marker.

    Args:
        models: a cell, or a kind of baseline, for each run.
    """
    looks: dict[str, dict[str, Any]] = {}
    before: Counter[str] = Counter()
    for index, (name, model) in enumerate(models.items()):
        colour = COLOURS[model]
        dashes, marker = _DASHES[before[colour] % len(_DASHES)], MARKERS[index % len(MARKERS)]
        looks[name] = {"color": colour, "linestyle": dashes, "marker": marker, "linewidth": 1.4, "markersize": 4}
        before[colour] += 1
    return looks


def heading(figure: Figure, title: str, text: str, left: float = 0, above: float = 0.36) -> None:
    """Writes a title, and below it how to read the picture, so many inches above the panels."""
    width, height = figure.get_size_inches()
    lines = 0.15 * (text.count("\n") + 1)
    figure.text(-left / width, 1 + (above + lines + 0.08) / height, title, fontsize=12, fontweight="bold")
    figure.text(-left / width, 1 + above / height, text, fontsize=8.5, color=MUTED, va="bottom")


class Sheet:
    """Small multiples: `count` equal panels, at most `columns` in a row; sizes are in inches."""

    def __init__(
        self, count: int, columns: int, panel: tuple[float, float], gap: tuple[float, float], text: tuple[str, str]
    ) -> None:
        self.count, self.columns, self.panel = count, max(1, min(columns, count)), panel
        rows = max(1, ceil(count / self.columns))
        size = (self.columns * (panel[0] + gap[0]) - gap[0], rows * (panel[1] + gap[1]) - gap[1])
        self.figure = Figure(figsize=size)
        spaces = {"wspace": gap[0] / panel[0], "hspace": gap[1] / panel[1]}
        self._grid = self.figure.add_gridspec(rows, self.columns, **spaces)
        heading(self.figure, *text)

    def cell(self, index: int) -> SubplotSpec:
        """Returns the place of panel `index`, row by row."""
        return self._grid[divmod(index, self.columns)]

    def axes(self, index: int) -> Axes:
        """Returns the axes of panel `index`."""
        return self.figure.add_subplot(self.cell(index))

    def label(self, axes: Axes, index: int, x: str, y: str) -> None:
        """Labels the axes at the sheet's left and lower edge only."""
        first, last = index % self.columns == 0, index + self.columns >= self.count
        axes.tick_params(labelleft=first, labelbottom=last)
        axes.set_ylabel(y if first else "")
        axes.set_xlabel(x if last else "")

    def title(self, axes: Axes, name: str, model: str) -> None:
        """Writes a run's name above its panel, in its cell's colour, cut to fit."""
        fits = int(self.panel[0] / 0.078)
        axes.set_title(name if len(name) <= fits else name[: fits - 1] + "…", color=COLOURS[model])

    def key(self, looks: Mapping[str, Mapping[str, Any]], columns: int = 1) -> None:
        """Names the lines or marks at the right of the panels; the `label` of a look replaces its name."""
        marks = [Line2D([], [], **{"label": name, **look}) for name, look in looks.items()]
        place = 1 + 0.12 / self.figure.get_figwidth(), 1
        self.figure.legend(handles=marks, ncols=columns, loc="upper left", bbox_to_anchor=place)
