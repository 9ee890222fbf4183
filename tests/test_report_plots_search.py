"""Pictures of searches: where each trial is, how far it came, and what the search promised."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_searches import make_search
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from test_analysis_searches import again, make

from textrnn.analysis.searches import searches as tables_of
from textrnn.report.plots.search import knobs, searches
from textrnn.report.plots.sheet import COLOURS, drawing, save


@pytest.fixture(autouse=True)
def in_the_pictures_style() -> Iterator[None]:
    with drawing():
        yield


def marks(axes: Axes) -> dict[str, list[list[float]]]:
    """The places of each kind of mark."""
    return {line.get_marker(): line.get_xydata().tolist() for line in axes.lines if line.get_marker() != "None"}


def ticks(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def test_a_knob_shows_where_each_trial_ended_and_how_far_it_came(tmp_path: Path) -> None:
    figure = knobs("tuned", tables_of([make(tmp_path)], again()))
    bidirectional, units, stopping = figure.axes

    assert [axes.get_title(loc="left") for axes in figure.axes] == ["bidirectional", "units", "early stopping"]
    assert [axes.get_title(loc="right") for axes in figure.axes] == ["75%", "25%", "0%"]
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert key == ["diverged", "cut in rung 1", "finished", "the winner", "the start's settings"]
    # Trial 2 diverged, and is at the upper edge: the highest first value. Trial 4 was refused.
    found = marks(units)
    assert found == {
        "x": [[np.log10(32), 0.6]],
        "D": [[np.log10(8), 0.44]],
        "*": [[np.log10(64), 0.4]],
        "o": [[np.log10(16), 0.5]],  # cut; the start, too
    }
    ways = [line.get_xydata() for line in units.lines if line.get_marker() == "None"]
    assert [[np.log10(8), 0.44], [np.log10(8), 0.6]] in [way[:2].tolist() for way in ways]
    # Side by side, apart by less than half a place.
    assert (ticks(bidirectional), np.round(marks(bidirectional)["x"][0]).tolist()) == (["false", "true"], [1, 1])
    assert ticks(stopping)[0] == "off" and marks(stopping)["o"][0][0] < 1


def test_a_long_name_leaves_room_for_the_importance(tmp_path: Path) -> None:
    long = {"units": "temporal_activation_regularization"}
    tables = tables_of([make(tmp_path)], again())
    tables["search_knobs"]["knob"] = tables["search_knobs"]["knob"].replace(long)
    figure = knobs("tuned", {**tables, "search_trials": tables["search_trials"].rename(columns=long)})

    figure.draw_without_rendering()
    places = [each.get_window_extent() for each in (figure.axes[1]._left_title, figure.axes[1]._right_title)]
    assert not places[0].overlaps(places[1])
    assert not any(places[0].overlaps(axes.bbox) for axes in figure.axes)


def test_a_start_outside_of_the_range_is_shown_there_and_0_on_a_log_axis_is_off(tmp_path: Path) -> None:
    tables = tables_of([make(tmp_path)], again())
    tables["search_trials"].loc[0, "units"] = 400
    _, units, _ = knobs("tuned", tables).axes
    assert marks(units)["o"][0][0] == np.log10(400) < units.get_xlim()[1]

    tables["search_trials"].loc[0, "units"] = 0
    _, units, _ = knobs("tuned", tables).axes
    assert ticks(units)[0] == "off"
    assert units.get_xlim()[0] < marks(units)["o"][0][0] < np.log10(2)


def test_a_value_far_above_the_others_ends_at_the_edge(tmp_path: Path) -> None:
    tables = tables_of([make_search(tmp_path, "tuned")], again())
    first = tables["search_trials"]["outcome"].eq("cut").idxmax()
    before = knobs("tuned", tables).axes[0].get_ylim()
    tables["search_trials"].loc[first, "value"] = 40.0
    assert knobs("tuned", tables).axes[0].get_ylim()[1] <= before[1]


def test_long_choices_take_two_lines(tmp_path: Path) -> None:
    names = ["glove-50d", "word2vec-50d", "random-50d", "glove-100d"]
    space = {"embedding": {"choices": names}, "units": {"low": 16, "high": 256, "log": True, "optional": False}}
    more = {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True, "optional": False}}
    more |= {"dropout": {"low": 0.0, "high": 0.5, "log": False, "optional": False}, "readout": {"choices": ["last"]}}
    embedding = {
        axes.get_title(loc="left"): axes
        for axes in knobs(
            "tuned", tables_of([make_search(tmp_path, "tuned", 20, space={**space, **more})], again())
        ).axes
    }["embedding"]
    assert ticks(embedding) == ["glove-50d", "\nword2vec-50d", "random-50d", "\nglove-100d"]


def test_searches_show_the_best_by_cost_the_promise_and_what_came_of_it(tmp_path: Path) -> None:
    results = [make(tmp_path, "one"), make(tmp_path, "two", value=0.45)]
    scores = pd.concat([again(0.76, 0.78, name="one"), again(0.7, name="two")])

    figure = searches(tables_of(results, scores), scores, {"one": "gru", "two": "lstm"})
    best, winners, importance = figure.axes

    assert [line.get_xydata().tolist() for line in best.lines] == [[[2e9, 0.44], [3e9, 0.4], [4e9, 0.4]]] * 2
    assert [to_hex(line.get_color()).upper() for line in best.lines] == [COLOURS["gru"], COLOURS["lstm"]]
    names = {text.get_text(): text.get_position()[1] for text in best.texts}
    assert list(names) == ["one", "two"] and names["two"] - names["one"] > 0.05  # both end at the same value
    assert [text.get_text() for text in winners.texts][0::2] == ["one", "two"]
    one, two = [text.get_text() for text in winners.texts][1::2]
    assert re.fullmatch(r"\+2\.0 \(−[\d.]+ to \+[\d.]+\)", one) and two == "+9.0"
    dots = [line.get_xydata().tolist() for line in winners.lines if line.get_marker() == "o"]
    assert [x for x, _ in dots[0]] == [0.76, 0.78]
    assert [place for (place,) in dots[1:3]] == [[0.79, 0], [pytest.approx(0.77), 0]]
    assert [label.get_text() for label in importance.get_yticklabels()] == ["bidirectional", "units", "early stopping"]
    assert [bar.get_width() for bar in importance.patches] == [0.75, 0.25, 0.0] * 2


def test_searches_of_one_cell_have_colours_of_their_own_and_need_no_importance(tmp_path: Path) -> None:
    results = [make(tmp_path, name, importance={}) for name in ("one", "two")]

    figure = searches(tables_of(results, again()), again(), {"one": "gru", "two": "gru"})

    assert len(figure.axes) == 2
    first, second = figure.axes[0].lines
    assert first.get_color() != second.get_color()


@pytest.mark.filterwarnings("error")
def test_pictures_of_searches_repeat_their_bytes(tmp_path: Path) -> None:
    result = make_search(tmp_path, "tuned", 20)
    tables, scores = tables_of([result], again(0.7)), again(0.7)
    for folder in ("once", "again"):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder, "searches", searches(tables, scores, {"tuned": "lstm"}))
        save(tmp_path / folder, "knobs", knobs("tuned", tables))
    for name in ("searches.svg", "knobs.svg"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
