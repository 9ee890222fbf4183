"""What the stage `explain` wrote, put together over texts and seeds."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from fake_runs import alone, make_run
from scipy.stats import t

from textrnn.analysis.explanations import DELETION_COLUMNS, MISTAKE_COLUMNS, deletion, mistakes, surest_mistakes
from textrnn.errors import TextrnnError

WORD = {"word": "Good", "token": "good", "apart": False, "known": True, "attribution": 1.5}
MISTAKE = {
    "seed": 3,
    "id": "valid-0",
    "class": "rotten",
    "label": "fresh",
    "probability": 0.9,
    "log_odds": 2.2,
    "without_words": 0.7,
    "error": 0.001,
    "warning": "",
    "words": [WORD, {**WORD, "attribution": None}],
}


def write_explanation(
    folder: Path, name: str, chances: dict[int, list[list[tuple[float, float]]]], found: tuple[dict, ...] = ()
) -> None:
    """`chances`: by seed, for each text what is left at each share, important words first and at random."""
    rows = [
        (seed, f"valid-{place}", share / 2, *both)
        for seed, texts in chances.items()
        for place, text in enumerate(texts)
        for share, both in enumerate(text)
    ]
    (explained := folder / f"explain@{name}").mkdir(parents=True)
    schema = {"seed": pl.Int32, "id": pl.String, "share": pl.Float64, "important": pl.Float32, "random": pl.Float32}
    pl.DataFrame(rows[::-1], schema=schema, orient="row").write_parquet(explained / "deletion.parquet")
    (explained / "mistakes.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in found), encoding="utf-8")


def test_means_over_texts_and_seeds_with_intervals(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "gru", params={"cell": "gru", "embedding": "glove"}, seeds=[0])
    texts = [[(0.9, 0.9), (0.5, 0.75)], [(0.7, 0.7), (0.25, 0.75)], [(0.8, 0.8), (0.375, 0.375)]]
    write_explanation(tmp_path / "runs", "gru", {0: texts})
    table = deletion([run], alone)
    assert tuple(table.columns) == DELETION_COLUMNS
    assert table[["experiment", "model", "share", "texts"]].to_numpy().tolist() == [
        ["gru", "gru", 0.0, 3],
        ["gru", "gru", 0.5, 3],
    ]
    assert table["important"].tolist() == pytest.approx([0.8, 0.375], abs=1e-6)
    assert table["random"].tolist() == pytest.approx([0.8, 0.625], abs=1e-6)
    assert table["gap"].tolist() == pytest.approx([0, 0.25], abs=1e-6)
    # Of 0.5, 0.25 and 0.375 the variance is 1/64; of the gaps 0.25, 0.5 and 0 it is 1/16.
    reach = t.ppf(0.975, 2) / 3**0.5
    assert table.loc[1, "important_high"] == pytest.approx(0.375 + reach / 8, abs=1e-5)
    assert table.loc[1, "gap_low"] == pytest.approx(0.25 - reach / 4, abs=1e-5)


def test_seeds_are_a_sample_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "gru", seeds=[0, 1])
    same = [[(0.5, 0.5)], [(0.5, 0.5)]]
    write_explanation(tmp_path / "runs", "gru", {0: same, 1: [[(0.7, 0.5)], [(0.7, 0.5)]]})
    table = deletion([run], alone)
    assert table["important"].tolist() == pytest.approx([0.6], abs=1e-6)
    assert table.loc[0, "important_low"] < 0.1 < 0.5 == pytest.approx(table.loc[0, "random_low"], abs=1e-6)


def test_a_row_for_each_word_of_a_mistake(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "gru", seeds=[3])
    write_explanation(tmp_path / "runs", "gru", {}, (MISTAKE,))
    table = mistakes([run])
    assert tuple(table.columns) == MISTAKE_COLUMNS
    first, second = table.to_dict("records")
    assert first == {"experiment": "gru", **{key: MISTAKE[key] for key in MISTAKE_COLUMNS[1:9]}, **WORD}
    assert second["attribution"] != second["attribution"]
    assert deletion([run], alone).empty


def test_the_surest_mistakes_come_first(tmp_path: Path) -> None:
    probabilities = [[0.2, 0.8], [0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]
    predictions = {"valid": (["d", "b", "c", "e", "a"], [0, 0, 0, 1, 0], probabilities)}
    predictions["test"] = (["x"], [0], [[0.0, 1.0]])
    run = make_run(tmp_path, "lstm", seeds=[0], predictions=predictions)
    right = run.classes[0]
    assert surest_mistakes(run, 0, 5) == [("a", right), ("d", right), ("c", right)]
    assert surest_mistakes(run, 0, 1) == [("a", right)]


def test_a_run_that_was_not_explained_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "gru")
    for table in (lambda: deletion([run], alone), lambda: mistakes([run])):
        with pytest.raises(TextrnnError, match=r"explain@gru/.* is missing: gru was not explained. Run `dvc repro`."):
            table()
