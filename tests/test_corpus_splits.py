from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textrnn.config.sections import Prepare
from textrnn.corpus.splits import split_corpus
from textrnn.errors import TextrnnError


def prepare(**changes: object) -> Prepare:
    defaults = {"valid": 0.2, "test": 0.25, "seed": 3, "leakage": "drop", "unlabelled": False}
    return Prepare.model_validate({**defaults, **changes})


def table(labels: list[str | None], **columns: list[Any]) -> pl.DataFrame:
    rows = range(len(labels))
    defaults: dict[str, list[Any]] = {
        "id": [str(row + 1) for row in rows],
        "text": [f"text {row}" for row in rows],
        "label": labels,
        "group": [None for _ in rows],
        "split": [None for _ in rows],
    }
    return pl.DataFrame({**defaults, **columns}, schema=dict.fromkeys(defaults, pl.String))


def ids(frames: dict[str, pl.DataFrame]) -> dict[str, list[str]]:
    return {split: frame["id"].to_list() for split, frame in frames.items()}


def test_draws_equal_shares_of_three_classes() -> None:
    frames, dropped, _ = split_corpus(table(["a", "b", "c"] * 20), prepare())
    assert {split: frame.height for split, frame in frames.items()} == {"train": 33, "valid": 12, "test": 15}
    assert dropped == {"train": 0, "valid": 0}
    for frame in frames.values():
        assert set(frame["label"].value_counts()["count"]) == {frame.height // 3}
        assert frame["id"].cast(pl.Int64).is_sorted()
        assert frame.columns == ["id", "text", "label", "group"]


def test_same_seed_same_split_and_another_seed_another_one() -> None:
    whole = table(["a", "b"] * 20)
    assert ids(split_corpus(whole, prepare())[0]) == ids(split_corpus(whole, prepare())[0])
    assert ids(split_corpus(whole, prepare())[0]) != ids(split_corpus(whole, prepare(seed=4))[0])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from("klmnopqrst"), min_size=1, max_size=30), st.integers(0, 99))
def test_no_film_on_both_sides_and_no_row_lost(films: list[str], seed: int) -> None:
    films = [*films, "first", "second", "third"]
    whole = table(["a", "b"] * len(films), group=[film for film in films for _ in "ab"])
    frames, _, _ = split_corpus(whole, prepare(seed=seed))
    sides = [set(frame["group"]) for frame in frames.values()]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert sum(frame.height for frame in frames.values()) == whole.height


def test_shares_are_shares_of_the_films() -> None:
    films = [f"film {number:02}" for number in range(20) for _ in "ab"]
    frames, _, _ = split_corpus(table(["a", "b"] * 20, group=films), prepare())
    assert {split: frame["group"].n_unique() for split, frame in frames.items()} == {
        "train": 11,
        "valid": 4,
        "test": 5,
    }


def test_a_row_without_a_film_is_a_film_of_its_own() -> None:
    films = ["film"] * 2 + [None] * 38
    frames, _, _ = split_corpus(table(["a", "b"] * 20, group=films), prepare())
    assert frames["test"].height in (10, 11)  # 10 of 39 films
    assert frames["train"]["group"].null_count() > 0


def test_published_splits_stay_and_valid_comes_from_train() -> None:
    split = ["train"] * 20 + ["test"] * 4 + ["unlabelled"] * 2
    labels = ["a", "b"] * 12 + [None, None]
    frames, dropped, _ = split_corpus(table(labels, split=split), prepare())
    assert list(frames) == ["train", "valid", "test", "unlabelled"]
    assert [frame.height for frame in frames.values()] == [16, 4, 4, 2]
    assert frames["test"]["id"].to_list() == ["21", "22", "23", "24"]
    assert dropped == {"train": 0, "valid": 0, "unlabelled": 0}


def test_complete_published_splits_are_not_touched() -> None:
    split = ["test", "train", "valid"] * 2
    frames, _, _ = split_corpus(table(["a", "a", "a", "b", "b", "b"], split=split), prepare())
    assert ids(frames) == {"train": ["2", "5"], "valid": ["3", "6"], "test": ["1", "4"]}


@pytest.mark.parametrize(
    ("leakage", "left", "dropped"),
    [
        ("keep", {"train": 4, "valid": 3, "test": 2, "unlabelled": 3}, {}),
        (
            "drop",
            {"train": 2, "valid": 2, "test": 2, "unlabelled": 2},
            {"train": 2, "valid": 1, "unlabelled": 1},
        ),
    ],
)
def test_a_text_that_occurs_in_a_later_split(leakage: str, left: dict[str, int], dropped: dict[str, int]) -> None:
    split = ["train"] * 4 + ["valid"] * 3 + ["test"] * 2 + ["unlabelled"] * 3
    text = ["in valid", "in test", "t", "u", "in valid", "in test", "v", "in test", "w", "in test", "t", "x"]
    labels = ["a", "b", "a", "b", "a", "a", "b", "a", "b", None, None, None]
    frames, counts, _ = split_corpus(table(labels, split=split, text=text), prepare(leakage=leakage))
    assert {name: frame.height for name, frame in frames.items()} == left
    assert counts == dropped


def test_a_class_missing_from_a_split_is_reported() -> None:
    whole = table(["a", "b", "a", "b", "a"], split=["train", "train", "valid", "valid", "test"])
    with pytest.raises(
        TextrnnError,
        match=r"split 'test': no example of class 'b' \(the corpus has 2\) among its 1\. .*larger prepare\.valid",
    ):
        split_corpus(whole, prepare())


@pytest.mark.parametrize("group", [[None] * 4, ["one film"] * 4])
def test_too_little_to_draw_from_is_reported(group: list[str | None]) -> None:
    with pytest.raises(TextrnnError, match=r"prepare\.test: cannot draw 1 .* out of 4 rows .*give more data"):
        split_corpus(table(["a", "b", "a", "b"], group=group), prepare())


def test_a_rare_class_is_reported_with_what_can_help_and_never_with_the_seed() -> None:
    with pytest.raises(TextrnnError) as error:
        split_corpus(table(["a", "b"] * 20 + ["rare"] * 2), prepare())
    message = str(error.value)
    assert "'rare' (the corpus has 2)" in message
    for help_ in ("more examples", "prepare.valid", "columns.split", "merging", "skip_labels"):
        assert help_ in message
    assert "seed" not in message
    with pytest.raises(TextrnnError, match=r"only 1.*merging"):
        split_corpus(table(["a", "b"] * 20 + ["rare"]), prepare())


def test_the_shares_that_were_drawn_are_reported_with_those_asked_for() -> None:
    films = ["huge"] * 60 + [f"film {row // 2}" for row in range(40)]
    frames, _, drawn = split_corpus(table(["a", "b"] * 50, group=films), prepare())
    for split in ("valid", "test"):
        share = frames[split].height / 100
        assert drawn[split] == {"asked": getattr(prepare(), split), "rows": share, "largest_group": 0.6}
    published = ["train"] * 20 + ["test"] * 20
    _, _, drawn = split_corpus(table(["a", "b"] * 20, split=published), prepare())
    assert drawn == {"valid": {"asked": 0.2, "rows": 0.2}}
