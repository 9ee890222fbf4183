"""Pictures repeat byte for byte and show every run; what they look like is for eyes to judge."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from fake_runs import alone, make_run, tiny_predictions
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from textrnn.analysis import leaderboard, run_tables
from textrnn.report.plots import draw, lettering
from textrnn.report.plots.dots import effects
from textrnn.report.plots.dots import leaderboard as leaderboard_picture
from textrnn.report.plots.insight import data_size, memory, place_words, slices, words
from textrnn.report.plots.lettering import label, labels, visible, width
from textrnn.report.plots.panels import confusion, deletion, reliability
from textrnn.report.plots.sheet import COLOURS, drawing, save
from textrnn.run_folder import RunFolder

PICTURES = {"leaderboard.svg", "learning_curves.svg", "confusion.svg", "reliability.svg"}

COMPARISONS = pd.DataFrame(
    [
        ("baseline", "nb-svm", "lstm", 1, -0.05, -0.06, -0.04, "worse"),
        ("cell", "simple_rnn", "lstm", 2, 0.031, 0.012, 0.05, "better"),
        ("spatial_dropout", "0.0", "0.4", 1, -0.0004, -0.021, 0.0202, "unclear"),
        ("best", "lstm", "gru", 1, -0.01, -0.02, 0.0, "unclear"),
        ("cell", "lstm", "gru", 1, -0.04, -0.07, -0.01, "worse"),
    ],
    columns=["about", "first", "second", "pairs", "difference", "low", "high", "verdict"],
)
MEMORY = pd.DataFrame(
    [
        ("simple", "simple_rnn", 0, 1.0, 1.0, 1.0),
        ("simple", "simple_rnn", 1, 0.1, 0.05, 0.2),
        ("simple", "simple_rnn", 2, 0.01, 0.002, 0.05),
        ("lstm", "lstm", 0, 1.0, 1.0, 1.0),
        ("lstm", "lstm", 1, 0.9, 0.8, 1.1),
        ("two", "lstm", 0, 1.0, 1.0, 1.0),
        ("two", "lstm", 1, 0.5, 0.4, 0.6),
    ],
    columns=["experiment", "cell", "distance", "norm", "low", "high"],
)
SLICES = pd.DataFrame(
    [
        ("lstm", "tokens", "11-20", 1, 1200, 0.6, 0.5, 0.7),
        ("lstm", "tokens", "1-10", 0, 30, 0.8, 0.7, 0.9),
        ("nb-svm", "tokens", "11-20", 1, 1200, 0.65, 0.55, 0.75),
        ("lstm", "negation", "without", 0, 7, 0.75, 0.7, 0.8),
    ],
    columns=["experiment", "by", "group", "order", "texts", "accuracy", "low", "high"],
)
WORDS = pd.DataFrame(
    [("dull", "rotten", 0, 0, 0, 0), ("moving", "fresh", 1, 0, 4, 1), ("mess", "rotten", 0, 1, 0, 2)],
    columns=["word", "klass", "x_before", "y_before", "x_after", "y_after"],
)
DATA_SIZE = pd.DataFrame(
    [
        (line, use, texts, accuracy, accuracy - 0.1, accuracy + 0.1)
        for line, use, accuracies in (
            ("random learned", "learned", (0.5, 0.6, 0.8)),
            ("glove frozen", "frozen", (0.6, 0.7, 0.7)),
            ("word2vec frozen", "frozen", (0.5, 0.5, 0.6)),
        )
        for texts, accuracy in zip((100, 1000, 8000), accuracies, strict=True)
    ],
    columns=["line", "use", "texts", "accuracy", "low", "high"],
)
MEETINGS = pd.DataFrame(
    [
        ("random learned", 100, 3000.0),
        ("word2vec frozen", 100, float("inf")),  # still behind
        ("glove frozen", 100, 100.0),  # never behind
    ],
    columns=["behind", "fewest", "texts"],
)
LAWS = pd.DataFrame(
    [("random learned", 8000, None, None, None), ("glove frozen", 8000, 0.75, 0.7, 0.8)],
    columns=["line", "most", "accuracy", "low", "high"],
)
ORDERS = ("important", "random")
DELETION = pd.DataFrame(
    [
        (name, share, *(value + around for value in (kept**share, 1 - share / 2) for around in (0.0, -0.1, 0.1)))
        for name, kept in (("nb-svm", 0.2), ("lstm", 0.4))
        for share in (0.0, 0.5, 1.0)
    ],
    columns=["experiment", "share", *(f"{order}{limit}" for order in ORDERS for limit in ("", "_low", "_high"))],
)
INSIGHT = {
    "comparisons": COMPARISONS,
    "memory": MEMORY,
    "slices": SLICES,
    "deletion": DELETION,
    "words": WORDS,
    "data_size": DATA_SIZE,
    "data_size_meetings": MEETINGS,
    "data_size_laws": LAWS,
}


@pytest.fixture(autouse=True)
def in_the_pictures_style() -> Iterator[None]:
    with drawing():
        yield


def _draw(folder: Path, runs: list[RunFolder], **more: pd.DataFrame) -> dict[str, str]:
    study = run_tables.build(runs)
    folder.mkdir()
    draw.study(folder, leaderboard.build(runs, study["scores"], alone), {**study, **more})
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def _texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def _key(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_same_bytes_whatever_the_users_settings(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "runs", "lstm", seeds=[0, 1], epochs=2),
        make_run(tmp_path / "runs", "nb-svm", kind="baseline", predictions=tiny_predictions(2)),
    ]

    once = _draw(tmp_path / "once", runs, **INSIGHT)
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.facecolor": "black"}):
        again = _draw(tmp_path / "again", runs, **INSIGHT)

    assert set(once) == PICTURES | {
        "effects.svg",
        "memory.svg",
        "slices.svg",
        "words.svg",
        "data_size.svg",
        "deletion.svg",
    }
    assert once == again
    assert not any("dc:date" in svg for svg in once.values())


def test_every_run_and_class_is_written_into_the_pictures(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "runs", "lstm", epochs=2),
        make_run(tmp_path / "runs", "conv1d", params={"cell": "conv1d", "embedding": "glove"}, epochs=1),
        make_run(tmp_path / "runs", "lost", failures={"0": "loss became NaN in epoch 2"}, epochs=1),
        make_run(tmp_path / "runs", "nb-svm", kind="baseline", predictions=tiny_predictions(2)),
    ]

    pictures = _draw(tmp_path / "out", runs)

    # matplotlib writes each text as a comment next to its outlines.
    for name in ("lstm", "conv1d", "nb-svm"):
        for picture in PICTURES - {"learning_curves.svg"}:
            assert f"<!-- {name} -->" in pictures[picture]
    for name in ("lstm", "conv1d", "lost"):
        assert f"<!-- {name} -->" in pictures["learning_curves.svg"]
    assert "<!-- NB-SVM 50.0% -->" in pictures["leaderboard.svg"]
    assert "<!-- rotten -->" in pictures["confusion.svg"]


@pytest.mark.filterwarnings("error")
def test_ten_classes_and_the_longest_name(tmp_path: Path) -> None:
    classes = [f"category-{number}" for number in range(10)]
    labels = [row % 10 for row in range(20)]
    probabilities = [[0.55 if column == label else 0.05 for column in range(10)] for label in labels]
    predictions = {split: ([str(row) for row in range(20)], labels, probabilities) for split in ("valid", "test")}
    run = make_run(tmp_path / "runs", "x" * 64, classes=classes, predictions=predictions)

    assert set(_draw(tmp_path / "out", [run])) == PICTURES


@pytest.mark.filterwarnings("error")
def test_forty_runs(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "runs", f"run-{number}") for number in range(40)]

    pictures = _draw(tmp_path / "out", runs)

    assert all(f"<!-- run-{number} -->" in pictures["leaderboard.svg"] for number in range(40))


@pytest.mark.filterwarnings("error")
def test_nothing_finished_still_draws(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "lstm", failures={"0": "loss became NaN in epoch 1"})

    assert set(_draw(tmp_path / "out", [run])) == PICTURES


def test_no_picture_without_something_to_show(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "lstm")
    empty = {name: table.head(0) for name, table in INSIGHT.items()}
    no_factor = COMPARISONS[COMPARISONS["about"].isin(["baseline", "best"])]

    assert set(_draw(tmp_path / "empty", [run], **empty)) == PICTURES
    assert set(_draw(tmp_path / "no-factor", [run], comparisons=no_factor)) == PICTURES


def test_leaderboard_shows_spread_on_validation_and_interval_on_test(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path, "lstm", seeds=[0, 1]),
        make_run(tmp_path, "nb-svm", kind="baseline", predictions=tiny_predictions(2)),
    ]
    scores = run_tables.build(runs)["scores"]
    board = leaderboard.build(runs, scores, alone).assign(test_low=[0.41, 0.22], test_high=[0.83, 0.61])

    valid, test = leaderboard_picture(board, scores).axes

    whiskers = [line.get_xdata() for line in test.lines if line.get_marker() == "|"]
    assert np.array_equal(whiskers, [[0.41, 0.83], [0.22, 0.61]])
    assert not [line for line in valid.lines if line.get_marker() == "|"]
    assert (len(valid.collections), len(test.collections)) == (1, 0)  # the band of the one with two seeds
    assert {"75.0 ± 0.0", "50.0"} <= set(_texts(valid))
    assert {"60.0 [41.0, 83.0]", "40.0 [22.0, 61.0]"} <= set(_texts(test))
    low, high = test.get_xlim()
    assert low < 0.22 and high > 0.83


def test_a_whisker_too_long_for_the_leaderboard_ends_in_an_arrow(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name) for name in ("gru", "lstm")]  # 75 % on validation, 60 % on test
    scores = run_tables.build(runs)["scores"]
    board = leaderboard.build(runs, scores, alone).assign(test_low=[0.5, 0.14], test_high=[0.7, 0.9])

    _, test = leaderboard_picture(board, scores).axes

    low, high = test.get_xlim()
    assert 0.14 < low < 0.5 and high > 0.9  # the fence: 0.6 - 3 * (0.75 - 0.6)
    assert [line.get_xydata().tolist() for line in test.lines if line.get_marker() == "<"] == [[[low, 1]]]


def test_effects_show_the_factors_in_points_and_their_verdict() -> None:
    (axes,) = effects(COMPARISONS).axes

    texts = _texts(axes)
    assert [text for text in texts if "→" in text] == ["simple_rnn → lstm", "lstm → gru", "0.0 → 0.4"]
    assert [text for text in texts if text in ("cell", "spatial dropout")] == ["cell", "spatial dropout"]
    assert [text for text in texts if text[0] in "+−"] == ["+3.1", "−4.0", "+0.0"]
    assert [text for text in texts if "pair" in text] == ["2 pairs", "1 pair", "1 pair"]
    whiskers = [line.get_xdata() for line in axes.lines if line.get_marker() == "|"]
    assert np.allclose(whiskers, [[1.2, 5.0], [-7.0, -1.0], [-2.1, 2.02]])
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert np.allclose([dot.get_xdata()[0] for dot in dots], [3.1, -4.0, -0.04])
    assert [dot.get_ydata()[0] for dot in dots] == [0, 1, 2]
    better, worse, unclear = dots
    assert better.get_markerfacecolor() == better.get_color() != worse.get_color()
    assert worse.get_markerfacecolor() == worse.get_color()
    assert unclear.get_markerfacecolor() == "white" != unclear.get_color()


def test_memory_is_a_line_per_experiment_on_a_log_scale() -> None:
    figure = memory(MEMORY)
    (axes,) = figure.axes

    assert axes.get_yscale() == "log"
    assert _key(figure) == ["lstm", "two", "simple"]  # as they end
    lstm, two, simple = axes.lines
    assert np.array_equal(simple.get_xydata(), [[0, 1], [1, 0.1], [2, 0.01]])
    assert simple.get_color() == COLOURS["simple_rnn"]
    assert lstm.get_color() == two.get_color() == COLOURS["lstm"]
    assert lstm.get_linestyle() != two.get_linestyle()
    assert len({line.get_marker() for line in axes.lines}) == 3
    corners = axes.collections[2].get_paths()[0].vertices
    assert {(1.0, 0.05), (1.0, 0.2), (2.0, 0.002), (2.0, 0.05)} <= set(map(tuple, corners))


def test_slices_have_a_panel_per_way_and_the_number_of_texts() -> None:
    figure = slices(SLICES, {"gru": "gru", "nb-svm": "nb_svm", "lstm": "lstm"})
    tokens, negation = figure.axes

    assert _key(figure) == ["nb-svm", "lstm"]  # in the leaderboard's order
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["tokens", "negation"]
    assert [label.get_text() for label in tokens.get_xticklabels()] == ["1-10\n30", "11-20\n1,200"]
    assert [label.get_text() for label in negation.get_xticklabels()] == ["without\n7"]
    bar, lstm = tokens.lines
    assert np.array_equal(lstm.get_ydata(), [0.8, 0.6])
    assert np.array_equal(np.round(lstm.get_xdata()), [0, 1])
    assert np.array_equal(np.round(bar.get_xdata()), [1])
    assert bar.get_xdata()[0] < lstm.get_xdata()[1]
    whiskers = [segment[:, 1].tolist() for segment in tokens.collections[1].get_segments()]
    assert whiskers == [[0.7, 0.9], [0.5, 0.7]]
    assert tokens.get_ylim() == negation.get_ylim()


def test_data_size_is_a_line_by_use_of_the_embedding_with_marks_where_lines_meet_and_at_twice_the_texts() -> None:
    figure = data_size(DATA_SIZE, MEETINGS, LAWS)
    (axes,) = figure.axes

    assert axes.get_xscale() == "log"
    assert _key(figure) == ["random learned", "glove frozen", "word2vec frozen"]
    learned, glove, word2vec = (line for line in axes.lines if len(line.get_xdata()) == 3)
    assert np.array_equal(learned.get_xydata(), [[100, 0.5], [1000, 0.6], [8000, 0.8]])
    assert glove.get_color() == word2vec.get_color() == COLOURS["frozen"] != learned.get_color()
    assert glove.get_linestyle() != word2vec.get_linestyle()
    (mark,) = (line for line in axes.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata()))
    assert mark.get_color() == COLOURS["frozen"]
    assert mark.get_xydata() == pytest.approx(np.array([[16_000, 0.75]]))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "1,000", "8,000", "16,000"]
    (cross,) = (line for line in axes.lines if line.get_marker() == "x")
    assert cross.get_xydata() == pytest.approx(np.array([[3000, 0.6 + 0.2 * np.log(3) / np.log(8)]]))
    corners = axes.collections[0].get_paths()[0].vertices
    assert {(100.0, 0.4), (100.0, 0.6), (8000.0, 0.9)} <= {(x, round(y, 6)) for x, y in corners}


def test_words_are_at_their_places_in_their_class_colour_and_mark() -> None:
    figure = words(WORDS)
    before, after = figure.axes

    assert [axes.get_title(loc="left") for axes in figure.axes] == ["before training", "after training"]
    assert _key(figure) == ["rotten", "fresh"]
    for axes in figure.axes:
        assert _texts(axes) == ["dull", "moving", "mess"]
        points = [line for line in axes.lines if line.get_linestyle() == "None"]
        dull, moving, mess = points
        assert dull.get_marker() == mess.get_marker() != moving.get_marker()
        assert to_hex(dull.get_color()) == to_hex(mess.get_color()) != to_hex(moving.get_color())
        assert [text.get_color() for text in axes.texts] == [point.get_color() for point in points]
    dull, moving, mess = (line.get_xydata()[0] for line in before.lines if line.get_linestyle() == "None")
    assert (moving - dull) @ (mess - dull) == pytest.approx(0)
    stayed, farther, up = (line.get_xydata()[0] for line in after.lines if line.get_linestyle() == "None")
    # Both maps have the same axes: a word that training leaves alone stays in its place.
    assert stayed == pytest.approx(dull)
    assert (farther - dull) / (moving - dull)[0] == pytest.approx([4, 1])
    assert up - dull == pytest.approx(2 * (mess - dull))


def test_reliability_has_a_line_per_seed_and_the_mean_of_their_errors() -> None:
    # One seed is too sure by 0.2, the other not sure enough by 0.1: pooled, they would cancel in part.
    curves = pd.DataFrame(
        [("lstm", 0, 0.8, 0.6, 5), ("lstm", 1, 0.7, 0.8, 5)],
        columns=["experiment", "seed", "confidence", "accuracy", "count"],
    )

    (axes,) = reliability(curves, {"lstm": "lstm"}).axes

    seeds = [line for line in axes.lines if to_hex(line.get_color()) == COLOURS["lstm"].lower()]
    assert [line.get_xydata().tolist() for line in seeds] == [[[0.8, 0.6]], [[0.7, 0.8]]]
    assert _texts(axes) == ["ECE 15.0%"]


def test_a_lone_word_is_right_of_its_point_and_one_at_the_edge_left() -> None:
    panel = (3.0, 2.0)
    right, left = (place_words(np.array([[x, 1.0]]), ["best"], panel)[0] for x in (1.0, 2.95))
    assert right[0] > 1 and right[1] == 1
    assert left[0] < 2.95 and left[1] == 1


def test_forty_crowded_words_do_not_hide_each_other() -> None:
    panel, letter, line = (4.5, 4.2), 0.055, 0.1  # a little less than drawn: touching is no harm
    points = np.random.default_rng(0).normal((2.2, 2.1), 0.45, (40, 2))
    names = ["a" * (3 + index % 9) for index in range(40)]

    centres = place_words(points, names, panel)

    reach = np.array([[letter * len(name) / 2, line / 2] for name in names])
    apart = np.abs(centres[:, None] - centres) >= reach[:, None] + reach
    hidden = ~apart.any(axis=2) & ~np.eye(40, dtype=bool)
    assert not hidden.any()
    assert ((centres - reach >= 0) & (centres + reach <= panel)).all()


@pytest.mark.filterwarnings("error")
def test_ten_classes_of_words_and_one_of_each_thing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "lstm")
    more = {name: table[table.eq("lstm").any(axis=1)].head(1) for name, table in INSIGHT.items() if name != "words"}
    more["comparisons"] = COMPARISONS.iloc[[1]]
    ten = pd.concat([WORDS.iloc[[0]].assign(klass=f"category-{number}") for number in range(10)], ignore_index=True)

    pictures = _draw(tmp_path / "out", [run], **more, words=ten)

    assert all(f"<!-- category-{number} -->" in pictures["words.svg"] for number in range(10))
    assert all(name in pictures for name in ("effects.svg", "memory.svg", "slices.svg"))


ODD = [
    "$5 to $10",
    "$20 up",
    r"$\frac{1}$",
    "<b>",
    "_private",
    "-->",
    "a\x0bb",
    "tab\there",
    "two\nlines",
    "",
]
ODD += ["\u202eback", "\u200f", " a", "a ", "a  b", "a b", "\xa0", "😀", "x" * 200, "x" * 199 + "y", "x" * 201]


def _classes(folder: Path, classes: list[str], runs: int = 1) -> list[RunFolder]:
    """Runs that are right about one text of each class."""
    rows = range(len(classes))
    predictions = {split: ([str(row) for row in rows], list(rows), np.eye(len(classes))) for split in ("valid", "test")}
    return [make_run(folder, f"run-{run}", classes=classes, predictions=predictions) for run in range(runs)]


@pytest.mark.filterwarnings("error")
def test_names_and_words_of_strangers_are_written_as_they_are_and_fit(tmp_path: Path) -> None:
    runs = _classes(tmp_path / "runs", ODD)
    spoken = pd.concat([WORDS.iloc[[0]].assign(klass=name, word=name) for name in ODD], ignore_index=True)

    pictures = _draw(tmp_path / "out", runs, words=spoken)

    for picture in ("confusion.svg", "words.svg"):
        svg = ElementTree.fromstring(pictures[picture])
        assert float(svg.attrib["viewBox"].split()[2]) < 72 * 16
        for written in (
            "$5 to $10",
            "$20 up",
            "_private",
            "␣a",
            "a␣",
            "a␣␣b",
            "a b",
            r"\x0bb",
            r"two\nlines",
            r"\u202eback",
        ):
            assert f"{written} -->" in pictures[picture], written
    assert len(set(labels(ODD))) == len(ODD)


def test_powers_of_ten_are_still_set_as_powers() -> None:
    (axes,) = memory(MEMORY).axes

    assert all(text.get_parse_math() for text in axes.get_yticklabels(which="both"))


def test_of_sixty_classes_the_first_runs_are_drawn_without_numbers_and_it_says_so(tmp_path: Path) -> None:
    runs = _classes(tmp_path, [f"class {number}" for number in range(60)], runs=5)

    figure = confusion(run_tables.build(runs)["confusion"], {run.name: "lstm" for run in runs})

    assert len(figure.axes) == 3
    assert not any(axes.texts for axes in figure.axes)
    assert figure.texts[1].get_text().endswith("The first 3 of 5 runs; confusion.csv has all.")


@pytest.mark.filterwarnings("error")
def test_a_class_without_a_test_text_has_no_share() -> None:
    counts = pd.DataFrame(
        [("lstm", "a", "a", 2), ("lstm", "a", "b", 2), ("lstm", "b", "a", 0), ("lstm", "b", "b", 0)],
        columns=["experiment", "actual", "predicted", "count"],
    )

    (axes,) = confusion(counts, {"lstm": "lstm"}).axes

    assert _texts(axes) == ["50", "50", "0", "0"]


def test_what_is_not_seen_is_written_out() -> None:
    assert visible("plain text, 한국어, नमस्ते, می‌خواهم") == "plain text, 한국어, नमस्ते, می‌خواهم"
    assert visible("a\tb\x00\u2066") == r"a\tb\x00\u2066"
    assert visible(" a  b ") == "␣a␣␣b␣"
    assert visible("") == '""'


def test_a_long_name_is_cut_in_the_middle_by_what_its_letters_take() -> None:
    assert label("a name that is much longer than that", 12) == "a name t…hat"
    assert (width("가나다"), width("e\u0301"), width("👩\u200d🚀")) == (6, 1, 4)
    assert label("가나다라마바사아", 12) == "가나다라…아"
    alike = [f"one long name of which the {count} part is a very long one" for count in ("1st", "2nd")]
    assert labels(["short", *alike]) == ["short", "…the 1st part is a… long one", "…the 2nd part is a… long one"]


STIX = Path(mpl.get_data_path(), "fonts", "ttf", "STIXGeneral.ttf")
ONLY_IN_STIX, NOWHERE = "\u2316", "\uac00"


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No box was drawn yet, and fonts are looked for anew."""
    monkeypatch.setattr(lettering, "_boxes", {})
    monkeypatch.setattr(lettering, "PACKAGES", ())
    before = lettering._families
    before.cache_clear()
    yield monkeypatch
    before.cache_clear()


def _write(folder: Path, name: str, text: str) -> str:
    figure = Figure()
    figure.text(0.1, 0.5, text)
    save(folder, name, figure)
    return (folder / f"{name}.svg").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("error")
def test_letters_that_the_pictures_font_lacks_come_from_another(
    fonts: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plain = _write(tmp_path, "plain", "a word")
    mixed = _write(tmp_path, "mixed", f"a word {ONLY_IN_STIX}")

    assert "STIX" in mixed and "LastResort" not in mixed
    assert "STIX" not in plain == _write(tmp_path, "plain", "a word")
    assert mixed == _write(tmp_path, "mixed", f"a word {ONLY_IN_STIX}")
    assert (capfd.readouterr().err, lettering.advice()) == ("", [])


@pytest.mark.filterwarnings("error")
def test_where_no_font_has_the_letters_there_is_advice_on_each_script_and_no_warning(
    fonts: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fonts.setattr(lettering, "_families", list)

    for name in ("one", "two"):
        _write(tmp_path, name, f"{NOWHERE} and \u3042")

    hangul, kana = lettering.advice()
    assert hangul == (
        "pictures show boxes for Hangul letters such as 가: no font here has them. Install Debian's fonts-nanum, or "
        "the Python package koreanize-matplotlib, and draw again: `dvc repro --force --single-item compare`."
    )
    assert "fonts-noto-cjk" in kana


def test_a_font_that_was_installed_after_matplotlib_made_its_list_is_found(
    fonts: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fonts.setattr(fontManager, "ttflist", [entry for entry in fontManager.ttflist if "STIX" not in entry.name])
    assert "STIXGeneral" not in lettering._families()

    lettering._families.cache_clear()
    (tmp_path / "broken.ttf").write_text("no font")
    fonts.setattr(lettering, "findSystemFonts", lambda: [str(tmp_path / "broken.ttf"), str(STIX)])
    assert "STIXGeneral" in lettering._families()


def test_a_font_of_a_python_package_comes_first_and_the_package_is_not_imported(
    fonts: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "letters_of_a_test"
    (package / "fonts").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('changes settings')")
    shutil.copy(STIX, package / "fonts")
    fonts.syspath_prepend(tmp_path)
    fonts.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fonts.setattr(lettering, "PACKAGES", ("letters_of_a_test", "not_installed"))

    assert lettering._families()[0] == "STIXGeneral"


@pytest.mark.skipif(not find_spec("koreanize_matplotlib"), reason="the package with the Korean font is not installed")
@pytest.mark.filterwarnings("error")
def test_korean_is_drawn_with_the_font_that_the_environment_brings(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "NanumGothic" in _write(tmp_path, "korean", "재밌어요")
    assert capfd.readouterr().err == ""


def test_deletion_has_a_panel_per_run_with_what_is_left_in_either_order() -> None:
    figure = deletion(DELETION, {"lstm": "lstm", "nb-svm": "nb_svm", "gru": "gru"})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["lstm", "nb-svm"]
    for axes, kept, model in zip(figure.axes, (0.4, 0.2), ("lstm", "nb_svm"), strict=True):
        at_random, important = axes.get_lines()
        assert important.get_color() == COLOURS[model]
        np.testing.assert_allclose(important.get_ydata(), [1, kept**0.5, kept])
        np.testing.assert_allclose(at_random.get_ydata(), [1, 0.75, 0.5])
        low, high = (band.get_paths()[0].get_extents().y1 for band in axes.collections)
        np.testing.assert_allclose([low, high], [1.1, 1.1])
