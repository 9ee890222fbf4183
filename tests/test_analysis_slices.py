"""Groups of texts, and the hardest ones, by hand."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_runs import alone, make_run

from textrnn.analysis.significance import contrast
from textrnn.analysis.slices import NEGATIONS, hardest, log_count_ratios, ranges, slices
from textrnn.errors import TextrnnError
from textrnn.run_folder import RunFolder, prediction_rows
from textrnn.text.tokenizer import tokenize

# Of six words, 4 is the strongest evidence and 3 the weakest; 5 is none.
RATIOS = np.array([[0, 0, 0.5, -0.2, 2, 0], [0, 0, -0.5, 0.2, -2, 0]])
TEXTS = pl.DataFrame(
    [
        ("d", "Cannot say", [1] * 12),
        ("b", "nothing -- so to speak", [1, 1, 1, 2, 3, 3, 3, 3, 3]),
        ("a", "I DON'T know", [4, 2, 3]),
        ("c", "another knot, nowadays", [4, 1, 4, 5]),
        ("e", "of no run", [2]),
    ],
    schema={"id": pl.String, "text": pl.String, "ids": pl.List(pl.Int32)},
    orient="row",
)


def run_of(folder: Path, name: str, correct: np.ndarray, sure: float = 0.8, kind: str = "experiment") -> RunFolder:
    """A run that is right where `correct`, bool [seeds, texts], says; texts are a, b, c, … of labels 0, 1, 0, …"""
    seeds, texts = correct.shape
    ids = [chr(ord("a") + place) if texts <= 26 else str(place) for place in range(texts)]
    labels = np.arange(texts) % 2
    run = make_run(folder, name, kind=kind, seeds=range(seeds))
    frames = []
    for seed, right in enumerate(correct):
        predicted = np.where(right, labels, 1 - labels)
        rows = prediction_rows(seed, "valid", ids, labels, np.where(predicted[:, None] == [0, 1], sure, 1 - sure))
        frames += [rows, rows.with_columns(split=pl.lit("test"), label=1 - pl.col("label"))]
    pl.concat(frames).write_parquet(run.path / "predictions.parquet")
    return run


def test_log_count_ratios_by_hand() -> None:
    train = pl.DataFrame(
        {"ids": [[2, 2, 3], [2, 4], [4, 1], [3, 3]], "label": [0, 1, 1, None]},
        schema={"ids": pl.List(pl.Int32), "label": pl.Int32},
    )
    # Texts with the words 2, 3, 4, one added: 2, 2, 1 of 5 in class 0 and 2, 1, 3 of 6 in class 1.
    expected = [0, 0, log(2 / 5 * 6 / 2), log(2 / 5 * 6 / 1), log(1 / 5 * 6 / 3)]
    ratios = log_count_ratios(train, 2, 5)
    np.testing.assert_allclose(ratios[0], expected, atol=1e-6)
    np.testing.assert_array_equal(ratios[1], -ratios[0])


def test_each_of_three_classes_is_compared_with_the_two_others() -> None:
    train = pl.DataFrame(
        {"ids": [[2], [3], [3]], "label": [0, 1, 2]}, schema={"ids": pl.List(pl.Int32), "label": pl.Int32}
    )
    expected = [log(2 / 3 * 4 / 1), log(1 / 3 * 4 / 3)]
    np.testing.assert_allclose(log_count_ratios(train, 3, 4)[0, 2:], expected, atol=1e-6)


def test_ranges_are_named_by_what_is_in_them() -> None:
    names, places = ranges(np.array([1, 0, 4, 5, 90, -1]), (0, 1, 5))
    assert names == ["0", "1-4", "5+"]
    assert places.tolist() == [1, 0, 1, 2, 2, -1]


def test_every_negation_is_one_token() -> None:
    assert tokenize(pl.Series(NEGATIONS)).to_list() == [[word] for word in NEGATIONS]


def test_groups_by_hand(tmp_path: Path) -> None:
    run = run_of(tmp_path, "lstm", np.array([[True, True, True, False], [True, True, False, False]]))
    table = slices([run], TEXTS, RATIOS, alone)
    evidence = "distance of the evidence from the end"
    assert table.drop(columns=["low", "high"]).to_numpy().tolist() == [
        ["lstm", "tokens", "1-10", 0, 3, pytest.approx(5 / 6)],
        ["lstm", "tokens", "11-20", 1, 1, 0],
        ["lstm", "unknown words", "0", 0, 1, 1],
        ["lstm", "unknown words", "1", 1, 1, 0.5],
        ["lstm", "unknown words", "3+", 3, 2, 0.5],
        ["lstm", "negation", "without", 0, 1, 0.5],
        ["lstm", "negation", "with", 1, 3, pytest.approx(2 / 3)],
        ["lstm", evidence, "0-4", 0, 2, 0.75],  # of c's two pieces of evidence the later one counts; d has none
        ["lstm", evidence, "5-9", 1, 1, 1],
    ]
    assert table[["low", "high"]].isna().all(axis=None)


def test_intervals_are_those_over_seeds_and_texts(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    correct = draw.random((3, 100)) < 0.7
    correct[:, 60:] = True
    correct[:, 99] = False  # 39 of 40: the interval would reach beyond 1
    texts = pl.DataFrame(
        {
            "id": [str(place) for place in range(100)],
            "text": ["never"] * 60 + ["ever"] * 40,
            "ids": pl.Series([[2]] * 100, dtype=pl.List(pl.Int32)),
        }
    )
    table = slices([run_of(tmp_path, "gru", correct)], texts, RATIOS, alone).query("by == 'negation'")
    expected = contrast([correct[:, :60]], [1.0]).interval()
    low, high = table.query("group == 'with'")[["low", "high"]].to_numpy()[0]
    assert (low, high) == pytest.approx(expected)
    assert low < correct[:, :60].mean() < high
    without = table.query("group == 'without'").iloc[0]
    assert without["accuracy"] == pytest.approx(39 / 40)
    assert 0.9 < without["low"] < without["accuracy"]
    assert without["high"] == 1


def test_the_hardest_are_those_that_most_models_get_wrong(tmp_path: Path) -> None:
    first = np.array([[True, False, False, True]] * 2)
    second = np.array([[True, False, True, False]] * 2)
    runs = [
        run_of(tmp_path, "lstm", first, sure=0.7),
        run_of(tmp_path, "gru", second, sure=0.9),
        run_of(tmp_path, "nb-svm", ~first[:1], kind="baseline"),
    ]
    # Of c and d, each wrong for two models, d's class has a probability of (0.7 + 0.1) / 2, c's of (0.3 + 0.9) / 2.
    assert hardest(runs, TEXTS, limit=3).to_numpy().tolist() == [
        ["b", "fresh", "nothing -- so to speak", 4, 4],
        ["d", "fresh", "Cannot say", 2, 4],
        ["c", "rotten", "another knot, nowadays", 2, 4],
    ]
    assert hardest(runs, TEXTS)["id"].tolist() == ["b", "d", "c", "a"]


def test_texts_of_another_corpus_are_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path, "lstm", np.ones((1, 6), dtype=np.bool_))
    for act in (lambda: slices([run], TEXTS, RATIOS, alone), lambda: hardest([run], TEXTS)):
        with pytest.raises(TextrnnError, match=r"lacks 1 of the 6 texts .*, such as 'f': .* `dvc repro`"):
            act()


def test_without_a_finished_seed_there_is_no_row(tmp_path: Path) -> None:
    run = make_run(tmp_path, "lstm", failures={"0": "the loss is not a number"})
    assert slices([run], TEXTS, RATIOS, alone).empty
    assert hardest([run], TEXTS).columns.tolist() == ["id", "label", "text", "wrong", "of"]
