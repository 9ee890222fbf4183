"""What all pictures share: colours, style, small multiples on a sheet, and SVG whose bytes repeat.

Text is drawn as outlines, so every viewer shows the same; colours are those of Okabe & Ito, which
colour-blind readers can tell apart.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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
MARKERS = "os^Dv"
_DASHES = ("-", "--", ":", "-.")

_STYLE = {
    "svg.hashsalt": "textrnn",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # `$5 to $10` is a class, no formula
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
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}


@contextmanager
def drawing() -> Iterator[None]:
    """The context in which figures are made and saved: a user's own matplotlib settings have no say."""
    log = logging.getLogger("matplotlib.font_manager")
    before = log.level
    log.setLevel(logging.ERROR)  # a font of some other script may have no bold letters
    try:
        with style.context(["default", _STYLE]):
            yield
    finally:
        log.setLevel(before)


def save(folder: Path, name: str, figure: Figure) -> None:
    """Writes `folder/name.svg`, without a date, with fonts that have the letters of its text."""
    metadata = {"Date": None, "Creator": None, "Title": name.replace("_", " ")}
    lettering.write(figure, lambda: figure.savefig(folder / f"{name}.svg", format="svg", metadata=metadata))


def percent(value: float, _position: float) -> str:
    """Formats a tick of an axis of fractions."""
    return f"{100 * value:.4g}%"


def present(table: pd.DataFrame, models: Mapping[str, str]) -> list[str]:
    """Returns the runs that `table` knows, in the order of `models`, which is the leaderboard's."""
    known = set(table["experiment"])
    return [name for name in models if name in known]


def line_looks(models: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Returns how each run's line looks: its cell's colour, dashed where that comes again, and a marker.

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


def key_width(names: Iterable[str], columns: int = 1) -> float:
    """Returns the room in inches that `Sheet.key` needs at the right for `names`."""
    return columns * (0.75 + 0.068 * max(map(lettering.width, names), default=0))


class Sheet:
    """Small multiples: `count` equal panels, at most `columns` side by side; sizes are in inches.

    The title, and below it how to read the picture, stand in the upper left corner. `margin` is
    the room for labels at the left and at the bottom, `right` that for a key.
    """

    def __init__(
        self,
        count: int,
        columns: int,
        panel: tuple[float, float],
        gap: tuple[float, float],
        text: tuple[str, str],
        margin: tuple[float, float] = (0.75, 0.55),
        right: float = 0.15,
    ) -> None:
        self.count, self.columns, self.panel = count, max(1, min(columns, count)), panel
        rows, top = max(1, ceil(count / self.columns)), 0.95
        inner = (self.columns * (panel[0] + gap[0]) - gap[0], rows * (panel[1] + gap[1]) - gap[1])
        width, height = max(margin[0] + inner[0] + right, 7.6), top + inner[1] + margin[1]
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

    def key(self, looks: Mapping[str, Mapping[str, Any]], columns: int = 1) -> None:
        """Names the lines or marks at the right of the panels, one below the other, each as it is drawn.

        A look may bring a `label` that is not its name.
        """
        marks = [Line2D([], [], **{"label": name, **look}) for name, look in looks.items()]
        width, height = self.figure.get_size_inches()
        place = (self._grid.right + 0.12 / width, self._grid.top + 0.04 / height)
        self.figure.legend(
            handles=marks,
            ncols=columns,
            loc="upper left",
            bbox_to_anchor=place,
            borderpad=0,
            borderaxespad=0,
            frameon=False,
            fontsize=8.5,
            labelcolor="linecolor",
        )
