"""Two versions of a corpus side by side."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from textrnn.config.sections import DataCheck
from textrnn.corpus.check import Change, Judged, changes, table
from textrnn.corpus.tables import Corpus

GOOD, BAD = ("a fine film", "pos"), ("a bad film", "neg")


def corpus(**splits: list[tuple[str, str]]) -> Corpus:
    """`splits[name]` are texts with their labels; where none are given there is one of each class."""
    frames = {}
    for split in ("train", "valid", "test"):
        rows = splits.get(split, [(f"{split} {text}", label) for text, label in (GOOD, BAD)])
        frames[split] = pl.DataFrame(
            {
                "id": [f"{split}{row}" for row in range(len(rows))],
                "text": [text for text, _ in rows],
                "label": [label for _, label in rows],
                "group": pl.Series([None] * len(rows), dtype=pl.String),
            }
        )
    return Corpus("films", ("neg", "pos"), frames)


def judged(*positive: float, unknown: float = 0.1) -> Judged:
    """A model's probabilities of the second class."""
    return Judged(np.array([[1 - each, each] for each in positive], np.float32).reshape(-1, 2), unknown)


def found(old: Corpus, new: Corpus, **limits: float) -> dict[str, Change]:
    same = judged(0.2, 0.8)
    return {each.what: each for each in changes(old, new, (same, same), DataCheck(**limits))}


def test_equal_versions_differ_in_nothing() -> None:
    rows = found(corpus(), corpus())
    assert {each.value for each in rows.values()} == {0.0}
    assert not any(each.is_forbidden for each in rows.values())


def test_lost_and_added_texts_are_counted() -> None:
    rows = found(corpus(), corpus(train=[GOOD, BAD, ("train a fine film", "pos"), ("more", "pos")]), lost=0.1)
    assert (rows["texts"].old, rows["texts"].new, rows["texts"].value) == ("6", "8", 3 / 8)
    assert (rows["texts lost"].new, rows["texts lost"].value) == ("1", 1 / 6)
    assert rows["texts lost"].is_forbidden
    assert not found(corpus(), corpus(train=[GOOD, BAD]), lost=2 / 6)["texts lost"].is_forbidden


def test_texts_with_another_label_are_counted_but_not_those_that_had_two() -> None:
    twice = [GOOD, (GOOD[0], "neg"), BAD]
    assert found(corpus(train=twice), corpus(train=[GOOD, BAD]))["texts with another label"].value == 0
    flipped = found(corpus(train=[GOOD, BAD]), corpus(train=[GOOD, (BAD[0], "pos")]))
    assert flipped["texts with another label"].new == "1"
    assert flipped["texts with another label"].value == 1 / 6


def test_shares_of_classes_differ_by_total_variation() -> None:
    row = found(corpus(), corpus(train=[GOOD, GOOD, GOOD, GOOD, GOOD, BAD]), label_shift=0.15)["classes"]
    assert row.value == pytest.approx(7 / 10 - 1 / 2)
    assert (row.old, row.new) == ("neg 50.0%, pos 50.0%", "neg 30.0%, pos 70.0%")
    assert row.is_forbidden


def test_a_new_class_counts_as_shift() -> None:
    new = corpus(train=[GOOD, ("so-so", "neutral")])
    row = found(corpus(), Corpus("films", ("neg", "neutral", "pos"), new.frames))["classes"]
    assert row.new == "neg 33.3%, neutral 16.7%, pos 50.0%"
    assert row.value == pytest.approx(1 / 6)


def test_lengths_differ_by_the_largest_gap_of_their_distributions() -> None:
    row = found(corpus(), corpus(train=[(GOOD[0] * 9, "pos"), (BAD[0] * 9, "neg")]), length_shift=0.3)["words per text"]
    assert row.value == pytest.approx(1 / 3)
    assert row.measure == "Kolmogorov-Smirnov distance (chance: 0.784)"
    assert row.is_forbidden


def test_repeated_and_leaking_texts_are_shares() -> None:
    new = corpus(train=[GOOD, GOOD, BAD], valid=[GOOD, ("new", "neg")], test=[("new", "neg"), ("other", "pos")])
    rows = found(corpus(), new, duplicates=0.4, leakage=0.5)
    assert rows["texts that repeat another"].value == pytest.approx(3 / 7)
    assert rows["texts that repeat another"].is_forbidden
    leakage = rows["validation and test texts that an earlier split holds"]
    assert leakage.value == pytest.approx(2 / 4)
    assert not leakage.is_forbidden  # the limit itself is allowed


def test_test_texts_that_the_champion_was_trained_on_are_reported_and_never_forbidden() -> None:
    row = found(corpus(train=[GOOD, BAD]), corpus(test=[GOOD, ("new", "neg")]))[
        "test texts that the champion was trained on"
    ]
    assert (row.new, row.value, row.limit) == ("1", 0.5, None)


def test_probabilities_and_unknown_words_are_the_champions() -> None:
    def rows(new: Judged) -> dict[str, Change]:
        limits = DataCheck(score_shift=0.5, unknown_words=0.05)
        return {each.what: each for each in changes(corpus(), corpus(), (judged(0.1, 0.2, 0.3, 0.9), new), limits)}

    shifted = rows(judged(0.8, 0.8, 0.9, 0.9, unknown=0.2))
    scores = shifted["the champion's probabilities on the other test texts"]
    assert scores.value == pytest.approx(0.75)
    assert scores.is_forbidden
    unknown = shifted["running words the champion does not know"]
    assert unknown.value == pytest.approx(0.1)
    assert unknown.is_forbidden
    fewer = rows(judged(0.1, unknown=0.0))["running words the champion does not know"]
    assert fewer.value == pytest.approx(-0.1)
    assert not fewer.is_forbidden


def test_where_the_champion_saw_every_text_its_probabilities_are_unknown() -> None:
    rows = changes(corpus(), corpus(), (judged(0.1), judged()), DataCheck(score_shift=0.0))
    assert (rows[-1].value, rows[-1].is_forbidden, rows[-1].new) == (None, False, "0 texts")
    assert "unknown" in table(rows, "simple").splitlines()[-1]


def test_a_table_shows_value_limit_and_what_is_forbidden() -> None:
    rows = changes(corpus(), corpus(train=[GOOD, BAD]), (judged(0.1), judged(0.1)), DataCheck(lost=0.1))
    (line,) = [line for line in table(rows, "pipe").splitlines() if line.startswith("| texts lost")]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        *("texts lost", "", "2", "share of the old", "0.333", "0.1", "forbidden")
    ]
